"""Batches of 64 trials in random order from data as large as NSD and THINGS-EEG2: braindec's loader and what is usual.

Run     python benchmarks/loader.py [--folder /tmp/loader] [--seconds 6] [--small]
Needs   13 GB of disk in --folder and 6 GB of memory; what is generated is removed
Writes  benchmarks/results/loader.json

One pass over all trials (cut off after --seconds) by, in the same order of trials:
  preloaded       indexing a tensor that is in memory (and copying its rows into one buffer)
  braindec        `braindec.data.loader`: the memory map of a prepared file, into a buffer used again; its first pass
                  checks the sha256 of every block that it meets, later ones do not
  h5py            torch's DataLoader over rows of the same file, read by h5py (no worker, and two)
  h5py chunked    the same over a file with h5py's automatic chunks
  tars            torch's DataLoader over shards of .npy members, read in sequence and shuffled in a buffer (no worker)
  disk            (cold) the file's bytes in their order, asked for ahead, into one buffer: what the disk gives
A row is a trial, as in prepared files. Torch has one thread; "all threads" are the same with a thread for each core, as
training has them. The loader is held against the fastest DataLoader over contiguous rows, be it with workers or
threads, and the fastest way of indexing the preloaded tensor.

Cold means that the system was told to forget the files' pages (POSIX_FADV_DONTNEED); `disk_mb` says what was then read
from the disk, of which the host of a virtual machine may have a cache of its own.

Warm means that the file was forgotten and then read from its beginning to its end, as copying it does; the peer reads
the same pages. Each system's first batch is compared with the rows that were asked for.

`limits` says how many times faster than the DataLoader over contiguous rows anything can be here that fills a buffer:
warm, what copies the same rows from a tensor in memory into one buffer, and does nothing else; cold, the disk alone.

Tried and not kept: a second thread of Python's beside numpy's own copying (0.20 to 0.25 ms a batch for 0.13 to 0.17 of
torch's two threads, which wait for each other in less); reading into the buffer instead of mapping (preadv: 1.3 to 1.6
times the processor's time of the map), and rows stored as float16 (as long on NSD, at most 1.4 times faster on
THINGS-EEG2, where what is not read is spent on converting; the map keeps every bit).
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import os
import platform
import shutil
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from _record import cpu_name
from torch.utils.data import DataLoader, Dataset, IterableDataset

from braindec import store
from braindec.data.loader import Ahead, MappedRows, buffer

BATCH, SHARD = 64, 500
SIZES = {"nsd": (30_000, 15_724), "things_eeg2": (16_540 * 4, 63, 250)}
SMALL = {"nsd": (600, 200), "things_eeg2": (300 * 4, 5, 10)}
LIBRARIES = ("torch", "numpy", "h5py")
CONTIGUOUS = ("h5py", "h5py, 2 workers", "h5py, all threads")
INDEXED = ("preloaded", "preloaded, all threads")
COPIED = ("preloaded, one buffer", "preloaded, one buffer, all threads")
System = Callable[[np.ndarray], Iterator[torch.Tensor]]


def main() -> None:
    """Generates each dataset, measures every system warm and cold, and writes the table."""
    options = parse()
    rows = []
    sizes = SMALL if options.small else SIZES
    for name in options.data:
        shape = sizes[name]
        folder = Path(tempfile.mkdtemp(dir=options.folder, prefix=f"{name}-"))
        try:
            rows += measure(name, generate(folder, shape), shape, options)
        finally:
            shutil.rmtree(folder)
    for row in rows:
        print(
            f"{row['data']:12s} {row['state']:6s} {row['system']:34s} {row['ms_per_batch']:9.3f} ms a batch"
        )
    write(rows, options)


def parse() -> argparse.Namespace:
    """Options from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", default=tempfile.gettempdir())
    parser.add_argument(
        "--seconds", type=float, default=6.0, help="longest warm pass; cold ones take 5 times as long"
    )
    parser.add_argument("--rounds", type=int, default=3, help="warm passes of each system, interleaved")
    parser.add_argument("--data", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--small", action="store_true", help="tiny data, for the tests")
    parser.add_argument("--out", default=str(Path(__file__).parent / "results" / "loader.json"))
    return parser.parse_args()


def generate(folder: Path, shape: tuple[int, ...]) -> Path:
    """The same float32 rows as a prepared file, an automatically chunked one and tar shards."""
    n = shape[0]
    with (
        store.writer(folder / "prepared.h5") as out,
        h5py.File(folder / "chunked.h5", "w") as chunked,
    ):
        bulk = out.bulk("responses", shape, np.float32)
        data = chunked.create_dataset("responses", shape=shape, dtype=np.float32, chunks=True)
        for start in range(0, n, SHARD):
            piece = rows_of(start, min(SHARD, n - start), shape)
            bulk.append(piece)
            data[start : start + len(piece)] = piece
            write_shard(folder / f"{start // SHARD:05d}.tar", piece, start)
    os.sync()
    return folder


def rows_of(start: int, n: int, shape: tuple[int, ...]) -> np.ndarray:
    """Noise whose first value is the number of the row."""
    values = np.random.default_rng(start).standard_normal((n, *shape[1:]), dtype=np.float32)
    values.reshape(n, -1)[:, 0] = np.arange(start, start + n)
    return values


def write_shard(path: Path, rows: np.ndarray, start: int) -> None:
    """One tar of .npy members."""
    with tarfile.open(path, "w") as tar:
        for i, row in enumerate(rows):
            content = io.BytesIO()
            np.save(content, row)
            member = tarfile.TarInfo(f"{start + i:08d}.npy")
            member.size = content.tell()
            content.seek(0)
            tar.addfile(member, content)


class H5Rows(Dataset):
    """Rows of an HDF5 dataset, opened where they are read."""

    def __init__(self, path: Path):
        self.path = path
        self.data: Any = None

    def __getitem__(self, row: int) -> torch.Tensor:
        if self.data is None:
            self.data = h5py.File(self.path, "r")["responses"]
        return torch.from_numpy(self.data[row])


class TarRows(IterableDataset):
    """Samples of shuffled shards, through a shuffle buffer."""

    def __init__(self, shards: list[Path]):
        self.shards = shards

    def __iter__(self) -> Iterator[torch.Tensor]:
        rng, held = np.random.default_rng(0), []
        for shard in rng.permutation(len(self.shards)):
            with tarfile.open(self.shards[shard], "r|") as tar:
                for member in tar:
                    content: Any = tar.extractfile(member)
                    held.append(np.load(io.BytesIO(content.read())))
                    if len(held) > SHARD:
                        yield torch.from_numpy(held.pop(int(rng.integers(len(held)))))
        yield from (torch.from_numpy(held.pop()) for _ in range(len(held)))


def braindec(rows: MappedRows) -> System:
    """Batches in buffers that are used again."""
    buffers = [buffer((BATCH, *rows.shape[1:])) for _ in range(2)]
    tensors = [torch.from_numpy(values) for values in buffers]

    def batches(order: np.ndarray) -> Iterator[torch.Tensor]:
        def make(step: int, slot: int) -> torch.Tensor:
            chosen = order[step * BATCH % len(order) :][:BATCH]
            rows.read(chosen, buffers[slot][: len(chosen)])
            return tensors[slot][: len(chosen)]

        ahead = Ahead(make)
        return (ahead(step) for step in range(len(order) // BATCH))

    return batches


def h5py_rows(path: Path, n_workers: int) -> System:
    """What a first Dataset over HDF5 looks like."""
    return lambda order: iter(
        DataLoader(H5Rows(path), BATCH, sampler=order.tolist(), num_workers=n_workers, drop_last=True)
    )


def all_threads(system: System) -> System:
    """The same with a thread of torch's for each core."""

    def batches(order: np.ndarray) -> Iterator[torch.Tensor]:
        torch.set_num_threads(os.cpu_count() or 1)
        return system(order)

    return batches


def disk(path: Path, shape: tuple[int, ...]) -> System:
    """The bytes of a file in their order."""
    buffer = np.empty((BATCH, *shape[1:]), np.float32)

    def batches(order: np.ndarray) -> Iterator[torch.Tensor]:
        with path.open("rb", buffering=0) as file:
            for batch in range(len(order) // BATCH):
                ahead = batch * buffer.nbytes, 8 * buffer.nbytes
                os.posix_fadvise(file.fileno(), *ahead, os.POSIX_FADV_WILLNEED)
                file.readinto(memoryview(buffer).cast("B"))
                yield torch.from_numpy(buffer)

    return batches


def preloaded(path: Path) -> dict[str, System]:
    """A tensor in memory: indexed, and its rows copied into one buffer."""
    with h5py.File(path, "r") as file:
        tensor = torch.from_numpy(file["responses"][()])
    buffer = torch.empty((BATCH, *tensor.shape[1:]))

    def parts(order: np.ndarray) -> Iterator[torch.Tensor]:
        return (torch.from_numpy(order[i : i + BATCH]) for i in range(0, len(order) - BATCH + 1, BATCH))

    one: dict[str, System] = {
        "preloaded": lambda order: (tensor[rows] for rows in parts(order)),
        "preloaded, one buffer": lambda order: (
            torch.index_select(tensor, 0, rows, out=buffer) for rows in parts(order)
        ),
    }
    return one | {f"{name}, all threads": all_threads(system) for name, system in one.items()}


def measure(name: str, folder: Path, shape: tuple[int, ...], options: argparse.Namespace) -> list[dict]:
    """All systems over one dataset: cold first, then warm in turn, the preloaded tensor last (it needs the memory)."""
    order = np.random.default_rng(1).permutation(shape[0])
    prepared, shards = folder / "prepared.h5", sorted(folder.glob("*.tar"))

    def fresh() -> MappedRows:
        return MappedRows(store.Stored(prepared).rows("responses"))

    systems: dict[str, Callable[[], System]] = {
        "braindec": lambda: braindec(fresh()),
        "h5py": lambda: h5py_rows(prepared, 0),
        "h5py, 2 workers": lambda: h5py_rows(prepared, 2),
        "h5py, all threads": lambda: all_threads(h5py_rows(prepared, 0)),
        "h5py chunked": lambda: h5py_rows(folder / "chunked.h5", 0),
        "tars": lambda: lambda order: iter(DataLoader(TarRows(shards), BATCH, drop_last=True)),
        "disk": lambda: disk(prepared, shape),
    }
    found: dict[tuple[str, str], list[dict]] = {}
    for system, make in systems.items():
        for path in folder.iterdir():
            forget(path)
        found["cold", system] = [run(make(), order, 5 * options.seconds)]
        gc.collect()
    forget(prepared)
    store.sha256_of(prepared)  # its pages come in
    anonymous = rss_anon_mb()
    kept = fresh()
    found["warm", "braindec, first pass"] = [run(braindec(kept), order, 10 * options.seconds)]
    del systems["braindec"], systems["disk"]
    made = {"braindec": braindec(kept), "braindec, all threads": all_threads(braindec(kept))}
    made |= {system: make() for system, make in systems.items()}
    grown = rss_anon_mb() - anonymous
    warmed = {s: run(m, order, options.seconds) for s, m in made.items()}  # those of the other files
    made |= preloaded(prepared)
    for system, batches in made.items():
        if system != "tars":  # which has an order of its own
            compare(system, next(iter(batches(order))), order[:BATCH])
    for _ in range(options.rounds):
        for system, batches in made.items():
            if system in warmed and warmed[system]["ms_per_batch"] > 1000 and ("warm", system) in found:
                continue  # once is enough of what takes seconds a batch
            found.setdefault(("warm", system), []).append(run(batches, order, options.seconds))
    rows = [
        {"data": name, "shape": list(shape), "state": k[0], "system": k[1]} | best(v)
        for k, v in found.items()
    ]
    for row in rows:
        row |= ratios(row, rows)
        if row["system"] == "braindec, first pass":
            row["rss_anon_grown_mb"] = round(grown, 1)
    return rows


def compare(system: str, batch: torch.Tensor, rows: np.ndarray) -> None:
    """Refuses a batch that does not hold these rows."""
    for found, row in zip(batch.numpy(), rows.tolist(), strict=True):
        first = row // SHARD * SHARD
        if not np.array_equal(found, rows_of(first, row - first + 1, (0, *found.shape))[-1]):
            raise ValueError(f"{system} read other values than those of row {row}.")


def run(batches: System, order: np.ndarray, seconds: float) -> dict:
    """Milliseconds a batch of one pass, cut off after some seconds."""
    torch.set_num_threads(1)
    read, processor, start, n = disk_mb(), time.process_time(), time.perf_counter(), 0
    for batch in batches(order):
        n += len(batch) == BATCH
        if time.perf_counter() - start > seconds:
            break
    spent = time.perf_counter() - start
    busy = time.process_time() - processor
    return {
        "ms_per_batch": 1000 * spent / n, "processor_ms": 1000 * busy / n, "batches": n,
        "disk_mb": round(disk_mb() - read),
    }  # fmt: skip


def best(passes: list[dict]) -> dict:
    """The median pass, with the range of all."""
    times = [p["ms_per_batch"] for p in passes]
    busy = statistics.median(p["processor_ms"] for p in passes)
    return {
        "ms_per_batch": round(statistics.median(times), 4), "processor_ms_per_batch": round(busy, 4),
        "range": [round(min(times), 4), round(max(times), 4)],
        "passes": len(times), "batches": passes[0]["batches"], "disk_mb": passes[0]["disk_mb"],
    }  # fmt: skip


def ratios(row: dict, rows: list[dict]) -> dict:
    """How many times faster than the fastest DataLoader over contiguous rows, and how many times a preloaded tensor."""
    same = [r for r in rows if r["state"] == row["state"]]
    usual = min(r["ms_per_batch"] for r in same if r["system"] in CONTIGUOUS)
    out = {"times_faster_than_h5py": round(usual / row["ms_per_batch"], 2)}
    memory = min(r["ms_per_batch"] for r in rows if r["system"] in INDEXED)
    return out | {"times_preloaded": round(row["ms_per_batch"] / memory, 2)}


def limits(rows: list[dict]) -> dict[str, dict[str, float]]:
    """By dataset: how many times faster than the DataLoader over contiguous rows copying and the disk alone are."""
    floors = {"warm": COPIED, "cold": ("disk",)}
    return {
        name: {
            state: max(
                r["times_faster_than_h5py"]
                for r in rows
                if (r["data"], r["state"]) == (name, state) and r["system"] in systems
            )
            for state, systems in floors.items()
        }
        for name in dict.fromkeys(row["data"] for row in rows)
    }


def forget(path: Path) -> None:
    """Drops a file's pages from memory."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def disk_mb() -> float:
    """What this process and its finished children have read from disks so far."""
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["read_bytes"]) / 1e6


def rss_anon_mb() -> float:
    """Anonymous memory of this process."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("RssAnon"))
    return int(line.split()[1]) / 1024


def write(rows: list[dict], options: argparse.Namespace) -> None:
    """The table as JSON with the machine, the versions and the command; rows of data not measured now are kept."""
    threads = os.environ.get("OMP_NUM_THREADS")
    path = Path(options.out)
    before = json.loads(path.read_text()) if path.is_file() else {"runs": {}, "values": []}
    run = {
        "command": f"{f'OMP_NUM_THREADS={threads} ' if threads else ''}python {' '.join(sys.argv)}",
        "options": {
            key: value for key, value in vars(options).items() if key not in ("out", "folder", "data")
        },
        "machine": {
            "cpu": cpu_name(),
            "cores": os.cpu_count(),
            "threads": 1,
            "gpu": None,
        },
        "load_average": list(os.getloadavg()),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES},
    }
    record = {
        "measured": True,
        "batch": BATCH,
        "runs": before.get("runs", {}) | dict.fromkeys(options.data, run),
        "limits": before.get("limits", {}) | limits(rows),
        "values": [row for row in before["values"] if row["data"] not in options.data] + rows,
    }
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
