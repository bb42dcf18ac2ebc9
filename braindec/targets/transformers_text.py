"""Text models of transformers (BERT, MiniLM, GPT-2, CLIP, CLAP): captions by layer and pooling, from a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from braindec import checks
from braindec.targets import TextTarget, _pretrained
from braindec.targets._tokens import unit
from braindec.targets._views import map_identity, map_label, map_of

Over = Literal["mean", "class", "last", "model"]
PADDED = ("siglip", "siglip2")  # trained with every text filled up to the model's length


@dataclass(frozen=True)
class Config:
    """Settings of a text model of transformers.

    Parameters
    ----------
    model : str
        Folder written by ``save_pretrained`` (model and tokenizer), or ``owner/name`` of a model downloaded before;
        see docs/targets.md.
    layers : tuple of int
        Mean of these of the model's ``hidden_states``: 0 goes into the first block, 1 comes out of it, -1 is the last.
        Empty: the last hidden state.
    pooling : {"mean", "class", "last", "model"}
        Over the pieces of words that are no padding: their mean, the first one, the last one. "model": what the model
        itself puts out for a text (of CLIP, SigLIP and CLAP the shared embedding), which takes no layers.
    max_length : int
        Pieces of words after which a text is cut.
    normalised : bool
        Embeddings divided by their length.
    aligned : str or None
        safetensors file of a linear map, see `_views.LinearMap`.
    """

    model: str = "sentence-transformers/all-MiniLM-L6-v2"
    layers: tuple[int, ...] = ()
    pooling: Over = "mean"
    max_length: int = 256
    normalised: bool = True
    aligned: str | None = None

    def __post_init__(self) -> None:
        checks.one_of("pooling", self.pooling, get_args(Over))
        checks.at_least("max_length", self.max_length, 1)
        if self.layers and self.pooling == "model":
            raise checks.ConfigError("pooling='model' is the model's own end and takes no layers.")


def build(config: Config) -> TransformersText:
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
    folder, model = _pretrained.opened(config.model, "transformers_text", pooler=config.pooling == "model")
    return TransformersText(config, folder, model)


class TransformersText(TextTarget):
    """Descriptions in the eyes of a text model.

    Parameters
    ----------
    config : Config
    folder : Path
        For provenance and the tokenizer.
    model : nn.Module
    """

    name = "transformers_text"

    def __init__(self, config: Config, folder: Path, model: Any) -> None:
        from transformers import AutoTokenizer

        with _pretrained.quiet():
            self._tokenizer = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._tokenizer.padding_side = "right"
        self.config, self._whole, self._map = config, model, map_of(config.aligned)
        encoder = model.get_encoder() if getattr(model.config, "is_encoder_decoder", False) else model
        self._network: Any = getattr(encoder, "text_model", encoder)
        self._kind = str(self._whole.config.model_type)
        digest = _pretrained.weights_digest(folder)
        self._identity = {
            "target": self.name, "model": self._kind, "weights_sha256": digest,
            "config_sha256": _pretrained.config_digest(folder), "tokenizer_sha256": _tokenizer_digest(folder),
            "layers": list(config.layers), "pooling": config.pooling, "max_length": self._limit,
            "normalised": config.normalised,
        } | map_identity(self._map)  # fmt: skip
        layers = "-".join(map(str, config.layers)) or "last"
        self.space = f"{self.name}/{self._kind}/{digest[:12]}/{layers}/{config.pooling}"
        self.space += map_label(self._map) + ("/unit" if config.normalised else "")
        self.shape = (1, self.embed_text(["a picture"]).shape[1])

    @property
    def _limit(self) -> int:
        """Pieces of words that a text may have: what is asked for, and what the model can take."""
        config = getattr(self._whole.config, "text_config", self._whole.config)
        most = int(getattr(config, "max_position_embeddings", self.config.max_length))
        for name, module in self._network.named_modules():
            if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
                # RoBERTa's kin count places from the one after that of padding: of 514, 512 are left.
                most -= 0 if module.padding_idx is None else module.padding_idx + 1
        return min(self.config.max_length, most)

    def identity(self) -> dict[str, Any]:
        """Model, sha256 of weights and tokenizer, layers, pooling."""
        return dict(self._identity)

    @torch.inference_mode()
    def embed_text(self, texts: Sequence[str], *, batch_size: int = 256, device: str = "cpu") -> np.ndarray:
        """float32 (n, dim); see `TextTarget.embed_text`."""
        checks.at_least("batch_size", batch_size, 1)
        self._whole.to(device)
        parts = []
        for start in range(0, len(texts), batch_size):
            batch = self._tokenizer(
                list(texts[start : start + batch_size]), truncation=True, max_length=self._limit,
                padding="max_length" if self._kind in PADDED else True, return_tensors="pt",
            ).to(device)  # fmt: skip
            found = self._pooled(batch).float()
            found = found if self._map is None else self._map(found)
            parts.append((unit(found) if self.config.normalised else found).cpu().numpy())
        return np.concatenate(parts) if parts else np.empty((0, self.shape[1]), np.float32)

    def _pooled(self, batch: Any) -> Tensor:
        if self.config.pooling == "model":
            return self._own_end(batch)
        layers = self.config.layers
        out = self._network(**batch, output_hidden_states=bool(layers))
        if layers:
            known = range(-len(out.hidden_states), len(out.hidden_states))
            hidden = torch.stack([out.hidden_states[checks.one_of("layers", k, known)] for k in layers]).mean(
                0
            )
        else:
            hidden = out.last_hidden_state
        if self.config.pooling == "class":
            return hidden[:, 0]
        mask = (
            batch["attention_mask"]
            if "attention_mask" in batch
            else torch.ones(hidden.shape[:2]).to(hidden.device)
        )
        if self.config.pooling == "last":
            return hidden[torch.arange(len(hidden)), mask.long().sum(1) - 1]
        weight = mask[..., None].to(hidden)
        return (hidden * weight).sum(1) / weight.sum(1)

    def _own_end(self, batch: Any) -> Tensor:
        if hasattr(self._whole, "get_text_features"):
            found = self._whole.get_text_features(**batch)
            found = found if isinstance(found, Tensor) else found.pooler_output
        else:
            found = getattr(self._network(**batch), "pooler_output", None)
        if found is None:
            raise checks.ConfigError(
                f"a {type(self._whole).__name__} has no pooled output of its own; use pooling='mean'."
            )
        return found


def _tokenizer_digest(folder: Path) -> str:
    """sha256 over the tokenizer's files: the same weights read other pieces of words with another one."""
    from braindec import store

    names = ("tokenizer.json", "vocab.txt", "vocab.json", "merges.txt", "spiece.model")
    there = [folder / name for name in names if (folder / name).is_file()]
    if not there:
        raise checks.DataFileError(
            folder, "holds no tokenizer", "Save the model's tokenizer into the folder of the model."
        )
    return store.content_hash(**{path.name: store.sha256_of(path) for path in there})
