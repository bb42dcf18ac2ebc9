"""The store gives back what was written, in rows of any order, or refuses."""

from __future__ import annotations

import multiprocessing
import os
import pickle

import h5py
import numpy as np
import pytest

from braindec import checks, seal, store

SMALL = {
    "int": np.arange(-3, 4),
    "bool": np.array([[True, False], [False, True]]),
    "float": np.array([0.1, np.nan, np.inf]),
    "complex": np.array([1 + 2j]),
    "text": np.array(["", "a", "Größe 大"]),
    "no_text": np.array([], dtype="U3"),
    "empty": np.zeros((0, 4)),
    "deep/er": np.ones((2, 3, 4), dtype=np.float16),
}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.h5"
    with store.writer(path) as out:
        for name, values in SMALL.items():
            out.array(name, values)
        out.attributes({"note": "ü", "nested": {"x": [1, 2.5, None]}})
    return path


def bulk_file(path, values, pieces=(7, 0, 50, 43)):
    with store.writer(path) as out:
        bulk = out.bulk("rows", values.shape, values.dtype)
        start = 0
        for n in pieces:
            bulk.append(values[start : start + n])
            start += n
    return store.Stored(path).rows("rows")


def test_small_arrays_come_back_with_type_and_shape(path):
    stored = store.Stored(path)
    assert stored.names == sorted(SMALL)
    for name, values in SMALL.items():
        found = stored.array(name)
        assert found.shape == values.shape and found.dtype.kind == values.dtype.kind
        assert np.array_equal(found, values, equal_nan=values.dtype.kind == "f")
    assert stored.attributes == {"note": "ü", "nested": {"x": [1, 2.5, None]}}
    assert list(stored.group("deep")) == ["er"]


def test_an_unknown_array_is_answered_with_those_there_are(path):
    with pytest.raises(checks.ConfigError, match="Did you mean 'float'"):
        store.Stored(path).array("flaot")


@pytest.mark.parametrize("block_bytes", [1, 100, 4096, 1 << 22])
def test_bulk_rows_come_back_in_any_order(tmp_path, rng, monkeypatch, block_bytes):
    monkeypatch.setattr(store, "BLOCK_BYTES", block_bytes)
    values = rng.standard_normal((100, 3, 2)).astype(np.float32)
    rows = bulk_file(tmp_path / "b.h5", values)
    picks = [
        slice(None),
        slice(5, 60, 7),
        np.array([9, 3, 3, 99, 0]),
        values[:, 0, 0] > 0,
        np.array([], dtype=int),
        -1,
        4,
    ]
    for pick in picks:
        assert np.array_equal(rows[pick], values[pick])


@pytest.mark.parametrize("block_bytes", [1, 40, 1 << 20])
def test_an_array_that_is_filled_again_between_two_appends_spoils_nothing(tmp_path, monkeypatch, block_bytes):
    monkeypatch.setattr(store, "BLOCK_BYTES", block_bytes)
    rows = np.empty((2, 4), dtype=np.float32)
    with store.writer(tmp_path / "a.h5") as out:
        bulk = out.bulk("rows", (6, 4), np.float32)
        for number in range(3):
            rows[:] = number
            bulk.append(rows)
    found = store.Stored(tmp_path / "a.h5").rows("rows")[:]
    assert np.array_equal(found[:, 0], [0, 0, 1, 1, 2, 2])


def test_a_flipped_bit_in_any_block_is_noticed_when_it_is_read_and_only_then(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(store, "BLOCK_BYTES", 10 * 24)
    values = rng.standard_normal((100, 6)).astype(np.float32)
    path = tmp_path / "b.h5"
    bulk_file(path, values)
    with h5py.File(path) as file:
        offset = file["rows"].id.get_offset()
    content = bytearray(path.read_bytes())
    content[offset + 55 * 24 + 3] ^= 4
    path.write_bytes(content)
    rows = store.Stored(path).rows("rows")
    assert np.array_equal(rows[:50], values[:50]) and np.array_equal(rows[60:], values[60:])
    with pytest.raises(checks.DataFileError, match="rows 50 and after"):
        rows[51]


def test_a_file_is_whole_or_not_there(tmp_path, rng):
    path = tmp_path / "c.h5"
    path.write_text("what was there before")
    with pytest.raises(ValueError, match="announced with 5 rows but got 2"):
        bulk_file(path, rng.standard_normal((5, 2)), pieces=(2,))
    with pytest.raises(KeyboardInterrupt), store.writer(path):
        raise KeyboardInterrupt
    assert path.read_text() == "what was there before" and list(tmp_path.iterdir()) == [path]


def test_rows_of_another_shape_or_too_many_are_refused(tmp_path, rng):
    values = rng.standard_normal((5, 2))
    with pytest.raises(ValueError, match="takes"), store.writer(tmp_path / "d.h5") as out:
        out.bulk("rows", (5, 3), np.float32).append(values)
    with pytest.raises(ValueError, match="takes"), store.writer(tmp_path / "d.h5") as out:
        out.bulk("rows", (4, 2), np.float32).append(values)


def _sum_of(rows, pick, queue):
    queue.put(float(rows[pick].sum()))


def test_rows_survive_pickling_and_other_processes(tmp_path, rng):
    values = rng.standard_normal((100, 4)).astype(np.float32)
    rows = bulk_file(tmp_path / "b.h5", values)
    rows[3]  # the file is open when the process is forked
    assert np.array_equal(pickle.loads(pickle.dumps(rows))[40:], values[40:])
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=_sum_of, args=(rows, slice(10, 90), queue))
    process.start()
    assert queue.get(timeout=30) == pytest.approx(float(rows[10:90].sum()))
    process.join()


def test_json_is_strict_and_atomic(tmp_path):
    path = tmp_path / "a.json"
    store.write_json(path, {"x": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.write_json(path, {"x": float("nan")})
    assert store.read_json(path) == {"x": 1} and list(tmp_path.iterdir()) == [path]
    path.write_text('{"x": NaN}')
    with pytest.raises(checks.DataFileError, match="NaN"):
        store.read_json(path)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_who_may_read_a_file_is_decided_by_the_umask(tmp_path, mask):
    earlier = os.umask(mask)
    try:
        store.write_json(tmp_path / "a.json", {})
        with store.writer(tmp_path / "a.h5") as out:
            out.array("a", np.zeros(2))
        (tmp_path / "plain").write_text("")
    finally:
        os.umask(earlier)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("a.json", "a.h5", "plain"), 0o666 & ~mask)


def test_a_content_hash_depends_on_value_type_shape_and_name(rng):
    x = rng.standard_normal((4, 3))
    seen = [
        store.content_hash(x=x),
        store.content_hash(y=x),
        store.content_hash(x=x.astype(np.float32)),
        store.content_hash(x=x.reshape(3, 4)),
        store.content_hash(x=x, y=1),
        store.content_hash(x=x, y="1"),
        store.content_hash(x=-x),
    ]
    assert len(set(seen)) == len(seen)
    assert store.content_hash(x=np.asfortranarray(x)) == seen[0]
    assert store.content_hash(b=[1, 2], a="ü") == store.content_hash(a="ü", b=[1, 2])


def test_damage_outside_of_bulk_arrays_is_refused_before_hdf5_sees_the_file(tmp_path, rng, monkeypatch):
    values = rng.standard_normal((200, 3))
    path = tmp_path / "a.h5"
    with store.writer(path) as out:
        out.array("small", np.arange(4))
        for name in ("first", "second"):
            out.bulk(name, values.shape, values.dtype).append(values)
        out.attributes({"a": 1})
    content = path.read_bytes()
    bulk = [
        (content.index(values.tobytes()), values.nbytes),
        (content.rindex(values.tobytes()), values.nbytes),
    ]
    monkeypatch.setattr(store, "open_readonly", lambda _: pytest.fail("HDF5 saw the file"))
    chosen = rng.integers(0, len(content), 99)
    for at in (0, 3, 8, 39, 40, 60, 511, 512, 520, bulk[0][0] - 1, len(content) - 1, *chosen):
        if any(start <= at < start + n for start, n in bulk):
            continue
        for damaged in (content[:at], content[:at] + bytes([content[at] ^ 16]) + content[at + 1 :]):
            path.write_bytes(damaged)
            with pytest.raises(checks.DataFileError):
                store.Stored(path)


def test_a_file_from_before_seals_is_read(tmp_path, rng):
    """Its HDF5 begins at the first byte."""
    path, old = tmp_path / "a.h5", tmp_path / "old.h5"
    values = rng.standard_normal((20, 3))
    with store.writer(path) as out:
        out.array("small", np.arange(4))
        out.bulk("rows", values.shape, values.dtype).append(values)
    old.write_bytes(path.read_bytes()[seal.N_BYTES :])
    stored = store.Stored(old)
    assert np.array_equal(stored.array("small"), np.arange(4))
    assert np.array_equal(stored.rows("rows")[:], values)
    assert stored.rows("rows").placed()[0] + seal.N_BYTES == store.Stored(path).rows("rows").placed()[0]
