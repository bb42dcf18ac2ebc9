"""Fixtures shared by all tests, and a sys.path that looks like a user's."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import braindec

REPOSITORY = Path(__file__).resolve().parents[1]

# `python -m pytest` and the editable install put the repository root on sys.path, where its folders `datasets` and
# `recipes` would be importable (and the first would stand in for Hugging Face's package). braindec is already found.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != REPOSITORY]

# Two cores are what continuous integration has; a caller that asked for fewer threads gets fewer.
torch.set_num_threads(min(2, torch.get_num_threads()))


@pytest.fixture
def repository() -> Path:
    """The root of the checkout that is tested."""
    assert Path(braindec.__file__).resolve().parents[1] == REPOSITORY, "another braindec is installed"
    return REPOSITORY


@pytest.fixture
def rng() -> np.random.Generator:
    """The test's own numpy generator, the same in every run."""
    return np.random.default_rng(0)


@pytest.fixture
def generator() -> torch.Generator:
    """The test's own torch generator, the same in every run."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real recordings that BRAINDEC_REAL_DATA names."""
    return _folder_from_environment("BRAINDEC_REAL_DATA", "real recordings")


@pytest.fixture(scope="session")
def parity() -> Path:
    """The folder of published models' weights and outputs that BRAINDEC_PARITY names."""
    return _folder_from_environment("BRAINDEC_PARITY", "published models' weights and outputs")


def _folder_from_environment(variable: str, content: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is unset; it names the folder with {content}")
    folder = Path(value)
    if not folder.is_dir():
        pytest.fail(f"{variable}={value} is no folder")
    return folder
