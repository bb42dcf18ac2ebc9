"""Windows of volumes hold what came before and after in the same run, and are read on demand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from braindec.data import NeuralDataset, sliding
from braindec.data.cifti import runs_of
from braindec.types import ArraySpace, StimulusSet, Table, Trials

N, V = 6, 5


def film(rng, n_runs=2) -> NeuralDataset:
    """Runs of six volumes, mixed up, of five features, two of them a region."""
    run, position = np.repeat([f"r{i}" for i in range(n_runs)], N), np.tile(np.arange(N), n_runs)
    order = rng.permutation(n_runs * N)
    values = (10 * np.repeat(np.arange(n_runs), N) + position)[:, None] + np.arange(V) / 10
    ids = np.array([f"{r}-{p}" for r, p in zip(run, position, strict=True)])
    columns = {"stimulus_id": ids, "session": np.full(len(ids), "1"), "run": run, "repeat": np.zeros(len(ids), int),
               "onset_s": 2.0 * position, "acquisition_order": position, "exchangeability_block": run}  # fmt: skip
    table = Table({name: column[order] for name, column in columns.items()})
    space = ArraySpace(V, {"V1": np.arange(V) < 2})
    trials = Trials(values[order].astype(np.float32), table, space, "a.u.", 1, "fmri")
    return NeuralDataset.from_trials([trials], StimulusSet(tuple(sorted(ids.tolist())), "none"))


def test_a_window_holds_its_run_s_neighbours_and_repeats_the_ends(rng):
    trials = sliding.windowed(film(rng), (-1, 0, 2)).trials["sub-01_fmri"]
    windows = trials.responses[:].reshape(-1, 3, V)[:, :, 0]
    for window, name in zip(windows, trials.table["stimulus_id"], strict=True):
        run, position = int(name[1]), int(name.split("-")[1])
        expected = [10 * run + min(max(position + o, 0), N - 1) for o in (-1, 0, 2)]
        assert window.tolist() == expected


def test_every_volume_is_a_region_and_so_is_every_region_in_every_volume(rng):
    space = sliding.windowed(film(rng), (0, 1)).trials["sub-01_fmri"].space
    assert space.n_features == 2 * V
    assert list(space.regions) == ["volume +0", "V1 +0", "volume +1", "V1 +1"]
    assert np.flatnonzero(space.regions["V1 +1"]).tolist() == [V, V + 1]
    assert space.regions["volume +0"].sum() == V and not space.regions["volume +0"][V:].any()


def test_rows_are_read_when_they_are_asked_for(rng):
    asked = []

    class Rows:
        shape, dtype = (2 * N, V), np.dtype(np.float32)

        def __getitem__(self, rows):
            asked.append(len(rows))
            return np.asarray(rows, np.float32)[:, None] + np.zeros(V, np.float32)

    rows = sliding.WindowRows(Rows(), np.array([[0, 1], [1, 2], [5, 6]]))
    assert asked == [] and rows.shape == (3, 2 * V)
    assert rows[np.array([2, 0])][:, ::V].tolist() == [[5, 6], [0, 1]]
    assert rows[1].shape == (2 * V,) and asked == [4, 2]


def test_a_window_without_volumes_or_with_one_twice_is_refused(rng):
    for offsets in ((), (0, 0)):
        with pytest.raises(ValueError, match="offsets"):
            sliding.windowed(film(rng), offsets)


def test_runs_of_one_name_in_two_sessions_are_two_runs(rng):
    trials = film(rng).trials["sub-01_fmri"]
    run = trials.table["run"]
    table = trials.table.replace(run=np.full(len(run), "1"), session=np.where(run == "r0", "1", "2"))
    named = replace(trials, table=table)
    assert {name: len(rows) for name, rows in runs_of(named).items()} == {"1/1": N, "2/1": N}
    assert list(runs_of(trials)) == ["r0", "r1"]
    windows = sliding.windowed(NeuralDataset.from_trials([named], film(rng).stimuli), (-1, 0, 2))
    same = sliding.windowed(NeuralDataset.from_trials([trials], film(rng).stimuli), (-1, 0, 2))
    assert np.array_equal(*(w.trials["sub-01_fmri"].responses[:] for w in (windows, same)))
