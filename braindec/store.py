"""Named arrays and JSON attributes in one HDF5 file: schema version, content checks, written whole or not at all.

Bulk arrays (responses, images) are contiguous for fast row reads and carry a sha256 per block of rows, checked when a
block is first read. Everything else is under one sha256 at the head of the file (HDF5 leaves its user block to others),
checked before HDF5 sees the file: damaged headers can make it loop for ever.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from braindec import checks, seal
from braindec.contained import damage_named, open_readonly

SCHEMA = 1
MOST_JSON = 1 << 29  # bytes; reports of hundreds of pictures have some tens of millions
BLOCK_BYTES = (
    4 << 20
)  # rows of about 4 MiB are hashed together: one block read verifies little more than was asked


class BulkWriter:
    """Appends rows to one bulk array and hashes them block by block."""

    def __init__(self, file: h5py.File, name: str, shape: tuple[int, ...], dtype: Any):
        self._data = file.create_dataset(name, shape=shape, dtype=dtype)
        row_bytes = max(1, int(np.prod(shape[1:])) * np.dtype(dtype).itemsize)
        self._block_rows = max(1, BLOCK_BYTES // row_bytes)
        self._name, self._file, self._filled = name, file, 0
        self._block = hashlib.sha256()  # of the block that is not full yet
        self._hashes: list[bytes] = []

    def append(self, rows: np.ndarray) -> None:
        """Writes further rows; their trailing shape must be the array's."""
        if rows.shape[1:] != self._data.shape[1:] or self._filled + len(rows) > self._data.shape[0]:
            raise ValueError(
                f"{self._name} takes {self._data.shape}, got {len(rows)} more rows of shape {rows.shape[1:]} "
                f"after {self._filled}."
            )
        rows = np.ascontiguousarray(rows, dtype=self._data.dtype)
        self._data[self._filled : self._filled + len(rows)] = rows
        start = 0
        while start < len(rows):  # here and now: whoever appends may fill the same array again
            part = rows[start : start + self._block_rows - self._filled % self._block_rows]
            self._block.update(part.tobytes())
            self._filled, start = self._filled + len(part), start + len(part)
            if self._filled % self._block_rows == 0:
                self._end_block()

    def close(self) -> None:
        """Hashes the last block; refuses an array that was not filled."""
        if self._filled != self._data.shape[0]:
            raise ValueError(
                f"{self._name} was announced with {self._data.shape[0]} rows but got {self._filled}."
            )
        if self._filled % self._block_rows:
            self._end_block()
        digests = np.frombuffer(b"".join(self._hashes), dtype=np.uint8).reshape(-1, 32)
        self._file.create_dataset(f"{self._name}.sha256", data=digests, chunks=True, fletcher32=True)

    @property
    def place(self) -> tuple[int, int]:
        """First byte in the file and number of bytes; (0, 0) where there are none."""
        return int(self._data.id.get_offset() or 0), int(self._data.id.get_storage_size())

    @property
    def described(self) -> dict[str, Any]:
        """What the file's list of arrays says of this one."""
        return _description(self._data, text=False) | {"block_rows": self._block_rows}

    def _end_block(self) -> None:
        self._hashes.append(self._block.digest())
        self._block = hashlib.sha256()


class Writer:
    """Fills one file; nothing is visible under its name until it is complete."""

    def __init__(self, file: h5py.File):
        self._file = file
        self._bulk: dict[str, BulkWriter] = {}
        self._small: dict[str, Any] = {}

    def array(self, name: str, values: Any) -> None:
        """Writes a small array (numbers, bool or text)."""
        values = np.asarray(values)
        if values.dtype.kind not in "biufcU":
            raise ValueError(f"{name} must be numbers, bool or text, got {values.dtype}.")
        text = values.dtype.kind == "U"
        if text:  # fixed-length bytes: HDF5 cannot checksum strings of variable length
            values = np.char.encode(values, "utf-8")
        checks.at_least(f"axes of {name}", values.ndim, 1)
        checked = {"chunks": True, "fletcher32": True} if values.size else {}
        self._small[name] = _description(self._file.create_dataset(name, data=values, **checked), text=text)

    def bulk(self, name: str, shape: tuple[int, ...], dtype: Any) -> BulkWriter:
        """Announces a large array that is then filled by `append`; a file holds up to `seal.MAX_BULK` of them."""
        checks.in_range("number of bulk arrays", len(self._bulk) + 1, 1, seal.MAX_BULK)
        self._bulk[name] = BulkWriter(self._file, name, shape, dtype)
        return self._bulk[name]

    def attributes(self, values: Mapping[str, Any]) -> None:
        """Writes JSON attributes (strict: no NaN)."""
        _write_hashed(self._file, "json", values)

    def close(self) -> list[tuple[int, int]]:
        """Closes the bulk arrays, lists every array and says where the bulk arrays lie."""
        for bulk in self._bulk.values():
            bulk.close()
        _write_hashed(
            self._file, "arrays", self._small | {n: bulk.described for n, bulk in self._bulk.items()}
        )
        self._file.flush()
        return sorted(bulk.place for bulk in self._bulk.values() if bulk.place[1])


@contextlib.contextmanager
def writer(path: str | Path) -> Iterator[Writer]:
    """A `Writer` whose file replaces `path` when the block ends without an error, and vanishes otherwise."""
    with atomic_path(path) as temporary:
        with h5py.File(temporary, "w", userblock_size=seal.N_BYTES) as file:
            file.attrs["braindec_schema"] = SCHEMA
            out = Writer(file)
            yield out
            if "json" not in file.attrs:
                out.attributes({})
            places = out.close()
        seal.close(temporary, places)


# What the system says where writing is refused, for now or for good.
REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


def _sync_names(folder: Path) -> None:
    """What was renamed in a folder stays so when the power fails; Windows opens no folder, and needs it not."""
    if os.name == "nt":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def part_of(path: Path) -> Path:
    """A hidden name beside `path` that nothing has yet, for what becomes `path` when it is whole."""
    return path.parent / f".{path.name}.{secrets.token_hex(4)}.part"


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`; renamed over it, synced to disk, when the block ends without an error."""
    path = Path(path)
    with _refusal_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = part_of(path)
        # Made by the system's own rules (umask, inherited ACLs): who may read recordings is not ours to widen.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        with _refusal_named(path):
            yield temporary
        with temporary.open("r+b") as file:  # Windows syncs nothing that is open for reading
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_names(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _refusal_named(path: Path) -> Iterator[None]:
    """A full disk or a folder that may not be written is said of `path`: the system names a temporary file, or none."""
    try:
        yield
    except OSError as error:
        hidden = error.filename is None or Path(str(error.filename)).name.startswith(f".{path.name}.")
        if isinstance(error, checks.BraindecError) or error.errno not in REFUSALS or not hidden:
            raise
        raise checks.SaveError(
            f"{path} could not be written: {os.strerror(error.errno)}. What was there before is untouched; make room "
            "or allow writing, and start again."
        ) from error


def write_json(path: str | Path, value: Any) -> None:
    """Strict JSON (no NaN), atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(
            json.dumps(value, indent=1, sort_keys=False, allow_nan=False) + "\n", encoding="utf-8"
        )


def read_json(path: str | Path, way_out: str = "Make it again.") -> Any:
    """The content of a strict JSON file."""
    path = checks.existing_file(path, way_out)

    def refuse(text: str) -> Any:
        raise checks.DataFileError(path, f"holds {text}, which is not JSON", way_out)

    if path.stat().st_size > MOST_JSON:
        raise checks.DataFileError(path, f"has {path.stat().st_size} bytes, more than {MOST_JSON}", way_out)
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    except checks.DataFileError:
        raise
    except (
        ValueError,
        RecursionError,
    ) as error:  # no JSON, no UTF-8, numbers of thousands of digits, thousands of [
        raise checks.DataFileError(path, f"is not JSON ({error})", way_out) from error


def sha256_of(path: str | Path) -> str:
    """Hex sha256 of a file's bytes."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class Rows:
    """A bulk array read by rows on demand; every block is verified when first touched.

    Each process opens the file for itself, so an object may be pickled or used after a fork.
    """

    def __init__(self, path: Path, name: str, shape: tuple[int, ...], dtype: np.dtype, block_rows: int):
        self.path, self.name, self.shape, self.dtype = path, name, shape, dtype
        self._block_rows = block_rows
        self._verified: set[int] = set()
        self._open: tuple[int, h5py.File] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": None}

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def block_rows(self) -> int:
        """Rows that share one sha256."""
        return self._block_rows

    def placed(self) -> tuple[int, np.ndarray]:
        """Where the array's one contiguous block begins in the file, in bytes, and the sha256 of its parts (n, 32)."""
        with damage_named(self.path):
            data = self._file()[self.name]
            offset, digests = data.id.get_offset(), self._file()[f"{self.name}.sha256"][()]
        n_blocks = -(-self.shape[0] // self._block_rows) if data.size else 0
        if (offset is None and data.size) or digests.shape[0] < n_blocks:
            raise checks.DataFileError(self.path, f"holds {self.name!r} in pieces", "Prepare it again.")
        return int(offset or 0), digests

    def _file(self) -> h5py.File:
        if self._open is None or self._open[0] != os.getpid():
            self._open = (os.getpid(), open_readonly(self.path))
        return self._open[1]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Rows by slice, mask or positions (any order, repeats allowed), as a numpy array."""
        if isinstance(rows, int | np.integer):
            return self[np.array([rows])][0]
        wanted = np.arange(self.shape[0])[rows]
        unique, back = np.unique(wanted, return_inverse=True)
        out = np.empty((len(unique), *self.shape[1:]), dtype=self.dtype)
        breaks = np.flatnonzero(np.diff(unique) != 1) + 1
        with damage_named(self.path):
            data = self._file()[self.name]
            self._verify(unique, data)
            for part in np.split(np.arange(len(unique)), breaks) if len(unique) else []:
                out[part[0] : part[-1] + 1] = data[unique[part[0]] : unique[part[-1]] + 1]
        return out if np.array_equal(back, np.arange(len(unique))) else out[back]

    def _verify(self, rows: np.ndarray, data: h5py.Dataset) -> None:
        block_rows = self._block_rows
        new = sorted(set((rows // block_rows).tolist()) - self._verified)
        if not new:
            return
        digests = self._file()[f"{self.name}.sha256"]
        for block in new:
            content = data[block * block_rows : (block + 1) * block_rows]
            if hashlib.sha256(content.tobytes()).digest() != digests[block].tobytes():
                raise checks.DataFileError(
                    self.path,
                    f"{self.name!r} is damaged in rows {block * block_rows} and after",
                    "Prepare it again.",
                )
            self._verified.add(block)


class Stored:
    """One file written by `writer`: attributes at once, small arrays when asked, bulk arrays by rows."""

    def __init__(self, path: str | Path):
        self.path = checks.existing_file(path, "Make it with: braindec prepare NAME --raw DIR --out DIR.")
        seal.check(self.path)
        with self._reading() as file:
            schema = file.attrs.get("braindec_schema")
            if schema != SCHEMA:
                raise checks.DataFileError(
                    self.path, f"has schema {schema}, this version reads {SCHEMA}", "Prepare it again."
                )
            self.attributes: dict[str, Any] = _read_hashed(file, "json", self.path)
            self._arrays: dict[str, dict[str, Any]] = _read_hashed(file, "arrays", self.path)
            self.names = sorted(self._arrays)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[h5py.File]:
        with open_readonly(self.path) as file, damage_named(self.path):
            yield file

    def array(self, name: str) -> np.ndarray:
        """A small array, whole; text comes back as numpy unicode."""
        checks.one_of(f"array of {self.path.name}", name, self.names)
        with self._reading() as file:
            values = np.asarray(self._data(file, name)[()])
            return np.char.decode(values, "utf-8") if self._arrays[name]["text"] else values

    def rows(self, name: str) -> Rows:
        """A bulk array, read by rows on demand."""
        checks.one_of(f"array of {self.path.name}", name, self.names)
        with self._reading() as file:
            data = self._data(file, name)
            return Rows(self.path, name, tuple(data.shape), data.dtype, self._arrays[name]["block_rows"])

    def _data(self, file: h5py.File, name: str) -> h5py.Dataset:
        data, listed = file[name], self._arrays[name]
        if data.dtype.str != listed["dtype"] or list(data.shape) != listed["shape"]:
            found = f"holds {name!r} as {data.dtype} {data.shape}, which is not what was written"
            raise checks.DataFileError(self.path, found, "Make or copy it again.")
        return data

    def group(self, prefix: str) -> dict[str, np.ndarray]:
        """All small arrays named `prefix/...`, by the rest of their name."""
        return {n[len(prefix) + 1 :]: self.array(n) for n in self.names if n.startswith(f"{prefix}/")}


def _description(data: h5py.Dataset, *, text: bool) -> dict[str, Any]:
    return {"dtype": data.dtype.str, "shape": list(data.shape), "text": text}


def _write_hashed(file: h5py.File, name: str, values: Mapping[str, Any]) -> None:
    text = json.dumps(values, sort_keys=True, allow_nan=False)
    file.attrs[name] = text
    file.attrs[f"{name}_sha256"] = hashlib.sha256(text.encode()).hexdigest()


def _read_hashed(file: h5py.File, name: str, path: Path) -> dict[str, Any]:
    text = file.attrs[name]
    if hashlib.sha256(text.encode()).hexdigest() != file.attrs[f"{name}_sha256"]:
        raise checks.DataFileError(path, f"has damaged attributes ({name})", "Make or copy it again.")
    return json.loads(text)


def content_hash(**parts: Any) -> str:
    """sha256 over named JSON values and arrays, the same on every machine.

    Parameters
    ----------
    **parts : JSON value or array
        Arrays enter with dtype and shape.
    """
    digest = hashlib.sha256()
    for name in sorted(parts):
        value = parts[name]
        if isinstance(value, np.ndarray):
            head = f"{name}:{value.dtype.str}:{value.shape}"
            body = (
                np.char.encode(value, "utf-8").tobytes()
                if value.dtype.kind == "U"
                else np.ascontiguousarray(value).tobytes()
            )
        else:
            head, body = name, json.dumps(value, sort_keys=True, allow_nan=False).encode()
        digest.update(f"{head}:{len(body)}\n".encode())
        digest.update(body)
    return digest.hexdigest()
