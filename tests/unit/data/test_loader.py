"""Rows come out of the map as they went into the file, in any order, or are refused; what is made ahead is the same."""

from __future__ import annotations

import os
import pickle
import threading
import time

import numpy as np
import pytest

from braindec import checks, store
from braindec.data import loader
from braindec.data.loader import Ahead, MappedRows

N = 300


@pytest.fixture
def values(rng):
    return rng.standard_normal((N, 7, 3)).astype(np.float32)


@pytest.fixture
def path(tmp_path, values, monkeypatch):
    monkeypatch.setattr(store, "BLOCK_BYTES", 20 * values[0].nbytes)  # fifteen blocks
    path = tmp_path / "a.h5"
    with store.writer(path) as out:
        out.array("before", np.arange(5))
        out.bulk("rows", values.shape, values.dtype).append(values)
        out.bulk("half", (N, 2), np.float16).append(values[:, 0, :2].astype(np.float16))
    return path


def mapped(path, name="rows"):
    return MappedRows(store.Stored(path).rows(name))


def test_rows_of_any_order_equal_those_that_hdf5_reads(path, values, rng):
    rows = mapped(path)
    for chosen in (rng.permutation(N), rng.integers(0, N, 50), np.array([], int), np.array([299])):
        assert np.array_equal(rows[chosen], values[chosen])
    assert np.array_equal(rows[10:30:3], values[10:30:3])
    assert np.array_equal(rows[values[:, 0, 0] > 0], values[values[:, 0, 0] > 0])
    assert np.array_equal(rows[-1], values[-1]) and len(rows) == N
    assert np.array_equal(mapped(path, "half")[:], values[:, 0, :2].astype(np.float16))


def test_a_buffer_is_filled_in_place_and_only_where_it_fits(path, values):
    rows, buffer = mapped(path), np.empty((4, 7, 3), np.float32)
    chosen = np.array([9, 3, 3, 250])
    assert rows.read(chosen, buffer) is buffer
    assert np.array_equal(buffer, values[chosen])
    for wrong in (np.empty((5, 7, 3), np.float32), np.empty((4, 7, 3))):
        with pytest.raises(ValueError, match="out must be"):
            rows.read(chosen, wrong)
    for outside in (-1, N):
        with pytest.raises(IndexError, match="must lie in"):
            rows.read(np.array([0, outside]))


def test_every_damaged_value_is_refused_when_it_is_first_read_and_no_other_block_is(path, values):
    content = path.read_bytes()
    at = content.index(values[123].tobytes())
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    rows = mapped(path)
    assert np.array_equal(rows[:120], values[:120])
    assert np.array_equal(rows[140:], values[140:])
    for _ in range(2):
        with pytest.raises(checks.DataFileError, match="'rows' is damaged in rows 120"):
            rows.read(np.array([130]))


def test_a_file_that_was_cut_after_it_was_opened_is_refused(path):
    stored = store.Stored(path).rows("rows")
    rows = MappedRows(stored)
    os.truncate(path, rows._offset + 100)
    with pytest.raises(checks.DataFileError, match="ends within 'rows'"):
        rows[:]


def test_mapped_rows_travel_to_other_processes(path, values):
    rows = mapped(path)
    rows[:5]
    again = pickle.loads(pickle.dumps(rows))
    assert np.array_equal(again[:], values)
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(rows[100:], values[100:]) else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.fixture
def in_small_parts(monkeypatch):
    """Rows of 84 bytes are copied four at a time; the second thread ends with the test."""
    monkeypatch.setattr(loader, "ALONE_BYTES", 0)
    monkeypatch.setattr(loader, "PART_BYTES", 4 * 84)
    monkeypatch.setattr(loader, "_beside", None)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    yield
    if loader._beside is not None:
        loader._beside[1].shutdown()


@pytest.mark.parametrize(("cores", "n_threads"), [({0, 1}, 2), ({0}, 1)])
def test_rows_are_copied_by_two_threads_where_there_are_two_cores(
    path, values, rng, in_small_parts, monkeypatch, cores, n_threads
):
    seen, take = set(), np.take

    def slow(*args, **options):
        seen.add(threading.current_thread().name)
        time.sleep(0.002)
        return take(*args, **options)

    rows, chosen = mapped(path), rng.permutation(N)[:103]
    rows[:]
    seen.clear()
    monkeypatch.setattr(np, "take", slow)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: cores)
    assert np.array_equal(rows.read(chosen), values[chosen])
    assert len(seen) == n_threads


def test_a_small_batch_wakes_no_second_thread(path, values, in_small_parts, monkeypatch):
    monkeypatch.setattr(loader, "ALONE_BYTES", 103 * 84)
    rows = mapped(path)
    assert np.array_equal(rows.read(np.arange(103)), values[:103])
    assert loader._beside is None
    rows.read(np.arange(104))
    assert loader._beside is not None


def test_a_second_thread_that_is_busy_is_not_waited_for(path, values, rng, in_small_parts):
    rows, chosen, free = mapped(path), rng.integers(0, N, 77), threading.Event()
    busy = loader._second_thread().submit(free.wait, 60)
    try:
        assert np.array_equal(rows.read(chosen), values[chosen])
        assert not busy.done()
    finally:
        free.set()


def test_an_error_of_the_second_thread_is_raised(path, in_small_parts, monkeypatch):
    rows = mapped(path)
    rows[:]
    take = np.take

    def fails_beside(*args, **options):
        time.sleep(0.002)
        if threading.current_thread() is not threading.main_thread():
            raise MemoryError("beside")
        return take(*args, **options)

    monkeypatch.setattr(np, "take", fails_beside)
    with pytest.raises(MemoryError, match="beside"):
        rows.read(np.arange(N))


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_rows_are_the_same_whatever_the_pages_they_are_read_through(path, values, rng, monkeypatch, share):
    monkeypatch.setattr(loader, "HUGE_SHARE", share)
    rows, chosen = mapped(path), rng.permutation(N)
    assert np.array_equal(rows.read(chosen), values[chosen])
    assert rows._huge == (share > 0)


def test_rows_are_announced_to_the_disk_run_by_run(path, monkeypatch):
    rows, calls = mapped(path), []
    monkeypatch.setattr(rows, "_fetch", lambda d, start, stop: calls.append((start, stop)))
    rows.announce(np.array([7, 3, 4, 5, 4, 200]))
    assert calls == [(3, 6), (7, 8), (200, 201)]


@pytest.mark.parametrize("waits", [0.0, 10.0])
def test_what_is_made_ahead_is_the_same_whichever_step_is_asked_for(waits, monkeypatch):
    """A batch stays whole while the next one is made."""
    monkeypatch.setattr(loader, "WAITS_S", waits)
    buffers = [np.zeros(3), np.zeros(3)]

    def make(step, slot):
        buffers[slot][:] = step
        return buffers[slot]

    ahead = Ahead(make)
    for step in (0, 1, 2, 7, 8, 3, 3, 4):
        batch = ahead(step)
        time.sleep(0.002)
        assert (batch == step).all()


def test_only_what_takes_long_is_made_in_a_thread(monkeypatch):
    monkeypatch.setattr(loader, "WAITS_S", 0.05)
    seen = []

    def make(step, slot):
        seen.append(threading.current_thread() is threading.main_thread())
        time.sleep(0.06 * (step < 2))

    ahead = Ahead(make)
    for step in range(5):
        ahead(step)
    assert seen == [True, False, False, True, True]


def test_an_error_made_ahead_is_raised_at_its_own_step(monkeypatch):
    monkeypatch.setattr(loader, "WAITS_S", 0.0)

    def make(step, slot):
        if step == 2:
            raise ValueError("step 2")
        return step

    ahead = Ahead(make)
    assert [ahead(0), ahead(1)] == [0, 1]
    assert ahead(5) == 5  # step 2 was never asked for
    ahead(1)
    with pytest.raises(ValueError, match="step 2"):
        ahead(2)
