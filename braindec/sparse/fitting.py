"""Training of sparse autoencoders: rows read by step, checkpoints, several autoencoders on the same samples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from braindec import checkpoints, config, stopping
from braindec.maths.order import Order
from braindec.ranks import Ranks
from braindec.sparse import starting
from braindec.sparse.autoencoder import Config as ModelConfig
from braindec.sparse.influence import Effect
from braindec.sparse.rows import Rows
from braindec.sparse.steps import Config, Fitted, State, Term


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
    effect: Effect | None = None,
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
    effect : callable, optional
        For activation ``"gradient_topk"``, and needed there: from inputs (n, n_dims) to the loss of what comes after
        them, (n,) or its sum. `about` must name it, or a checkpoint of another effect is not told apart.

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
    not the ratio of the whole. Which latents are dead all ranks know alike, and these begin anew at the first rank's
    samples.
    """
    rows, ranks = Rows(inputs), Ranks.here()
    start = starting.measure(rows, seed)
    state = State(model, settings, rows.n_dims, start, seed, ranks.device(settings.device), effect)
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
    remembered: Mapping[str, Tensor] | None = None,
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
    remembered : mapping of str to Tensor, optional
        What `further` keeps from one step to the next, as the very tensors that are used: checkpoints hold them too.
    """
    changing = _tensors(states) | dict(remembered or {})
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

    def keep(done: int) -> None:
        if keeps and folder is not None and ranks.first:
            for state in states:
                state.done.fill_(done)
            checkpoints.keep(folder, "sparse", run, done, {"tensors": changing, "rows": _logs(states)})

    with stopping.deferred() as asked:
        for step in bar:
            mine = ranks.part(order.rows(step))
            terms = further(step) if further is not None else [None] * len(states)
            for state, term in zip(states, terms, strict=True):
                values = state.step(step, rows.read, mine, ranks, term)
                if (step + 1) % 10 == 0 or step + 1 == last:
                    bar.set_postfix(state.note(step, values))
            signal = stopping.agreed(asked, ranks.anywhere)
            if signal is not None or (keeps and (step + 1) % settings.checkpoint_every == 0):
                keep(step + 1)
            if signal is not None:
                bar.close()
                asked.obey(signal)


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
