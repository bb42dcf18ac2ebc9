"""Small signals, shapes and checks that every member of a kind is put through."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from braindec.types import ArraySpace, SensorSpace, SubjectSignal, VertexSpace, VoxelSpace

N_TIMES = 90  # the default temporal filters need 75


def _sensors(n: int, positions: np.ndarray) -> SensorSpace:
    return SensorSpace(tuple(f"E{i}" for i in range(n)), positions, ("eeg",) * n)


@pytest.fixture(scope="session")
def signals() -> dict[str, SubjectSignal]:
    """One subject's signal in every kind of space, and sensors of which some or all have no known place."""
    rng = np.random.default_rng(0)
    positions = rng.normal(size=(7, 3)) * 0.05
    partly = positions.copy()
    partly[2] = np.nan
    mask = np.zeros((2, 3, 4), bool)
    mask.flat[:11] = True
    epochs = {"sfreq": 100.0, "tmin": -0.1}
    return {
        "voxels": SubjectSignal(1, "fmri", (11,), VoxelSpace(mask, np.eye(4))),
        "vertices": SubjectSignal(2, "fmri", (9,), VertexSpace("fsaverage5", np.arange(4), np.arange(5))),
        "array": SubjectSignal(3, "array", (13,), ArraySpace(13)),
        "sensors": SubjectSignal(4, "eeg", (7, N_TIMES), _sensors(7, positions), **epochs),
        "sensors partly placed": SubjectSignal(5, "eeg", (7, N_TIMES), _sensors(7, partly), **epochs),
        "sensors without places": SubjectSignal(
            6, "eeg", (5, N_TIMES), _sensors(5, np.full((5, 3), np.nan)), **epochs
        ),
    }


@pytest.fixture
def randomised_() -> Callable[[nn.Module], nn.Module]:
    """Moves every parameter away from where it starts, so that no zero or one of a fresh layer hides a fault."""

    def apply(module: nn.Module) -> nn.Module:
        noise = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=noise, dtype=parameter.dtype))
        return module

    return apply


@pytest.fixture
def unreached() -> Callable[[nn.Module, Tensor], set[str]]:
    """Names of the parameters that no gradient of this scalar reaches (float64, so that zero means zero)."""

    def names(module: nn.Module, scalar: Tensor) -> set[str]:
        scalar.backward()
        named = dict(module.named_parameters())
        return {name for name, p in named.items() if p.grad is None or float(p.grad.abs().max()) < 1e-13}

    return names


@pytest.fixture
def saved_into(tmp_path: Path) -> Callable[[nn.Module, nn.Module], nn.Module]:
    """Writes one module to a safetensors file and loads it, strictly, into another one."""

    def copy(source: nn.Module, other: nn.Module) -> nn.Module:
        save_file(source.state_dict(), tmp_path / "module.safetensors")
        other.load_state_dict(load_file(tmp_path / "module.safetensors"), strict=True)
        return other

    return copy


@pytest.fixture
def global_state_untouched():
    """Fails a test in which torch's global generator has moved."""
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before), "something drew from torch's global generator"
