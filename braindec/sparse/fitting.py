"""Training of sparse autoencoders: rows read by step, one fused optimiser, atoms of norm 1, dead latents watched."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from braindec import checkpoints, checks, config, seeding
from braindec.maths.order import Order
from braindec.ranks import Ranks
from braindec.sparse import losses, starting
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


class Rows:
    """Samples by number, from an array (n_samples, n_dims) or from embeddings (n_stimuli, n_tokens, n_dims).

    Read on demand: numpy, memory-mapped files, tensors and `Embeddings.values` alike; each token is a sample.
    """

    def __init__(self, values: Any):
        shape = tuple(int(n) for n in values.shape)
        if len(shape) not in (2, 3):
            raise ValueError(
                f"inputs must have axes (sample, dim) or (stimulus, token, dim), got shape {shape}."
            )
        self._values, self.n_dims = values, shape[-1]
        self._n_tokens = shape[1] if len(shape) == 3 else 1
        self.n_samples = shape[0] * self._n_tokens

    def read(self, numbers: Tensor) -> Tensor:
        """float32 (n, n_dims) of these samples, in this order."""
        items = numbers // self._n_tokens
        if isinstance(self._values, Tensor):
            found = self._values[items.to(self._values.device)]
        else:
            wanted, back = np.unique(items.numpy(), return_inverse=True)
            found = torch.from_numpy(np.asarray(self._values[wanted], dtype=np.float32)[back])
        if found.ndim == 3:
            found = found[
                torch.arange(len(numbers), device=found.device), (numbers % self._n_tokens).to(found.device)
            ]
        return found.float()


def fit(
    inputs: Any,
    model: ModelConfig,
    settings: Config,
    *,
    seed: int,
    folder: Path | None = None,
    progress: bool = True,
    about: str = "",
    stop_at: int | None = None,
) -> Fitted:
    """Trains a sparse autoencoder on rows.

    Parameters
    ----------
    inputs : array-like, shape (n_samples, n_dims) or (n_stimuli, n_tokens, n_dims)
        Training samples only; read by row on demand.
    model : autoencoder.Config
    settings : Config
    seed : int
    folder : Path, optional
        Where checkpoints go when `settings.checkpoint_every` is set; an unfinished run found there goes on to the same
        weights as one that was never stopped.
    progress : bool
    about : str
        Names the inputs; a checkpoint of other inputs is refused.
    stop_at : int, optional
        End after this step of the same schedule.

    Returns
    -------
    Fitted
        The model in eval mode on the CPU, in the inputs' own scale: training scales inputs to a mean norm of
        sqrt(n_dims), and the scale is folded into biases and thresholds afterwards.

    Raises
    ------
    FloatingPointError
        If training diverges; the message says at which step and what to lower.

    Notes
    -----
    Over several ranks (and over the parts of `accumulate`) gradients are the mean of the parts' own, which for TopK,
    JumpReLU and ReLU without dead latents is that of the whole batch. Two terms differ from one process. BatchTopK has
    the n_active * n largest of each part's own n samples, so that quiet samples keep weaker activations, and ranks take
    the mean of their running thresholds. AuxK divides by the variance of the error in its own part: a mean of ratios,
    not the ratio of the whole. Which latents are dead all ranks know alike.
    """
    rows, ranks = Rows(inputs), Ranks.here()
    start = starting.measure(rows, seed)
    state = State(model, settings, rows.n_dims, start, seed, ranks.device(settings.device))
    run = identity(model, settings, rows, seed, about)
    train(
        [state], rows, settings, ranks, seed=seed, run=run, folder=folder, progress=progress, stop_at=stop_at
    )
    return state.fitted()


def train(
    states: Sequence[State],
    rows: Rows,
    settings: Config,
    ranks: Ranks,
    *,
    seed: int,
    run: str,
    folder: Path | None = None,
    progress: bool = True,
    stop_at: int | None = None,
    further: Callable[[int], Sequence[Term]] | None = None,
) -> None:
    """All steps of autoencoders that see the same samples in the same order, in place; goes on where it was stopped.

    Parameters
    ----------
    states : sequence of State
    rows, settings, ranks, seed, folder, progress, stop_at
        See `fit`; `seed` draws the samples' order.
    run : str
        Names what is trained; a checkpoint of another run is refused.
    further : callable, optional
        From a step's number to one more term of the loss for each state (`State.step`).
    """
    changing = _tensors(states)
    keeps = folder is not None and settings.checkpoint_every > 0
    if keeps and folder is not None:
        _share_log(states, _resumed(folder, run, changing))
    first = states[0].resumed_at
    last = settings.n_steps if stop_at is None else min(stop_at, settings.n_steps)
    order = Order(rows.n_samples, settings.batch_size, seed, "sparse")
    bar = tqdm(
        range(first, last),
        initial=first,
        total=last,
        desc="sparse autoencoder",
        disable=not progress,
        leave=False,
    )
    for step in bar:
        mine = ranks.part(order.rows(step))
        terms = further(step) if further is not None else [None] * len(states)
        for state, term in zip(states, terms, strict=True):
            values = state.step(step, rows.read, mine, ranks, term)
            if (step + 1) % 10 == 0 or step + 1 == last:
                bar.set_postfix(state.note(step, values))
        if keeps and folder is not None and (step + 1) % settings.checkpoint_every == 0 and ranks.first:
            for state in states:
                state.done.fill_(step + 1)
            checkpoints.keep(folder, "sparse", run, step + 1, {"tensors": changing, "rows": _logs(states)})


@torch.no_grad()
def _resumed(folder: Path, run: str, changing: Mapping[str, Tensor]) -> list[dict[str, float]]:
    """Copies the newest whole checkpoint of this run into what changes; gives its log, empty when there is none."""
    found = checkpoints.newest(folder, "sparse", run)
    if found is None:
        return []
    for name, value in changing.items():
        value.copy_(found["tensors"][name])
    rows: list[dict[str, float]] = found["rows"]
    return rows


def _tensors(states: Sequence[State]) -> dict[str, Tensor]:
    if len(states) == 1:
        return states[0].tensors()
    return {f"{i}.{name}": value for i, state in enumerate(states) for name, value in state.tensors().items()}


def _logs(states: Sequence[State]) -> list[dict[str, float]]:
    """Rows of all states; with several, each says whose it is."""
    if len(states) == 1:
        return states[0].log
    return [row | {"autoencoder": float(i)} for i, state in enumerate(states) for row in state.log]


def _share_log(states: Sequence[State], rows: list[dict[str, float]]) -> None:
    for i, state in enumerate(states):
        own = [row for row in rows if row.get("autoencoder", 0.0) == i]
        state.log = [{k: v for k, v in row.items() if k != "autoencoder"} for row in own]


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
    ):
        self.settings, self.seed, self._scale, self.device = settings, seed, start.scale, device
        with seeding.seeded(seed, "sparse", "weights"):
            self.model = starting.begun(SparseAutoencoder(n_dims, model), start).to(device).train()
        self._variance = torch.tensor(start.variance * start.scale**2, device=device)
        self.rate = settings.rate(model.n_latents)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=self.rate, eps=ADAM_EPS, fused=True)
        self.silent = torch.zeros(model.n_latents, dtype=torch.int64, device=device)
        self.done = torch.zeros((), dtype=torch.int64)
        self.log: list[dict[str, float]] = []
        for (
            parameter
        ) in self.model.parameters():  # Adam makes its moments at the first step; a checkpoint needs them
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
            self.silent[dead] = 0
        return values

    def _terms(self, inputs: Tensor, weights: losses.Config, dead: Tensor) -> losses.Terms:
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
            return losses.terms(self.model, inputs, weights, variance=self._variance, dead=dead)

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


def identity(
    model: ModelConfig | Sequence[ModelConfig], settings: Config, rows: Rows, seed: int, about: str
) -> str:
    """A hash that names a run, so that it does not go on from another one's checkpoint."""
    models = [model] if isinstance(model, ModelConfig) else list(model)
    said = [
        *map(config.to_json, models),
        config.to_json(settings),
        [rows.n_samples, rows.n_dims],
        seed,
        about,
    ]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
