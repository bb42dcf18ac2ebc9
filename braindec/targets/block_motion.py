"""How things move in a clip: the mean displacement of every block of the picture from frame to frame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from braindec import checks
from braindec.maths.motion import BLOCK, block_motion
from braindec.targets import VideoTarget


@dataclass(frozen=True)
class Config:
    """Settings of a motion target.

    Parameters
    ----------
    side : int
        Pixels to which frames are brought (bilinear, antialiased, not cropped); a multiple of 8. Displacements are in
        these pixels.
    """

    side: int = 64

    def __post_init__(self) -> None:
        checks.at_least("side", self.side, BLOCK, unit="pixels")
        if self.side % BLOCK:
            raise checks.ConfigError(f"side must be a multiple of {BLOCK}, got {self.side}.")


def build(config: Config) -> BlockMotion:
    """The target of a config; it needs no weights."""
    return BlockMotion(config)


class BlockMotion(VideoTarget):
    """Displacements down and right of every block, pixels a frame, averaged over a clip: (n, 1, 2 * rows * columns).

    Parameters
    ----------
    config : Config
    """

    name = "block_motion"

    def __init__(self, config: Config) -> None:
        self._side = config.side
        self.grid = (config.side // BLOCK, config.side // BLOCK)
        self.shape = (1, 2 * self.grid[0] * self.grid[1])
        self.space = f"block_motion/{config.side}"

    def identity(self) -> dict[str, Any]:
        """Size of frames and blocks: there are no weights."""
        return {
            "target": self.name,
            "side": self._side,
            "block": BLOCK,
            "resize": "bilinear, antialiased, no crop",
        }

    def embed_videos(
        self, clips: Iterable[Any], *, batch_size: int = 32, device: str = "cpu", progress: bool = False
    ) -> np.ndarray:
        """float32 (n, 1, 2 * rows * columns); see `VideoTarget.embed_videos`. Clips have two frames at least."""
        checks.at_least("batch_size", batch_size, 1)
        found, iterator = [np.empty((0, *self.shape), np.float32)], iter(clips)
        while batch := list(islice(iterator, batch_size)):
            found.append(self._of(batch, device))
        return np.concatenate(found)

    def _of(self, batch: list[np.ndarray], device: str) -> np.ndarray:
        grey = [self._grey(clip, device) for clip in batch]
        if len({len(g) for g in grey}) > 1:  # clips of several lengths
            motion = torch.cat([block_motion(g[None]).mean(1) for g in grey])
        else:
            motion = block_motion(torch.stack(grey)).mean(1)  # (clip, 2, row, column)
        return motion.reshape(len(batch), *self.shape).cpu().numpy()

    def _grey(self, clip: np.ndarray, device: str) -> Tensor:
        """(n_frames, side, side) in [0, 1]."""
        checks.n_axes("clip", clip, ("frame", "height", "width", "rgb"))
        checks.at_least("frames of a clip", len(clip), 2)
        if clip.dtype != np.uint8:
            raise TypeError(f"a clip must be uint8 in 0-255, got {clip.dtype}.")
        frames = torch.tensor(clip).to(device).float().mean(3)[:, None] / 255
        size = (self._side, self._side)
        if frames.shape[2:] != size:
            frames = interpolate(frames, size, mode="bilinear", antialias=True, align_corners=False)
        return frames[:, 0]
