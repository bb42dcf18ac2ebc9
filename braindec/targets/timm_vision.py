"""Vision models of timm: any layer, any pooling, from published weights that are here or a file of one's own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from braindec import _compat, checks, store
from braindec.targets import _downloads, _layers
from braindec.targets._pictures import PictureNetwork
from braindec.targets._tokens import POOLINGS, Pooling, as_tokens, pooled
from braindec.targets._views import View

VIEW = View()
FILES = ("model.safetensors", "pytorch_model.bin")  # as timm names them


@dataclass(frozen=True)
class Config:
    """Settings of a timm model.

    Parameters
    ----------
    model : str
        Architecture, with the tag of its weights where they are published: ``"vit_base_patch14_dinov2.lvd142m"``.
    weights : str
        ``"pretrained"``: the published ones, downloaded before; or a .safetensors or .pth file; or a folder with
        ``config.json`` and ``model.safetensors`` as timm's ``save_for_hf`` writes them, which brings its own transform.
    layer : int or None
        What this block or stage puts out, 1 the first, -1 the last one. None: the features before the pooling.
    pooling : {"model", "class", "mean", "patches", "all"}
        The network's own pooling (without layer); class token; mean over patches or positions; patches; every token.
    size : int or None
        Pixels a side of the pictures; None as the weights were trained.
    normalised : bool
        Every token divided by its length.
    view : View
        Blur or low-pass of the pictures, before the model's own image transform.
    aligned : str or None
        safetensors file of a linear map, see `_views.LinearMap`.
    """

    model: str = "vit_base_patch14_dinov2.lvd142m"
    weights: str = _layers.PRETRAINED
    layer: int | None = None
    pooling: Pooling = "model"
    size: int | None = None
    normalised: bool = False
    view: View = VIEW
    aligned: str | None = None

    def __post_init__(self) -> None:
        checks.one_of("pooling", self.pooling, POOLINGS)
        if self.layer == 0:
            raise checks.ConfigError("layer counts from 1, the first block, or from -1, the last one; got 0.")
        if self.layer is not None and self.pooling == "model":
            raise checks.ConfigError(
                "pooling='model' is the network's own end; a layer needs another pooling."
            )


def build(config: Config) -> TimmVision:
    """The target of a config, its weights loaded strictly.

    Raises
    ------
    MissingPackageError
        If timm is not installed.
    ConfigError
        If timm knows no such architecture.
    DownloadError
        If the published weights are not on this machine; it says how to get them.
    """
    return TimmVision(config)


class TimmVision(PictureNetwork):
    """Tokens of a timm model, prepared by its own image transform.

    Parameters
    ----------
    config : Config
    """

    def __init__(self, config: Config) -> None:
        if util.find_spec("timm") is None:
            raise checks.needs_package("timm", None, "a vision model of timm")
        _compat.ensure_torchvision()
        import timm

        if not timm.is_model(config.model):
            close = checks.suggest(config.model.partition(".")[0], timm.list_models())
            raise checks.ConfigError(f"timm knows no architecture {config.model!r}.{close}")
        file, described = _weights(config)
        network = _network(config, file)
        self._layer, self._pooling = config.layer, config.pooling
        self._n_prefix = int(getattr(network, "num_prefix_tokens", 0))
        transform = timm.data.resolve_model_data_config(
            network, args={"input_size": (3, config.size, config.size)} if config.size else None,
            pretrained_cfg=described or None,
        )  # fmt: skip
        self._transform = timm.data.create_transform(**transform, is_training=False)
        digest, node = store.sha256_of(file), f"{config.layer or 'end'}/{config.pooling}"
        identity = {
            "model": config.model.partition(".")[0], "weights_sha256": digest, "layer": config.layer,
            "pooling": config.pooling, "transform": json.loads(json.dumps(transform)),
        }  # fmt: skip
        size = transform["input_size"][-1]
        super().__init__(
            "timm_vision", f"timm_vision/{identity['model']}/{digest[:12]}/{size}/{node}", network, identity,
            view=config.view, aligned=config.aligned, normalised=config.normalised,
        )  # fmt: skip

    def _prepared(self, pictures: list[np.ndarray]) -> Tensor:
        from PIL import Image

        return torch.stack([self._transform(Image.fromarray(picture)) for picture in pictures])

    def _tokens(self, x: Tensor) -> Tensor:
        network: Any = self.network
        if self._layer is not None:
            return self._block(x, self._layer)
        features = network.forward_features(x)
        if self._pooling == "model":
            return network.forward_head(features, pre_logits=True).flatten(1)[:, None]
        return pooled(_by_channel(features, network), self._n_prefix, self._pooling)

    def _block(self, x: Tensor, layer: int) -> Tensor:
        network: Any = self.network
        given = {"return_prefix_tokens": True} if self._n_prefix else {}
        try:
            found = network.forward_intermediates(
                x,
                indices=[layer - 1 if layer > 0 else layer],
                stop_early=True,
                intermediates_only=True,
                **given,
            )[0]
        except (AssertionError, IndexError) as error:
            raise checks.ConfigError(
                f"layer {layer} is none of a {type(network).__name__}: {error}"
            ) from error
        if not isinstance(found, tuple):
            return pooled(as_tokens(found), 0, self._pooling)
        patches, before = found
        return pooled(torch.cat([before, as_tokens(patches)], 1), before.shape[1], self._pooling)


def _by_channel(features: Tensor, network: Any) -> Tensor:
    """Tokens; a feature map whose channels stand last (Swin) is turned before."""
    if features.ndim == 4 and getattr(network, "output_fmt", "NCHW") == "NHWC":
        features = features.permute(0, 3, 1, 2)
    return as_tokens(features)


def _weights(config: Config) -> tuple[Path, dict[str, Any]]:
    """(file, timm's description of its pictures where the weights bring one)."""
    given = Path(config.weights)
    if config.weights != _layers.PRETRAINED and given.is_dir():
        way_out = "Write the folder with timm.models.save_for_hf(model, folder)."
        described = store.read_json(given / "config.json", way_out)
        checks.same_space(
            f"architecture of {given}", str(described.get("architecture")), config.model.partition(".")[0],
            "Name it in `model`.",
        )  # fmt: skip
        return checks.existing_file(given / FILES[0], way_out), dict(described.get("pretrained_cfg", {}))
    if config.weights != _layers.PRETRAINED:
        return checks.existing_file(given, "Give a .safetensors or .pth file, a folder, or 'pretrained'."), {}
    import timm

    known = timm.get_pretrained_cfg(config.model)
    repository = str(getattr(known, "hf_hub_id", None) or f"timm/{config.model}")
    kept = _downloads.in_hub_cache(repository, FILES)
    if kept is None:
        place = _downloads.repository_folder(repository) / "snapshots" / _downloads.BY_HAND / FILES[0]
        with torch.device("meta"):  # counted, not made
            size = sum(p.numel() for p in timm.create_model(config.model).parameters()) * 4 // 1_000_000
        licence = getattr(known, "license", None) or "see its page"
        raise checks.DownloadError(
            f"target 'timm_vision' needs the weights of {config.model!r} ({size} MB, licence {licence}), not on this "
            f"machine; nothing is downloaded unasked. Get them once with: hf download {repository} {FILES[0]}, or put "
            f"that file at {place}, or give the path of a .safetensors file as weights."
        )
    return kept, {}


def _network(config: Config, file: Path) -> nn.Module:
    """The architecture, with a classifier where the file has one, and the file's tensors in it."""
    import timm

    tensors = _layers.state(file)
    given: dict[str, Any] = {"img_size": config.size} if config.size else {}
    with torch.random.fork_rng(devices=[]):  # what it is started from is replaced below
        try:
            network = timm.create_model(config.model, pretrained=False, **given)
        except TypeError:  # convolutions take any size, and no such setting
            network = timm.create_model(config.model, pretrained=False)
    heads = network.pretrained_cfg.get("classifier")
    heads = (heads,) if isinstance(heads, str) else tuple(heads or ())
    rows = [tensors[f"{head}.weight"].shape[0] for head in heads if f"{head}.weight" in tensors]
    n_classes = rows[0] if rows else 0
    if n_classes != network.num_classes:
        with torch.random.fork_rng(devices=[]):
            network.reset_classifier(n_classes)
    found = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
    network.load_state_dict(found, strict=True)
    return network
