"""Which judge has a stake: a network that made or chose the pictures is no witness of how good they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from braindec.metrics import Metric

# Networks of one family see alike, whatever their size: being decoded towards one raises the score of another.
FAMILIES = {
    "clip": ("openclip", "tiny_openclip", "clip_vit_l14", "embedded_unclip", "unclip"),
    "efficientnet": ("efficientnet_lite0", "efficientnet_b1"),
    "swav": ("swav_resnet50",),
}

Names = str | Sequence[str] | None


def circular(
    metric: Metric, target: Names = None, reranker: Names = None, generator: Names = None
) -> str | None:
    """Why a metric's network must not judge, or None where it may.

    Parameters
    ----------
    metric : Metric
    target : str or sequence of str, optional
        What the brain was decoded into: a target's member name or its space (``"openclip/ViT-L-14/openai/pooled"``).
    reranker : str or sequence of str, optional
        What chose among several pictures, or retrieved candidates for them.
    generator : str or sequence of str, optional
        The generator's member name, or the networks that it is conditioned on.

    Returns
    -------
    str or None
        E.g. ``"circular: openclip is the target, of the family of clip_vit_l14 that judges"``.
    """
    judge = metric.network
    if judge is None:
        return None
    for role, names in (("target", target), ("re-ranker", reranker), ("generator", generator)):
        for name in _as_names(names):
            if family(name) == family(judge):
                return f"circular: {name} is the {role}, of the family of {judge} that judges"
    return None


def family(name: str) -> str:
    """Family of a member or of a space; a member that is in none is its own."""
    member = name.partition("/")[0]
    return next((known for known, members in FAMILIES.items() if member in members), member)


def _as_names(names: Names) -> tuple[str, ...]:
    if names is None:
        return ()
    return (names,) if isinstance(names, str) else tuple(names)
