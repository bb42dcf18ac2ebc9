"""A brain's own control branch, trained beside a frozen generator."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from braindec import checks, seeding, store, train
from braindec.config import to_json
from braindec.generators._control import BrainControl, Config

DEFAULT = Config()
CHUNK = 64  # pictures encoded, or judged, at a time
FAINT = 1e-6  # an SD below this share of a feature's largest value is rounding


def fit(
    base: Any,
    features: np.ndarray,
    embeddings: np.ndarray,
    pictures: np.ndarray,
    settings: train.Config,
    *,
    ids: Sequence[str],
    config: Config = DEFAULT,
    seed: int = 0,
    folder: Path | None = None,
    progress: bool = False,
) -> BrainControl:
    """The branch that lets a frozen generator say best what noise was put onto the pictures that brains saw.

    Parameters
    ----------
    base : Generator
        `embedded_unclip` or a latent diffusion from a folder; nothing in it is trained.
    features : ndarray of float, shape (n, n_features)
        What the branch reads of each trial, any unit: they are brought to zero mean and unit variance.
    embeddings : ndarray of float, shape (n, n_tokens, dim)
        Image embeddings that the generator is told meanwhile; best those predicted out of fold, which are what it is
        told later.
    pictures : ndarray of uint8, shape (n, height, width, 3)
        What was presented.
    settings : train.Config
        `validation_fraction` of the stimuli choose the step; the untrained branch, which changes nothing, is one of
        the choices.
    ids : sequence of str
        The stimulus of each row.
    config : Config
    seed : int
    folder : Path, optional
        For the log.
    progress : bool

    Returns
    -------
    BrainControl
        In eval mode, on the CPU.
    """
    checks.same_length("trial", features=features, embeddings=embeddings, pictures=pictures, ids=ids)
    checks.finite("features", features)
    told = [torch.as_tensor(np.asarray(x, np.float32)) for x in (features, embeddings)]
    with torch.no_grad():
        clean = torch.cat([base.clean(pictures[i : i + CHUNK]) for i in range(0, len(pictures), CHUNK)]).cpu()
    held = _held(ids, settings.validation_fraction, seed)
    training = np.flatnonzero(~held)
    known = np.asarray(features, np.float64)[training]
    mean, std = known.mean(0), known.std(0)
    std = np.where(std > FAINT * np.abs(known).max(0), std, 1.0)  # a feature that never varies says nothing
    with seeding.seeded(seed, "control"):
        branch = BrainControl(
            base.unet, features.shape[1], config, torch.as_tensor(mean), torch.as_tensor(std)
        )
    steered = copy.copy(base)
    steered.branch, steered.branch_scale = branch, 1.0

    def batch(step: int) -> Mapping[str, Tensor]:
        drawn = seeding.numpy_generator(seed, "control", step)
        rows = torch.as_tensor(drawn.choice(training, min(settings.batch_size, len(training)), replace=False))
        return {"clean": clean[rows], "features": told[0][rows], "embeddings": told[1][rows]}

    def misses(rows: Mapping[str, Tensor], generator: torch.Generator) -> Tensor:
        x = rows["clean"]
        steered.moved_(x.device)
        noise = torch.randn(x.shape, generator=generator, device=x.device)
        share = torch.rand(len(x), generator=generator, device=x.device)
        return steered.misses(x, rows["embeddings"], rows["features"], noise, share)

    def objective(
        module: nn.Module, rows: Mapping[str, Any], progress: float, generator: torch.Generator
    ) -> dict[str, Tensor]:
        return {"control": misses(rows, generator).mean()}

    @torch.no_grad()
    def validate(module: nn.Module) -> float:
        device = next(module.parameters()).device
        rows = torch.as_tensor(np.flatnonzero(held))
        generator = seeding.torch_generator(seed, "control validation", device=str(device))
        found = [
            misses({"clean": clean[some].to(device), "features": told[0][some].to(device),
                    "embeddings": told[1][some].to(device)}, generator)
            for some in rows.split(CHUNK)
        ]  # fmt: skip
        return -float(torch.cat(found).mean())

    place = base.unet.device
    about = "" if folder is None else store.content_hash(
        control=to_json(config), features=told[0].numpy(), embeddings=told[1].numpy(), clean=clean.numpy()
    )  # fmt: skip
    try:
        train.fit(
            branch, batch, objective, settings, seed=seed, name="control", folder=folder,
            validate=validate if held.any() else None, progress=progress, about=about,
        )  # fmt: skip
    finally:
        base.moved_(place)
    return branch.requires_grad_(False).eval()


def _held(ids: Sequence[str], fraction: float, seed: int) -> np.ndarray:
    """Rows (n,) of the stimuli that training does not see."""
    unique = np.unique(np.asarray(ids))
    order = seeding.numpy_generator(seed, "control held").permutation(unique)
    return np.isin(np.asarray(ids), order[: round(fraction * len(unique))])
