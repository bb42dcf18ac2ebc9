"""Rows come out of the map as they went into the file, in any order, or are refused; what is made ahead is the same."""

from __future__ import annotations

import os
import pickle
import threading
import time

import numpy as np
import pytest
import torch

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


@pytest.mark.parametrize("kind", ["float16", "uint8", "bool", "uint16", "float32", "complex64", "float64"])
@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 5), (4, 2, 2)])
@pytest.mark.parametrize("writable", [True, False])
def test_rows_of_any_type_and_shape_are_copied_to_the_bit(rng, kind, shape, writable):
    values = rng.integers(0, 2, (50, *shape)).astype(kind) * np.asarray(1, dtype=kind)
    values.flags.writeable = writable
    chosen, out = rng.integers(0, 50, 23), np.empty((23, *shape), dtype=kind)
    loader.gather(values, chosen, out)
    assert out.tobytes() == values[chosen].tobytes()


def test_rows_that_begin_anywhere_in_a_file_are_copied(rng):
    content = rng.integers(0, 255, 4 * 84 + 3).astype(np.uint8)
    for start in range(4):
        values = np.frombuffer(content.tobytes(), np.uint8, 4 * 84, start).reshape(4, 84)
        out = np.empty((3, 84), dtype=np.uint8)
        loader.gather(values, np.array([3, 0, 3]), out)
        assert np.array_equal(out, values[[3, 0, 3]])


@pytest.mark.parametrize("shape", [(3,), (64, 5), (2_000_003,), (70, 63, 251)])
@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_a_buffer_holds_what_is_written_whatever_its_pages(rng, shape, kind):
    first, second = loader.buffer(shape, kind), loader.buffer(shape, kind)
    assert first.shape == shape
    assert first.dtype == np.dtype(kind)
    assert first.flags.c_contiguous
    first[...] = written = rng.integers(0, 9, shape)
    second[...] = 0
    assert np.array_equal(first, written)


def test_a_large_buffer_begins_where_a_large_page_does(monkeypatch):
    assert loader.buffer((1 << 20,)).ctypes.data % (2 << 20) == 0
    monkeypatch.setattr(loader, "_HUGE", None)  # a system without them
    assert loader.buffer((1 << 20,)).shape == (1 << 20,)


def test_nothing_of_no_rows_and_no_values_is_copied():
    loader.gather(np.empty((4, 0)), np.array([1, 2]), np.empty((2, 0)))
    loader.gather(np.ones((4, 2)), np.array([], dtype=int), np.empty((0, 2)))


def test_a_fork_of_a_process_with_threads_copies_alone(path, values, monkeypatch):
    rows = mapped(path)
    rows[:]
    monkeypatch.setattr(loader, "_HERE", -1)
    monkeypatch.setattr(torch, "index_select", None)
    assert np.array_equal(rows.read(np.arange(103)), values[:103])


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
