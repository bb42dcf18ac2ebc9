"""Pickles are read without running anything, and large arrays inside them without memory."""

from __future__ import annotations

import datetime
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from braindec import checks
from braindec.data import safe_npy, safe_pt


class Canary:
    """Makes a folder when unpickled."""

    def __reduce__(self):
        return os.mkdir, (os.environ["BRAINDEC_CANARY"],)


@pytest.fixture
def canary(tmp_path, monkeypatch):
    target = tmp_path / "made-when-opened"
    monkeypatch.setenv("BRAINDEC_CANARY", str(target))
    return target


def held(rng):
    data = rng.standard_normal((6, 2, 3, 5))
    return {
        "data": data, "again": data, "by_column": np.asfortranarray(data[0]), "half": data.astype(np.float16),
        "names": ["O1", "Oz"], "times": np.arange(5) / 100, "text": np.array([["a/b.jpg"] * 2] * 6), "n": 3,
    }  # fmt: skip


def write(path, value, flavour):
    if flavour == "npy":
        np.save(path, np.array(value, dtype=object), allow_pickle=True)
    elif flavour == "pt":
        torch.save(value, path, pickle_protocol=4)
    else:
        path.write_bytes(pickle.dumps(value, protocol=int(flavour)))
    return safe_pt.load(path) if flavour == "pt" else safe_npy.load(path)


@pytest.mark.parametrize("flavour", ["npy", "2", "3", "4", "5", "pt"])
@pytest.mark.parametrize("mapped", [False, True])
def test_everything_that_was_saved_is_read_equal_mapped_or_not(tmp_path, rng, monkeypatch, flavour, mapped):
    if mapped:
        # Anything above a pickler's frame lies outside of frames, where it can be mapped.
        monkeypatch.setattr(safe_npy, "MAPPED_BYTES", 64 << 10)
        big = {
            k: np.tile(v, (100, *[1] * (v.ndim - 1)))
            for k, v in held(rng).items()
            if isinstance(v, np.ndarray)
        }
        expected = held(rng) | big | {"again": big["data"]}
    else:
        expected = held(rng)
    found = write(tmp_path / "x.npy", expected, flavour)
    assert list(found) == list(expected)
    for key, value in expected.items():
        assert np.array_equal(found[key], value), key
    if mapped and flavour in ("npy", "3", "4", "5", "pt"):
        assert isinstance(found["data"], np.memmap) and isinstance(found["again"], np.memmap)
    assert not isinstance(found["times"], np.memmap)


def test_tensors_are_read_as_arrays(tmp_path, rng):
    values = {k: torch.from_numpy(rng.integers(0, 99, (3, 4))).to(getattr(torch, k)) for k in
              ("float16", "float32", "float64", "uint8", "int16", "int32", "int64", "bool")}  # fmt: skip
    whole = torch.arange(12.0).reshape(3, 4)
    found = write(tmp_path / "x.pt", values | {"rows": whole[1:], "none": torch.empty(0, 2)}, "pt")
    for key, value in values.items():
        assert found[key].dtype == key and np.array_equal(found[key], value.numpy())
    assert np.array_equal(found["rows"], whole[1:].numpy())
    turned = {"turned": whole.T, "every second": whole[:, ::2]}
    for key, value in write(tmp_path / "y.pt", turned, "pt").items():
        assert np.array_equal(value, turned[key].numpy())
    with pytest.raises(checks.DataFileError, match="1 values for a tensor"):
        write(tmp_path / "z.pt", {"bomb": torch.zeros(1).expand(10**12)}, "pt")


def save_as_before(value, path):
    torch.save(value, path, _use_new_zipfile_serialization=False)


def test_files_of_torch_before_1_6_are_read_alike(tmp_path, rng):
    path = tmp_path / "x.pth"
    shared = torch.from_numpy(rng.standard_normal((5, 7)).astype("f4"))
    value = {"list": [{"eeg": shared.T, "label": 3}, {"eeg": shared[1:], "label": 4}], "names": ["a", "b"],
             "double": torch.arange(3, dtype=torch.float64), "none": torch.empty(0, 2)}  # fmt: skip
    save_as_before(value, path)
    found = safe_pt.load(path)
    assert found["names"] == ["a", "b"] and [e["label"] for e in found["list"]] == [3, 4]
    assert np.array_equal(found["list"][0]["eeg"], shared.numpy().T)
    assert np.array_equal(found["list"][1]["eeg"], shared.numpy()[1:])
    assert np.array_equal(found["double"], [0, 1, 2]) and found["none"].shape == (0, 2)


@pytest.mark.parametrize("cut", [5, 40, -400, -9, -1])
def test_a_cut_file_of_before_is_refused(tmp_path, cut):
    path = tmp_path / "x.pth"
    save_as_before({"a": torch.arange(100.0), "b": torch.arange(9)}, path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(checks.DataFileError):
        safe_pt.load(path)


def test_what_would_run_code_in_a_file_of_before_is_refused(tmp_path, canary):
    save_as_before({"data": [Canary()]}, tmp_path / "x.pth")
    with pytest.raises(checks.DataFileError, match=r"asks to run posix\.mkdir"):
        safe_pt.load(tmp_path / "x.pth")
    assert not canary.exists()


@pytest.mark.parametrize("save", [save_as_before, torch.save])
def test_thousands_of_tensors_need_one_open_file(tmp_path, save):
    save([torch.full((3,), float(i)) for i in range(2000)], tmp_path / "x.pth")
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").is_dir() else 0
    found = safe_pt.load(tmp_path / "x.pth")
    assert [float(x[2]) for x in found[::500]] == [0, 500, 1000, 1500]
    if before:
        assert len(list(Path("/proc/self/fd").iterdir())) <= before + 3


@pytest.mark.parametrize("flavour", ["npy", "2", "4", "5", "pt"])
def test_what_would_run_code_is_refused_before_it_does(tmp_path, flavour, canary):
    with pytest.raises(checks.DataFileError, match=r"asks to run posix\.mkdir"):
        write(tmp_path / "x.npy", {"data": [Canary()]}, flavour)
    assert not canary.exists()
    pickle.loads(pickle.dumps(Canary()))
    assert canary.exists(), "the canary was harmless, so the test above shows nothing"


@pytest.mark.parametrize("flavour", ["4", "pt"])
def test_other_classes_are_refused_by_name(tmp_path, flavour):
    with pytest.raises(checks.DataFileError, match=r"datetime\.date"):
        write(tmp_path / "x.npy", {"when": datetime.date(2020, 2, 20)}, flavour)


@pytest.mark.parametrize("n", [10, 10_000])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_bytes_cannot_pass_for_an_array_of_objects(tmp_path, monkeypatch, n, protocol):
    """Bytes read as pointers would crash the interpreter; the type's pickled flags say that there are none."""
    monkeypatch.setattr(safe_npy, "MAPPED_BYTES", 64 << 10)
    content = pickle.dumps(np.zeros(n), protocol=protocol)
    assert content.count(b"f8") == 1
    (tmp_path / "x.npy").write_bytes(content.replace(b"f8", b"O8"))
    with pytest.raises(checks.DataFileError):
        safe_npy.load(tmp_path / "x.npy")


@pytest.mark.parametrize("n", [-1, 1])
def test_bytes_that_do_not_fit_their_shape_are_refused(tmp_path, monkeypatch, n):
    monkeypatch.setattr(safe_npy, "MAPPED_BYTES", 64 << 10)
    content = pickle.dumps(np.zeros(10_000), protocol=4)
    shape = (10_000).to_bytes(2, "little")
    assert content.count(b"M" + shape) == 1
    (tmp_path / "x.npy").write_bytes(content.replace(b"M" + shape, b"M" + (10_000 + n).to_bytes(2, "little")))
    with pytest.raises(checks.DataFileError, match="80000 bytes"):
        safe_npy.load(tmp_path / "x.npy")


@pytest.mark.parametrize("flavour", ["4", "pt"])
def test_a_cut_file_is_refused(tmp_path, monkeypatch, flavour):
    monkeypatch.setattr(safe_npy, "MAPPED_BYTES", 64 << 10)
    path = tmp_path / "x.npy"
    write(path, {"data": np.zeros(10_000)}, flavour)
    path.write_bytes(path.read_bytes()[:50_000])
    with pytest.raises(checks.DataFileError, match=r"x\.npy"):
        (safe_pt if flavour == "pt" else safe_npy).load(path)


def test_long_bytes_outside_of_arrays_are_refused(tmp_path):
    with pytest.raises(checks.DataFileError, match="belong to no array"):
        write(tmp_path / "x.npy", {"data": bytes(2 << 20)}, "4")


def test_a_large_array_takes_no_memory_until_its_rows_are_used(tmp_path):
    path = tmp_path / "large.npy"
    with path.open("wb") as file:
        pickle.dump({"data": np.zeros((1000, 100_000), dtype=np.float32)}, file, protocol=4)
    script = textwrap.dedent("""
        import sys, re
        from braindec.data import safe_npy
        def own(): return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
        before = own()
        data = safe_npy.load(sys.argv[1])["data"]
        total = sum(float(data[i : i + 10].sum()) for i in range(0, 1000, 10))
        print(own() - before, data.shape)
    """)
    ran = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    grown = float(ran.stdout.split()[0])
    assert grown < 40, f"{grown} MiB for a file of 381 MiB"
