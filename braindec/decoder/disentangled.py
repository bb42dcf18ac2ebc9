"""ERPs as a few latents that vary apart: a beta-VAE, chosen among several by a ranking that looks at no factor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from braindec import checks, config, seeding, store, tensor_folder, train

TRAIN = train.Config(n_steps=1000, batch_size=64, lr=5e-3, weight_decay=0.0, validate_every=250)
LOG_VAR = (-8.0, 4.0)
FAINT = 1e-6  # an SD below this share of the largest value is rounding


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    n_latents : int
    width : int
        Features of the two hidden layers on each side, beside a linear map.
    beta : float
        Weight of the KL divergence from the prior; 0 for an autoencoder without noise.
    train : train.Config
        `validation_fraction` of ERPs chooses the step.

    Notes
    -----
    Higgins et al. 2017, ICLR (beta-VAE), over ERPs as in Honke et al. 2020, arXiv:2010.15274. The decoder's noise has
    the SD of all values together about their mean ERP.
    """

    n_latents: int = 8
    width: int = 64
    beta: float = 4.0
    train: train.Config = field(default_factory=lambda: TRAIN)

    def __post_init__(self) -> None:
        checks.at_least("n_latents", self.n_latents, 2)
        checks.at_least("width", self.width, 1)
        checks.at_least("beta", self.beta, 0.0)


CONFIG_DEFAULT = Config()


class Posterior(NamedTuple):
    """Mean and logarithm of the variance of each latent, both (n, n_latents)."""

    mean: Tensor
    log_var: Tensor

    def draw(self, generator: torch.Generator) -> Tensor:
        """A sample each."""
        noise = torch.randn(self.mean.shape, generator=generator, device=self.mean.device)
        return self.mean + (0.5 * self.log_var).exp() * noise


def kl_from_prior(q: Posterior) -> Tensor:
    """Nats of each latent's posterior from a standard Gaussian, (n, n_latents)."""
    return 0.5 * (q.mean.square() + q.log_var.exp() - 1 - q.log_var)


def kl_between(p: Posterior, q: Posterior) -> Tensor:
    """Nats of each latent of p from q, (n, n_latents)."""
    left = (p.log_var.exp() + (p.mean - q.mean).square()) / q.log_var.exp()
    return 0.5 * (left - 1 + q.log_var - p.log_var)


class Readout(nn.Module):
    """A linear map and beside it a small network with two hidden layers, added: what is linear is learnt first.

    Parameters
    ----------
    n_in, width, n_out : int
    """

    def __init__(self, n_in: int, width: int, n_out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_in, n_out)
        self.curved = nn.Sequential(
            nn.Linear(n_in, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, n_out)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n, n_in) to (n, n_out)."""
        made: Tensor = self.linear(x) + self.curved(x)
        return made


class DisentangledErps(nn.Module):
    """A beta-VAE of ERPs (n, n_channels, n_times), in their own units.

    Parameters
    ----------
    mean : Tensor, shape (n_channels, n_times)
        Of training ERPs.
    sd : float
        Of all values about it.
    settings : Config
    seed : int
    """

    erp_mean: Tensor
    erp_sd: Tensor

    def __init__(self, mean: Tensor, sd: float, settings: Config = CONFIG_DEFAULT, seed: int = 0) -> None:
        super().__init__()
        self.settings, self.shape = settings, tuple(mean.shape)
        self.register_buffer("erp_mean", mean.float())
        self.register_buffer("erp_sd", torch.tensor(float(sd)))
        with seeding.seeded(seed, "disentangled erps"):
            self.encoder = Readout(mean.numel(), settings.width, 2 * settings.n_latents)
            self.decoder = Readout(settings.n_latents, settings.width, mean.numel())

    def encode(self, erps: Tensor) -> Posterior:
        """What is believed of each ERP's latents."""
        x = ((erps - self.erp_mean) / self.erp_sd).flatten(1)
        mean, log_var = self.encoder(x).chunk(2, 1)
        return Posterior(mean, log_var.clamp(*LOG_VAR))

    def decode(self, latents: Tensor) -> Tensor:
        """ERPs (n, n_channels, n_times) of latents (n, n_latents)."""
        return self.erp_mean + self.erp_sd * self.decoder(latents).unflatten(1, self.shape)

    def losses(self, erps: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        """What is missed of the ERPs and what latents cost, nats an ERP; without a generator at the means."""
        q, beta = self.encode(erps), self.settings.beta
        latents = q.draw(generator) if generator is not None and beta > 0 else q.mean
        missed = ((self.decode(latents) - erps) / self.erp_sd).square().flatten(1).sum(1)
        cost = {"cost": beta * kl_from_prior(q).sum(1).mean()} if beta > 0 else {}
        return {"missed": 0.5 * missed.mean(), **cost}


def fit(
    erps: Tensor, settings: Config = CONFIG_DEFAULT, *, seed: int = 0, folder: Path | None = None
) -> DisentangledErps:
    """A model that has learnt ERPs (n, n_channels, n_times), at its best step on some that it left out.

    On the CPU, in eval mode.

    Raises
    ------
    ValueError
        If values are not finite or all alike.
    """
    checks.n_axes("erps", erps, ("ERP", "channel", "time"))
    mean = checks.finite("erps", erps).mean(0)
    sd = float((erps - mean).std())
    if sd <= FAINT * float(erps.abs().max()):
        raise ValueError(f"ERPs are all alike (SD {sd:g}); there is nothing to disentangle.")
    model = DisentangledErps(mean, sd, settings, seed)
    learnt, held = train.split_rows(
        [str(i) for i in range(len(erps))],
        settings.train.validation_fraction,
        seeding.torch_generator(0, "erps"),
    )

    about = "" if folder is None else store.content_hash(model=config.to_json(settings), erps=erps.numpy())

    def batch(step: int) -> Mapping[str, Tensor]:
        draw = seeding.torch_generator(seed, "erp batch", step)
        return {
            "erps": erps[learnt[torch.randint(len(learnt), (settings.train.batch_size,), generator=draw)]]
        }

    def objective(
        module: Any, given: Mapping[str, Any], progress: float, draw: torch.Generator
    ) -> dict[str, Tensor]:
        found: dict[str, Tensor] = module.losses(given["erps"], draw)
        return found

    def validate(module: Any) -> float:
        device = next(module.parameters()).device
        draw = seeding.torch_generator(seed, "erp validation", device=str(device))
        return -float(torch.stack([*module.losses(erps[held].to(device), draw).values()]).sum())

    train.fit(
        model, batch, objective, settings.train, seed=seed, name="erps", folder=folder,
        validate=validate if len(held) else None, progress=False, about=about,
    )  # fmt: skip
    return model.cpu().eval()


@torch.no_grad()
def rebuilt_share(model: DisentangledErps, erps: Tensor) -> float:
    """Share of the variance of ERPs about the training mean that is rebuilt from the means of their latents."""
    left = (model.decode(model.encode(erps).mean) - erps).square().sum()
    return float(1 - left / (erps - model.erp_mean).square().sum())


def save(model: DisentangledErps, folder: str | Path) -> Path:
    """Writes config.json and weights.safetensors into a folder, which `load` reads; gives the folder."""
    return tensor_folder.write(folder, model.state_dict(), {"config": config.to_json(model.settings)})


def load(folder: str | Path) -> DisentangledErps:
    """The model of a folder that `save` wrote, in eval mode.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    DataFileError
        If the weights are not those that config.json was written with.
    """
    about, tensors = tensor_folder.read(folder, "Save one with braindec.decoder.disentangled.save.")
    settings = config.from_json(Config, about["config"])
    model = DisentangledErps(tensors["erp_mean"], float(tensors["erp_sd"]), settings)
    model.load_state_dict(tensors)
    return model.eval()
