"""InfoNCE: who belongs to whom, and cross-entropy over a batch as a whole or in blocks that never hold all pairs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from braindec import checks
from braindec.losses import Mix
from braindec.losses._contrast import exactly

Direction = Literal["both", "to_target", "to_prediction"]


class Labels(ABC):
    """How much each prediction of a batch belongs to each target, some rows at a time.

    Parameters
    ----------
    mix : Mix or None
        How the signals behind the predictions were mixed: a mixed prediction belongs to its own stimulus and to its
        partner's, by their weights. A row that drew itself as partner keeps its whole label.
    """

    def __init__(self, mix: Mix | None):
        self.mix = mix

    @abstractmethod
    def unmixed(self, rows: Tensor) -> Tensor:
        """How much the stimuli of these rows are those of all rows: (n_rows, n_trials), rows sum to 1."""

    def of_predictions(self, rows: Tensor) -> Tensor:
        """How much these predictions belong to all targets: (n_rows, n_trials)."""
        own = self.unmixed(rows)
        if self.mix is None:
            return own
        weight = self.mix.weight.to(own)[rows, None]
        return weight * own + (1 - weight) * self.unmixed(self.mix.partner.to(rows.device)[rows])

    def of_targets(self, rows: Tensor) -> Tensor:
        """How much these targets belong to all predictions: (n_rows, n_trials)."""
        own = self.unmixed(rows)
        if self.mix is None:
            return own
        weight = self.mix.weight.to(own)
        return weight * own + (1 - weight) * own[:, self.mix.partner.to(rows.device)]


class Matches(Labels):
    """Equal weight on every row that shows the same stimulus.

    Where repeats have equal targets this is plain InfoNCE (equal columns cannot push each other away); it matters where
    the targets of one stimulus differ, e.g. in their augmentation.
    """

    def __init__(self, ids: Tensor, dtype: torch.dtype, mix: Mix | None):
        super().__init__(mix)
        self.ids, self.dtype = ids, dtype

    def unmixed(self, rows: Tensor) -> Tensor:
        """See `Labels.unmixed`."""
        same = (self.ids[rows, None] == self.ids).to(self.dtype)
        return same / same.sum(1, keepdim=True)


class Neighbours(Labels):
    """The targets' softmax among themselves: constants, no gradient passes through them."""

    def __init__(self, target: Tensor, scale: Tensor, mix: Mix | None):
        super().__init__(mix)
        self.target, self.scale = target.detach(), scale.detach()

    def unmixed(self, rows: Tensor) -> Tensor:
        """See `Labels.unmixed`."""
        return (self.scale * (self.target[rows] @ self.target.T)).softmax(1)


class AsPublishedByMindEye(Labels):
    """Mixed labels with both faults of MindEye's and MindEye2's `mixco_nce`; repeats are negatives.

    Partners are taken as each subject drew them, from 0, where all subjects' rows stand behind each other: those of
    every subject but the first point to other rows than it was mixed with. And 1 - weight is written over the weight of
    a row that drew itself, which leaves an unmixed one no label at all.
    """

    def __init__(self, mix: Mix, dtype: torch.dtype):
        super().__init__(mix)
        if mix.drawn is None:
            raise ValueError("the published labels need the partners as they were drawn (Mix.drawn).")
        self.drawn, self.weight = mix.drawn, mix.weight.to(dtype)

    def unmixed(self, rows: Tensor) -> Tensor:
        """Each row belongs to itself."""
        return torch.eye(len(self.weight), dtype=self.weight.dtype, device=rows.device)[rows]

    def of_predictions(self, rows: Tensor) -> Tensor:
        """See `Labels.of_predictions`."""
        every = torch.arange(len(self.weight), device=rows.device)
        return self._label(rows[:, None], every[None])

    def of_targets(self, rows: Tensor) -> Tensor:
        """See `Labels.of_targets`."""
        every = torch.arange(len(self.weight), device=rows.device)
        return self._label(every[None], rows[:, None])

    def _label(self, prediction: Tensor, target: Tensor) -> Tensor:
        drawn, weight = (
            self.drawn.to(prediction.device)[prediction],
            self.weight.to(prediction.device)[prediction],
        )
        return torch.where(drawn == target, 1 - weight, torch.where(prediction == target, weight, 0.0))


def info_nce(
    prediction: Tensor,
    target: Tensor,
    ids: Tensor,
    scale: Tensor,
    *,
    chunk: int = 0,
    offset: int = 0,
    n_rows: int | None = None,
    mix: Mix | None = None,
    direction: Direction = "both",
) -> Tensor:
    """InfoNCE among all rows, of the rows that this process answers for.

    Parameters
    ----------
    prediction, target : Tensor, shape (n_trials, n_values)
        Of the whole batch: gathered over all processes, where there are several. Lengths as they shall count.
    ids : int tensor, shape (n_trials,)
        Rows with equal ids are matches.
    scale : Tensor, shape ()
        Multiplies the products: one over the temperature.
    chunk : int
        So many rows are compared with all others at a time; 0 takes all.
    offset, n_rows : int
        The first row that counts, and how many do (None: all from there). The mean over processes with equally many
        rows of the gradients of these is the gradient of the whole, if predictions are gathered with gradient.
    mix : Mix or None
    direction : {"both", "to_target", "to_prediction"}
        Each prediction finds its target, each target its prediction, or the mean of both.

    Returns
    -------
    Tensor, shape ()
    """
    labels = Matches(ids, prediction.dtype, mix)
    return contrast(
        prediction, target, scale, labels, chunk=chunk, offset=offset, n_rows=n_rows, direction=direction
    )


def contrast(
    prediction: Tensor,
    target: Tensor,
    scale: Tensor,
    labels: Labels,
    *,
    chunk: int = 0,
    offset: int = 0,
    n_rows: int | None = None,
    direction: Direction = "both",
) -> Tensor:
    """`info_nce` with any labels.

    Notes
    -----
    In chunks, the largest tensors beside the embeddings have chunk * n_trials values; the gradient is made with the
    value, block by block, so that no similarity is kept or computed again: three products a direction, as without
    chunks, where both directions share one of them.
    """
    checks.at_least("chunk", chunk, 0)
    n_trials = checks.same_length("trial", prediction=prediction, target=target)
    n_rows = n_trials - offset if n_rows is None else n_rows
    checks.in_range("offset + n_rows", offset + n_rows, 1, n_trials)
    rows = torch.arange(offset, offset + n_rows, device=prediction.device)
    with exactly(prediction):
        if chunk and chunk < n_rows:
            sides = [(prediction, target, labels.of_predictions), (target, prediction, labels.of_targets)]
            chosen = {"both": sides, "to_target": sides[:1], "to_prediction": sides[1:]}[direction]
            found = [
                _Blocks.apply(query[offset : offset + n_rows], candidates, scale, label, rows, chunk)
                for query, candidates, label in chosen
            ]
            return torch.stack(found).mean()
        return _whole(prediction, target, scale, labels, rows, direction)


def _whole(
    prediction: Tensor, target: Tensor, scale: Tensor, labels: Labels, rows: Tensor, direction: Direction
) -> Tensor:
    every, found = len(rows) == len(prediction), []
    logits = scale * (prediction if every else prediction[rows]) @ target.T
    own = labels.of_predictions(rows)
    if direction != "to_prediction":
        found.append(-(own * logits.log_softmax(1)).sum(1).mean())
    if direction != "to_target":
        own = own if labels.mix is None else labels.of_targets(rows)
        back = logits.T if every else scale * target[rows] @ prediction.T
        found.append(-(own * back.log_softmax(1)).sum(1).mean())
    return torch.stack(found).mean()


class _Blocks(torch.autograd.Function):
    """Mean cross-entropy of queries (n, d) among candidates (n_all, d) and its gradient, `chunk` queries at a time."""

    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, candidates: Tensor, scale: Tensor, label: Any, rows: Tensor, chunk: int
    ) -> Tensor:
        """Value; the gradients are kept for `backward`."""
        wanted = ctx.needs_input_grad
        to_queries = torch.empty_like(queries) if wanted[0] else None
        to_candidates = torch.zeros_like(candidates) if wanted[1] else None
        total, to_scale = (queries.new_zeros((), dtype=torch.float64) for _ in range(2))
        for start in range(0, len(queries), chunk):
            block = slice(start, start + chunk)
            similarity = queries[block] @ candidates.T  # (query, candidate)
            share = label(rows[block])
            logits = scale * similarity
            logits = logits - logits.logsumexp(1, keepdim=True)
            total -= (share * logits).sum(1).double().sum()
            if not any(wanted[:3]):
                continue
            error = logits.exp_().mul_(share.sum(1, keepdim=True)).sub_(share).div_(len(queries))
            to_scale += (error * similarity).sum(1).double().sum()
            error *= scale
            if to_queries is not None:
                to_queries[block] = error @ candidates
            if to_candidates is not None:
                to_candidates.addmm_(error.T, queries[block])
        ctx.save_for_backward(to_queries, to_candidates, to_scale.to(scale.dtype))
        return (total / len(queries)).to(queries.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The kept gradients times that of the value."""
        kept = [None if found is None else grad * found for found in ctx.saved_tensors]
        return (*kept, None, None, None)
