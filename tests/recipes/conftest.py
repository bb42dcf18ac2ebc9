"""Synthetic data of smoke runs, made once for all recipes that ask for the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from braindec import config, recipe, registry


@pytest.fixture(scope="session")
def made_in(tmp_path_factory) -> Callable[[str], Path]:
    """Where the data of a recipe's smoke run are made, or lie from an earlier recipe of the same world."""
    folders: dict[str, Path] = {}

    def folder(name: str) -> Path:
        loaded = recipe.load(name)
        asked = config.override(loaded.recipe, loaded.smoke, registry.load)
        told = {key: asked.settings.get(key) for key in ("world", "synthetic", "prepared")}
        world = f"{asked.data.dataset} {told}"
        if world not in folders:
            folders[world] = tmp_path_factory.mktemp("world")
        return folders[world]

    return folder
