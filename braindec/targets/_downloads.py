"""Downloaded weights: where they lie when they are there, and a quick answer when they cannot be had."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from braindec.weights.published import BY_HAND, hub_cache, repository_folder
from braindec.weights.reach import SECONDS, why_unreachable

__all__ = ["BY_HAND", "SECONDS", "hub_cache", "in_hub_cache", "repository_folder", "why_unreachable"]


def in_hub_cache(repository: str, names: Sequence[str]) -> Path | None:
    """The first of these files in any snapshot of ``owner/name``, the newest one; None where there is none."""
    for name in names:
        found = [p for p in repository_folder(repository).glob(f"snapshots/*/{name}") if p.is_file()]
        if found:
            return max(found, key=lambda path: path.stat().st_mtime)
    return None
