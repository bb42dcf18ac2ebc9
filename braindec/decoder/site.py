"""One site of a federation: its recordings, its adapters, and a copy of the trunk that it trains for some steps."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from braindec import checkpoints, checks, config, seeding, stopping, train
from braindec.data import NeuralDataset, leakage
from braindec.decoder import batches, federated, learning, new_subject, rows, saving
from braindec.decoder.brain_decoder import BrainDecoder
from braindec.decoder.cross_fit import CrossFit
from braindec.decoder.federated import Config, Federation, Update, Weights
from braindec.decoder.settings import Settings
from braindec.maths import heap
from braindec.ranks import Ranks
from braindec.train.run import Run
from braindec.types import Embeddings, EmbeddingsInfo

NAME = "site"  # of its log, its checkpoints and what is drawn in its steps
PROXIMAL = "proximal"


class Site:
    """Trains on its own trials; an `Exchange`. Targets are centred by the mean of its own training stimuli, as ever.

    Parameters
    ----------
    decoder : BrainDecoder
        Unfitted, built for this site's signals; its `decoder` is what `finish` gives back.
    part : NeuralDataset
        ``dataset.part("train")``.
    embeddings : Embeddings or mapping of str to Embeddings
        Of every stimulus in `part`; by output where there are several.
    settings : federated.Config
        Rounds and steps; the decoder's own `train.n_steps` is not looked at.
    folder : Path, optional
        Where a checkpoint lies after each round and after a signal to stop; what is found there goes on.

    Raises
    ------
    ConfigError
        If the decoder's settings ask for what a federation has not: folds, calibration, a prior, a closed-form start,
        averaged weights, shards, ranks.
    """

    def __init__(
        self,
        decoder: BrainDecoder,
        part: NeuralDataset,
        embeddings: Embeddings | Mapping[str, Embeddings],
        settings: Config,
        *,
        folder: Path | None = None,
    ):
        refuse_settings(decoder.settings)
        if Ranks.here().n > 1:
            raise checks.ConfigError("a site trains in one process; start it without torchrun.")
        self.settings, self.folder = settings, folder
        self._decoder, self._part = decoder.cpu(), part
        self._audit = leakage.audit_part(part)
        self._audit.refuse()
        named = learning.named(decoder, embeddings)
        for name in decoder.outputs:
            decoder.scaler(name).fit_(learning.embedded(named[name], list(part.stimulus_ids)))
        decoder.preprocessing = {}
        self._sets = learning.prepared_sets_(decoder, part, named, rows.place_of(part, folder))
        self.encoder = decoder.build_encoder()
        with seeding.seeded(decoder.settings.seed, "cycle"):
            trainee = batches.Trainee(
                self.encoder,
                learning.told_losses(decoder),
                learning.loss_weights(decoder),
                decoder.settings.cycle,
            )
        if PROXIMAL in decoder.outputs:
            raise checks.ConfigError(f"a federated decoder has no output named {PROXIMAL!r}; rename it.")
        trunk = dict(self.encoder.backbone.named_parameters())
        self._shared = {name: trunk[name] for name in settings.shared(list(trunk))}
        self._anchor: dict[str, Tensor] = {}
        self._told: tuple[int, Weights] | None = None
        seed, told = decoder.settings.seed, training_of(decoder.settings, settings)
        batch = batches.Batches(self._sets, told, seed, NAME)
        about = f"{learning.identity_of(decoder, part, named)} {settings.hash}"
        self._run = Run(
            trainee, batch, self._objective, told, seed=seed, name=NAME, folder=folder,
            identity="" if folder is None else train.identity(told, seed, trainee, batch, about), validate=None,
            gathered=None,
        )  # fmt: skip
        self.step = self._run.first

    @property
    def outputs(self) -> dict[str, EmbeddingsInfo]:
        """What the trunk ends in."""
        return self._decoder.outputs

    @property
    def n_trials(self) -> int:
        """Training trials of all subjects."""
        return sum(len(s.stimuli) for s in self._sets.values())

    @property
    def trunk(self) -> dict[str, Tensor]:
        """Copies of the whole trunk's parameters, personal ones too."""
        return {n: p.detach().cpu().clone() for n, p in self.encoder.backbone.named_parameters()}

    def tell(self, number: int, weights: Weights) -> None:
        """Takes the weights that a round starts from."""
        federated.refuse_others(f"what the server sent for round {number}", weights, self._shared_here())
        self._told = (number, weights)

    def answer(self, number: int) -> Update:
        """Makes the round that it was told of."""
        if self._told is None or self._told[0] != number:
            raise ValueError(f"this site was not told the weights of round {number}.")
        return self.round(number, self._told[1])

    def round(self, number: int, weights: Weights) -> Update:
        """A round's steps from these weights, and what may leave afterwards.

        A round that was stopped goes on where it was, and one that is done is not made again.

        Raises
        ------
        ValueError
            If the site has made more or fewer steps than before this round.
        Stopped
            After a signal to stop, with a checkpoint where there is a folder.
        """
        first, last = number * self.settings.local_steps, (number + 1) * self.settings.local_steps
        if not first <= self.step <= last:
            raise ValueError(
                f"this site has made {self.step} steps, but round {number} goes from {first} to {last}: server and "
                "site are of different runs. Start both with empty folders."
            )
        if self.step == first:
            self._load(weights)
            if self.settings.moments == "fresh":
                self._run.optimizer.state.clear()
        self._anchor = {name: weights[name].to(p) for name, p in self._shared.items()}
        tell = partial(tqdm.write, file=sys.stderr)
        with heap.kept(), torch.random.fork_rng(), stopping.deferred() as asked:
            while self.step < last:
                losses = self._run.step(self.step, tell)
                self.step += 1
                if self.step % 10 == 0 or self.step == last:
                    self._run.note(self.step, losses)
                if self.step == last:
                    self._run.keep(last)
                if asked.name is not None:
                    self._run.stop(self.step, self._n_steps, asked, asked.name)
        return Update(self._shared_here(), self.n_trials)

    def finish(self) -> BrainDecoder:
        """The site's decoder: its own adapters behind the last trunk that it was told.

        Its gain, its map from embeddings and its population are fitted here, on the site's own trials.
        """
        if self._told is None or self._told[0] != self.settings.rounds or self.step != self._n_steps:
            raise ValueError(
                f"the federation is not done: {self.step} of {self._n_steps} steps are made here."
            )
        self._load(self._told[1])
        made, part = self._decoder, self._part
        made.log = self._run.end(self._n_steps)
        made.encoder = self.encoder
        learning.fit_gain_(made, CrossFit(made.log, {}), self._sets)
        learning.fit_shared_map_(made, self._sets)
        new_subject.fit_populations_(made, self._sets)
        chosen = leakage.chosen_on(part, "nothing: rounds and steps were set before", digests=False)
        made.provenance = {
            "dataset": part.identity(), "data_licence": part.about.get("licence"),
            "n_trials": {k: len(s.stimuli) for k, s in self._sets.items()}, "best_step": made.log.best_step,
            "versions": saving.versions(), "chosen_on": chosen, "audit": self._audit.to_json(),
            "rules": learning.rules_found(made, part, self._sets), "federated": config.to_json(self.settings),
        }  # fmt: skip
        return made.eval()

    def forget(self) -> None:
        """Removes its checkpoints, once every site is done."""
        if self.folder is not None:
            checkpoints.forget(self.folder, NAME)

    @property
    def _n_steps(self) -> int:
        return self.settings.rounds * self.settings.local_steps

    def _shared_here(self) -> dict[str, Tensor]:
        return {name: p.detach().cpu().clone() for name, p in self._shared.items()}

    @torch.no_grad()
    def _load(self, weights: Weights) -> None:
        for name, parameter in self._shared.items():
            parameter.copy_(weights[name])

    def _objective(
        self, module: nn.Module, batch: Mapping[str, Any], progress: float, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The decoder's own losses, and half of `proximal` times the squared distance from the round's first trunk."""
        losses = batches.objective(module, batch, progress, generator)
        if self.settings.proximal > 0:
            squares = [(p - self._anchor[name]).square().sum() for name, p in self._shared.items()]
            losses[PROXIMAL] = 0.5 * self.settings.proximal * torch.stack(squares).sum()
        return losses


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a federation leaves.

    Parameters
    ----------
    decoders : mapping of str to BrainDecoder
        By site.
    federation : Federation
        The server's side of it.
    """

    decoders: Mapping[str, BrainDecoder]
    federation: Federation


def fit_sites(
    recipe: Any,
    parts: Mapping[str, NeuralDataset],
    embeddings: Mapping[str, Embeddings],
    settings: Config,
    *,
    groups: Mapping[str, str] | None = None,
    folder: Path | None = None,
    progress: bool = True,
) -> Fitted:
    """A federation whose sites are all in this process: to learn what one would give, before anything is sent.

    Parameters
    ----------
    recipe : Recipe or Settings
    parts : mapping of str to NeuralDataset
        By site, its training part.
    embeddings : mapping of str to Embeddings
        By site, of the stimuli in its part; one space.
    settings : federated.Config
    groups : mapping of str to str, optional
        See `federated.federate`.
    folder : Path, optional
        Checkpoints of the server and, in folders of their names, of the sites; removed when all are done.
    progress : bool
    """
    if set(embeddings) != set(parts):
        raise ValueError(f"embeddings are of the sites {sorted(embeddings)}, parts of {sorted(parts)}.")
    sites = {}
    for name, part in parts.items():
        decoder = BrainDecoder.build(recipe, part.info, embeddings[name].info)
        place = None if folder is None else folder / name
        sites[name] = Site(decoder, part, embeddings[name], settings, folder=place)
    shapes = {name: site.encoder.shared_shape for name, site in sites.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"sites meet at one shared shape, but their adapters end in {shapes}.")
    one = next(iter(sites.values()))
    first = federated.first_weights(recipe, one.encoder.shared_shape, one.outputs)
    found = federated.federate(sites, first, settings, groups=groups, folder=folder, progress=progress)
    decoders = {name: site.finish() for name, site in sites.items()}
    if folder is not None:
        checkpoints.forget(folder, federated.NAME)
        for site in sites.values():
            site.forget()
    return Fitted(decoders, found)


def training_of(settings: Settings, told: Config) -> train.Config:
    """The decoder's training settings over all rounds: one schedule, and nothing that ends before the last."""
    n_steps = told.rounds * told.local_steps
    return replace(settings.train, n_steps=n_steps, validate_every=n_steps, checkpoint_every=told.local_steps)


def refuse_settings(settings: Settings) -> None:
    """Refuses what a federation has not, all at once."""
    asked = {
        "calibrate=false": settings.calibrate,
        "n_folds=0": settings.n_folds > 1,
        "prior=none": settings.prior is not None,
        "fit=gradient": settings.fit != "gradient",
        "train.ridge_start=false": settings.train.ridge_start,
        "train.ema=none": settings.train.ema is not None,
        "train.shard=false": settings.train.shard,
    }
    wanted = [name for name, is_asked in asked.items() if is_asked]
    if wanted:
        raise checks.ConfigError(
            "a federation makes a set number of steps from one random trunk, without folds (and what is fitted on "
            f"them); set {', '.join(wanted)}."
        )
