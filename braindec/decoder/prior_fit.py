"""The prior's training, on out-of-fold predictions and the embeddings that belong to them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from braindec import seeding, train
from braindec.maths.order import Order
from braindec.ranks import Ranks


def fit_prior(
    prior: Any,
    conditions: Tensor,
    targets: Tensor,
    settings: train.Config,
    seed: int,
    folder: Path | None,
    progress: bool,
) -> train.Log | None:
    """Starts a prior from all pairs (n, n_tokens, n_dims) and, unless it is closed-form, trains it on them."""
    prior.start_(conditions, targets)
    if prior.closed_form:
        return None
    kept, held = held_pairs(targets, settings.validation_fraction, seed)
    order = Order(len(kept), min(settings.batch_size, len(kept)), seed, "prior")
    ranks = Ranks.here()

    def batch(step: int) -> dict[str, Tensor]:
        rows = kept[order.rows(step)]
        own = rows[ranks.share(len(rows))]
        share = torch.tensor(len(own) * ranks.n / len(rows))  # 1 where ranks share a step evenly
        return {"brain": conditions[own], "image": targets[own], "share": share}

    def loss(
        module: nn.Module, batch: Mapping[str, Tensor], progress: float, generator: torch.Generator
    ) -> dict[str, Tensor]:
        if not ranks.first:  # other rows, other noise
            generator.manual_seed(seeding.derive(generator.initial_seed(), "rank", ranks.rank))
        return {"prior": batch["share"] * prior.objective(batch["brain"], batch["image"], generator)}

    def validate(module: nn.Module) -> float:
        generator = seeding.torch_generator(
            seed, "prior validation", device=str(next(prior.parameters()).device)
        )
        device = generator.device
        losses = [
            prior.objective(conditions[held].to(device), targets[held].to(device), generator)
            for _ in range(8)
        ]
        return -float(torch.stack(losses).mean())

    return train.fit(
        prior, batch, loss, settings, seed=seed, name="prior", folder=folder, progress=progress,
        validate=validate if len(held) else None,
    )  # fmt: skip


def held_pairs(targets: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Rows of targets (n, n_tokens, n_dims) that a prior is trained on, and rows of stimuli that it never sees.

    Trials and subjects share stimuli; which of them are held out depends on the set of targets, not on how often each
    is there.
    """
    units = [str(i) for i in targets.flatten(1).unique(dim=0, return_inverse=True)[1].tolist()]
    return train.split_rows(units, fraction, seeding.torch_generator(seed, "prior rows"))
