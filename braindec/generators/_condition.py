"""What the network of a latent diffusion is told of some rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Condition:
    """What a network is told of some rows.

    Parameters
    ----------
    tokens : Tensor, shape (n, n_tokens, dim)
        Of its cross-attention.
    classes : Tensor, shape (n, dim), optional
        Of its class embedding.
    added : dict of str to Tensor, first axis n
        Its `added_cond_kwargs`.
    """

    tokens: Tensor
    classes: Tensor | None = None
    added: dict[str, Tensor] = field(default_factory=dict)

    def after(self, other: Condition) -> Condition:
        """The rows of another one, then these."""
        classes = (
            None
            if self.classes is None or other.classes is None
            else torch.cat([other.classes, self.classes])
        )
        added = {name: torch.cat([other.added[name], value]) for name, value in self.added.items()}
        return Condition(torch.cat([other.tokens, self.tokens]), classes, added)

    def typed(self, dtype: torch.dtype, device: torch.device | None = None) -> Condition:
        """The same in another type, and on another device."""
        return Condition(
            self.tokens.to(device, dtype),
            None if self.classes is None else self.classes.to(device, dtype),
            {name: value.to(device, dtype) for name, value in self.added.items()},
        )

    def keywords(self) -> dict[str, Any]:
        """As UNet2DConditionModel and ControlNetModel take it; an adapter's embeddings come in a list."""
        added: dict[str, Any] = dict(self.added)
        if "image_embeds" in added:
            added["image_embeds"] = [added["image_embeds"]]
        return {
            "encoder_hidden_states": self.tokens, "class_labels": self.classes, "added_cond_kwargs": added or None
        }  # fmt: skip
