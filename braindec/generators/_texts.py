"""Captions as the text encoders of a pipeline read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from braindec.generators import _folder


@dataclass(frozen=True, eq=False)
class Texts:
    """One or two text encoders of CLIP.

    Parameters
    ----------
    pairs : tuple of (tokenizer, encoder)
    zeros : bool
        Whether nothing said is zeros and not the empty caption's tokens (SDXL).
    """

    pairs: tuple[tuple[Any, Any], ...]
    zeros: bool = False

    def read(self, texts: tuple[str, ...]) -> tuple[Tensor, Tensor | None]:
        """Tokens (n, n_tokens, dim), and the pooled embedding (n, dim) of a second encoder."""
        if len(self.pairs) == 1:
            return _encoded(self.pairs[0], texts)[0], None
        # SDXL reads the last layer but one of both, and the second one's projection.
        found = [_encoded(pair, texts, hidden=True) for pair in self.pairs]
        return torch.cat([out.hidden_states[-2] for out in found], -1), found[-1][0]

    def nothing(self, negative: str, n: int) -> tuple[Tensor, Tensor | None]:
        """What says nothing, or the opposite of a negative caption; as `read`."""
        tokens, pooled = self.read((negative,))
        if self.zeros and not negative:
            tokens, pooled = torch.zeros_like(tokens), None if pooled is None else torch.zeros_like(pooled)
        return tokens.expand(n, -1, -1), None if pooled is None else pooled.expand(n, -1)


def texts(folder: _folder.Folder, device: str, dtype: str, variant: str) -> Texts:
    """The text encoders of a folder."""
    names = [name for name in ("text_encoder", "text_encoder_2") if name in folder.parts]
    pairs = tuple(
        (
            _folder.tokenizer(folder, name.replace("text_encoder", "tokenizer")),
            _folder.model(
                folder, name, ("CLIPTextModel", "CLIPTextModelWithProjection"), device=device, dtype=dtype,
                variant=variant,
            ),
        )
        for name in names
    )  # fmt: skip
    return Texts(pairs, bool(folder.settings.get("force_zeros_for_empty_prompt", False)))


def _encoded(pair: tuple[Any, Any], said: tuple[str, ...], hidden: bool = False) -> Any:
    tokenizer, encoder = pair
    ids = tokenizer(
        list(said),
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    return encoder(ids.to(encoder.device), output_hidden_states=hidden)


def time_ids(n: int, size: tuple[int, int]) -> Tensor:
    """What SDXL is told of sizes (n, 6): the picture was as large as it is, and nothing was cropped."""
    return torch.tensor([[*size, 0, 0, *size]], dtype=torch.float32).expand(n, -1)
