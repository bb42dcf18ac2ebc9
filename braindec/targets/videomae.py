"""VideoMAE fine-tuned on Kinetics-400: which of 400 actions a clip shows, for n-way classification of clips."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from braindec import _compat, checks, store, weights
from braindec.targets import VideoTarget
from braindec.targets._layers import IMAGENET_MEAN, IMAGENET_STD

SOURCE = "https://huggingface.co/MCG-NJU/videomae-base-finetuned-kinetics"


@dataclass(frozen=True)
class Config:
    """Settings of the judging network.

    Parameters
    ----------
    folder : str
        Holds ``config.json`` and ``model.safetensors`` of a VideoMAE classifier, e.g. pulled from
        huggingface.co/MCG-NJU/videomae-base-finetuned-kinetics.
    node : {"logits"}
        Of its classes.
    """

    folder: str = "weights/videomae-base-finetuned-kinetics"
    node: Literal["logits"] = "logits"

    def __post_init__(self) -> None:
        checks.one_of("node", self.node, ("logits",))


def build(config: Config) -> VideoMae:
    """The target of a config, its weights loaded strictly.

    Raises
    ------
    FileNotFoundError
        If the folder does not hold the model; it says from where to download it.
    """
    return VideoMae(config)


class VideoMae(VideoTarget):
    """Logits of a VideoMAE classifier.

    Parameters
    ----------
    config : Config
    """

    name = "videomae"

    def __init__(self, config: Config) -> None:
        _compat.ensure_torchvision()
        from transformers import VideoMAEConfig, VideoMAEForVideoClassification

        folder = Path(config.folder)
        way_out = f"Download config.json and model.safetensors from {SOURCE} into {folder}."
        described = store.read_json(folder / "config.json", way_out)
        self._file = checks.existing_file(folder / "model.safetensors", way_out)
        settings = VideoMAEConfig(**described)
        self._size, self._n_frames = settings.image_size, settings.num_frames
        with torch.random.fork_rng(devices=[]):  # what it is started from is replaced below
            self._network = VideoMAEForVideoClassification(settings)
        self._network.load_state_dict(weights.tensors(self._file), strict=True)
        self._network.eval().requires_grad_(False)
        self.shape = (1, settings.num_labels)
        self.space = f"videomae/{store.sha256_of(self._file)[:12]}/{config.node}"

    def identity(self) -> dict[str, Any]:
        """Network, sha256 of the weights and transform."""
        return {
            "target": self.name,
            "weights_sha256": store.sha256_of(self._file),
            "size": self._size,
            "n_frames": self._n_frames,
            "resize": "bilinear, antialiased, no crop; frames at equal steps, the nearest ones",
        }

    @torch.inference_mode()
    def embed_videos(
        self, clips: Iterable[Any], *, batch_size: int = 8, device: str = "cpu", progress: bool = False
    ) -> np.ndarray:
        """float32 (n, 1, n_classes); see `VideoTarget.embed_videos`."""
        checks.at_least("batch_size", batch_size, 1)
        network = self._network.to(device)
        parts = [np.empty((0, self.shape[1]), np.float32)]
        with tqdm(desc="embed videomae", disable=not progress) as bar:
            for batch in _batches(clips, batch_size):
                x = torch.stack([self._prepared(clip) for clip in batch]).to(device)
                parts.append(network(pixel_values=x).logits.float().cpu().numpy())
                bar.update(len(batch))
        return np.concatenate(parts)[:, None]

    def _prepared(self, clip: np.ndarray) -> Tensor:
        """(n_frames, 3, size, size), normalised as ImageNet."""
        checks.n_axes("clip", clip, ("frame", "height", "width", "rgb"))
        if clip.dtype != np.uint8:
            raise TypeError(f"a clip must be uint8 in 0-255, got {clip.dtype}.")
        chosen = np.linspace(0, len(clip) - 1, self._n_frames).round().astype(int)
        x = torch.tensor(clip[chosen]).permute(0, 3, 1, 2).float() / 255
        x = nn.functional.interpolate(
            x, (self._size, self._size), mode="bilinear", antialias=True, align_corners=False
        )
        mean, std = (torch.tensor(v)[None, :, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
        return (x - mean) / std


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
