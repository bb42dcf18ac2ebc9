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
    told: Mapping[str, Tensor] | None = None,
    *,
    about: str = "",
) -> train.Log | None:
    """Solves a closed-form prior on all pairs (n, n_tokens, n_dims); another one learns from all but the held ones.

    On those the step is chosen whose weights are kept, and samples are made as wide as they err. `told` has what the
    prior is told beside the conditions, a row a pair; `about` names what the pairs were made of, which a prior that is
    resumed must share.
    """
    told = dict(told or {})
    if prior.closed_form:
        prior.start_(conditions, targets, told)
        return None
    kept, held = held_pairs(targets, settings.validation_fraction, seed)
    prior.start_(conditions[kept], targets[kept], taken(told, kept))
    order = Order(len(kept), min(settings.batch_size, len(kept)), seed, "prior")
    ranks = Ranks.here()

    def batch(step: int) -> dict[str, Any]:
        rows = kept[order.rows(step)]
        own = rows[ranks.share(len(rows))]
        share = torch.tensor(len(own) * ranks.n / len(rows))  # 1 where ranks share a step evenly
        return {"brain": conditions[own], "image": targets[own], "share": share, "told": taken(told, own)}

    def loss(
        module: nn.Module, batch: Mapping[str, Any], progress: float, generator: torch.Generator
    ) -> dict[str, Tensor]:
        if not ranks.first:  # other rows, other noise
            generator.manual_seed(seeding.derive(generator.initial_seed(), "rank", ranks.rank))
        found = prior.objective(batch["brain"], batch["image"], generator, batch["told"])
        return {"prior": batch["share"] * found}

    def validate(module: nn.Module) -> float:
        generator = seeding.torch_generator(
            seed, "prior validation", device=str(next(prior.parameters()).device)
        )
        device = generator.device
        pairs = conditions[held].to(device), targets[held].to(device)
        known = {name: values.to(device) for name, values in taken(told, held).items()}
        losses = [prior.objective(*pairs, generator, known) for _ in range(8)]
        return -float(torch.stack(losses).mean())

    log = train.fit(
        prior, batch, loss, settings, seed=seed, name="prior", folder=folder, progress=progress,
        validate=validate if len(held) else None, about=about,
    )  # fmt: skip
    if len(held):
        generator = seeding.torch_generator(seed, "prior spread")
        prior.calibrate_(conditions[held], targets[held], generator, taken(told, held))
    return log


def taken(told: Mapping[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    """These rows of all that is told."""
    return {name: values[rows] for name, values in told.items()}


def held_pairs(targets: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Rows of targets (n, n_tokens, n_dims) that a prior is trained on, and rows of stimuli that it never sees.

    Trials and subjects share stimuli; which of them are held out depends on the set of targets, not on how often each
    is there.
    """
    units = [str(i) for i in targets.flatten(1).unique(dim=0, return_inverse=True)[1].tolist()]
    return train.split_rows(units, fraction, seeding.torch_generator(seed, "prior rows"))
