"""Where in a recording a decoder finds a concept: what each part contributes to the cosine with its direction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from braindec import checks
from braindec.adapters.volume_patches import Config as Cubes
from braindec.adapters.volume_patches import cells_of
from braindec.decoder import rows
from braindec.decoder.prediction import average_groups, group_repeats
from braindec.types import Space, Trials, VoxelSpace

if TYPE_CHECKING:
    from braindec.decoder.brain_decoder import BrainDecoder

Method = Literal["gradient", "occlusion"]
METHODS = ("gradient", "occlusion")
ROWS_AT_ONCE = 512


def cubes_of(space: Space, config: Cubes) -> np.ndarray:
    """The cube of `volume_patches` that each voxel lies in, int64 (n_voxels,); cubes without a voxel do not occur.

    Raises
    ------
    ValueError
        If the space is no volume.
    """
    if not isinstance(space, VoxelSpace):
        raise ValueError(
            f"cubes need voxels of a volume, got {space.kind}; give parts of another kind (regions)."
        )
    return cells_of(space, config) // config.side**3


def concept_direction(texts: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The direction (n_tokens, n_dims), of unit length, from other texts to those that say a concept.

    Texts and pictures of one space lie in two cones apart; differences within one of them hold in the other.

    Parameters
    ----------
    texts : float array, shape (n, n_tokens, n_dims)
        Text embeddings of the word, or of phrases that hold it.
    others : float array, shape (n_others, n_tokens, n_dims)
        Of texts that do not, or of all texts.
    """
    for name, values in (("texts", texts), ("others", others)):
        checks.n_axes(name, values, ("text", "token", "dim"))
        checks.at_least(f"number of {name}", len(values), 1)
    away = texts.mean(0) - others.mean(0)
    length = float(np.linalg.norm(away))
    if length < 1e-8:
        raise ValueError("the concept's texts do not differ from the others; give others that do not say it.")
    return np.asarray(away / length, np.float32)


def prepared(
    decoder: BrainDecoder, trials: Trials, *, averaged: bool = True
) -> tuple[tuple[str, ...], np.ndarray]:
    """Stimulus ids, and signals (n, *signal) as the encoder gets them, repeats of a stimulus `averaged`."""
    fitted = checks.known_key("subject", trials.key, decoder.preprocessing)
    x, ids = np.asarray(rows.applied(fitted, trials), np.float32), trials.table["stimulus_id"]
    if not averaged:
        return tuple(ids.tolist()), x
    group, first = group_repeats(ids)
    return tuple(ids[first].tolist()), average_groups(x, group, len(first))


def agreement(
    decoder: BrainDecoder, key: str, signals: np.ndarray, direction: np.ndarray, *, output: str | None = None
) -> np.ndarray:
    """Cosine of what is decoded, about the training stimuli's mean, with a direction: float32 (n,), in [-1, 1]."""
    with torch.no_grad():
        parts = decoder.tensor(signals).split(ROWS_AT_ONCE)
        return torch.cat([_cosine(decoder, key, x, direction, output) for x in parts]).cpu().numpy()


def contributions(
    decoder: BrainDecoder,
    key: str,
    signals: np.ndarray,
    mean: np.ndarray,
    direction: np.ndarray,
    parts: np.ndarray,
    *,
    method: Method = "gradient",
    output: str | None = None,
) -> np.ndarray:
    """How much each part of a signal adds to the cosine with a concept's direction.

    Parameters
    ----------
    decoder : BrainDecoder
        Fitted.
    key : str
        The subject's signal key.
    signals : float array, shape (n, n_voxels)
        `prepared` trials.
    mean : float array, shape (n_voxels,)
        Mean of the prepared training trials: a part that says this says nothing.
    direction : float array, shape (n_tokens, n_dims)
        `concept_direction`, in the output's space.
    parts : int array, shape (n_voxels,)
        The part of each voxel: `cubes_of`, or regions.
    method : ``"gradient"`` or ``"occlusion"``
        The gradient of the cosine times the signal's distance from `mean`, summed over a part; or by how much the
        cosine falls when the part takes its `mean`. Of a linear map to the numerator both are the same.
    output : str, optional
        The main one by default.

    Returns
    -------
    ndarray of float32, shape (n, n_parts)
        In units of the cosine, parts in ascending order of their numbers.

    Notes
    -----
    Shen et al. 2024, arXiv:2404.19438, weigh a layer's activations by the gradient of the product of brain and text
    embedding (GradCAM); here the input itself is weighed, which has a place in the volume.
    """
    checks.one_of("method", method, METHODS)
    checks.n_axes("signals", signals, ("trial", "voxel"))
    checks.same_length("voxel", signals=signals.T, mean=mean, parts=parts)
    names, member = np.unique(parts, return_inverse=True)
    if method == "gradient":
        each = _gradient(decoder, key, signals, direction, output) * (signals - mean)
        made = np.zeros((len(names), len(signals)), np.float32)
        np.add.at(made, member, each.T)
        return made.T
    whole = agreement(decoder, key, signals, direction, output=output)
    made = np.empty((len(signals), len(names)), np.float32)
    for part in range(len(names)):
        silent = np.where(member == part, mean, signals).astype(np.float32)
        made[:, part] = whole - agreement(decoder, key, silent, direction, output=output)
    return made


def concept_map(contributed: np.ndarray, present: np.ndarray) -> np.ndarray:
    """What each part adds where a concept is, more than where it is not: float32 (n_parts,), in units of the cosine.

    Parameters
    ----------
    contributed : float array, shape (n, n_parts)
        `contributions` to trials of training.
    present : bool array, shape (n,)
        Whether the concept was in what was presented; both must occur.
    """
    checks.same_length("trial", contributed=contributed, present=present)
    checks.in_range("trials with the concept", int(present.sum()), 1, len(present) - 1)
    return np.asarray(contributed[present].mean(0) - contributed[~present].mean(0), np.float32)


def on_voxels(values: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Values of parts (n_parts,) at each of their voxels, (n_voxels,): `data.maps.write` saves them as NIfTI."""
    names, member = np.unique(parts, return_inverse=True)
    checks.same_length("part", values=values, parts=names)
    return values[member]


def _cosine(
    decoder: BrainDecoder, key: str, signals: Tensor, direction: np.ndarray, output: str | None
) -> Tensor:
    name = decoder.main if output is None else checks.one_of("output", output, list(decoder.outputs))
    raw = decoder.raw(key, signals, name)
    told = decoder.finished(key, raw) if name == decoder.main else raw
    wanted = decoder.tensor(direction)
    if wanted.shape != told.shape[1:]:
        raise checks.SpaceMismatchError(
            f"direction has shape {tuple(wanted.shape)}, but {name} decodes {tuple(told.shape[1:])}; "
            "embed the concept in this output's space."
        )
    return cosine_similarity(told.flatten(1), wanted.flatten()[None], dim=1)


def _gradient(
    decoder: BrainDecoder, key: str, signals: np.ndarray, direction: np.ndarray, output: str | None
) -> np.ndarray:
    decoder.fitted_encoder().eval()
    found = []
    for some in decoder.tensor(signals).split(ROWS_AT_ONCE):
        x = some.clone().requires_grad_(True)
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(_cosine(decoder, key, x, direction, output).sum(), x)
        found.append(slope)
    return torch.cat(found).cpu().numpy()
