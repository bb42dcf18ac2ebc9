"""Masked modelling: a backbone's trunk learns, from trials without labels, to fill in patches that it is not shown.

Adapters stay as they are drawn, so that what has to be filled in cannot be made easy. The trunk is what is kept; the
light decoder behind it is thrown away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from braindec import checks, seeding, store, train
from braindec.backbones._masked_decoder import MaskedDecoder
from braindec.backbones._patches import PatchBackbone
from braindec.data import NeuralDataset
from braindec.decoder.batches import Batches
from braindec.decoder.fitting import SubjectSet
from braindec.decoder.rows import Rows, parts
from braindec.encoder import Encoder
from braindec.ranks import Ranks
from braindec.types import Trials

TRAIN = train.Config(n_steps=1000, batch_size=256, lr=1e-3)
MIN_RUNS = 5  # of which whole ones are held out
N_LOOKS = 4  # draws of masks that held-out trials are looked at with


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    ratio : float
        Share of a trial's patches that is masked, in (0, 1); one patch at least is masked and one shown.
    shown : {"random", "earlier"}
        ``"random"`` patches, as many as `ratio` leaves; or all patches ``"earlier"`` than a time that is drawn anew for
        every batch, where those at that time have to be foreseen and `ratio` says nothing.
    width, n_layers, n_heads : int
        Of the light decoder; `width` is a multiple of `n_heads`.
    train : train.Config
        Its `validation_fraction` of runs (of trials, where there are fewer than five) chooses the step that is kept.

    Notes
    -----
    He et al. 2022, arXiv:2111.06377, and Chen et al. 2023 (MinD-Vis), arXiv:2211.06956, mask 0.75; the loss counts
    masked patches alone. Segments foreseen from earlier ones: Neuro-GPT, Cui et al. 2024, arXiv:2311.03764.
    """

    ratio: float = 0.75
    shown: Literal["random", "earlier"] = "random"
    width: int = 32
    n_layers: int = 1
    n_heads: int = 4
    train: train.Config = TRAIN

    def __post_init__(self) -> None:
        checks.in_range("ratio", self.ratio, 0.01, 0.99)
        checks.one_of("shown", self.shown, ("random", "earlier"))
        for name in ("width", "n_layers", "n_heads"):
            checks.at_least(name, getattr(self, name), 1)
        if self.width % self.n_heads:
            raise checks.ConfigError(
                f"width must be a multiple of n_heads, got {self.width} and {self.n_heads}."
            )

    def n_kept(self, n_patches: int) -> int:
        """How many of a trial's patches are shown."""
        return min(max(round((1 - self.ratio) * n_patches), 1), n_patches - 1)


@dataclass(frozen=True, eq=False)
class Pretrained:
    """What pretraining leaves behind.

    Parameters
    ----------
    trunk : mapping of str to Tensor
        Weights by their names in the backbone.
    error : float
        Squared error of masked values of held-out trials, as a share of what each value's mean over training trials
        makes; 1 is no better than the mean. NaN where no trials were held out.
    log : train.Log
    about : mapping
        JSON: dataset, number of trials by signal key, settings' steps and the error.
    """

    trunk: Mapping[str, Tensor] = field(default_factory=dict)
    error: float = float("nan")
    log: train.Log = field(default_factory=train.Log)
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """sha256 of the weights."""
        return store.content_hash(**{name: v.numpy() for name, v in self.trunk.items()})

    @torch.no_grad()
    def start_(self, encoder: Encoder) -> None:
        """Writes the trunk into an encoder; nothing where none was learnt.

        Raises
        ------
        ValueError
            If the encoder's trunk has other shapes than the one that was pretrained.
        """
        if not self.trunk:
            return
        own = patch_backbone(encoder).trunk()
        for name in sorted({*own, *self.trunk}):
            shapes = [tuple(part[name].shape) if name in part else None for part in (self.trunk, own)]
            if shapes[0] != shapes[1]:
                raise ValueError(
                    f"the pretrained trunk has {name} of shape {shapes[0]}, this encoder {shapes[1]}; pretrain with "
                    "the same backbone and on adapters that end in the same shape."
                )
            own[name].copy_(self.trunk[name])


class Pretrainee(nn.Module):
    """An encoder's trunk and the light decoder behind it; each value is measured from its mean and in SDs.

    Parameters
    ----------
    encoder : Encoder
        Its adapters and heads are frozen.
    config : Config
    sets : mapping of str to SubjectSet
        Training trials, which means and SD are of.
    """

    def __init__(self, encoder: Encoder, config: Config, sets: Mapping[str, SubjectSet]):
        super().__init__()
        self.encoder, self.config = encoder, config
        patches = self.trunk.patches
        if config.shown == "earlier" and patches.grid[1] < 2:
            raise checks.ConfigError(
                "shown='earlier' needs two patches along time; lower the backbone's patch."
            )
        self.decoder = MaskedDecoder(patches, self.trunk.width, config.width, config.n_layers, config.n_heads)
        self.register_buffer("filled", patches.filled(), persistent=False)
        self.encoder.requires_grad_(False)
        learnt = self.trunk.trunk()
        for name, parameter in self.trunk.named_parameters():
            parameter.requires_grad_(name in learnt)
        self.moments = (
            nn.ParameterDict()
        )  # by signal key: row 0 the means of all values, row 1 their common SD
        for key, data in sets.items():
            self.moments[key] = nn.Parameter(self._moments(key, data.signals), requires_grad=False)

    @property
    def trunk(self) -> PatchBackbone:
        """The encoder's backbone."""
        return patch_backbone(self.encoder)

    def masks(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Which patches are shown, (n_trials, n_kept), and which values count, bool (n_trials, n_patches, size).

        Parameters
        ----------
        noise : Tensor, shape (n_trials, n_patches)
            In [0, 1). The patches with the smallest values are shown; what is masked and no padding counts. Where the
            earlier ones are, the first value says for all trials before which time.
        """
        if self.config.shown == "earlier":
            return self._earlier(noise)
        kept = noise.argsort(1)[:, : self.config.n_kept(noise.shape[1])]
        masked = torch.ones_like(noise, dtype=torch.bool).scatter(1, kept, False)
        filled: Any = self.filled
        return kept, masked.unsqueeze(2) & filled

    def _earlier(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """See `masks`: all patches before a time, and the values at that time."""
        time = torch.arange(noise.shape[1], device=noise.device) % self.trunk.patches.grid[1]
        cut = 1 + int(float(noise[0, 0]) * int(time.max()))  # from the second time to the last one
        kept = torch.nonzero(time < cut).flatten().expand(len(noise), -1)
        filled: Any = self.filled
        return kept, ((time == cut)[:, None] & filled).expand(len(noise), -1, -1)

    def targets(self, key: str, signals: Tensor) -> tuple[Tensor, Tensor]:
        """What a subject's adapter makes of its signals, and its patches (n_trials, n_patches, size) in SDs."""
        self.encoder.eval()  # no dropout in what is to be filled in
        shared = self.encoder.adapter(key)(signals)
        mean, sd = self.moments[key]
        return shared, (self.trunk.patches.cut(shared) - mean) / sd

    def filled_in(self, shared: Tensor, kept: Tensor) -> Tensor:
        """Every patch as seen from those that are shown: (n_trials, n_patches, size), in SDs."""
        made: Tensor = self.decoder(self.trunk.train(self.training).tokens(shared, kept), kept)
        return made

    @torch.no_grad()
    def _moments(self, key: str, signals: Rows) -> Tensor:
        """(2, n_patches, size): mean of each value over trials, and one SD about these for all values."""
        adapter, patches = self.encoder.adapter(key).eval(), self.trunk.patches
        total, squares, n = torch.zeros(patches.n, patches.size).double(), 0.0, len(signals)
        for some in parts(signals):
            total += patches.cut(adapter(signals[some])).double().sum(0)
        mean = total / n
        for some in parts(signals):
            squares += float((patches.cut(adapter(signals[some])) - mean).square()[:, patches.filled()].sum())
        sd = (squares / (n * int(patches.filled().sum()))) ** 0.5
        return torch.stack([mean, torch.full_like(mean, max(sd, 1e-12))]).float()


def objective(
    module: nn.Module, batch: Mapping[str, Any], progress: float, generator: torch.Generator
) -> dict[str, Tensor]:
    """Mean squared error of masked values over all subjects; a rank draws the masks of the whole batch."""
    pretrainee, ranks = checks.of_type("module", module, Pretrainee), Ranks.here()
    errors, n_counted = [], 0
    for key in batch["keys"]:
        signals = batch[f"signals/{key}"]
        shape = (len(signals), pretrainee.trunk.patches.n)
        kept, counted = pretrainee.masks(torch.rand(shape, generator=generator, device=signals.device))
        n_counted += int(counted.sum())
        own = ranks.share(len(signals))
        shared, targets = pretrainee.targets(key, signals[own])
        squares = (pretrainee.filled_in(shared, kept[own]) - targets).square()
        errors.append((squares * counted[own]).sum())
    return {"masked": torch.stack(errors).sum() * (ranks.n / n_counted)}


@torch.no_grad()
def masked_error(pretrainee: Pretrainee, sets: Mapping[str, SubjectSet], seed: int) -> float:
    """Squared error of masked values as a share of what their training means make, mean over subjects."""
    found = []
    device = next(pretrainee.parameters()).device
    for key, data in sets.items():
        generator = seeding.torch_generator(seed, "masked look", key)
        ours = theirs = 0.0
        for _ in range(N_LOOKS):
            for some in parts(data.signals):
                shared, targets = pretrainee.targets(key, data.signals[some].to(device))
                noise = torch.rand(targets.shape[:2], generator=generator).to(device)
                kept, counted = pretrainee.masks(noise)
                ours += float(((pretrainee.filled_in(shared, kept) - targets).square() * counted).sum())
                theirs += float((targets.square() * counted).sum())
        found.append(ours / max(theirs, 1e-12))
    return float(np.mean(found))


def pretrain(
    encoder: Encoder,
    signals: Mapping[str, Rows],
    part: NeuralDataset,
    config: Config,
    seed: int,
    *,
    folder: Path | None = None,
    progress: bool = True,
) -> Pretrained:
    """The trunk that fills in masked patches of these trials best; labels are not looked at.

    Parameters
    ----------
    encoder : Encoder
        Fresh, with an adapter for every subject; changed in place.
    signals : mapping of str to Tensor or RowTensor
        Preprocessed, by signal key.
    part : NeuralDataset
        Whose trials these are.
    config : Config
    seed : int
    folder : Path, optional
        Where log and checkpoints go; an unfinished pretraining found there is resumed.

    Raises
    ------
    ValueError
        If the backbone has no patches.
    """
    sets, held = {}, {}
    for key, trials in part.trials.items():
        n = trials.n_trials
        every = SubjectSet(signals[key], {}, torch.arange(n), tuple(_units(trials)))
        kept_rows, held_rows = train.split_rows(
            every.units, config.train.validation_fraction, seeding.torch_generator(seed, "masked held", key)
        )
        sets[key] = every.take(kept_rows)
        if len(held_rows):
            held[key] = every.take(held_rows)
    settings = replace(config.train, repeats="single")
    with seeding.seeded(seed, "masked decoder"):
        pretrainee = Pretrainee(encoder, config, sets)

    def validate(module: nn.Module) -> float:
        return -masked_error(pretrainee, held, seed)

    rows = {key: int(trials.n_trials) for key, trials in part.trials.items()}
    log = train.fit(
        pretrainee, Batches(sets, settings, seed, "masked"), objective, settings, seed=seed, name="masked",
        folder=folder, progress=progress, validate=validate if held else None,
        about=store.content_hash(dataset=part.identity(), ratio=config.ratio, shown=config.shown),
    )  # fmt: skip
    error = masked_error(pretrainee, held, seed) if held else float("nan")
    trunk = {name: v.detach().clone() for name, v in pretrainee.trunk.trunk().items()}
    about = {"dataset": part.identity(), "n_trials": rows, "best_step": log.best_step, "masked_error": error}
    return Pretrained(trunk, error, log, about)


def patch_backbone(encoder: Encoder) -> PatchBackbone:
    """The encoder's backbone, refused where it has no patches to mask."""
    if not isinstance(encoder.backbone, PatchBackbone):
        raise ValueError(
            f"{type(encoder.backbone).__name__} has no patches to mask; take the backbone masked_transformer."
        )
    return encoder.backbone


def _units(trials: Trials) -> list[str]:
    """Run of each trial, for runs have noise of their own; the trial itself where there are few runs."""
    runs = [f"{s}/{r}" for s, r in zip(trials.table["session"], trials.table["run"], strict=True)]
    return runs if len(set(runs)) >= MIN_RUNS else [str(i) for i in range(trials.n_trials)]
