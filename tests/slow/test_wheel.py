"""The wheel carries what `braindec list`, `prepare` and `run` need, and works without the checkout."""

from __future__ import annotations

import zipfile

import pytest

from braindec import recipe
from braindec.data import catalogue

pytestmark = pytest.mark.slow


def test_it_carries_datasets_recipes_and_weights_and_nothing_that_was_made(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert all(f"braindec/_datasets/{name}/prepare.py" in names for name in catalogue.names())
    assert all(f"braindec/_recipes/{name}.py" in names for name in recipe.names())
    assert "braindec/weights/unclip.safetensors" in names
    strangers = [n for n in names if n.split("/")[0] != "braindec" and ".dist-info/" not in n]
    made = [n for n in names if n.endswith((".pyc", ".h5", ".mat")) or "__pycache__" in n]
    assert strangers == made == []
    assert wheel.stat().st_size < 30e6


def test_it_lists_the_datasets_and_recipes_of_the_checkout(installed):
    heading, *datasets = [line.split()[0] for line in installed("list", "datasets").splitlines()]
    assert (heading, datasets) == ("dataset", list(catalogue.names()))
    assert [line.split()[0] for line in installed("list", "recipes").splitlines()] == recipe.names()


def test_it_prepares_a_dataset_and_runs_a_recipe(demo):
    assert (demo / "report.html").is_file()
    assert (demo / "decoder" / "model.safetensors").is_file()
    assert "sub-01_fmri" in (demo / "prepared-smoke" / "dataset.json").read_text()
