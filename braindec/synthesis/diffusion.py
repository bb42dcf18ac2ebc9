"""A diffusion over epochs, told subject, session and class by guidance without a classifier.

Epochs are whitened over channels and over time first, by what is known of their subject, and the means of all
conditions are guessed in closed form. A diffusion that knows no more draws Gaussian trials; its network learns by how
much real trials differ from those.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from braindec import checks, config, seeding, tensor_folder
from braindec.maths.covariance import inverse_root, ledoit_wolf
from braindec.priors import _sampling
from braindec.priors._noising import cosine_alphas_cumprod, q_sample, share_left
from braindec.synthesis.conditions import (
    Epochs,
    Factors,
    cells,
    check_codes,
    check_epochs,
    design,
    within_cells,
)
from braindec.synthesis.means import shrunken_effects
from braindec.synthesis.network import EpochUNet

MATRICES = ("over_channels", "over_times", "back_channels", "back_times")
MOST_VALUES = (
    1500  # channels times samples of which a whole covariance is kept; of more the separable one alone
)
SAMPLER = "dpm"  # keeps 99.6 % of a Gaussian's standard deviation in 20 steps, DDIM 94 %
AT_ONCE = 512  # epochs that are drawn together
FLOOR = 1e-6  # share of the largest variance below which a direction of channels or times holds nothing


@dataclass(frozen=True)
class Config:
    """Network, noise levels, training.

    Parameters
    ----------
    width : int
        Features of the network, a multiple of 8.
    dropout : float
    n_train_steps : int
        Noise levels.
    n_sample_steps : int
        Of the sampler, at most `n_train_steps`.
    guidance : float
        0: conditions are not looked at, but for the subject's whitening; 1: as learnt; above: what they change is
        exaggerated.
    condition_dropout : float
        Share of training epochs whose conditions are hidden.
    n_steps : int
        Training steps; 0 leaves the network silent.
    batch_size : int
    lr : float
        Of AdamW at the start; falls to 0 as a cosine.
    average : float
        Of the weights from step to step: those that are kept are a running mean with this decay.
    whiten : bool
        False: every channel is scaled alone, and the network has all covariance to learn.
    means : bool
        False: the network has the conditions' means to learn, too.
    """

    width: int = 32
    dropout: float = 0.1
    n_train_steps: int = 100
    n_sample_steps: int = 20
    guidance: float = 1.0
    condition_dropout: float = 0.15
    n_steps: int = 200
    batch_size: int = 64
    lr: float = 4e-3
    average: float = 0.98
    whiten: bool = True
    means: bool = True

    def __post_init__(self) -> None:
        checks.at_least("width", self.width, 8)
        if self.width % 8:
            raise checks.ConfigError(f"width must be a multiple of 8, got {self.width}.")
        checks.at_least("n_train_steps", self.n_train_steps, 2)
        _sampling.check_steps("n_sample_steps", self.n_sample_steps, self.n_train_steps, SAMPLER)
        checks.at_least("guidance", self.guidance, 0.0)
        checks.at_least("n_steps", self.n_steps, 0)
        checks.at_least("batch_size", self.batch_size, 1)
        for name in ("dropout", "condition_dropout", "average"):
            checks.in_range(name, getattr(self, name), 0.0, 0.999)


CONFIG_DEFAULT = Config()


class EpochDiffusion(nn.Module):
    """Draws epochs of conditions; make one with `fit` or `load`.

    Parameters
    ----------
    shape : (n_channels, n_times)
    factors : Factors
        The first is what trials' noise may differ by (the subject).
    config : Config
    seed : int
        Draws the weights that training starts from.

    Notes
    -----
    Conditions by embeddings and guidance without a classifier as Klein et al. 2024, arXiv:2403.18486 (Ho & Salimans
    2022, arXiv:2207.12598). Whitening, and means in closed form, are ours.
    """

    mean: Tensor  # of all epochs, (channel, time)
    means: Tensor  # (cell, channel, time), whitened
    over_channels: Tensor  # (subject, channel, channel)
    over_times: Tensor
    over_all: (
        Tensor  # (subject, value, value) of what is white over channels and times; empty for too many values
    )
    back_channels: Tensor
    back_times: Tensor
    alphas_cumprod: Tensor

    def __init__(
        self, shape: tuple[int, int], factors: Factors, config: Config = CONFIG_DEFAULT, seed: int = 0
    ) -> None:
        super().__init__()
        self.shape, self.factors, self.config = shape, factors, config
        n_channels, n_times = shape
        with seeding.seeded(seed, "epoch diffusion"):
            self.network = EpochUNet(n_channels, factors.sizes, config.width, config.dropout)
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("means", torch.zeros(math.prod(factors.sizes), *shape))
        for name, n in (("channels", n_channels), ("times", n_times)):
            for way in ("over", "back"):
                self.register_buffer(f"{way}_{name}", torch.eye(n).repeat(factors.sizes[0], 1, 1))
        levels = cosine_alphas_cumprod(config.n_train_steps).float()
        self.register_buffer("alphas_cumprod", levels, persistent=False)

    @torch.no_grad()
    def start_(self, epochs: Epochs) -> None:
        """Takes mean, whitening and the conditions' means of training epochs."""
        check_epochs("training", epochs, self.factors)
        checks.at_least("number of epochs", len(epochs.values), 2)
        self.mean.copy_(epochs.values.mean(0))
        whitening = _separable if self.config.whiten else _scales
        left = within_cells(epochs)
        if left is None:
            raise ValueError("every cell has one training epoch: what trials vary by cannot be told.")
        pooled = whitening(left)
        for subject in range(self.factors.sizes[0]):
            own = within_cells(epochs.take(epochs.codes[:, 0] == subject))
            found = pooled if own is None else whitening(own)
            for name, matrix in zip(MATRICES, found, strict=True):
                self.get_buffer(name)[subject] = matrix
        if self.config.means:
            # Effects are shared in the units of the epochs: subjects differ in noise, not in what a class adds.
            over, further, back, behind = (m.to(self.mean) for m in pooled)
            effects = shrunken_effects(
                over @ (epochs.values - self.mean) @ further, epochs.codes, self.factors
            )
            every = torch.cartesian_prod(*(torch.arange(n) for n in self.factors.sizes)).reshape(
                -1, len(self.factors.sizes)
            )
            shown = design(every, self.factors) @ effects.flatten(1)
            expected = self.mean + back @ shown.unflatten(1, self.shape) @ behind
            self.means.copy_(self.whitened(Epochs(expected, every)))

    def whitened(self, epochs: Epochs) -> Tensor:
        """Epochs in the coordinates that are diffused, (n, n_channels, n_times)."""
        return self._turned(epochs.values - self.mean, epochs.codes, self.over_channels, self.over_times)

    def unwhitened(self, epochs: Epochs) -> Tensor:
        """The inverse of `whitened`, where channels and times are not redundant."""
        return self.mean + self._turned(*epochs, self.back_channels, self.back_times)

    def _turned(self, values: Tensor, codes: Tensor, across: Tensor, along: Tensor) -> Tensor:
        out = torch.empty_like(values)
        for subject in codes[:, 0].unique().tolist():
            rows = codes[:, 0] == subject
            out[rows] = across[subject] @ values[rows] @ along[subject]
        return out

    def expected(self, codes: Tensor, keep: Tensor) -> Tensor:
        """The closed form's guess of conditions' means, whitened; zero where they are hidden."""
        return self.means[cells(codes, self.factors)] * keep[:, None, None].to(self.means)

    def denoise(self, noisy: Tensor, step: Tensor, codes: Tensor, keep: Tensor) -> Tensor:
        """The clean whitened epochs expected behind noisy ones (n, n_channels, n_times).

        sqrt(left) noisy + (1 - left) mean is right for Gaussian epochs of variance 1; the network adds
        sqrt(1 - left) times its output.
        """
        left = share_left(step, self.alphas_cumprod, noisy)
        told = self.network(noisy, step, codes, keep) if self.config.n_steps else 0.0
        return left.sqrt() * noisy + (1 - left) * self.expected(codes, keep) + (1 - left).sqrt() * told

    def objective(self, epochs: Epochs, generator: torch.Generator) -> Tensor:
        """Squared error of one noise level an epoch, in units of what Gaussian epochs would leave: scalar, near 1."""
        clean, n = self.whitened(epochs), len(epochs.values)
        step = torch.randint(self.config.n_train_steps, (n,), generator=generator)
        noise = torch.randn(clean.shape, generator=generator)
        keep = torch.rand(n, generator=generator) >= self.config.condition_dropout
        noisy = q_sample(clean, step, noise, self.alphas_cumprod)
        left = share_left(step, self.alphas_cumprod, noisy)
        found = self.denoise(noisy, step, epochs.codes, keep)
        return ((found - clean).square() / (1 - left)).mean()

    @torch.no_grad()
    def sample(self, codes: Tensor, generator: torch.Generator, *, guidance: float | None = None) -> Tensor:
        """Epochs (n, n_channels, n_times) of these conditions, in the units of the training epochs.

        Parameters
        ----------
        codes : int tensor, shape (n, n_factors)
        generator : torch.Generator
            Equal generators give equal epochs.
        guidance : float, optional
            Instead of the settings'.
        """
        check_codes(codes, self.factors)
        strength = self.config.guidance if guidance is None else checks.at_least("guidance", guidance, 0.0)
        noise = torch.randn(len(codes), *self.shape, generator=generator)
        parts = [
            self._drawn(c, n, generator, strength)
            for c, n in zip(codes.split(AT_ONCE), noise.split(AT_ONCE), strict=True)
        ]
        return self.unwhitened(Epochs(torch.cat(parts), codes))

    def _drawn(self, codes: Tensor, noise: Tensor, generator: torch.Generator, guidance: float) -> Tensor:
        seen = torch.ones(len(codes), dtype=torch.bool)

        def look(noisy: Tensor, step: Tensor) -> Tensor:
            if guidance == 1.0:
                return self.denoise(noisy, step, codes, seen)
            without = self.denoise(noisy, step, codes, ~seen)
            if guidance == 0.0:
                return without
            return without + guidance * (self.denoise(noisy, step, codes, seen) - without)

        return _sampling.sample(
            look, noise, generator, sampler=SAMPLER, alphas_cumprod=self.alphas_cumprod,
            n_steps=self.config.n_sample_steps, eta=0.0,
        )  # fmt: skip


def fit(epochs: Epochs, factors: Factors, config: Config = CONFIG_DEFAULT, seed: int = 0) -> EpochDiffusion:
    """A diffusion that has learnt these epochs, in evaluation mode.

    Parameters
    ----------
    epochs : Epochs
        Training trials alone.
    factors : Factors
    config : Config
    seed : int

    Raises
    ------
    ValueError
        If epochs are not finite, codes are none of the factors', or no two epochs are of one cell.
    DivergenceError
        If training ends in weights that are not finite.
    """
    model = EpochDiffusion((epochs.values.shape[1], epochs.values.shape[2]), factors, config, seed)
    model.start_(epochs)
    if not config.n_steps:
        return model.eval()
    generator = seeding.torch_generator(seed, "epoch diffusion steps")
    weights = list(model.network.parameters())
    optimizer = torch.optim.AdamW(weights, lr=config.lr, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.n_steps)
    kept = [w.detach().clone() for w in weights]
    model.train()
    with seeding.seeded(seed, "epoch diffusion dropout"):
        for number in range(config.n_steps):
            rows = torch.randint(len(epochs.values), (config.batch_size,), generator=generator)
            optimizer.zero_grad()
            model.objective(epochs.take(rows), generator).backward()
            optimizer.step()
            schedule.step()
            decay = min(config.average, (number + 1) / (number + 10))  # early weights are forgotten sooner
            torch._foreach_lerp_(kept, [w.detach() for w in weights], 1 - decay)
    if not all(bool(mean.isfinite().all()) for mean in kept):
        raise checks.DivergenceError(
            "training diverged: weights are not finite. Lower lr.", {"lr": config.lr}
        )
    with torch.no_grad():
        for weight, mean in zip(weights, kept, strict=True):
            weight.copy_(mean)
    return model.eval()


def save(model: EpochDiffusion, folder: str | Path) -> Path:
    """Writes config.json and weights.safetensors into a folder, which `load` reads; gives the folder."""
    about = {
        "shape": list(model.shape),
        "factors": dict(zip(*model.factors, strict=True)),
        "config": config.to_json(model.config),
    }
    return tensor_folder.write(folder, model.state_dict(), about)


def load(folder: str | Path) -> EpochDiffusion:
    """The diffusion of a folder that `save` wrote, in evaluation mode.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    DataFileError
        If a file is damaged, or the two do not belong together.
    """
    about, tensors = tensor_folder.read(folder, "Save one with braindec.synthesis.save.")
    factors = Factors(tuple(about["factors"]), tuple(int(n) for n in about["factors"].values()))
    n_channels, n_times = about["shape"]
    model = EpochDiffusion(
        (int(n_channels), int(n_times)), factors, config.from_json(Config, about["config"])
    )
    model.load_state_dict(tensors)
    return model.eval()


Whitening = tuple[Tensor, Tensor, Tensor, Tensor]  # over channels and times, and what undoes each: `MATRICES`


def _separable(left: Tensor) -> Whitening:
    """Whitening over channels, then over times, of trials about their means (n, channel, time), variance 1 in the end.

    A covariance of channels times one of times has far fewer numbers than trials can tell. What it misses (a blink has
    another course than its channel's noise) is left to the network: a whole covariance of 96 trials was further off.
    """
    across = ledoit_wolf(left.transpose(1, 2).flatten(0, 1), centred=True).matrix
    over = inverse_root(across, floor=FLOOR)
    along = ledoit_wolf((over @ left).flatten(0, 1), centred=True).matrix
    further = inverse_root(along, floor=FLOOR)
    size = (over @ left @ further).square().mean().sqrt()
    return over / size, further, _root(across) * size, _root(along)


def _scales(left: Tensor) -> Whitening:
    """Every channel divided by its standard deviation."""
    scale = left.square().mean((0, 2)).sqrt().clamp_min(torch.finfo(left.dtype).tiny)
    eye = torch.eye(left.shape[2], dtype=left.dtype)
    return (1 / scale).diag(), eye, scale.diag(), eye


def _root(matrix: Tensor) -> Tensor:
    """What undoes `inverse_root`, in the directions that it keeps."""
    values, vectors = torch.linalg.eigh(matrix)
    kept = values > FLOOR * values[-1]
    return (vectors * torch.where(kept, values.clamp_min(0.0).sqrt(), torch.zeros_like(values))) @ vectors.T
