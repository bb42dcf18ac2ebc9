"""Two hundred fits, each killed one to three times at random moments or inside a save, end with the same bytes."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

forked = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "forked_runs.py")))
N_BATCHES, N_FITS = 10, 20


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1, N_BATCHES + 1))
def test_fits_that_are_killed_again_and_again_end_with_the_same_bytes(seed, tmp_path, record_property):
    with forked.Runs() as runs:
        equal, kills, different = forked.equal_after_kills(runs, tmp_path, N_FITS, seed)
    record_property(f"R1 soak, batch {seed}", f"{equal}/{N_FITS} equal ({sum(kills.values())} kills)")
    assert sum(kills.values()) >= N_FITS
    assert equal == N_FITS, different
