"""Networks that foretell films: a recurrent layer that learns which frame, or which latents of it, come next."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from braindec import checks, seeding


@dataclass(frozen=True)
class Settings:
    """The network and how it learns.

    Parameters
    ----------
    n_hidden : int
        Units of the recurrent layer: the features of its films.
    ahead : tuple of int
        Frames ahead that are foretold, all from the same state.
    n_steps, batch_size : int
        Of Adam; films a step.
    lr : float
    seed : int
    """

    n_hidden: int = 64
    ahead: tuple[int, ...] = (1, 4, 8, 12)
    n_steps: int = 4000
    batch_size: int = 32
    lr: float = 5e-3
    seed: int = 0

    def __post_init__(self) -> None:
        checks.at_least("n_hidden", self.n_hidden, 2)
        checks.at_least("number of frames ahead", len(self.ahead), 1)
        checks.at_least("ahead", min(self.ahead), 1)
        checks.at_least("n_steps", self.n_steps, 0)


SETTINGS = Settings()


class Foreteller(nn.Module):
    """A gated recurrent layer over frames, and linear readouts of the frames to come.

    Parameters
    ----------
    inputs : Tensor, shape (film, time, feature)
        What it will learn from: gives the mean of each feature, and one scale for all.
    settings : Settings
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, inputs: Tensor, settings: Settings = SETTINGS) -> None:
        super().__init__()
        checks.n_axes("inputs", inputs, ("film", "time", "feature"))
        n_features = inputs.shape[-1]
        self.ahead = settings.ahead
        rows = inputs.flatten(0, 1)
        self.register_buffer("mean", rows.mean(0))
        self.register_buffer("scale", (rows - rows.mean(0)).square().mean().sqrt().clamp_min(1e-12))
        with seeding.seeded(settings.seed, "foreteller"):
            self.memory = nn.GRU(n_features, settings.n_hidden, batch_first=True)
            self.read = nn.Linear(settings.n_hidden, n_features * len(settings.ahead))

    def states(self, inputs: Tensor) -> Tensor:
        """What it holds after each frame, (film, time, n_hidden); frames to come are not looked at."""
        return self.memory((inputs - self.mean) / self.scale)[0]

    def forward(self, inputs: Tensor) -> Tensor:
        """Centred and scaled features so many frames ahead of each frame, (film, time, ahead, feature)."""
        made = self.read(self.states(inputs))
        return made.unflatten(-1, (len(self.ahead), -1))

    def loss(self, inputs: Tensor) -> Tensor:
        """Mean squared error of what is foretold, over all frames that the films still show."""
        made, truth = self(inputs), (inputs - self.mean) / self.scale
        errors = [
            (made[:, : -step or None, k] - truth[:, step:]).square().mean()
            for k, step in enumerate(self.ahead)
        ]
        return torch.stack(errors).mean()


def train_foreteller(inputs: Tensor, settings: Settings = SETTINGS) -> Foreteller:
    """A network that has learned what comes next in these films.

    Parameters
    ----------
    inputs : Tensor, shape (n_films, n_times, n_features)
        Pixels, or latents of a picture network; with ``n_steps=0`` it stays untrained.
    settings : Settings

    Raises
    ------
    ValueError
        If films are shorter than what is to be foretold.
    """
    checks.at_least("n_times of inputs", inputs.shape[1], max(settings.ahead) + 1)
    model = Foreteller(inputs, settings)
    draw = seeding.torch_generator(settings.seed, "films")
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.lr, total_steps=max(2, settings.n_steps + 1)
    )
    for _ in range(settings.n_steps):
        chosen = torch.randint(len(inputs), (settings.batch_size,), generator=draw)
        loss = model.loss(inputs[chosen])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.inference_mode()
def film_states(model: Foreteller, inputs: Tensor) -> Tensor:
    """States of a network over films, (n_films, n_times, n_hidden)."""
    return model.states(inputs)
