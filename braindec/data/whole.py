"""Recordings whose data file is as long as their header says: mne reads others with a warning at most."""

from __future__ import annotations

import gzip
import re
import struct
from pathlib import Path

from braindec import checks
from braindec.data import mat5_walk
from braindec.data.damage import COPY_AGAIN, drained_size, reading
from braindec.data.mat5_walk import HEAD
from braindec.store import open_readonly

ACCEPT = f"{COPY_AGAIN} Or accept it: --set meeg.truncated=true."
TAG = struct.Struct(
    ">4i"
)  # kind, type, bytes that follow, position of the next tag (0: after these, -1: none)
BLOCK_START, BLOCK = 104, struct.Struct(">i")  # a tag that says which kind of block begins
SAMPLE_BYTES = {"INT_16": 2, "INT_32": 4, "IEEE_FLOAT_32": 4}


def check(path: Path) -> None:
    """Refuses EDF, BDF and BrainVision files of another length than their header says, broken EEGLAB and FIF files.

    Raises
    ------
    DataFileError
        If the sizes differ, or the header does not hold what the format asks for.
    """
    if path.suffix in (".edf", ".bdf"):
        _edf(path)
    elif path.suffix == ".vhdr":
        _brainvision(path)
    elif path.suffix == ".set":
        _eeglab(path)
    elif path.name.endswith((".fif", ".fif.gz")):
        fif(path)


def fif(path: Path) -> set[int]:
    """Kinds of a FIF file's blocks (``.gz`` too); each tag says where the next is, and mne follows circles for ever.

    Raises
    ------
    DataFileError
        If a tag lies outside of the file, ends there, or is pointed to twice; or a compressed stream fails its CRC.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    seen, blocks, at = set[int](), set[int](), 0
    with reading(path), opened(path, "rb") as file:
        size = drained_size(path)
        while at != -1 and at < size:
            file.seek(at)
            header = file.read(TAG.size)
            if len(header) < TAG.size:
                break  # some files end with an empty tag
            kind, _, n, following = TAG.unpack(header)
            end = at + TAG.size + n
            if at in seen or n < 0 or following < -1 or end > size:
                raise checks.DataFileError(path, f"holds a broken tag at byte {at}", COPY_AGAIN)
            if kind == BLOCK_START and n == BLOCK.size:
                blocks.add(BLOCK.unpack(file.read(n))[0])
            seen.add(at)
            at = following or end
    return blocks


def _eeglab(path: Path) -> None:
    """A MATLAB file of version 5; newer ones are HDF5."""
    with reading(path), path.open("rb") as file:
        version = file.read(HEAD)[124:126]
    if version == b"\x00\x01":
        mat5_walk.check(path)
    else:
        open_readonly(path).close()


def _edf(path: Path) -> None:
    """The header's own length, and records of equal length; -1 records: not said (recorded without an end)."""
    with reading(path), path.open("rb") as file:
        head = file.read(256)
        n_head, n_records, n_signals = int(head[184:192]), int(head[236:244]), int(head[252:256])
        fields = file.read(256 * n_signals)
        samples = [int(fields[216 * n_signals + 8 * i :][:8]) for i in range(n_signals)]
    record = sum(samples) * (2 if path.suffix == ".edf" else 3)
    if n_head != 256 * (n_signals + 1) or n_records < -1 or min(samples, default=0) < 1:
        found = (
            f"says {n_signals} signals of {samples[:8]} samples in {n_records} records after {n_head} bytes"
        )
        raise checks.DataFileError(path, found, COPY_AGAIN)
    if n_records >= 0:
        _refuse(path, path, n_head + n_records * record)


def _brainvision(path: Path) -> None:
    """Whole samples of all channels; as many as the header's `DataPoints`, where it has them."""
    with reading(path):
        text = path.read_bytes().decode("utf-8", errors="replace")
        said = {
            key: _value(text, key) for key in ("NumberOfChannels", "DataPoints", "BinaryFormat", "DataFile")
        }
        size = SAMPLE_BYTES.get(said["BinaryFormat"])
        data = path.parent / said["DataFile"].replace("$b", path.stem)
        if _value(text, "DataFormat") != "BINARY" or size is None or not data.is_file():
            return  # text, or what mne refuses
        sample = size * int(said["NumberOfChannels"])
        held = data.stat().st_size
        expected = int(said["DataPoints"]) * sample if said["DataPoints"] else held - held % sample
    _refuse(path, data, expected)


def _value(text: str, key: str) -> str:
    found = re.search(rf"^{key}=(.*?)\s*$", text, re.MULTILINE)
    return found.group(1) if found else ""


def _refuse(path: Path, data: Path, expected: int) -> None:
    held = data.stat().st_size
    if held != expected:
        header = "its header" if data == path else path.name
        raise checks.DataFileError(data, f"holds {held} bytes but {header} asks for {expected}", ACCEPT)
