"""Codes of a quantiser: a tokenizer that learns, from trials without labels, a number for what is in each patch.

The numbers are what masked modelling then says of patches that it is not shown (`masked.Config(predicts="codes")`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, normalize

from braindec import checkpoints, checks, config, seeding, store, train
from braindec.adapters._clustering import spherical_k_means
from braindec.backbones._patches import Patches, Positions
from braindec.backbones._quantiser import Quantiser, perplexity
from braindec.backbones._token_layer import TokenLayer
from braindec.decoder.batches import Batches
from braindec.decoder.fitting import SubjectSet
from braindec.decoder.patch_values import in_sds, moments_of, patch_backbone
from braindec.decoder.rows import parts
from braindec.encoder import Encoder
from braindec.ranks import Ranks

TRAIN = train.Config(n_steps=1000, batch_size=256, lr=1e-3)
PATCHES_A_CODE = 16  # of those that the first codebook is made of


@dataclass(frozen=True)
class Codes:
    """Settings of a tokenizer.

    Parameters
    ----------
    n_codes : int
        Of the codebook.
    n_dims : int
        Of a code, a vector of unit length.
    width : int
        Of the hidden layers on both sides; a multiple of `n_heads`.
    n_layers, n_heads : int
        Attention among a trial's patches, on both sides; 0 layers: a patch's code depends on this patch alone.
    commitment : float
        Weight of the squared distance between what is put in and its code.
    decay, dead : float
        Of the codebook's moving averages, and of the share below which a code starts anew (see `Quantiser`).
    amplitude : float
        Weight of the error of the Fourier amplitudes of a patch's rows; 0 for backbones whose columns are no times.
    train : train.Config
        Its `validation_fraction` is that of the masked modelling that follows.

    Notes
    -----
    Du-IN, Zheng et al. 2024, arXiv:2405.11459 (2,048 codes of 64 dims); amplitudes as in LaBraM, Jiang et al. 2024,
    arXiv:2405.18765. The codebook starts as k-means of what the untrained encoder makes of training patches.
    """

    n_codes: int = 256
    n_dims: int = 16
    width: int = 64
    n_layers: int = 0
    n_heads: int = 4
    commitment: float = 0.25
    decay: float = 0.99
    dead: float = 0.1
    amplitude: float = 0.0
    train: train.Config = TRAIN

    def __post_init__(self) -> None:
        for name in ("n_codes", "n_dims"):
            checks.at_least(f"codes.{name}", getattr(self, name), 2)
        for name in ("width", "n_heads"):
            checks.at_least(f"codes.{name}", getattr(self, name), 1)
        for name in ("n_layers", "commitment", "amplitude"):
            checks.at_least(f"codes.{name}", getattr(self, name), 0)
        checks.in_range("codes.decay", self.decay, 0.0, 0.999_999)
        checks.in_range("codes.dead", self.dead, 0.0, 1.0)
        if self.width % self.n_heads:
            raise checks.ConfigError(
                f"codes.width must be a multiple of n_heads, got {self.width} and {self.n_heads}."
            )


class Tokenizer(nn.Module):
    """Patches to vectors of unit length, these to codes, and codes to patches.

    Parameters
    ----------
    patches : Patches
    settings : Codes
    """

    def __init__(self, patches: Patches, settings: Codes):
        super().__init__()
        width, n_layers = settings.width, settings.n_layers
        self.shape = patches.height, patches.width
        self.read, self.embedded = nn.Linear(patches.size, width), nn.Linear(width, settings.n_dims)
        self.quantiser = Quantiser(settings.n_codes, settings.n_dims, settings.decay, settings.dead)
        self.taken, self.values = nn.Linear(settings.n_dims, width), nn.Linear(width, patches.size)
        self.positions = Positions(patches.grid, width) if n_layers else None
        self.before, self.behind = (
            nn.Sequential(*[TokenLayer(width, settings.n_heads, 0.0) for _ in range(n_layers)]) for _ in "eh"
        )
        n_amplitudes = patches.height * (patches.width // 2 + 1)
        self.amplitudes = nn.Linear(width, n_amplitudes) if settings.amplitude > 0 else None

    def embed(self, values: Tensor) -> Tensor:
        """(n_trials, n_patches, size), in SDs, to unit vectors (n_trials, n_patches, n_dims)."""
        return normalize(self.embedded(self.before(self._placed(gelu(self.read(values))))).float(), dim=2)

    def codes(self, values: Tensor) -> Tensor:
        """Number of each patch's code: (n_trials, n_patches, size), in SDs, to int64 (n_trials, n_patches)."""
        return self.quantiser.nearest(self.embed(values))

    def rebuilt(self, quantised: Tensor) -> tuple[Tensor, Tensor | None]:
        """From codes' vectors (n_trials, n_patches, n_dims): values (..., size), and amplitudes where they count."""
        hidden = self.behind(self._placed(gelu(self.taken(quantised))))
        return self.values(hidden), None if self.amplitudes is None else self.amplitudes(hidden)

    def amplitudes_of(self, values: Tensor) -> Tensor:
        """Fourier amplitudes of each row of a patch: (..., size) to (..., n_rows * n_frequencies)."""
        found = torch.fft.rfft(values.float().unflatten(-1, self.shape), dim=-1, norm="ortho")
        return found.abs().flatten(-2)

    def _placed(self, hidden: Tensor) -> Tensor:
        return hidden if self.positions is None else hidden + self.positions()


class Tokenizing(nn.Module):
    """A tokenizer in training, behind adapters that are frozen.

    Parameters
    ----------
    encoder : Encoder
        All of it is frozen.
    settings : Codes
    sets : mapping of str to SubjectSet
        Training trials, which means and SD are of.
    """

    filled: Tensor

    def __init__(self, encoder: Encoder, settings: Codes, sets: Mapping[str, SubjectSet]):
        super().__init__()
        self.encoder, self.settings = encoder.requires_grad_(False), settings
        patches = patch_backbone(encoder).patches
        self.moments = moments_of(encoder, sets)
        self.tokenizer = Tokenizer(patches, settings)
        self.register_buffer("filled", patches.filled(), persistent=False)

    def targets(self, key: str, signals: Tensor) -> Tensor:
        """A subject's patches, (n_trials, n_patches, size), in SDs."""
        return in_sds(self.encoder, self.moments, key, signals)[1]

    @torch.no_grad()
    def start_(self, sets: Mapping[str, SubjectSet], generator: torch.Generator) -> None:
        """Makes the first codebook: k-means of some patches of all subjects.

        Raises
        ------
        ConfigError
            If there are fewer patches than codes.
        """
        n_codes, n_patches = self.settings.n_codes, len(self.filled)
        found = []
        for key, data in sets.items():
            n_wanted = -(-PATCHES_A_CODE * n_codes // (len(sets) * n_patches))
            rows = torch.randperm(len(data.signals), generator=generator)[:n_wanted].sort().values
            found.append(self.tokenizer.embed(self.targets(key, data.signals[rows])).flatten(0, 1))
        vectors = torch.cat(found)
        if len(vectors) < n_codes:
            raise checks.ConfigError(
                f"codes.n_codes is {n_codes}, but training trials have {len(vectors)} patches; lower it."
            )
        mass = torch.ones(len(vectors))
        self.tokenizer.quantiser.start_(spherical_k_means(vectors, mass, n_codes, generator))


def objective(
    module: nn.Module, batch: Mapping[str, Any], progress: float, generator: torch.Generator
) -> dict[str, Tensor]:
    """What patches miss that are rebuilt from their codes, over all subjects; a training step also moves the codes."""
    tokenizing, ranks = checks.of_type("module", module, Tokenizing), Ranks.here()
    tokenizer, settings, own, counts = tokenizing.tokenizer, tokenizing.settings, [], [0] * ranks.n
    for key in batch["keys"]:
        signals = batch[f"signals/{key}"]
        own.append(tokenizing.targets(key, signals[ranks.share(len(signals))]))
        counts = [a + b * own[-1].shape[1] for a, b in zip(counts, ranks.shares(len(signals)), strict=True)]
    values = torch.cat(own)
    vectors = tokenizer.embed(values)
    quantised, numbers = tokenizer.quantiser(vectors)
    made, amplitudes = tokenizer.rebuilt(quantised)
    whole = ranks.n * len(values) * values.shape[1] / sum(counts)  # shares of ranks may differ by a row
    missed = (made - values).square()[:, tokenizing.filled].mean()
    strayed = (vectors - tokenizer.quantiser.codes[numbers]).square().sum(2).mean()
    losses = {"rebuilt": whole * missed, "commitment": whole * settings.commitment * strayed}
    if amplitudes is not None:
        wrong = (amplitudes - tokenizer.amplitudes_of(values)).square().mean()
        losses["amplitude"] = whole * settings.amplitude * wrong
    if tokenizing.training:
        tokenizer.quantiser.update_(ranks.gather(vectors.detach().flatten(0, 1), counts), generator)
    return losses


@torch.no_grad()
def rebuilt_error(tokenizing: Tokenizing, sets: Mapping[str, SubjectSet]) -> tuple[float, Tensor]:
    """Squared error of patches rebuilt from codes, as a share of what their training means make; and their codes.

    The error is a mean over subjects; codes are int64 (n_trials, n_patches), of all subjects one after another.
    """
    device, filled, found, numbers = tokenizing.filled.device, tokenizing.filled, [], []
    for key, data in sets.items():
        ours = theirs = 0.0
        for some in parts(data.signals):
            values = tokenizing.targets(key, data.signals[some].to(device))
            quantised, codes = tokenizing.tokenizer.quantiser(tokenizing.tokenizer.embed(values))
            made, _ = tokenizing.tokenizer.rebuilt(quantised)
            ours += float((made - values).square()[:, filled].sum())
            theirs += float(values.square()[:, filled].sum())
            numbers.append(codes.cpu())
        found.append(ours / max(theirs, 1e-12))
    return float(np.mean(found)), torch.cat(numbers)


@dataclass(frozen=True, eq=False)
class Learnt:
    """A tokenizer, and how it came about.

    Parameters
    ----------
    tokenizer : Tokenizer
        Frozen, in eval mode, on the CPU.
    about : mapping
        JSON: ``n_codes``; ``rebuilt_error`` of held-out trials (of the training trials where none are held out), 1 is
        no better than the mean; ``perplexity`` and ``n_used``, of the same trials' codes.
    """

    tokenizer: Tokenizer
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """sha256 of the weights and the codebook."""
        return store.content_hash(**{name: v.numpy() for name, v in self.tokenizer.state_dict().items()})


def learn(
    encoder: Encoder,
    sets: Mapping[str, SubjectSet],
    held: Mapping[str, SubjectSet],
    settings: Codes,
    seed: int,
    *,
    about: str,
    folder: Path | None = None,
    progress: bool = True,
) -> Learnt:
    """The tokenizer that rebuilds patches of held-out trials best.

    Parameters
    ----------
    encoder : Encoder
        With adapters as drawn; frozen here.
    sets, held : mapping of str to SubjectSet
        Training trials and those that choose the step; none of the latter: the last step is kept.
    settings : Codes
    seed : int
    about : str
        Names the data.
    folder : Path, optional
        Where log and checkpoints go; an unfinished tokenizer is trained on, a finished one taken (until `forget`).
    """
    training = replace(settings.train, repeats="single")
    with seeding.seeded(seed, "tokenizer"):
        tokenizing = Tokenizing(encoder, settings, sets)
    run = store.content_hash(about=about, seed=str(seed), codes=str(config.to_json(settings)))
    kept = None if folder is None else checkpoints.newest(folder, "tokenizer", run)
    if kept is None:
        tokenizing.start_(sets, seeding.torch_generator(seed, "first codes"))
        train.fit(
            tokenizing, Batches(sets, training, seed, "codes"), objective, training, seed=seed, name="codes",
            folder=folder, progress=progress, about=run,
            validate=(lambda _: -rebuilt_error(tokenizing, held)[0]) if held else None,
        )  # fmt: skip
        if folder is not None and Ranks.here().first:
            done = {"tokenizer": tokenizing.tokenizer.state_dict()}
            checkpoints.keep(folder, "tokenizer", run, training.n_steps, done)
    else:
        tokenizing.tokenizer.load_state_dict(kept["tokenizer"])
    error, numbers = rebuilt_error(tokenizing.eval(), held or sets)
    found = {
        "n_codes": settings.n_codes, "rebuilt_error": error, "n_used": len(numbers.unique()),
        "perplexity": perplexity(numbers, settings.n_codes),
    }  # fmt: skip
    return Learnt(tokenizing.tokenizer.requires_grad_(False), found)


def forget(folder: Path) -> None:
    """Removes the finished tokenizer of a pretraining that is done."""
    if Ranks.here().first:
        checkpoints.forget(folder, "tokenizer")
