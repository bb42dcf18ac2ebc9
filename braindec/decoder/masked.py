"""Masked modelling: a backbone's trunk learns, from trials without labels, to fill in patches that it is not shown.

What is filled in are a patch's values, or the code that a quantiser gives it (`decoder.codes`). Adapters stay as they
are drawn, so that what has to be filled in cannot be made easy. The trunk is what is kept; the light decoder behind it
is thrown away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from braindec import checks, seeding, store, train
from braindec.backbones._masked_decoder import MaskedDecoder
from braindec.backbones._patches import PatchBackbone
from braindec.backbones._quantiser import frequencies
from braindec.config import to_json
from braindec.data import NeuralDataset
from braindec.decoder import codes as code_book
from braindec.decoder.batches import Batches
from braindec.decoder.codes import Codes, Tokenizer
from braindec.decoder.fitting import SubjectSet, without_labels
from braindec.decoder.patch_values import in_sds, moments_of, only_trunk_learns_, patch_backbone
from braindec.decoder.rows import Rows, parts
from braindec.encoder import Encoder
from braindec.ranks import Ranks

TRAIN = train.Config(n_steps=1000, batch_size=256, lr=1e-3)
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
    predicts : {"values", "codes"}
        What is said of masked patches: their ``"values"``, by squared error; or which of the ``"codes"`` of a tokenizer
        that is trained first each has, by cross-entropy.
    codes : Codes
        Of that tokenizer.
    width, n_layers, n_heads : int
        Of the light decoder; `width` is a multiple of `n_heads`.
    train : train.Config
        Its `validation_fraction` of runs (of trials, where there are fewer than five) chooses the step that is kept.

    Notes
    -----
    He et al. 2022, arXiv:2111.06377, and Chen et al. 2023 (MinD-Vis), arXiv:2211.06956, mask 0.75; the loss counts
    masked patches alone. Segments foreseen from earlier ones: Neuro-GPT, Cui et al. 2024, arXiv:2311.03764. Codes:
    BEiT, Bao et al. 2022, arXiv:2106.08254; of sEEG Du-IN, Zheng et al. 2024, arXiv:2405.11459.
    """

    ratio: float = 0.75
    shown: Literal["random", "earlier"] = "random"
    predicts: Literal["values", "codes"] = "values"
    codes: Codes = field(default_factory=Codes)
    width: int = 32
    n_layers: int = 1
    n_heads: int = 4
    train: train.Config = TRAIN

    def __post_init__(self) -> None:
        checks.in_range("ratio", self.ratio, 0.01, 0.99)
        checks.one_of("shown", self.shown, ("random", "earlier"))
        checks.one_of("predicts", self.predicts, ("values", "codes"))
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
        makes; 1 is no better than the mean. Of codes: cross-entropy, as a share of what frequencies of
        codes in the subject's training trials make, over all places or for each place, whichever makes less. Of two
        views (`decoder.two_views`): held-out views that do not find each other, as a share of what guesses miss. NaN
        where no trials were held out.
    log : train.Log
    about : mapping
        JSON: dataset, number of trials by signal key, settings' steps and the error; ``codes``, how the tokenizer did.
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
    tokenizer : Tokenizer, optional
        Frozen; says which codes are to be said in place of values.
    """

    def __init__(
        self,
        encoder: Encoder,
        config: Config,
        sets: Mapping[str, SubjectSet],
        tokenizer: Tokenizer | None = None,
    ):
        super().__init__()
        self.encoder, self.config = encoder, config
        patches = self.trunk.patches
        if config.shown == "earlier" and patches.grid[1] < 2:
            raise checks.ConfigError(
                "shown='earlier' needs two patches along time; lower the backbone's patch."
            )
        n_out = patches.size if tokenizer is None else config.codes.n_codes
        self.decoder = MaskedDecoder(
            patches, self.trunk.width, config.width, config.n_layers, config.n_heads, n_out
        )
        filled = patches.filled() if tokenizer is None else torch.ones(patches.n, 1, dtype=torch.bool)
        self.register_buffer("filled", filled, persistent=False)
        only_trunk_learns_(encoder)
        self.moments = moments_of(encoder, sets)
        self.tokenizer = tokenizer
        self.guesses = nn.ParameterDict()
        if tokenizer is not None:
            for key, data in sets.items():
                self.guesses[key] = nn.Parameter(self._guesses(key, data.signals), requires_grad=False)

    @property
    def trunk(self) -> PatchBackbone:
        """The encoder's backbone."""
        return patch_backbone(self.encoder)

    def masks(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Which patches are shown, (n_trials, n_kept), and which values count, bool (n_trials, n_patches, size).

        Parameters
        ----------
        noise : Tensor, shape (n_trials, n_patches)
            In [0, 1). The patches with the smallest values are shown; what is masked and no padding counts (of codes,
            one a patch). Where the earlier ones are, the first value says for all trials before which time.
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
        """What a subject's adapter makes of its signals, and what is to be said of each patch.

        Values (n_trials, n_patches, size) in SDs, or codes, int64 (n_trials, n_patches).
        """
        shared, values = in_sds(self.encoder, self.moments, key, signals)
        return shared, values if self.tokenizer is None else self.tokenizer.eval().codes(values)

    def filled_in(self, shared: Tensor, kept: Tensor) -> Tensor:
        """Every patch as seen from those that are shown: (n_trials, n_patches, size) in SDs, or logits of codes."""
        made: Tensor = self.decoder(self.trunk.train(self.training).tokens(shared, kept), kept)
        return made

    def missed(self, made: Tensor, targets: Tensor) -> Tensor:
        """Squared error of every value, (n_trials, n_patches, size), or cross-entropy of every code, (..., 1)."""
        if self.tokenizer is None:
            return (made - targets).square()
        return cross_entropy(made.transpose(1, 2), targets, reduction="none").unsqueeze(2)

    def unseen(self, key: str, targets: Tensor) -> Tensor:
        """What guesses miss that look at no patch, as `missed`: (n_guesses, n_trials, n_patches, size or 1)."""
        if self.tokenizer is None:
            return targets.square().unsqueeze(0)
        places = torch.arange(targets.shape[1], device=targets.device)
        return -self.guesses[key][:, places, targets].unsqueeze(3)

    @torch.no_grad()
    def _guesses(self, key: str, signals: Rows) -> Tensor:
        """(2, n_patches, n_codes): log frequency of each code over all places, and of each place drawn towards it."""
        n_codes = self.config.codes.n_codes
        found = torch.cat([self.targets(key, signals[some])[1] for some in parts(signals)])
        over_all = frequencies(found, n_codes)
        by_place = [frequencies(column, n_codes, n_codes * over_all) for column in found.T]
        return torch.stack([over_all.expand(len(by_place), -1), torch.stack(by_place)]).log().float()


def objective(
    module: nn.Module, batch: Mapping[str, Any], progress: float, generator: torch.Generator
) -> dict[str, Tensor]:
    """Mean of what is `missed` of masked patches over all subjects; a rank draws the masks of the whole batch."""
    pretrainee, ranks = checks.of_type("module", module, Pretrainee), Ranks.here()
    errors, n_counted = [], 0
    for key in batch["keys"]:
        signals = batch[f"signals/{key}"]
        shape = (len(signals), pretrainee.trunk.patches.n)
        kept, counted = pretrainee.masks(torch.rand(shape, generator=generator, device=signals.device))
        n_counted += int(counted.sum())
        own = ranks.share(len(signals))
        shared, targets = pretrainee.targets(key, signals[own])
        missed = pretrainee.missed(pretrainee.filled_in(shared, kept[own]), targets)
        errors.append((missed * counted[own]).sum())
    return {"masked": torch.stack(errors).sum() * (ranks.n / n_counted)}


@torch.no_grad()
def masked_error(pretrainee: Pretrainee, sets: Mapping[str, SubjectSet], seed: int) -> float:
    """What is missed of masked patches as a share of what the best guess without any misses, mean over subjects."""
    found = []
    device = next(pretrainee.parameters()).device
    for key, data in sets.items():
        generator = seeding.torch_generator(seed, "masked look", key)
        ours, theirs = 0.0, np.zeros(1)
        for _ in range(N_LOOKS):
            for some in parts(data.signals):
                shared, targets = pretrainee.targets(key, data.signals[some].to(device))
                noise = torch.rand(targets.shape[:2], generator=generator).to(device)
                kept, counted = pretrainee.masks(noise)
                missed = pretrainee.missed(pretrainee.filled_in(shared, kept), targets)
                ours += float((missed * counted).sum())
                theirs = theirs + (pretrainee.unseen(key, targets) * counted).sum((1, 2, 3)).cpu().numpy()
        found.append(ours / max(float(theirs.min()), 1e-12))
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
    about: str = "",
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
    about : str
        Names how the signals were prepared and what the encoder is, which a resumed pretraining must share.

    Raises
    ------
    ValueError
        If the backbone has no patches.
    """
    sets, held = without_labels(signals, part, config.train.validation_fraction, seed, "masked held")
    settings = replace(config.train, repeats="single")
    told = {"dataset": part.identity(), "settings": to_json(config), "about": about}
    tokens = None
    if config.predicts == "codes":
        tokens = code_book.learn(
            encoder, sets, held, config.codes, seed,
            about=store.content_hash(dataset=part.identity(), about=about), folder=folder, progress=progress,
        )  # fmt: skip
        told["tokenizer"] = tokens.identity
    with seeding.seeded(seed, "masked decoder"):
        pretrainee = Pretrainee(encoder, config, sets, None if tokens is None else tokens.tokenizer)

    def validate(module: nn.Module) -> float:
        return -masked_error(pretrainee, held, seed)

    rows = {key: int(trials.n_trials) for key, trials in part.trials.items()}
    log = train.fit(
        pretrainee, Batches(sets, settings, seed, "masked"), objective, settings, seed=seed, name="masked",
        folder=folder, progress=progress, validate=validate if held else None,
        about=store.content_hash(**told),
    )  # fmt: skip
    error = masked_error(pretrainee, held, seed) if held else float("nan")
    trunk = {name: v.detach().clone() for name, v in pretrainee.trunk.trunk().items()}
    said = {"dataset": part.identity(), "n_trials": rows, "best_step": log.best_step, "masked_error": error}
    if tokens is not None:
        said["codes"] = dict(tokens.about)
        if folder is not None:
            code_book.forget(folder)
    return Pretrained(trunk, error, log, said)
