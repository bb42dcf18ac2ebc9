"""Steps of training a sparse autoencoder: one fused optimiser, atoms of norm 1, dead latents watched."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from braindec import checks, seeding
from braindec.ranks import Ranks
from braindec.sparse import influence, losses, starting
from braindec.sparse.autoencoder import Config as ModelConfig
from braindec.sparse.autoencoder import SparseAutoencoder

ADAM_EPS = 6.25e-10  # Gao et al. 2024
BATCH_THRESHOLD_RATE = 0.01  # of BatchTopK's running threshold, as in SAELens


Term = Callable[[SparseAutoencoder], Tensor]


@dataclass(frozen=True)
class Config:
    """How it is trained.

    Parameters
    ----------
    n_steps, batch_size : int
        `batch_size` samples a step, over all ranks together.
    lr : float
        0 stands for 2e-4 / sqrt(n_latents / 2**14) (Gao et al. 2024), which was found at 131,072 samples a step.
    warmup_fraction, decay_fraction : float
        Of the steps: linear rise from 0, linear fall to 0. `sparsity_weight` rises over the warm-up too.
    accumulate : int
        Parts a step is made of, one after another, when memory is short; the gradient is that of the whole step.
    clip_norm : float
        Largest norm of the whole gradient; 0 for none.
    dead_after : int
        Samples without activity after which a latent is dead.
    resample_every : int
        Steps after which dead latents begin anew at badly rebuilt samples (Bricken et al. 2023); 0 for never.
    precision : str
        ``"bf16"`` multiplies the encoder's large product in bfloat16 on an accelerator and keeps weights in float32.
    checkpoint_every : int
        Steps; 0 for none.
    device : str
        ``"auto"`` or ``"cpu"``.
    """

    n_steps: int = 2000
    batch_size: int = 1024
    lr: float = 0.0
    warmup_fraction: float = 0.05
    decay_fraction: float = 0.2
    accumulate: int = 1
    clip_norm: float = 1.0
    dead_after: int = 100_000
    resample_every: int = 0
    precision: Literal["no", "bf16"] = "no"
    checkpoint_every: int = 0
    device: Literal["auto", "cpu"] = "auto"
    loss: losses.Config = field(default_factory=losses.Config)

    def __post_init__(self) -> None:
        checks.at_least("n_steps", self.n_steps, 1)
        checks.at_least("accumulate", self.accumulate, 1)
        checks.at_least("batch_size", self.batch_size, self.accumulate)
        checks.at_least("lr", self.lr, 0.0)
        checks.in_range("warmup_fraction", self.warmup_fraction, 0.0, 1.0)
        checks.in_range("decay_fraction", self.decay_fraction, 0.0, 1.0)
        checks.at_least("dead_after", self.dead_after, 1)
        checks.one_of("precision", self.precision, ("no", "bf16"))

    def rate(self, n_latents: int) -> float:
        """The learning rate of this width."""
        return self.lr or 2e-4 / math.sqrt(n_latents / 2**14)

    def factor(self, step: int) -> float:
        """What the learning rate is multiplied by at a step, in [0, 1]."""
        rise = (step + 1) / max(1.0, self.warmup_fraction * self.n_steps)
        fall = (self.n_steps - step) / max(1.0, self.decay_fraction * self.n_steps)
        return min(1.0, rise, fall)


@dataclass(eq=False)
class Fitted:
    """An autoencoder on the scale of its inputs, and what its training said: a row of numbers every ten steps."""

    model: SparseAutoencoder
    rows: list[dict[str, float]]


class State:
    """What changes while training: weights, moments, activity of latents, the log."""

    def __init__(
        self,
        model: ModelConfig,
        settings: Config,
        n_dims: int,
        start: starting.Start,
        seed: int,
        device: torch.device,
        effect: influence.Effect | None = None,
    ):
        if (effect is not None) != (model.activation == "gradient_topk"):
            raise checks.ConfigError(
                f"activation 'gradient_topk' and no other is trained with an effect; got {model.activation!r} "
                f"{'without one' if effect is None else 'with one'}. Give fit(..., effect=) or choose 'topk'."
            )
        self._effect = effect
        self.settings, self.seed, self._scale, self.device = settings, seed, start.scale, device
        with seeding.seeded(seed, "sparse", "weights"):
            self.model = starting.begun(SparseAutoencoder(n_dims, model), start).to(device).train()
        self._variance = torch.tensor(start.variance * start.scale**2, device=device)
        self.rate = settings.rate(model.n_latents)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=self.rate, eps=ADAM_EPS, fused=True)
        self.silent = torch.zeros(model.n_latents, dtype=torch.int64, device=device)
        self.done = torch.zeros((), dtype=torch.int64)
        self.log: list[dict[str, float]] = []
        for parameter in self.model.parameters():
            # Adam makes its moments at the first step; a checkpoint needs them before.
            self.optimizer.state[parameter] = {
                "step": torch.zeros((), device=device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }

    @property
    def resumed_at(self) -> int:
        """Steps made before this run of the program."""
        return int(self.done)

    def tensors(self) -> dict[str, Tensor]:
        """Everything that changes, by name, as the very tensors that are used."""
        out = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            out |= {f"{k}.{name}": v for k, v in self.optimizer.state[parameter].items()}
        return out | {"silent": self.silent, "done": self.done}

    def fitted(self) -> Fitted:
        """The model in eval mode on the CPU, on the scale of its inputs, with its log; it trains no further."""
        return Fitted(starting.folded(self.model.eval().cpu(), self._scale), self.log)

    def note(self, step: int, values: dict[str, Tensor]) -> dict[str, str]:
        """A row in the log, and its numbers in short.

        Raises
        ------
        FloatingPointError
            If one is not finite.
        """
        row = {"step": float(step + 1)} | {k: float(v) for k, v in values.items()}
        if not all(math.isfinite(v) for v in row.values()):
            raise FloatingPointError(
                f"training diverged at step {step + 1}: {row}. Lower lr or sparsity_weight."
            )
        self.log.append(row)
        return {k: f"{v:.3f}" for k, v in row.items() if k != "step"}

    def step(
        self,
        step: int,
        read: Callable[[Tensor], Tensor],
        numbers: Tensor,
        ranks: Ranks,
        further: Term | None = None,
    ) -> dict[str, Tensor]:
        """One step: gradients of all parts, atoms' growth removed, weights moved, activity counted.

        `further` is one more term of the loss, of the model alone; it is logged as ``further``.
        """
        factor = self.settings.factor(step)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * factor
        self.optimizer.zero_grad(set_to_none=True)
        dead, fired = self.silent >= self.settings.dead_after, torch.zeros_like(self.silent, dtype=torch.bool)
        values: dict[str, Tensor] = {}
        worst: tuple[Tensor, Tensor] | None = None
        parts = numbers.chunk(self.settings.accumulate)
        weights = self._weights(step)
        for part in parts:
            inputs = read(part).to(self.device) * self._scale
            found = self._terms(inputs, weights, dead)
            (found.total * (len(part) / len(numbers))).backward()
            fired[found.code.latents[found.code.values.detach() > 0]] = True
            for name, value in found.values.items():
                values[name] = values.get(name, torch.zeros_like(value)) + value.detach() * len(part) / len(
                    numbers
                )
            self._watch_threshold(found.code)
            worst = (inputs, found.error)
        if further is not None:
            value = further(self.model)
            value.backward()
            values["further"] = value.detach()
        values["l0"] = (found.code.values.detach() > 0).sum() / found.code.n_samples
        values["dead"] = dead.float().mean()
        ranks.mean_of_gradients(self.model.parameters())
        ranks.any_(fired)
        ranks.mean_(self.model.threshold)
        orthogonal_to_atoms_(self.model)
        if self.settings.clip_norm > 0:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        self.optimizer.step()
        with torch.no_grad():
            self.model.atoms.copy_(torch.nn.functional.normalize(self.model.atoms, dim=1))
        self.silent += len(numbers) * ranks.n
        self.silent[fired] = 0
        if (
            self.settings.resample_every
            and (step + 1) % self.settings.resample_every == 0
            and worst is not None
        ):
            generator = seeding.torch_generator(self.seed, "resample", step)
            starting.resample_(self.model, self.optimizer, dead & ~fired, *worst, generator)
            with torch.no_grad():  # every rank has drawn from samples of its own
                ranks.copy_first_(self.model.parameters())
            self.silent[dead] = 0
        return values

    def _terms(self, inputs: Tensor, weights: losses.Config, dead: Tensor) -> losses.Terms:
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
            return losses.terms(
                self.model, inputs, weights, variance=self._variance, dead=dead, slopes=self._slopes(inputs)
            )

    def _slopes(self, inputs: Tensor) -> Tensor | None:
        """Gradients of the effect at inputs as they were before scaling; which latents matter does not depend on it."""
        return None if self._effect is None else influence.gradients(self._effect, inputs / self._scale)

    def _weights(self, step: int) -> losses.Config:
        risen = min(1.0, (step + 1) / max(1.0, self.settings.warmup_fraction * self.settings.n_steps))
        weight = self.settings.loss.sparsity_weight * risen
        return replace(self.settings.loss, sparsity_weight=weight)

    @torch.no_grad()
    def _watch_threshold(self, code: Any) -> None:
        if self.model.config.activation == "batch_topk" and len(code.values):
            smallest = code.values.detach().min().to(self.model.threshold)
            self.model.threshold.lerp_(smallest, BATCH_THRESHOLD_RATE if float(self.model.threshold) else 1.0)


@torch.no_grad()
def orthogonal_to_atoms_(model: SparseAutoencoder) -> None:
    """Removes from the atoms' gradient what would only make them longer: norms are held at 1."""
    grad = model.atoms.grad
    if grad is not None:
        along = (grad * model.atoms).sum(1, keepdim=True) / model.atoms.square().sum(1, keepdim=True)
        grad -= along * model.atoms
