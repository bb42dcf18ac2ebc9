"""Frames of clips from a generator of pictures: their noises share a part, or all, so that they belong together."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import grid_sample, interpolate

from braindec import checks
from braindec.generators import NOTHING, Generator, Guides
from braindec.generators._noise import dependent, from_noise


def drawn_frames(
    member: Generator,
    embeddings: np.ndarray,
    *,
    generator: torch.Generator,
    structure: np.ndarray | None = None,
    n_steps: int | None = None,
    shared: float = 1.0,
) -> np.ndarray:
    """Clips whose frames are drawn one by one: from the same noise they differ by what they are told alone.

    Parameters
    ----------
    member : Generator
    embeddings : float array, shape (n, n_frames, n_tokens, dim)
        What each frame is drawn from.
    generator : torch.Generator
        It ends where one frame of each clip has taken it; of noises that differ, where one frame more than there are
        has. What else a generator draws is the same for all frames.
    structure : uint8 array, shape (n, n_frames, height, width, 3), optional
        Roughly how each frame looks; of generators that take a low-level picture.
    n_steps : int, optional
    shared : float
        In [0, 1]: what part of a frame's noise all frames of its clip have in common; noises of two frames correlate by
        it. Both parts are drawn alike whatever it is, so that clips of several can be compared.

    Returns
    -------
    uint8 array, shape (n, n_frames, height, width, 3)

    Raises
    ------
    ConfigError
        If structure is told to a generator that takes none, or noise of frames' own to one that is told no noise.
    """
    checks.n_axes("embeddings", embeddings, ("clip", "frame", "token", "dim"))
    if structure is not None:
        checks.n_axes("structure", structure, ("clip", "frame", "height", "width", "rgb"))
        checks.same_length("clip", embeddings=embeddings, structure=structure)
    checks.in_range("shared", shared, 0.0, 1.0)
    (n, n_frames), state, frames = embeddings.shape[:2], generator.get_state(), []
    told = [
        NOTHING if structure is None else Guides(low_level=np.ascontiguousarray(structure[:, i]))
        for i in range(n_frames)
    ]
    if shared == 1:
        for i in range(n_frames):
            generator.set_state(state)
            frames.append(
                member.generate(embeddings[:, i], generator=generator, guides=told[i], n_steps=n_steps)
            )
        return np.stack(frames, axis=1)
    drawer = from_noise(member)
    common, *own = [drawer.noise(n, generator) for _ in range(1 + n_frames)]
    after = generator.get_state()
    for i in range(n_frames):
        generator.set_state(state)
        frames.append(
            drawer.generate(
                embeddings[:, i], generator=generator, guides=told[i], n_steps=n_steps,
                noise=dependent(common, own[i], shared),
            )
        )  # fmt: skip
    generator.set_state(after)
    return np.stack(frames, axis=1)


def moved(pictures: np.ndarray, motion: np.ndarray, n_frames: int) -> np.ndarray:
    """Clips in which pictures move: the picture is the middle frame, others lie before and after it.

    Parameters
    ----------
    pictures : uint8 array, shape (n, height, width, 3)
    motion : float array, shape (n, 2, n_rows, n_columns)
        Displacement down and right of each block from a frame to the next, in shares of the picture's height and width;
        between blocks it is interpolated.
    n_frames : int
        >= 1; the picture is frame ``n_frames // 2``.

    Returns
    -------
    uint8 array, shape (n, n_frames, height, width, 3)
        What comes in at an edge is the edge's colour.
    """
    checks.n_axes("pictures", pictures, ("clip", "height", "width", "rgb"))
    checks.n_axes("motion", motion, ("clip", "axis", "row", "column"))
    checks.same_length("clip", pictures=pictures, motion=motion)
    checks.at_least("n_frames", n_frames, 1)
    size = pictures.shape[1:3]
    x = torch.tensor(pictures).permute(0, 3, 1, 2).float()
    field = interpolate(torch.tensor(motion, dtype=torch.float32), size, mode="bilinear", align_corners=False)
    shift = 2 * field.flip(1).permute(0, 2, 3, 1)  # grid_sample's (x, y), where the picture is 2 wide
    rows, columns = (torch.linspace(-1 + 1 / n, 1 - 1 / n, n) for n in size)
    grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij")[::-1], -1)
    frames = []
    for i in range(n_frames):
        at = grid - (i - n_frames // 2) * shift
        frames.append(grid_sample(x, at, mode="bilinear", padding_mode="border", align_corners=False))
    made = torch.stack(frames, 1).round().clamp(0, 255).to(torch.uint8)
    return made.permute(0, 1, 3, 4, 2).contiguous().numpy()
