"""The image tower of an open_clip model, read where a setting says: any layer, any tokens, projected or not."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from braindec import checks
from braindec.targets._tokens import as_tokens


class Tower:
    """Pictures to tokens (n, n_tokens, dim), not normalised.

    Parameters
    ----------
    model : CLIP of open_clip
        Or a class with the same interface.
    tokens : {"pooled", "all", "patches", "mean"}
    layer : int or None
        Block, 1 the first, -1 the last; None the end of the tower.
    projected : bool or None
        None: pooled and all at the tower's end are, patches, mean and layers are not.
    """

    def __init__(self, model: Any, tokens: str, layer: int | None, projected: bool | None) -> None:
        self.model, self.visual, self.tokens, self.layer = model, model.visual, tokens, layer
        usual = layer is None and tokens in ("pooled", "all")
        self.projected = usual if projected is None else projected
        self._usual = self.projected == usual
        if layer is None and tokens != "pooled":
            self._needs_tokens()
        if layer is not None or not self._plain_pooled:
            self._check_projection()

    @property
    def _plain_pooled(self) -> bool:
        return self.layer is None and self.tokens == "pooled" and self.projected

    @property
    def _is_transformer(self) -> bool:
        from open_clip.transformer import VisionTransformer

        return isinstance(self.visual, VisionTransformer)

    @property
    def _trunk(self) -> Any:
        """The network of timm behind the tower, if there is one."""
        return getattr(self.visual, "trunk", None)

    @property
    def shared_with_texts(self) -> bool:
        """Whether descriptions have embeddings in this space."""
        return self.layer is None and self.tokens in ("pooled", "all") and self.projected

    @property
    def label(self) -> str:
        """Part of the space's name; empty for what `tokens` means by itself."""
        layer = "" if self.layer is None else f"/layer{self.layer}"
        return layer + ("" if self._usual else "/projected" if self.projected else "/unprojected")

    def identity(self) -> dict[str, Any]:
        """For provenance; empty for what `tokens` means by itself."""
        found: dict[str, Any] = {} if self.layer is None else {"layer": self.layer}
        return found if self._usual else found | {"projected": self.projected}

    def __call__(self, x: Tensor) -> Tensor:
        """Normalised pictures (n, 3, height, width) to (n, n_tokens, dim)."""
        if self._plain_pooled:
            return self.model.encode_image(x)[:, None]
        if self.layer is not None:
            tokens, n_prefix = self._layer(x, self.layer)
            if self.projected:
                tokens = self.visual.ln_post(tokens)
        else:
            tokens, n_prefix = self._end(x)
        if self.tokens == "pooled":
            found = tokens[:, :1] if n_prefix else tokens.mean(1, keepdim=True)
        elif self.tokens == "all":
            found = tokens
        else:
            found = tokens[:, n_prefix:]
            found = found.mean(1, keepdim=True) if self.tokens == "mean" else found
        return self._into_shared(found) if self.projected else found

    def _layer(self, x: Tensor, layer: int) -> tuple[Tensor, int]:
        """(tokens, how many stand before the patches) of one block."""
        index = layer - 1 if layer > 0 else layer
        try:
            found = self.visual.forward_intermediates(
                x, indices=[index], stop_early=True, intermediates_only=True, output_extra_tokens=True
            )
        except (AssertionError, IndexError) as error:
            raise checks.ConfigError(f"layer {layer} is none of this image tower: {error}") from error
        patches = as_tokens(found["image_intermediates"][0])
        before = found.get("image_intermediates_prefix")
        if not before:
            return patches, 0
        return torch.cat([before[0], patches], 1), before[0].shape[1]

    def _end(self, x: Tensor) -> tuple[Tensor, int]:
        """The same at the end of the tower, before the projection."""
        if self._trunk is not None:
            if self.tokens == "pooled":
                return self._trunk(x)[:, None], 0
            tokens = as_tokens(self._trunk.forward_features(x))
            return tokens, getattr(self._trunk, "num_prefix_tokens", 0)
        normed: list[Tensor] = []
        handle = self.visual.ln_post.register_forward_hook(lambda _m, _i, out: normed.append(out))
        try:
            self.model.encode_image(x)
        finally:
            handle.remove()
        tokens = normed[0]
        if tokens.ndim == 2:  # the norm stands after the pooling
            return tokens[:, None], 0
        if self.visual.pool_type == "avg" and self.tokens == "pooled":
            return tokens[:, 1:], 0
        return tokens, 1

    def _into_shared(self, tokens: Tensor) -> Tensor:
        return tokens @ self.visual.proj if self._trunk is None else self.visual.head(tokens)

    def _needs_tokens(self) -> None:
        visual = self.visual
        if self._trunk is not None:
            if self.tokens != "all" or getattr(self._trunk, "num_prefix_tokens", 0) > 0:
                return
        elif self._is_transformer and visual.attn_pool is None and visual.pool_type == "tok":
            if not visual.final_ln_after_pool:
                return
        raise checks.ConfigError(
            f"tokens={self.tokens!r} needs a vision transformer with a class token, but the image tower is a "
            f"{type(visual).__name__}. Use tokens='pooled', or read a layer, e.g. layer=-1."
        )

    def _check_projection(self) -> None:
        """Whether the projection, where it is asked for or left out, stands apart from the tower."""
        if self.projected:
            apart = (
                self._is_transformer
                if self._trunk is None
                else self.layer is None and len(self.visual.head) > 0
            )
        else:
            apart = self.layer is not None or self._is_transformer or self._trunk is not None
        if not apart:
            raise checks.ConfigError(
                f"projected={self.projected} is not possible for {self.tokens!r} of a {type(self.visual).__name__}"
                f"{'' if self.layer is None else f' at layer {self.layer}'}: its projection is no map of tokens."
            )
