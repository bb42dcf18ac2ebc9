"""Struct arrays of MATLAB 5, element by element: what scipy reads whole, in bounded memory, or refused."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from braindec import checks
from braindec.data import mat5_stream

FIELDS = {"content": None, "n": None, "word": {"x": None, "text": None}}


def struct(entries):
    made = np.empty((1, len(entries)), dtype=[(name, object) for name in entries[0]])
    for i, entry in enumerate(entries):
        for name, value in entry.items():
            made[name][0, i] = value
    return made


def held(rng, raw=None):
    raw = rng.standard_normal((4, 7)) if raw is None else raw
    kinds = ("<i1", "<u1", "<i2", "<u2", "<i4", "<u4", "<f4", "<f8", "<i8", "<u8")
    return [
        {
            "raw": raw, "content": f"sentence {i} \u00e9\u4e2d", "n": rng.integers(0, 90, (2, 3)).astype(kind),
            "cell": np.array([["a", 1.0]], dtype=object),
            "word": np.nan if i == 2 else struct([
                {"x": rng.standard_normal((3, 1)), "text": "abc", "other": raw},
                {"x": np.empty((0, 0)), "text": "", "other": raw},
            ][: 1 + i % 2]),
        }
        for i, kind in enumerate(kinds)
    ]  # fmt: skip


@pytest.fixture(params=[True, False], ids=["compressed", "plain"])
def path(request, tmp_path):
    rng = np.random.default_rng(0)
    content = {"before": np.arange(5.0), "data": struct(held(rng)), "after": "text"}
    savemat(tmp_path / "a.mat", content, do_compression=request.param)
    return tmp_path / "a.mat"


def test_every_element_is_what_scipy_reads(path):
    found = list(mat5_stream.elements(path, "data", FIELDS))
    whole = loadmat(path, simplify_cells=True)["data"]
    assert len(found) == len(whole) == 10
    for one, truth in zip(found, whole, strict=True):
        assert set(one) == set(FIELDS) and one["content"] == truth["content"]
        assert one["n"].dtype == np.float64 and np.array_equal(one["n"], truth["n"].ravel("F"))
        if isinstance(truth["word"], float):
            assert one["word"] is None
            continue
        words = truth["word"] if isinstance(truth["word"], list | np.ndarray) else [truth["word"]]
        assert len(one["word"]) == len(words)
        for mine, other in zip(one["word"], words, strict=True):
            assert set(mine) == {"x", "text"}
            assert (mine["text"] or "") == (other["text"] if len(other["text"]) else "")
            assert (mine["x"] is None) == (np.size(other["x"]) == 0)
            assert mine["x"] is None or np.array_equal(mine["x"], other["x"])


def test_fields_that_hold_something_else_or_are_not_there_are_told_apart(path):
    first = next(mat5_stream.elements(path, "data", {"cell": None, "content": {"x": None}, "none": None}))
    assert first == {"cell": None, "content": None}


def test_memory_holds_an_element_and_not_the_file(tmp_path):
    raw = np.zeros((1000, 1000))  # 8 MB, in every element
    savemat(
        tmp_path / "large.mat", {"data": struct(held(np.random.default_rng(0), raw))}, do_compression=True
    )
    tracemalloc.start()
    try:
        n = sum(1 for _ in mat5_stream.elements(tmp_path / "large.mat", "data", FIELDS))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert n == 10 and peak < 6e6  # of more than 200 MB


def test_another_variable_container_or_name_is_refused_by_name(path, tmp_path):
    def refused(where, name, match):
        with pytest.raises(checks.DataFileError, match=match) as caught:
            list(mat5_stream.elements(where, name, FIELDS))
        assert caught.value.path == where

    refused(path, "none", r"lacks \['none'\]; it has \['after', 'before', 'data'\]")
    refused(path, "before", "no struct array")
    (tmp_path / "other").write_bytes(b"x" * 500)
    refused(tmp_path / "other", "data", "no little-endian MATLAB file of version 5")


def test_cut_files_are_refused_at_any_length(path):
    whole = path.read_bytes()
    end = whole.rindex(b"after") if b"after" in whole else len(whole) - 80  # of the variable that is read
    for n in range(0, end, max(1, end // 97)):
        path.write_bytes(whole[:n])
        with pytest.raises(checks.DataFileError):
            list(mat5_stream.elements(path, "data", FIELDS))


def test_a_changed_byte_is_refused_or_changes_nothing_where_there_is_a_checksum(path):
    whole, rng = path.read_bytes(), np.random.default_rng(1)
    truth = repr(list(mat5_stream.elements(path, "data", FIELDS)))
    compressed = whole[128] == 15
    for at in rng.integers(128, len(whole), 150).tolist():
        broken = bytearray(whole)
        broken[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        try:
            found = repr(list(mat5_stream.elements(path, "data", FIELDS)))
        except checks.DataFileError:
            continue
        assert found == truth or not compressed


def test_the_checksum_is_verified_where_it_lies_in_a_block_of_its_own(tmp_path, monkeypatch):
    path = tmp_path / "a.mat"
    savemat(path, {"data": struct(held(np.random.default_rng(0)))}, do_compression=True)
    monkeypatch.setattr(mat5_stream, "BLOCK", path.stat().st_size - 128 - 8 - 2)
    assert len(list(mat5_stream.elements(path, "data", FIELDS))) == 10
    path.write_bytes(path.read_bytes()[:-1] + b"\xaa")
    with pytest.raises(checks.DataFileError):
        list(mat5_stream.elements(path, "data", FIELDS))
