"""The comparison of systems runs small: cells repeat, a resumed run tells the same, a wrong pairing tells nothing."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from braindec import store


@pytest.fixture(scope="module")
def accuracy():
    """The script as a module, found as it finds its own parts."""
    place = str(Path(__file__).parents[2] / "benchmarks")
    sys.path.insert(0, place)
    try:
        import accuracy

        yield accuracy
    finally:
        sys.path.remove(place)


@pytest.fixture(scope="module")
def folder(accuracy, tmp_path_factory):
    """A small run, stopped before its first cell and then resumed."""
    made = tmp_path_factory.mktemp("accuracy")
    run(accuracy, made, "--only", "small", "--budget-minutes", "0")
    assert store.read_json(made / "accuracy.json")["left"]["small"]["made"] == 0
    run(accuracy, made)
    return made


def run(accuracy, folder, *options):
    """The command, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["accuracy.py", "--small", "--folder", str(folder), *options])
        accuracy.main()


def test_every_cell_is_made_and_every_score_stands_beside_its_controls(folder):
    found = store.read_json(folder / "accuracy.json")
    assert all(row["missing"] == 0 for row in found["left"].values())
    assert not found["not_measured"]
    one = found["values"]["small"]
    assert set(one["order"]) == {"ridge", "closed_form", "ours"} and one["test_rank"] <= 3
    for row in (one["systems"][s]["image_retrieval_top5"] for s in one["order"]):
        assert row["chance"] == 0.25 and row["null_n"] >= 1 and row["interval"][0] <= row["value"]
    assert one["systems"]["closed_form"]["image_retrieval_top5"]["value"] > 0.5
    assert (
        one["nuisance"]["image_retrieval_top5"]
        < 0.5
        < one["ceiling"]["oracle_linear"]["image_retrieval_top5"]
    )
    assert list(one["by_step"]["ours"]) == ["0", "4", "8"]


def test_a_resumed_run_makes_no_cell_again_and_tells_the_same(accuracy, folder):
    before = store.read_json(folder / "accuracy.json")
    files = {p: p.stat().st_mtime_ns for p in (folder / "cells").iterdir()}
    lost = sorted(p for p in files if p.name.startswith(("small-ridge-final", "small-ours-search")))
    for path in lost:  # as after a kill
        path.unlink()
    run(accuracy, folder)
    after = store.read_json(folder / "accuracy.json")
    kept = set(files) - set(lost)
    assert all(p.stat().st_mtime_ns == files[p] for p in kept) and all(p.is_file() for p in lost)
    assert untimed(after["values"]) == untimed(before["values"])


def test_a_seeded_cell_repeats_and_another_seed_is_another_cell(accuracy, folder):
    cells = accuracy.cells
    place = cells.Place(folder, True)
    cell = next(c for c in cells.second_wave(place, "small") if c.kind == "final" and c.system == "ours")
    assert untimed(cells.MAKERS["final"](place, cell)) == untimed(cells.found(place, cell), "cell")
    assert cells.path_of(place, cell) != cells.path_of(place, replace(cell, seed=1))


def test_labels_that_were_shuffled_in_training_leave_chance(accuracy, folder):
    cells = accuracy.cells
    place = cells.Place(folder, True)
    known = next(c for c in cells.second_wave(place, "small") if c.kind == "null" and c.system == "ridge")
    told = []
    for number in range(12):
        values = cells.MAKERS["null"](place, replace(known, seed=number))["values"]
        told.append(np.mean([v["image_retrieval_top5"] for v in values.values()]))
    assert abs(np.mean(told) - 0.25) < 3 * np.std(told, ddof=1) / len(told) ** 0.5 + 1e-9
    assert np.mean(told) < 0.4


def untimed(value, *without):
    """Without what a clock told, as JSON has it."""
    if isinstance(value, dict):
        left_out = {"seconds", "cpu_seconds", *without}
        return {str(k): untimed(v, *without) for k, v in value.items() if k not in left_out}
    return [untimed(v, *without) for v in value] if isinstance(value, (list, tuple)) else value
