"""The network whose layers drive the simulated brains; it is used nowhere else: not as target, generator or metric."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from braindec import checks, weights
from braindec.data.simulated import scenes
from braindec.data.simulated.scenes import Scene

LAYERS = {"conv1": 24, "conv2": 48, "conv3": 96, "conv4": 96, "conv5": 112}  # channels
HIDDEN_DIM = 64
POOLED = 4  # feature maps are averaged onto a 4x4 grid
N_CELLS = 9
CELL_CLASSES = {"shape": 9, "colour": 9, "texture": 5, "size": 4}  # class 0: no object at this place
GROUND_CLASSES = {"background": 6, "pattern": 3}


class SceneNetwork(nn.Module):
    """Small convolutional network that names every factor of a scene at each of the nine places.

    Notes
    -----
    0.36 M parameters. Trained on nothing but the simulated scenes (datasets/simulated/train_weights.py).
    """

    def __init__(self) -> None:
        super().__init__()
        channels = [3, *LAYERS.values()]
        kernels, strides = (5, 3, 3, 3, 3), (2, 2, 2, 1, 2)
        for i, name in enumerate(LAYERS):
            conv = nn.Conv2d(
                channels[i], channels[i + 1], kernels[i], strides[i], kernels[i] // 2, bias=False
            )
            self.add_module(name, nn.Sequential(conv, nn.BatchNorm2d(channels[i + 1]), nn.ReLU()))
        self.hidden = nn.Sequential(nn.Linear(channels[-1] * 16, HIDDEN_DIM), nn.ReLU())
        n_outputs = N_CELLS * sum(CELL_CLASSES.values()) + sum(GROUND_CLASSES.values())
        self.factors = nn.Linear(HIDDEN_DIM, n_outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of all factors.

        Parameters
        ----------
        images : Tensor, shape (n, 3, 64, 64)
            RGB in [-1, 1].

        Returns
        -------
        Tensor, shape (n, 252)
            For each of the nine places the logits of shape, colour, texture and size (class 0: nothing there),
            then those of background and pattern.
        """
        return self.factors(self.layers(images)["hidden"])

    def layers(self, images: Tensor) -> dict[str, Tensor]:
        """Output of every layer by name: (n, channel, height, width), and (n, dim) for "hidden"."""
        found = {}
        x = images
        for name in LAYERS:
            x = self.get_submodule(name)(x)
            found[name] = x
        found["hidden"] = self.hidden(x.flatten(1))
        return found


@cache
def load_scene_network() -> nn.Module:
    """The trained network in evaluation mode, from the shipped weights."""
    network = SceneNetwork()
    network.load_state_dict(weights.tensors(weights.verified("scene_network.safetensors")), strict=True)
    return network.requires_grad_(False).eval()


def layer_features(images: np.ndarray, batch_size: int = 256) -> dict[str, np.ndarray]:
    """What each layer of the network makes of some pictures.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, 64, 64, 3)
        RGB, 0-255.
    batch_size : int
        Pictures per forward pass.

    Returns
    -------
    dict of ndarray of float32, shape (n, dim)
        "conv1" to "conv5" averaged onto a 4x4 grid (dim = 16 channels), and "hidden" (dim = 64); all >= 0.
    """
    checks.n_axes("images", images, ("stimulus", "height", "width", "rgb"))
    checks.at_least("batch_size", batch_size, 1)
    network = load_scene_network()
    parts: dict[str, list[np.ndarray]] = {name: [] for name in (*LAYERS, "hidden")}
    for start in range(0, len(images), batch_size):
        x = to_input(images[start : start + batch_size])
        with torch.inference_mode():
            for name, maps in network.layers(x).items():  # type: ignore[operator]  # a method, not a submodule
                pooled = (
                    nn.functional.adaptive_avg_pool2d(maps, POOLED).flatten(1) if maps.ndim == 4 else maps
                )
                parts[name].append(pooled.numpy())
    return {name: np.concatenate(p) if p else np.empty((0, 0), np.float32) for name, p in parts.items()}


def cell_labels(drawn: Sequence[Scene]) -> dict[str, Tensor]:
    """What the network is trained to say about some scenes.

    Parameters
    ----------
    drawn : sequence of Scene
        The scenes.

    Returns
    -------
    dict of Tensor
        "shape", "colour", "texture", "size": int64 (n, 9), class at each place, 0 where nothing is; "offsets":
        float32 (n, 9, 2), how far right and down of its place's centre the object lies, in [-1, 1]; "background",
        "pattern": int64 (n,).
    """
    labels = {name: torch.zeros(len(drawn), N_CELLS, dtype=torch.long) for name in CELL_CLASSES}
    offsets = torch.zeros(len(drawn), N_CELLS, 2)
    for i, scene in enumerate(drawn):
        for o in scene.objects:
            cell = scenes.PLACES.index(o.place)
            for name in CELL_CLASSES:
                labels[name][i, cell] = 1 + scenes.FACTORS[name].index(getattr(o, name))
            centre_x, centre_y = scenes.PLACE_CENTRES_PX[cell % 3], scenes.PLACE_CENTRES_PX[cell // 3]
            offsets[i, cell] = torch.tensor([o.x_px - centre_x, o.y_px - centre_y]) / scenes.JITTER_PX
    labels["background"] = torch.tensor([scenes.BACKGROUNDS.index(s.background) for s in drawn])
    labels["pattern"] = torch.tensor([scenes.PATTERNS.index(s.pattern) for s in drawn])
    return labels | {"offsets": offsets}


def to_input(images: np.ndarray) -> Tensor:
    """Pictures (n, height, width, 3) of uint8 as the network's input (n, 3, height, width) in [-1, 1]."""
    return torch.from_numpy(images.astype(np.float32)).permute(0, 3, 1, 2) / 127.5 - 1
