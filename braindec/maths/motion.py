"""Motion between frames by matching blocks, which needs no trained network."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from braindec import checks

BLOCK = 8  # pixels a side
REACH = 4  # pixels a frame, the fastest motion that is found
STILLNESS = 1e-4  # of squared values in [0, 1]: how much better a match must be for each pixel further


def block_motion(frames: Tensor) -> Tensor:
    """Displacement of every block from each frame to the next.

    Parameters
    ----------
    frames : Tensor, shape (n_items, n_frames, height, width)
        Gray, in [0, 1], at least 8 pixels a side; what does not fill a block is left out.

    Returns
    -------
    Tensor of float32, shape (n_items, n_frames - 1, 2, n_rows, n_columns)
        Whole pixels down and right, each in [-4, 4]: the displacement with the smallest mean squared difference. Where
        nothing tells displacements apart (a uniform patch), the smallest of them.

    Notes
    -----
    Full search over 81 displacements, Jain & Jain 1981, doi:10.1109/TCOM.1981.1094950.
    """
    checks.n_axes("frames", frames, ("item", "frame", "height", "width"))
    checks.at_least("height", frames.shape[2], BLOCK, unit="pixels")
    checks.at_least("width", frames.shape[3], BLOCK, unit="pixels")
    before, after = frames[:, :-1].flatten(0, 1), frames[:, 1:].flatten(0, 1)
    height, width = before.shape[1:]
    around = pad(after[:, None], (REACH,) * 4, mode="replicate")[:, 0]
    best = torch.full((len(before), height // BLOCK, width // BLOCK), torch.inf, device=frames.device)
    motion = torch.zeros(len(before), 2, *best.shape[1:], device=frames.device)
    difference = torch.empty_like(before)  # one buffer for all displacements
    for down, right in product(range(-REACH, REACH + 1), repeat=2):
        moved = around[:, REACH + down : REACH + down + height, REACH + right : REACH + right + width]
        torch.sub(before, moved, out=difference)
        cost = avg_pool2d(difference.square_()[:, None], BLOCK)[:, 0]
        cost = cost + STILLNESS * (down**2 + right**2) ** 0.5
        better = cost < best
        best = torch.where(better, cost, best)
        step = torch.tensor([down, right], dtype=torch.float32, device=frames.device)
        motion = torch.where(better[:, None], step[None, :, None, None], motion)
    return motion.reshape(len(frames), frames.shape[1] - 1, 2, *motion.shape[2:])
