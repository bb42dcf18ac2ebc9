"""What makes a prefix: embeddings to vectors in the space of a language model's token embeddings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from braindec import store, weights

FILE, ABOUT = "mapping.safetensors", "captioner.json"
WAY_OUT = "Write the folder again with the captioner's save_pretrained."


class Mapping(nn.Module):
    """Standardised embeddings to prefixes, `n_prefix` vectors or one a token.

    Parameters
    ----------
    shape : (int, int)
        Tokens and dims of an embedding.
    width : int
        Dims of the language model.
    n_prefix : int or None
        None: every token becomes a vector, by one linear layer and a norm.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, shape: tuple[int, int], width: int, n_prefix: int | None) -> None:
        super().__init__()
        self.shape, self.width, self.n_prefix = shape, width, n_prefix
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("scale", torch.ones(shape))
        if n_prefix is None:
            self.layers = nn.Sequential(nn.Linear(shape[1], width), nn.LayerNorm(width))
            self.place = nn.Parameter(0.02 * torch.randn(shape[0], width))
        else:
            hidden = width * n_prefix // 2  # as ClipCap's
            size = shape[0] * shape[1]
            self.layers = nn.Sequential(
                nn.Linear(size, hidden), nn.Tanh(), nn.Linear(hidden, width * n_prefix)
            )

    def standardised(self, embeddings: Tensor) -> Tensor:
        """Embeddings (n, n_tokens, dim) about the training mean, in training standard deviations."""
        return (embeddings - self.mean) / self.scale

    def forward(self, embeddings: Tensor) -> Tensor:
        """Prefixes (n, n_prefix, width) of embeddings (n, n_tokens, dim)."""
        return self.of_standardised(self.standardised(embeddings))

    def of_standardised(self, x: Tensor) -> Tensor:
        """Prefixes (n, n_prefix, width) of standardised embeddings."""
        if self.n_prefix is None:
            return self.layers(x) + self.place
        return self.layers(x.flatten(1)).unflatten(1, (self.n_prefix, self.width))


class PrefixModel(nn.Module):
    """A causal language model of transformers behind a mapping."""

    def __init__(self, words: Any, mapping: Mapping) -> None:
        super().__init__()
        self.words, self.mapping = words, mapping

    @property
    def n_places(self) -> int:
        """Tokens that have a place behind a prefix."""
        return int(self.words.config.n_positions) - (self.mapping.n_prefix or self.mapping.shape[0])

    def loss(self, standardised: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Cross-entropy of texts (n, n_ids) that go on from their prefixes, where `mask` is 1; scalar.

        What is 0 in `mask` is read and not learnt: a question before its answer, and what fills up after the end, which
        no token before it sees.
        """
        prefix = self.mapping.of_standardised(standardised)
        known = self.words.get_input_embeddings()(ids)
        seen = torch.ones(len(ids), prefix.shape[1] + ids.shape[1], device=ids.device)
        logits = self.words(inputs_embeds=torch.cat([prefix, known], 1), attention_mask=seen).logits
        said = logits[:, prefix.shape[1] - 1 : -1]  # what comes next after the prefix, and after each token
        each = nn.functional.cross_entropy(said.flatten(0, 1), ids.flatten(), reduction="none")
        return (each * mask.flatten()).sum() / mask.sum()


def mapping_of(kind: str, embeddings: Tensor, width: int, n_prefix: int) -> Mapping:
    """A fresh mapping that knows mean and spread of the training embeddings (n, n_tokens, dim)."""
    shape = (int(embeddings.shape[1]), int(embeddings.shape[2]))
    made = Mapping(shape, width, n_prefix if kind == "mlp" else None)
    made.mean.copy_(embeddings.mean(0))
    made.scale.copy_(embeddings.std(0, correction=0).clamp_min(1e-6))
    return made


def save_mapping(place: Path, mapping: Mapping, about: dict[str, Any]) -> Path:
    """Writes mapping and JSON into the folder of a language model; returns the folder."""
    from safetensors.torch import save_file

    save_file(mapping.state_dict(), place / FILE)
    known = about | {"n_prefix": mapping.n_prefix, "mapping_sha256": weights.sha256(place / FILE)}
    (place / ABOUT).write_text(json.dumps(known, indent=1))
    return place


def load_mapping(place: Path, width: int) -> tuple[Mapping, dict[str, Any]]:
    """What `save_mapping` wrote.

    Raises
    ------
    DataFileError
        If the file's content is not the recorded one.
    """
    about = store.read_json(place / ABOUT, WAY_OUT)
    if weights.sha256(place / FILE) != about["mapping_sha256"]:
        from braindec.checks import DataFileError

        raise DataFileError(place / FILE, "content differs from its recorded sha256", WAY_OUT)
    mapping = Mapping((about["shape"][0], about["shape"][1]), width, about["n_prefix"])
    mapping.load_state_dict(weights.tensors(place / FILE), strict=True)
    return mapping, about
