"""One fit under the rules of the comparison: units declared beforehand stop it, and give the score to choose by."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from braindec import seeding, train
from braindec.data import NeuralDataset, leakage
from braindec.data.preprocessing import FittedPreprocessing
from braindec.decoder import BrainDecoder, adapting, closed_form, learning
from braindec.decoder.batches import Batches, Trainee, objective
from braindec.decoder.cross_fit import reciprocal_rank
from braindec.decoder.fitting import ALPHAS, SubjectSet, group_folds, identification_score, inner_units
from braindec.decoder.rows import whole
from braindec.decoder.settings import Settings
from braindec.evaluate.systems import RidgeSystem, System
from braindec.maths import factors, ridge
from braindec.types import Embeddings, Trials

Sets = dict[str, SubjectSet]
Reader = Callable[[str, Tensor], Tensor]  # key, prepared signals -> centred predictions (n, n_tokens, n_dims)


@dataclass(eq=False)
class Fitted:
    """A fitted system, how well it told validation units apart (mean reciprocal rank), and that by step."""

    system: System
    validation: float
    best_step: int = 0
    curve: dict[int, float] = field(default_factory=dict)
    states: dict[int, dict[str, Tensor]] = field(default_factory=dict)

    def at(self, step: int) -> System:
        """The system as it was at one look; only of those fitted with `keep`."""
        decoder = copy.deepcopy(self.system)
        if not isinstance(decoder, BrainDecoder):
            raise TypeError("only a decoder has steps.")
        decoder.encoder.load_state_dict(self.states[step])
        return decoder.eval()


def fit(
    kind: str, settings: Settings, choice: dict[str, Any], part: NeuralDataset, embeddings: Embeddings,
    known: NeuralDataset | None = None, *, keep: bool = False,
) -> Fitted:  # fmt: skip
    """Fits one configuration.

    Parameters
    ----------
    kind : str
        Of the system's `Entry`.
    part : NeuralDataset
        The training trials of a fold, whose split holds the validation units as ``test``.
    known : NeuralDataset, optional
        Training trials of other subjects, split likewise, that are learnt from first.
    keep : bool
        Keep the weights of every look.
    """
    first = part if known is None else known
    decoder = BrainDecoder.build(settings, first.info, embeddings.info)
    sets, held = _prepared(decoder, first, embeddings, fresh=True)
    if kind == "ridge":  # other subjects tell a ridge nothing
        if known is not None:
            return fit(kind, settings, choice, part, embeddings)
        return _ridge(decoder, sets, held, part, embeddings, choice["n_blocks"])
    found = _learn(decoder, sets, held, known is None and keep)
    if known is not None:
        found = _newcomer(kind, decoder, sets, part, embeddings, keep)
    decoder.provenance = {"chosen_on": leakage.chosen_on(part, "step and configuration", digests=False)}
    return replace(found, system=decoder.eval())


def _prepared(
    decoder: BrainDecoder, data: NeuralDataset, embeddings: Embeddings, *, fresh: bool
) -> tuple[Sets, Sets]:
    """Fitting rows and validation rows; preprocessing and target scale are fitted on the first alone."""
    part, held = data.part("train"), data.part("test")
    named = learning.named(decoder, embeddings)
    if fresh:
        leakage.audit_part(part).refuse()
        decoder.scaler(decoder.main).fit_(learning.embedded(embeddings, list(part.stimulus_ids)))
    sets = dict(learning.prepared_sets_(decoder, part, named))
    return sets, {key: _applied(decoder, key, held, embeddings) for key in held.keys if key in sets}


def _applied(decoder: BrainDecoder, key: str, held: NeuralDataset, embeddings: Embeddings) -> SubjectSet:
    """One subject's validation trials, averaged over repeats of a stimulus that lie in one unit."""
    fitted: FittedPreprocessing = decoder.preprocessing[key]
    trials = held.trials[key]
    ids = trials.table["stimulus_id"]
    targets = learning.embedded(embeddings, ids.tolist(), decoder.scaler(decoder.main).centre)
    numbers = torch.from_numpy(np.unique(ids, return_inverse=True)[1])
    signals = torch.from_numpy(fitted.apply(trials))
    units = tuple(inner_units(held, trials).tolist())
    return SubjectSet(signals, {decoder.main: targets}, numbers, units).averaged()


@torch.no_grad()
def score(read: Reader, held: Sets, output: str) -> float:
    """Mean reciprocal rank of the validation stimuli, responses averaged over repeats, by cosine, over subjects."""
    made = {
        key: (read(key, whole(s.signals)), whole(s.targets[output]), torch.ones(len(s.stimuli), dtype=torch.bool))
        for key, s in held.items()
    }  # fmt: skip
    return reciprocal_rank(made)


def _learn(decoder: BrainDecoder, sets: Sets, held: Sets, keep: bool) -> Fitted:
    """Solves the encoder, or starts and trains it; the weights of its best look stay."""
    settings = decoder.settings
    decoder.encoder = decoder.build_encoder()
    solved = settings.fit == "closed_form"
    if solved or settings.train.ridge_start:
        closed_form.start_closed_form_(
            decoder.encoder, sets, output=decoder.main, seed=settings.seed, needed=solved
        )
    if solved:
        decoder.encoder.eval()
        return Fitted(decoder, score(decoder.raw, held, decoder.main))
    return _train(decoder, sets, held, "encoder", keep)


def _train(decoder: BrainDecoder, sets: Sets, held: Sets, name: str, keep: bool) -> Fitted:
    settings = decoder.settings
    trainee = Trainee(decoder.encoder, learning.told_losses(decoder), learning.loss_weights(decoder))
    curve: list[float] = []
    states: list[dict[str, Tensor]] = []

    def look(module: nn.Module) -> float:
        module.eval()
        curve.append(score(decoder.raw, held, decoder.main))
        if keep:
            states.append(copy.deepcopy(decoder.encoder.state_dict()))
        return curve[-1]

    log = train.fit(
        trainee, Batches(sets, settings.train, settings.seed, name), objective, settings.train, seed=settings.seed,
        name=name, validate=look, progress=False,
    )  # fmt: skip
    steps = [int(s) for s in log.column("validation")[0]]
    best = steps[int(np.argmax(curve))]
    decoder.encoder = trainee.encoder.eval()
    return Fitted(
        decoder, max(curve), best, dict(zip(steps, curve, strict=True)),
        dict(zip(steps, states, strict=True)) if keep else {},
    )  # fmt: skip


def _newcomer(
    kind: str, decoder: BrainDecoder, sets: Sets, part: NeuralDataset, embeddings: Embeddings, keep: bool
) -> Fitted:
    """One more subject for a decoder of others: in closed form, or by training the whole network on."""
    if kind == "closed_form":
        learning.new_subject.fit_populations_(decoder, sets)
        named = learning.named(decoder, embeddings)
        adapting.adapt_in_closed_form_(decoder, part.part("train"), named, None)
        for key in part.keys:
            del decoder.calibrations[key]  # every system is read by the cosine
        test = part.part("test")
        held = {key: _applied(decoder, key, test, embeddings) for key in test.keys}
        return Fitted(decoder, score(decoder.raw, held, decoder.main))
    ours = decoder.settings.train.ridge_start
    if ours:
        learning.fit_shared_map_(decoder, sets)
    decoder.info = type(decoder.info)({**decoder.info.signals, **part.info.signals})
    own, held = _prepared(decoder, part, embeddings, fresh=False)
    for key in own:
        decoder.encoder.add_subject(decoder.preprocessing[key].signal)
    if ours:
        adapting.start_adapters_(decoder, decoder.encoder, own)
    return _train(decoder, own, held, "newcomer", keep)


def _ridge(
    decoder: BrainDecoder, sets: Sets, held: Sets, part: NeuralDataset, embeddings: Embeddings, n_blocks: int
) -> Fitted:
    """Ridge of each subject, with a penalty for each block of the target's principal directions."""
    fits, features, output = {}, {}, decoder.main
    for key, data in sets.items():
        mean = data.averaged()
        x, y = whole(mean.signals).flatten(1), whole(mean.targets[output]).flatten(1)
        parts = group_folds(mean.units, 5, seeding.torch_generator(decoder.settings.seed, "ridge", key))
        fits[key] = by_blocks(factors.factorise(x, parts), y, n_blocks)
        features[key] = partial(_flat, decoder.preprocessing[key])

    def read(key: str, signals: Tensor) -> Tensor:
        return ridge.ridge_predict(signals.flatten(1), fits[key])[:, None]

    validation = score(read, _flattened(held, output), output)
    centre = decoder.scaler(output)
    scale = centre.scale
    own = {
        key: f._replace(weights=f.weights * scale, intercept=f.intercept * scale) for key, f in fits.items()
    }
    return Fitted(RidgeSystem(own, features, centre.mean.numpy()), validation)


def _flat(fitted: FittedPreprocessing, trials: Trials) -> np.ndarray:
    return fitted.apply(trials).reshape(trials.n_trials, -1)


def _flattened(held: Sets, output: str) -> Sets:
    return {
        k: replace(s, targets={output: whole(s.targets[output]).flatten(1)[:, None]}) for k, s in held.items()
    }


def by_blocks(factorised: factors.RidgeFactors, y: Tensor, n_blocks: int) -> ridge.RidgeFit:
    """Ridge into the principal directions of `y`, those next to each other in variance sharing a penalty.

    One penalty is chosen by how well left-out rows are told apart, several by their squared error: a cosine would not
    silence directions of which signals tell nothing.
    """
    basis = torch.linalg.svd(y - y.mean(0), full_matrices=False)[2].T  # (q, k)
    coordinates = y @ basis
    score = identification_score if n_blocks == 1 else "neg_mse"
    found = [
        ridge.solve(factorised, coordinates[:, some], ALPHAS, score=score)
        for some in torch.arange(basis.shape[1]).tensor_split(min(n_blocks, basis.shape[1]))
    ]
    joined = [torch.cat([getattr(f, n) for f in found], -1) for n in ("weights", "intercept", "alpha")]
    return ridge.RidgeFit(joined[0] @ basis.T, joined[1] @ basis.T, joined[2], None)


__all__ = ["Fitted", "by_blocks", "fit", "score"]
