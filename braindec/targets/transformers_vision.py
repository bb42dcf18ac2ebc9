"""Vision models of transformers (DINOv2, SigLIP, CLIP, ViT, captioners' towers): any layers, any pooling, by folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks
from braindec.targets import _pretrained
from braindec.targets._pictures import PictureNetwork
from braindec.targets._tokens import POOLINGS, Pooling, as_tokens, pooled
from braindec.targets._views import View

VIEW = View()


@dataclass(frozen=True)
class Config:
    """Settings of a vision model of transformers.

    Parameters
    ----------
    model : str
        Folder written by ``save_pretrained`` (model and image processor), or ``owner/name`` of a model downloaded
        before; see docs/targets.md.
    layers : tuple of int
        Mean of these of the model's ``hidden_states``: 0 goes into the first block, 1 comes out of it, -1 is the last.
        Empty: the model's last hidden state, after its last norm.
    pooling : {"class", "mean", "patches", "all", "model"}
        Class token; mean over patches; patches; every token; or what the model itself puts out for a picture (of
        CLIP and SigLIP the embedding shared with texts), which takes no layers.
    normalised : bool
        Every token divided by its length.
    view : View
        Blur or low-pass of the pictures, before the model's own image transform.
    aligned : str or None
        safetensors file of a linear map, see `_views.LinearMap`.
    """

    model: str = "facebook/dinov2-base"
    layers: tuple[int, ...] = ()
    pooling: Pooling = "class"
    normalised: bool = False
    view: View = VIEW
    aligned: str | None = None

    def __post_init__(self) -> None:
        checks.one_of("pooling", self.pooling, POOLINGS)
        if self.layers and self.pooling == "model":
            raise checks.ConfigError("pooling='model' is the model's own end and takes no layers.")


def build(config: Config) -> TransformersVision:
    """The target of a config, its weights loaded strictly.

    Raises
    ------
    MissingPackageError
        If transformers (extra `models`) is not installed.
    DownloadError
        If the model is not on this machine; it says how to get it.
    DataFileError
        If the folder lacks weights.
    """
    folder, model = _pretrained.opened(config.model, "transformers_vision", pooler=config.pooling == "model")
    return TransformersVision(config, folder, model)


class TransformersVision(PictureNetwork):
    """Tokens of a vision model, prepared by its own image processor.

    Parameters
    ----------
    config : Config
    folder : Path
        For provenance and the image processor.
    model : nn.Module
    """

    def __init__(self, config: Config, folder: Path, model: Any) -> None:
        self._processor = _pretrained.image_processor(folder)
        self._whole = model
        self._vision = _tower(model)
        self._layers, self._pooling = config.layers, config.pooling
        digest, described = _pretrained.weights_digest(folder), _pretrained.config_digest(folder)
        layers = "-".join(map(str, config.layers)) or "last"
        kind = str(self._whole.config.model_type)
        identity = {
            "model": kind, "weights_sha256": digest, "config_sha256": described, "layers": list(config.layers),
            "pooling": config.pooling, "transform": _pretrained.as_json(self._processor.to_dict()),
        }  # fmt: skip
        super().__init__(
            "transformers_vision", f"transformers_vision/{kind}/{digest[:12]}/{layers}/{config.pooling}", model,
            identity, view=config.view, aligned=config.aligned, normalised=config.normalised,
        )  # fmt: skip

    def _prepared(self, pictures: list[np.ndarray]) -> Tensor:
        return self._processor(images=pictures, return_tensors="pt", input_data_format="channels_last")[
            "pixel_values"
        ]

    def _tokens(self, x: Tensor) -> Tensor:
        if self._pooling == "model":
            return self._own_end(x)[:, None]
        out = self._vision(pixel_values=x, output_hidden_states=bool(self._layers))
        if not self._layers:
            tokens = as_tokens(out.last_hidden_state)
        else:
            known = range(-len(out.hidden_states), len(out.hidden_states))
            tokens = torch.stack(
                [as_tokens(out.hidden_states[checks.one_of("layers", k, known)]) for k in self._layers]
            ).mean(0)
        return pooled(tokens, self._n_prefix(tokens, x), self._pooling)

    def _own_end(self, x: Tensor) -> Tensor:
        if hasattr(self._whole, "get_image_features"):
            found = self._whole.get_image_features(pixel_values=x)
            found = found if isinstance(found, Tensor) else found.pooler_output
        else:
            found = getattr(self._vision(pixel_values=x), "pooler_output", None)
        if found is None:
            raise checks.ConfigError(
                f"a {type(self._whole).__name__} has no pooled output of its own; use pooling='class' or 'mean'."
            )
        return found.flatten(1)

    def _n_prefix(self, tokens: Tensor, x: Tensor) -> int:
        """Tokens before those of the patches: all that are more than there are patches."""
        patch = getattr(self._vision.config, "patch_size", None)
        hidden = getattr(self._vision.config, "hidden_sizes", None)
        if patch is None or hidden is not None:
            return 0
        high, wide = (patch, patch) if isinstance(patch, int) else patch
        surplus = tokens.shape[1] - (x.shape[-2] // high) * (x.shape[-1] // wide)
        return (
            surplus if 0 <= surplus < 32 else 0
        )  # a hierarchy of merged patches has fewer tokens, and no prefix


def _tower(model: Any) -> Any:
    """What sees pictures in a model that may also read or write texts: CLIP, SigLIP, BLIP; GIT; LLaVA."""
    names = ("vision_model", "image_encoder", "vision_tower")
    return next((getattr(model, name) for name in names if hasattr(model, name)), model)
