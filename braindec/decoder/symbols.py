"""Symbols grounded in latents of ERPs (SCAN): a small VAE over labels whose latents are those of a frozen beta-VAE.

What a symbol leaves open stays open: its latents are told as widely as the ERPs that it fits, so that ERPs of
combinations that were never seen can be drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from braindec import checks, config, seeding, store, tensor_folder, train
from braindec.decoder.disentangled import (
    LOG_VAR,
    DisentangledErps,
    Posterior,
    Readout,
    kl_between,
    kl_from_prior,
)

UNSAID = -1
TRAIN = train.Config(n_steps=600, batch_size=64, lr=3e-3, weight_decay=0.0)


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    width : int
        Features of the two hidden layers on each side.
    beta : float
        Weight of the KL divergence of symbols' latents from the prior.
    grounding : float
        Weight of the KL divergence of ERPs' latents from those of their symbols.
    said : float
        Chance that a factor is named in training; the others are left open.
    train : train.Config

    Notes
    -----
    Higgins et al. 2018, arXiv:1707.03389, equation 4: KL(q(z | ERP) || q(z | symbol)) wants a symbol's latents wide
    enough for all ERPs that it fits; the other direction would let it settle on one of them. Factors have levels of
    which one is true, so each is told by a softmax.
    """

    width: int = 64
    beta: float = 0.1
    grounding: float = 1.0
    said: float = 0.7
    train: train.Config = field(default_factory=lambda: TRAIN)

    def __post_init__(self) -> None:
        checks.at_least("width", self.width, 1)
        checks.at_least("beta", self.beta, 0.0)
        checks.at_least("grounding", self.grounding, 0.0)
        checks.in_range("said", self.said, 0.05, 1.0)


CONFIG_DEFAULT = Config()


class Symbols(nn.Module):
    """Levels of factors to latents and back.

    Parameters
    ----------
    sizes : sequence of int
        Levels of each factor.
    n_latents : int
    settings : Config
    seed : int
    """

    def __init__(
        self, sizes: Sequence[int], n_latents: int, settings: Config = CONFIG_DEFAULT, seed: int = 0
    ) -> None:
        super().__init__()
        self.sizes, self.n_latents, self.settings = tuple(map(int, sizes)), n_latents, settings
        with seeding.seeded(seed, "symbols"):
            self.encoder = Readout(sum(self.sizes), settings.width, 2 * n_latents)
            self.decoder = Readout(n_latents, settings.width, sum(self.sizes))

    def encode(self, factors: Tensor) -> Posterior:
        """What is believed of latents, given levels (n, n_factors); -1 for a factor that is left open."""
        columns = [
            one_hot(column.clamp_min(0), size) * (column != UNSAID)[:, None]
            for column, size in zip(factors.T, self.sizes, strict=True)
        ]
        mean, log_var = self.encoder(torch.cat(columns, 1).to(self.encoder.linear.weight.dtype)).chunk(2, 1)
        return Posterior(mean, log_var.clamp(*LOG_VAR))

    def tell(self, latents: Tensor) -> tuple[Tensor, ...]:
        """Logits of each factor's levels, (n, n_levels) each, of latents (n, n_latents)."""
        return self.decoder(latents).split(list(self.sizes), 1)

    def losses(self, factors: Tensor, seen: Posterior, generator: torch.Generator) -> dict[str, Tensor]:
        """What is missed of symbols, what their latents cost, and how far ERPs' latents are from them; nats a pair."""
        hidden = torch.rand(factors.shape, generator=generator, device=factors.device) >= self.settings.said
        hidden[torch.arange(len(factors)), torch.randint(
            factors.shape[1], (len(factors),), generator=generator, device=factors.device
        )] = False  # one factor at least is said  # fmt: skip
        told = torch.where(hidden, UNSAID, factors)
        q = self.encode(told)
        logits = self.tell(q.draw(generator))
        missed = torch.stack(
            [
                cross_entropy(own, column, ignore_index=UNSAID, reduction="sum")
                for own, column in zip(logits, told.T, strict=True)
            ]
        )
        return {
            "missed": missed.sum() / len(factors),
            "cost": self.settings.beta * kl_from_prior(q).sum(1).mean(),
            "apart": self.settings.grounding * kl_between(seen, q).sum(1).mean(),
        }


@torch.no_grad()
def fit(
    model: DisentangledErps, erps: Tensor, factors: Tensor, sizes: Sequence[int],
    settings: Config = CONFIG_DEFAULT, *, seed: int = 0, folder: Path | None = None,
) -> Symbols:  # fmt: skip
    """Symbols grounded in the latents of a fitted model, which stays as it is; on the CPU, in eval mode.

    Parameters
    ----------
    model : DisentangledErps
    erps : Tensor, shape (n, n_channels, n_times)
    factors : int Tensor, shape (n, n_factors)
        Level of each factor, 0 to its size less 1.
    sizes : sequence of int
    settings : Config
    seed : int
    folder : Path, optional
        Where the log goes.

    Raises
    ------
    ValueError
        If a level is none of its factor's.
    """
    n = checks.same_length("ERP", erps=erps, factors=factors)
    for i, (column, size) in enumerate(zip(factors.T, sizes, strict=True)):
        checks.in_range(f"smallest level of factor {i}", int(column.min()), 0, size - 1)
        checks.in_range(f"largest level of factor {i}", int(column.max()), 0, size - 1)
    seen, symbols = model.encode(erps), Symbols(sizes, model.settings.n_latents, settings, seed)

    def batch(step: int) -> Mapping[str, Tensor]:
        draw = seeding.torch_generator(seed, "symbol batch", step)
        rows = torch.randint(n, (settings.train.batch_size,), generator=draw)
        return {"factors": factors[rows], "mean": seen.mean[rows], "log_var": seen.log_var[rows]}

    def objective(
        module: Any, given: Mapping[str, Any], progress: float, draw: torch.Generator
    ) -> dict[str, Tensor]:
        own = Posterior(given["mean"], given["log_var"])
        found: dict[str, Tensor] = module.losses(given["factors"], own, draw)
        return found

    about = "" if folder is None else store.content_hash(
        symbols=config.to_json(settings), factors=factors.numpy(), **{n: v.numpy() for n, v in seen._asdict().items()}
    )  # fmt: skip
    with torch.enable_grad():
        train.fit(
            symbols,
            batch,
            objective,
            settings.train,
            seed=seed,
            name="symbols",
            folder=folder,
            progress=False,
            about=about,
        )
    return symbols.cpu().eval()


@torch.no_grad()
def told(symbols: Symbols, model: DisentangledErps, erps: Tensor) -> Tensor:
    """The level of each factor that ERPs are said to have, int (n, n_factors)."""
    return torch.stack([logits.argmax(1) for logits in symbols.tell(model.encode(erps).mean)], 1)


@torch.no_grad()
def drawn(
    symbols: Symbols, model: DisentangledErps, factors: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """ERPs (n, n_channels, n_times) of levels (n, n_factors), -1 for what is left open: expected ones, or drawn."""
    q = symbols.encode(factors)
    return model.decode(q.mean if generator is None else q.draw(generator))


def save(symbols: Symbols, folder: str | Path) -> Path:
    """Writes config.json and weights.safetensors into a folder, which `load` reads; gives the folder."""
    about = {
        "sizes": list(symbols.sizes), "n_latents": symbols.n_latents, "config": config.to_json(symbols.settings)
    }  # fmt: skip
    return tensor_folder.write(folder, symbols.state_dict(), about)


def load(folder: str | Path) -> Symbols:
    """The symbols of a folder that `save` wrote, in eval mode.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    DataFileError
        If the weights are not those that config.json was written with.
    """
    about, tensors = tensor_folder.read(folder, "Save one with braindec.decoder.symbols.save.")
    found = Symbols(about["sizes"], int(about["n_latents"]), config.from_json(Config, about["config"]))
    found.load_state_dict(tensors)
    return found.eval()
