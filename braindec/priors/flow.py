"""A flow prior: samples image embeddings that fit a brain embedding, by following a learned velocity in a few steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from braindec import checks
from braindec.priors import Shapes, Told, check_pairs
from braindec.priors._denoiser import Velocity
from braindec.priors._linear_guess import LinearGuess
from braindec.priors._sampled import Sampled, kept, noise_like


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    start : {"linear", "noise"}
        Where samples begin: at draws of the Gaussian that linear regression leaves the image to be (its error taken
        from held-out images), or at pure noise. From "linear" the flow learns only what is neither linear nor
        Gaussian, and without any step it is a calibrated linear posterior.
    path : {"circle", "straight"}
        From start to image by cosine and sine, which keeps variances, so that a Gaussian world has nothing to flow; or
        straight, which is rectified flow.
    solver : {"euler", "midpoint", "heun"}
        The last two look twice a step.
    n_sample_steps : int
    width, depth, heads : int
        Of the transformer; `width` an even multiple of `heads`.
    dropout : float
        In [0, 1).
    times : {"uniform", "logit_normal"}
        Where on the way training looks; the second is denser in its middle.
    guidance : float
        1 takes the conditional velocity; above 1 exaggerates what the brain adds, in the start too.
    condition_dropout : float
        Share of training trials whose brain embedding is hidden, so that the unconditional is learned too, in [0, 1).
    n_values_most : int
        Refuse "linear" for embeddings with more values (tokens x dims) than this: it has that number squared of
        covariances.

    Notes
    -----
    Rectified flow: Liu et al. 2023, arXiv:2209.03003; flow matching: Lipman et al. 2023, arXiv:2210.02747; the circle:
    Albergo & Vanden-Eijnden 2023, arXiv:2209.15571; logit-normal times: Esser et al. 2024, arXiv:2403.03206.
    """

    start: Literal["linear", "noise"] = "linear"
    path: Literal["circle", "straight"] = "circle"
    solver: Literal["euler", "midpoint", "heun"] = "euler"
    n_sample_steps: int = 4
    width: int = 128
    depth: int = 2
    heads: int = 4
    dropout: float = 0.0
    times: Literal["uniform", "logit_normal"] = "uniform"
    guidance: float = 1.0
    condition_dropout: float = 0.1
    n_values_most: int = 2048

    def __post_init__(self) -> None:
        checks.one_of("start", self.start, ("linear", "noise"))
        checks.one_of("path", self.path, tuple(PATHS))
        checks.one_of("solver", self.solver, tuple(SOLVERS))
        checks.one_of("times", self.times, ("uniform", "logit_normal"))
        for name in ("n_sample_steps", "width", "depth", "heads", "n_values_most"):
            checks.at_least(name, getattr(self, name), 1)
        if self.width % (2 * self.heads):
            raise checks.ConfigError(
                f"width must be an even multiple of heads, got {self.width} and {self.heads}."
            )
        checks.in_range("dropout", self.dropout, 0.0, 0.99)
        checks.in_range("condition_dropout", self.condition_dropout, 0.0, 0.99)
        checks.at_least("guidance", self.guidance, 0.0)


class FlowPrior(Sampled):
    """Flows in standardised coordinates; mean and SD of every value come from the training set."""

    def __init__(self, shape: tuple[int, int], config: Config, told: Shapes | None = None):
        super().__init__(shape, told, config.guidance)
        n_values = math.prod(shape)
        if config.start == "linear" and n_values > config.n_values_most:
            raise checks.ConfigError(
                f"start='linear' over {n_values} values would have {n_values**2} covariances; n_values_most is "
                f"{config.n_values_most}. Set start='noise', or raise n_values_most."
            )
        self.config = config
        linear = config.start == "linear"
        self.guess = LinearGuess(n_values + self.told.n_values, n_values) if linear else None
        self.network = Velocity(
            shape, config.width, config.depth, config.heads, config.dropout, told, linear=not linear
        )

    def learn_(self, condition: Tensor, clean: Tensor, known: Mapping[str, Tensor]) -> None:
        """The linear guess, where samples begin there."""
        if self.guess is not None:
            scale = (self.brain_scale / self.image_scale).flatten()
            self.guess.fit_(_features(condition, known), clean.flatten(1), scale)

    def objective(
        self,
        brain_embedding: Tensor,
        image_embedding: Tensor,
        generator: torch.Generator,
        told: Told | None = None,
    ) -> Tensor:
        """Mean squared error of the velocity (standardised) at one random time a trial."""
        check_pairs(brain_embedding, image_embedding, self.shape)
        self.check_started()
        clean, condition = self.clean(image_embedding), self.condition(brain_embedding)
        known = self.told(told, len(clean))
        time = self._times(len(clean), generator).to(clean)
        noise = noise_like(clean, generator)
        keep = kept(len(clean), self.config.condition_dropout, generator, clean)
        centre, start = self._ends(condition, clean, known, noise, keep)
        a, b, da, db = (part[:, None, None] for part in PATHS[self.config.path](time))
        at = centre + a * (start - centre) + b * (clean - centre)
        wanted = da * (start - centre) + db * (clean - centre)
        found = self._velocity(at, time, centre, condition, known, keep)
        return (found - wanted).square().mean()

    def draw(
        self,
        condition: Tensor,
        known: Mapping[str, Tensor],
        guidance: float,
        generator: torch.Generator,
        n_steps: int | None,
        spread: Tensor,
    ) -> Tensor:
        """One sample a row; see `Sampled.draw`."""
        steps = self.config.n_sample_steps if n_steps is None else n_steps
        checks.at_least("n_steps", steps, 1)
        noise = spread * noise_like(condition, generator)
        centre = torch.zeros_like(condition)
        at = noise
        if self.guess is not None:
            features = _features(condition, known)
            mean, sd = self.guess.guided(features, guidance)
            at = ((mean + sd * noise.flatten(1)) @ self.guess.basis.T).reshape(condition.shape)
            centre = self.guess.mean(features).reshape(condition.shape)
        seen = torch.ones(len(at), dtype=torch.bool, device=at.device)

        def velocity(x: Tensor, time: float) -> Tensor:
            moment = x.new_full((len(x),), time)
            if guidance == 1.0:
                return self._velocity(x, moment, centre, condition, known, seen)
            without = self._velocity(x, moment, torch.zeros_like(x), condition, known, ~seen)
            if guidance == 0.0:
                return without
            told = self._velocity(x, moment, centre, condition, known, seen)
            return without + guidance * (told - without)

        for step in range(steps):
            at = SOLVERS[self.config.solver](velocity, at, step / steps, 1 / steps)
        return at

    def _ends(
        self, condition: Tensor, clean: Tensor, known: Mapping[str, Tensor], noise: Tensor, keep: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(what the way turns about, where it starts), each like `clean`: a linear guess and a draw from it."""
        if self.guess is None:
            return torch.zeros_like(clean), noise
        guess = self.guess.mean(_features(condition, known)).reshape(clean.shape)
        # On the rows it was fitted on a guess errs less than it will on others, so its error is made as large here.
        guess = clean - self.guess.inflation * (clean - guess)
        seen = keep[:, None, None]
        centre = torch.where(seen, guess, torch.zeros_like(guess))
        sd = torch.where(keep[:, None], self.guess.share.sqrt(), torch.ones_like(self.guess.share))
        return centre, centre + ((sd * noise.flatten(1)) @ self.guess.basis.T).reshape(clean.shape)

    def _velocity(
        self, at: Tensor, time: Tensor, centre: Tensor, condition: Tensor, known: Mapping[str, Tensor],
        keep: Tensor,
    ) -> Tensor:  # fmt: skip
        """The best linear guess from the place alone, and what the network adds."""
        a, b, da, db = (part[:, None, None] for part in PATHS[self.config.path](time))
        drift = (a * da + b * db) / (a.square() + b.square())
        return drift * (at - centre) + self.network(at, time, condition, keep, known)

    def _times(self, n: int, generator: torch.Generator) -> Tensor:
        if self.config.times == "uniform":
            return torch.rand(n, generator=generator, device=generator.device)
        return torch.randn(n, generator=generator, device=generator.device).sigmoid()


def _features(condition: Tensor, known: Mapping[str, Tensor]) -> Tensor:
    """All that is known of each trial, flattened."""
    return torch.cat([part.flatten(1) for part in (condition, *known.values())], 1)


def _circle(time: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Shares of start and image at a time in [0, 1], and how fast they change."""
    turn = 0.5 * math.pi
    cos, sin = torch.cos(turn * time), torch.sin(turn * time)
    return cos, sin, -turn * sin, turn * cos


def _straight(time: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    one = torch.ones_like(time)
    return 1 - time, time, -one, one


Rate = Callable[[Tensor, float], Tensor]


def _euler(rate: Rate, x: Tensor, time: float, length: float) -> Tensor:
    return x + length * rate(x, time)


def _midpoint(rate: Rate, x: Tensor, time: float, length: float) -> Tensor:
    return x + length * rate(x + length / 2 * rate(x, time), time + length / 2)


def _heun(rate: Rate, x: Tensor, time: float, length: float) -> Tensor:
    first = rate(x, time)
    return x + length / 2 * (first + rate(x + length * first, time + length))


PATHS = {"circle": _circle, "straight": _straight}
SOLVERS = {"euler": _euler, "midpoint": _midpoint, "heun": _heun}


def build(shape: tuple[int, int], config: Config, told: Shapes | None = None) -> FlowPrior:
    """The prior for embeddings of this shape, drawn from torch's global generator (`seeding.seeded`)."""
    return FlowPrior(shape, config, told)
