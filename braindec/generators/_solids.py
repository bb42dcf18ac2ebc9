"""A generator of solid objects: a few numbers in, a field on a grid out, learnt from objects alone.

The numbers are an object's coordinates along the first principal components of signed distances (eigenshapes). What
these leave out is not independent of them: a small network guesses the further components from the first ones, and the
size of the object. Decoded latents lie near the mean of all objects, whose field is outside everywhere: a field that
encloses less than the guessed size is raised until it does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from braindec import checks, seeding, store, tensor_folder
from braindec.config import from_json, to_json

FAINT = 1e-6  # of the largest variance: below it lies what rounding leaves where objects do not differ


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    n_latents : int
        Numbers that an object is told by.
    n_components : int
        Components that are drawn: those of the latents and those that the network guesses, above `n_latents`.
    width : int
        Of the network's two hidden layers.
    n_steps, batch_size : int
    lr : float
    weight_decay : float
    """

    n_latents: int = 16
    n_components: int = 128
    width: int = 256
    n_steps: int = 2000
    batch_size: int = 64
    lr: float = 3e-3
    weight_decay: float = 1e-2

    def __post_init__(self) -> None:
        for name in ("n_latents", "width", "n_steps", "batch_size"):
            checks.at_least(name, getattr(self, name), 1)
        checks.at_least("n_components", self.n_components, self.n_latents + 1)
        checks.at_least("lr", self.lr, 1e-12)
        checks.at_least("weight_decay", self.weight_decay, 0.0)


class SolidGenerator(nn.Module):
    """Encodes fields of objects into latents, and draws fields of latents.

    Parameters
    ----------
    config : Config
    side : int
        Of the fields' grids.

    Notes
    -----
    Components of signed distances: Leventon et al. 2000, doi:10.1109/CVPR.2000.855835. Latents are in units of the
    standard deviation over all of them: their distances are those of the fields, as far as the components see these.
    """

    mean: Tensor
    components: Tensor
    scale: Tensor
    fine_scale: Tensor
    size: Tensor
    n_objects: Tensor

    def __init__(self, config: Config, side: int) -> None:
        super().__init__()
        self.config, self.side = config, side
        n_fine = config.n_components - config.n_latents
        self.network = nn.Sequential(
            nn.Linear(config.n_latents, config.width), nn.SiLU(),
            nn.Linear(config.width, config.width), nn.SiLU(),
            nn.Linear(config.width, n_fine + 1),  # further components, and the size
        )  # fmt: skip
        self.register_buffer("mean", torch.zeros(side**3))
        self.register_buffer("components", torch.zeros(config.n_components, side**3))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("fine_scale", torch.ones(()))
        self.register_buffer("size", torch.tensor([0.0, 1.0]))  # mean and deviation of the logarithm
        self.register_buffer("n_objects", torch.zeros((), dtype=torch.int64))

    def fit(self, fields: np.ndarray, seed: int = 0) -> SolidGenerator:
        """Learns components and network from objects.

        Parameters
        ----------
        fields : float32 array, shape (n, side, side, side)
            Signed distances (`maths.solids.signed_distance`); more of them than components. Where some are copies,
            components beyond those in which objects differ are zeros.
        seed : int
        """
        x = self._flat(fields)
        checks.at_least("number of objects", len(x), self.config.n_components + 1)
        self.mean.copy_(x.mean(0))
        centred = x - self.mean
        values, vectors = torch.linalg.eigh((centred @ centred.T).double())  # fewer objects than voxels
        length = torch.where(values > FAINT * values[-1], values.sqrt(), torch.inf)
        top = vectors[:, -self.config.n_components :].flip(1) / length[-self.config.n_components :].flip(0)
        self.components.copy_(top.T.float() @ centred)
        every = centred @ self.components.T
        k = self.config.n_latents
        self.scale.copy_(every[:, :k].std())
        self.fine_scale.copy_(every[:, k:].std())
        self.n_objects.fill_(len(x))
        size = (x > 0).float().mean(1).clamp_min(self.side**-3).log()
        self.size.copy_(torch.stack([size.mean(), size.std().clamp_min(1e-6)]))
        told = torch.cat([every[:, k:] / self.fine_scale, (size - self.size[0])[:, None] / self.size[1]], 1)
        self._learn(every[:, :k] / self.scale, told, seed)
        return self

    @torch.no_grad()
    def encode(self, fields: np.ndarray) -> np.ndarray:
        """Latents of objects, float32 (n, n_latents)."""
        self._check_fitted()
        first = self.components[: self.config.n_latents]
        return ((self._flat(fields) - self.mean) @ first.T / self.scale).numpy()

    @torch.no_grad()
    def decode(self, latents: np.ndarray, *, details: bool = True) -> np.ndarray:
        """Fields of latents, float32 (n, side, side, side); without `details`, the first components' as they are."""
        self._check_fitted()
        z = torch.as_tensor(latents, dtype=torch.float32)
        checks.n_axes("latents", z, ("object", "latent"))
        checks.same_length("latent", latents=z.T, components=self.components[: self.config.n_latents])
        told = self.network(z)
        fine = told[:, :-1] * self.fine_scale * float(details)
        field = self.mean + torch.cat([z * self.scale, fine], 1) @ self.components
        if details:
            share = (self.size[0] + self.size[1] * told[:, -1]).exp().clamp(self.side**-3, 0.9)
            level = torch.stack([f.quantile(1 - s) for f, s in zip(field, share, strict=True)])
            field = field - level.clamp_max(0)[:, None]
        return field.reshape(-1, self.side, self.side, self.side).numpy()

    def content(self) -> str:
        """One hash over all that draws."""
        return store.content_hash(**{name: value.numpy() for name, value in self.state_dict().items()})

    def save(self, folder: str | Path) -> Path:
        """Writes settings and weights, each whole or not at all; gives the folder."""
        return tensor_folder.write(
            folder, self.state_dict(), {"side": self.side, "config": to_json(self.config)}
        )

    @classmethod
    def load(cls, folder: str | Path) -> SolidGenerator:
        """What `save` wrote; strict.

        Raises
        ------
        FileNotFoundError
            If a file is missing.
        DataFileError
            If a file is damaged, or the two do not belong together.
        """
        told, tensors = tensor_folder.read(folder, "Run the recipe that makes it again.")
        made = cls(from_json(Config, told["config"]), told["side"])
        made.load_state_dict(tensors)
        return made

    def _learn(self, latents: Tensor, fine: Tensor, seed: int) -> None:
        """Further components from the first ones, by their squared error."""
        config, draw = self.config, seeding.torch_generator(seed, "solids")
        with seeding.seeded(seed, "solid network"):
            for layer in self.network:
                if isinstance(layer, nn.Linear):
                    layer.reset_parameters()
        optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=config.lr, weight_decay=config.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.lr, total_steps=config.n_steps)
        for _ in range(config.n_steps):
            rows = torch.randint(len(latents), (config.batch_size,), generator=draw)
            loss = (self.network(latents[rows]) - fine[rows]).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()

    def _flat(self, fields: np.ndarray) -> Tensor:
        checks.n_axes("fields", fields, ("object", "x", "y", "z"))
        if fields.shape[1:] != (self.side,) * 3:
            raise ValueError(f"fields have {fields.shape[1:]} voxels, this generator has {(self.side,) * 3}.")
        return torch.from_numpy(np.ascontiguousarray(fields, dtype=np.float32)).flatten(1)

    def _check_fitted(self) -> None:
        if not int(self.n_objects):
            raise ValueError("this generator was not fitted; call fit(fields), or load(folder).")
