"""Targets as functions of picture tensors that gradients flow through, for whatever makes pictures by them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from braindec import checks
from braindec.targets import ImageTarget
from braindec.targets._layers import LayerTarget
from braindec.targets.efficientnet_lite0 import MEAN, STD, EfficientNetLite0
from braindec.targets.openclip import OpenClip

Features = Callable[[Tensor], Tensor]  # pictures (n, 3, height, width) in [0, 1] -> (n, n_features)


def differentiable(target: ImageTarget) -> Features:
    """See `targets.differentiable`."""
    if isinstance(target, OpenClip):
        return _openclip(target)
    if isinstance(target, EfficientNetLite0):
        size = target.config.size
        return lambda x: target._read((_resized(x, size, "bicubic", True).clamp(0, 1) - MEAN) / STD).flatten(
            1
        )
    if isinstance(target, LayerTarget):
        size, smooth = target._size, target._antialias
        return lambda x: target._features(_resized(x, size, "bilinear", smooth))
    raise checks.ConfigError(
        f"target {target.name!r} is no function of pictures that gradients flow through; use openclip, tiny_openclip, "
        "efficientnet_lite0 or a layer of a published network."
    )


def _openclip(target: OpenClip) -> Features:
    if not target.config.view.plain:
        raise checks.ConfigError(
            "a target that blurs its pictures is not differentiable here; leave view as it is."
        )
    told = target.identity()["transform"]
    checks.one_of("interpolation", told["interpolation"], ("bicubic", "bilinear"))
    size = told["size"] if isinstance(told["size"], int) else told["size"][0]
    mean, std = (torch.tensor(told[key])[None, :, None, None] for key in ("mean", "std"))

    def features(pictures: Tensor) -> Tensor:
        x = _resized(pictures, size, told["interpolation"], True).clamp(0, 1)
        return target._embed_batch((x - mean.to(x)) / std.to(x)).flatten(1)

    return features


def _resized(x: Tensor, size: int, mode: str, antialias: bool) -> Tensor:
    checks.n_axes("pictures", x, ("stimulus", "rgb", "height", "width"))
    if x.shape[-1] != x.shape[-2]:
        raise ValueError(f"pictures must be square, got {tuple(x.shape[-2:])}.")
    if x.shape[-1] == size:
        return x
    return nn.functional.interpolate(x, (size, size), mode=mode, antialias=antialias, align_corners=False)
