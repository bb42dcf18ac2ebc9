"""What a decoder is, in a few named lines, for notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from braindec import registry

if TYPE_CHECKING:
    from braindec.decoder.brain_decoder import BrainDecoder


def outlined(decoder: BrainDecoder) -> dict[str, Any]:
    """Its subjects, what it decodes into, its parts, how it is fitted, and whether it is.

    Parameters
    ----------
    decoder : BrainDecoder
        Fitted or not.
    """
    settings = decoder.settings
    parts = {
        "adapter": settings.adapter,
        "backbone": settings.backbone,
        "loss": settings.loss,
        "prior": settings.prior,
    }
    fitted = decoder.encoder is not None
    return {
        "subjects": sorted({*decoder.preprocessing, *decoder.readouts}) if fitted else list(decoder.info.signals),
        "decodes": [f"{i.space} ({' x '.join(map(str, i.shape))})" for i in decoder.outputs.values()],
        **{name: _named(config) for name, config in parts.items()},
        "fitted": f"{settings.fit.replace('_', ' ')}, seed {settings.seed}" if fitted else "no: call fit(...)",
        "parameters": f"{sum(p.numel() for p in decoder.parameters()):,}" if fitted else None,
    }  # fmt: skip


def _named(config: Any) -> Any:
    if config is None:
        return None
    if isinstance(config, dict):
        return [f"{key}: {_named(one)}" for key, one in config.items()]
    return registry.name_of(config)[1]
