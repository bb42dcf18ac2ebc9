"""The wheel carries what `braindec list`, `prepare` and `run` need, and works without the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile

import pytest

from braindec import recipe
from braindec.data import catalogue

pytestmark = pytest.mark.slow


def done(command, **settings):
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, **settings)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from the checkout as it lies there, with runs, caches and prepared data in it."""
    folder, checkout = tmp_path_factory.mktemp("wheel"), recipe.folder().parent
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--no-build-isolation",
    ]
    done([*build, "--wheel-dir", folder, checkout])
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Runs a command of the installed wheel in an empty folder, where it shadows the checkout."""
    place, empty = tmp_path_factory.mktemp("installed"), tmp_path_factory.mktemp("empty")
    done(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-index",
            "--target",
            place,
            wheel,
        ]
    )
    environment = {**os.environ, "PYTHONPATH": str(place)}
    code = "import sys, braindec; sys.exit(not braindec.__file__.startswith(sys.argv[1]))"
    done([sys.executable, "-c", code, str(place)], cwd=empty, env=environment)
    return lambda *words: done([place / "bin" / "braindec", *words], cwd=empty, env=environment)


def test_it_carries_datasets_recipes_and_weights_and_nothing_that_was_made(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert all(f"braindec/_datasets/{name}/prepare.py" in names for name in catalogue.names())
    assert all(f"braindec/_recipes/{name}.py" in names for name in recipe.names())
    assert "braindec/weights/unclip.safetensors" in names
    strangers = [n for n in names if n.split("/")[0] != "braindec" and ".dist-info/" not in n]
    made = [n for n in names if n.endswith((".pyc", ".h5", ".mat")) or "__pycache__" in n]
    assert strangers == made == []
    assert wheel.stat().st_size < 20e6


def test_it_lists_the_datasets_and_recipes_of_the_checkout(installed):
    assert [line.split()[0] for line in installed("list", "datasets").splitlines()] == list(catalogue.names())
    assert [line.split()[0] for line in installed("list", "recipes").splitlines()] == recipe.names()


def test_it_prepares_a_dataset_and_runs_a_recipe(installed, tmp_path):
    installed("run", "demo", "--smoke", "--out", str(tmp_path))
    assert (tmp_path / "report.html").is_file()
    assert (tmp_path / "decoder" / "weights.safetensors").is_file()
    assert "sub-01_fmri" in (tmp_path / "prepared-smoke" / "dataset.json").read_text()
