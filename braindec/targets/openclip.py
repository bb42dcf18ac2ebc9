"""OpenCLIP image and text embeddings: any model of the open_clip library, or one described by a JSON file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from braindec import _compat, checks, store, weights
from braindec.targets import ImageTextTarget, _downloads
from braindec.targets._openclip_tower import Tower
from braindec.targets._views import View, as_array, map_identity, map_label, map_of
from braindec.targets._words import WordTokenizer

TOKENS = ("pooled", "all", "patches", "mean")
VIEW = View()
FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")  # as open_clip names them on the hub


@dataclass(frozen=True)
class Config:
    """Settings of an OpenCLIP target.

    Parameters
    ----------
    model : str
        Name of an open_clip architecture, or path of a JSON file with "model_cfg" and "preprocess_cfg" in open_clip's
        format; a "vocabulary" in it makes every word one text token.
    weights : str
        A pretrained tag of open_clip (downloaded once, by open_clip), or path of a safetensors file.
    tokens : {"pooled", "all", "patches", "mean"}
        The one image embedding; class and patch tokens in the space of the pooled one (MindEye1's 257 x 768 of
        ViT-L-14); the patch tokens before the projection (MindEye2's 256 x 1664 of ViT-bigG-14); or their mean.
    normalised : bool
        Divide pooled and mean embeddings by their length, and "all" by the class token's length. Patches stay as they
        are.
    layer : int or None
        What this block of the image tower puts out, 1 the first, -1 the last one (of a ResNet: its stem and four
        stages), before the last norm. Its "pooled" is the class token, or the mean where there is none. None: the
        tower's end.
    projected : bool or None
        Whether tokens go through the last norm and the projection into the space shared with texts. None: as said for
        `tokens`, and not for a layer.
    view : View
        Blur or low-pass of the pictures, before the model's own image transform.
    aligned : str or None
        safetensors file of a linear map (see `_views.LinearMap`) that is applied to every embedding before it is
        normalised: human-aligned spaces.
    """

    model: str = "ViT-L-14"
    weights: str = "openai"
    tokens: Literal["pooled", "all", "patches", "mean"] = "pooled"
    normalised: bool = True
    layer: int | None = None
    projected: bool | None = None
    view: View = VIEW
    aligned: str | None = None

    def __post_init__(self) -> None:
        checks.one_of("tokens", self.tokens, TOKENS)
        if self.layer == 0:
            raise checks.ConfigError("layer counts from 1, the first block, or from -1, the last one; got 0.")


def build(config: Config) -> OpenClip:
    """The target of a config, with its weights loaded strictly.

    Raises
    ------
    ConfigError
        If open_clip knows no such architecture or tag.
    DownloadError
        If the weights have to be downloaded and cannot be.
    FileNotFoundError
        If a path was given that does not exist.
    """
    if Path(config.model).suffix == ".json":
        return _from_files(config)
    return _from_library(config)


class OpenClip(ImageTextTarget):
    """An open_clip model with its own image transform and tokenizer.

    Parameters
    ----------
    model : nn.Module
        open_clip's CLIP or a class with the same interface.
    transform : callable
        PIL image to Tensor (3, size, size).
    tokenizer : callable
        List of texts to Tensor of ids.
    config : Config
        Which tokens, and whether normalised.
    space, identity : str, dict
        See `Target`; the identity says what the model is, this class adds what is read from it.
    """

    name = "openclip"

    def __init__(
        self,
        model: nn.Module,
        transform: Callable,
        tokenizer: Callable,
        config: Config,
        space: str,
        identity: dict,
    ) -> None:
        self.model: Any = model.eval()  # open_clip's classes share an interface but no base class
        self.transform, self.tokenizer, self.config = transform, tokenizer, config
        self.model.requires_grad_(False)
        self._tower = Tower(self.model, config.tokens, config.layer, config.projected)
        self._map = map_of(config.aligned)
        self.space = f"{space}{self._tower.label}/{config.tokens}" + ("" if config.normalised else "/raw")
        self.space += config.view.label + map_label(self._map)
        self._identity = identity | {"tokens": config.tokens, "normalised": config.normalised}
        self._identity |= self._tower.identity() | config.view.identity() | map_identity(self._map)
        size = self._identity["transform"]["size"]
        height, width = (size, size) if isinstance(size, int) else size
        probe = self._embed_batch(torch.zeros(1, 3, height, width))
        self.shape = (probe.shape[1], probe.shape[2])

    def identity(self) -> dict[str, Any]:
        """Model, sha256 of the weights, tokens and image transform."""
        return dict(self._identity)

    @torch.inference_mode()
    def embed_images(
        self, images: Iterable[Any], *, batch_size: int = 64, device: str = "cpu", progress: bool = False
    ) -> np.ndarray:
        """Embeddings of pictures; see `ImageTarget.embed_images`."""
        checks.at_least("batch_size", batch_size, 1)
        self.model.to(device)
        total = len(images) if isinstance(images, Sequence | np.ndarray) else None
        parts = [np.empty((0, *self.shape), np.float32)]
        with tqdm(total=total, desc=f"embed {self.name}", disable=not progress) as bar:
            for batch in _batches(images, batch_size):
                x = torch.stack([self.transform(_seen(image, self.config.view)) for image in batch])
                parts.append(self._embed_batch(x.to(device)).float().cpu().numpy())
                bar.update(len(batch))
        return np.concatenate(parts)

    @torch.inference_mode()
    def embed_text(self, texts: Sequence[str], *, batch_size: int = 256, device: str = "cpu") -> np.ndarray:
        """Embeddings of descriptions; see `ImageTextTarget.embed_text`.

        Raises
        ------
        ConfigError
            If pictures are read from a layer, or not projected: such spaces hold no texts.
        """
        if not self._tower.shared_with_texts:
            raise checks.ConfigError(
                f"{self.space!r} is a space of pictures alone; descriptions have none in it."
            )
        self.model.to(device)
        parts = []
        for start in range(0, len(texts), batch_size):
            ids = self.tokenizer(list(texts[start : start + batch_size])).to(device)
            found = self.model.encode_text(ids)
            found = found if self._map is None else self._map(found)
            found = found / found.norm(dim=-1, keepdim=True) if self.config.normalised else found
            parts.append(found.float().cpu().numpy())
        return np.concatenate(parts) if parts else np.empty((0, self.shape[1]), np.float32)

    def _embed_batch(self, x: Tensor) -> Tensor:
        tokens = self._tower(x)
        if self._map is not None:
            tokens = self._map(tokens)
        if not self.config.normalised or self.config.tokens == "patches":
            return tokens
        return tokens / tokens[:, :1].norm(dim=-1, keepdim=True)  # "all": by the class token's length


def _from_files(config: Config) -> OpenClip:
    _compat.ensure_torchvision()
    from open_clip.model import CLIP
    from open_clip.transform import PreprocessCfg, image_transform_v2

    path = checks.existing_file(
        config.model, "Give the JSON file of a model, or the name of an open_clip architecture."
    )
    described = store.read_json(path)
    model = CLIP(**described["model_cfg"])
    model.load_state_dict(weights.tensors(_safetensors(config.weights)), strict=True)
    preprocess = PreprocessCfg(size=model.visual.image_size, **described["preprocess_cfg"])
    tokenizer = WordTokenizer(described["vocabulary"], described["model_cfg"]["text_cfg"]["context_length"])
    digest = weights.sha256(config.weights)
    identity = _identity(path.stem, digest, asdict(preprocess))
    transform = image_transform_v2(preprocess, is_train=False)
    return OpenClip(model, transform, tokenizer, config, f"openclip/{path.stem}/{digest[:12]}", identity)


def _from_library(config: Config) -> OpenClip:
    _compat.ensure_torchvision()
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2

    checks.one_of("model", config.model, open_clip.list_models())
    found, label = _library_weights(config)
    described = open_clip.get_pretrained_cfg(config.model, config.weights)
    # OpenAI's weights were trained with QuickGELU, which the architecture's own config does not say.
    model = open_clip.create_model(
        config.model, pretrained=str(found), force_quick_gelu=bool(described.get("quick_gelu", False)),
        force_preprocess_cfg={k: v for k, v in described.items() if k in PreprocessCfg.__dataclass_fields__},
    )  # fmt: skip
    preprocess = model.visual.preprocess_cfg
    identity = _identity(config.model, weights.sha256(found), preprocess)
    transform = image_transform_v2(PreprocessCfg(**preprocess), is_train=False)
    tokenizer = open_clip.get_tokenizer(config.model)
    return OpenClip(model, transform, tokenizer, config, f"openclip/{config.model}/{label}", identity)


def _library_weights(config: Config) -> tuple[Path, str]:
    """(file, label in the space's name) of the weights of an open_clip architecture."""
    import open_clip

    if Path(config.weights).suffix == ".safetensors":
        path = _safetensors(config.weights)
        return path, weights.sha256(path)[:12]
    tags = open_clip.list_pretrained_tags_by_model(config.model)
    checks.one_of(f"weights of {config.model} (or a path of a .safetensors file)", config.weights, tags)
    described = open_clip.get_pretrained_cfg(config.model, config.weights)
    kept = _kept(described)
    return (_downloaded(config, described) if kept is None else kept), config.weights


def _kept(described: dict[str, Any]) -> Path | None:
    """The file where an earlier download, or a person, put it: nothing is asked of the network for it."""
    repository, _, name = str(described.get("hf_hub", "")).rpartition("/")
    return _downloads.in_hub_cache(repository, (name,) if name else FILES) if repository else None


def _downloaded(config: Config, described: dict[str, Any]) -> Path:
    import open_clip

    repository, _, name = str(described.get("hf_hub", "")).rpartition("/")
    source = f"https://huggingface.co/{repository}" if repository else str(described.get("url"))
    reason = _downloads.why_unreachable(source)
    try:
        if not reason:
            return Path(open_clip.download_pretrained(described))
    except (OSError, RuntimeError) as error:
        reason = f"{type(error).__name__}: {error}"
    file = name or FILES[0]
    place = _downloads.repository_folder(repository) / "snapshots" / _downloads.BY_HAND
    by_hand = f"put {file} from there at {place / file}" if repository else "download it elsewhere"
    raise checks.DownloadError(
        f"weights {config.weights!r} of {config.model} must be downloaded once from {source} and could not be "
        f"({reason}). Connect to the network once, or {by_hand}, or give the path of a .safetensors file as weights."
    )


def _identity(model: str, digest: str, preprocess: dict[str, Any]) -> dict[str, Any]:
    transform = {k: list(v) if isinstance(v, tuple) else v for k, v in preprocess.items()}
    return {"target": "openclip", "model": model, "weights_sha256": digest, "transform": transform}


def _safetensors(path: str) -> Path:
    if Path(path).suffix != ".safetensors":
        raise checks.ConfigError(f"weights must be a .safetensors file, got {path!r}.")
    return checks.existing_file(path, "Give the path of a .safetensors file.")


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _seen(image: Any, view: View) -> Any:
    from PIL import Image

    if isinstance(image, Image.Image) and view.plain:
        return image.convert("RGB")
    return Image.fromarray(view.apply(np.asarray(as_array(image))))
