"""Retrieval in large galleries: exact at a million, by product-quantised codes at ten million, by arithmetic beyond.

Run     python benchmarks/gallery.py [--n 1000000 --dim 768] [--index-n 10000000] [--folder DIR]
Writes  benchmarks/results/gallery.json (--out FILE for any other place)
Fails   where the exact search does not find what a comparison with all rows finds

Rows are drawn: 768 dims whose variance falls as a power of their rank, of unit length; a query is a row with noise of
twice its length, about what a decoder makes of one. `--folder` needs 3.1 GB of disk for a million rows kept to the
bit and 17 GB for ten million rounded to bfloat16 with their index. A part is left out where its number is 0; its
results in the file, where there are some, stay there beside the command and the machine that made them. The index is
asked with fewer and more cells, and with a shorter shortlist.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _record import cpu_name
from torch import Tensor

from braindec.data import gallery as galleries
from braindec.data.gallery import Gallery
from braindec.maths import coarse, nearest

BATCH = 32
K = 10
PART = 50_000  # rows drawn at once
NOISE = 2.0  # length of the noise of a query, of its row's
DECAY = 0.35  # variance of dim i is i ** -0.7: half of it in the first 90 dims of 768
LAION = 100_000_000


def main() -> None:
    """Prints and writes what was measured, with the machine, the versions and the command."""
    options = parse()
    path = options.out or Path(__file__).parent / "results" / "gallery.json"
    found = json.loads(path.read_text()) if path.is_file() else {"values": {}, "runs": {}}
    values: dict[str, Any] = found["values"]
    runs: dict[str, Any] = found["runs"]
    for name, n, part in (("exact", options.n, exact_part), ("index", options.index_n, index_part)):
        if n:
            with tempfile.TemporaryDirectory(dir=options.folder, prefix="gallery-") as folder:
                values[name] = part(Path(folder), n, options)
            runs[name] = run_of(options)
            print(name, json.dumps(values[name], indent=1))
    values["arithmetic"] = arithmetic(values)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"measured": True, "runs": runs, "values": values}, indent=1) + "\n")


def parse() -> argparse.Namespace:
    """Sizes from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in {"n": 1_000_000, "dim": 768, "index-n": 0, "repeats": 5, "checked": 32}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    for name in ("n-cells", "n-training", "n-probed", "n-listed", "n-dims", "n-codes"):
        parser.add_argument(f"--{name}", type=int, default=None, help="of the index")
    parser.add_argument("--folder", type=Path, default=None, help="where the gallery lies meanwhile")
    parser.add_argument(
        "--gallery", type=Path, default=None, help="of the index: one that an earlier run left there"
    )
    parser.add_argument(
        "--index", type=Path, default=None, help="one that an earlier run left; it is not built again"
    )
    parser.add_argument("--out", type=Path, default=None)
    return parser.parse_args()


def drawn(start: int, n: int, dim: int) -> Tensor:
    """Rows `start` and after, unit length: the same whenever they are asked for."""
    rows = np.random.default_rng((7, start)).standard_normal((n, dim), dtype=np.float32)
    rows *= np.arange(1, dim + 1, dtype=np.float32) ** -DECAY
    return torch.nn.functional.normalize(torch.from_numpy(rows), dim=1)


def parts(n: int, dim: int) -> Iterator[tuple[list[str], np.ndarray]]:
    """Names and rows of a gallery."""
    for start in range(0, n, PART):
        rows = drawn(start, min(PART, n - start), dim)
        yield [f"{start + i:09d}" for i in range(len(rows))], rows.numpy()


def queries(made: Gallery, n: int) -> tuple[Tensor, Tensor]:
    """Noisy rows of the gallery (n, dim), and which ones."""
    rng = np.random.default_rng(1)
    rows = np.sort(rng.choice(len(made), n, replace=False))
    noise = drawn(10**9, n, int(np.prod(made.shape)))
    values = torch.from_numpy(made.values(rows)).flatten(1) + NOISE * noise
    return torch.nn.functional.normalize(values, dim=1), torch.from_numpy(rows)


def compared(asked: Tensor) -> Any:
    """The exact comparison: cosine."""
    return lambda found: nearest.similarity(asked, torch.from_numpy(found).flatten(1))


def exact_part(folder: Path, n: int, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds a batch of the exact search, and whether it found what it should."""
    clock = time.perf_counter()
    made = galleries.write(folder / "gallery", parts(n, options.dim), space="drawn/unit")
    written = time.perf_counter() - clock
    asked, own = queries(made, BATCH)
    check_exact(made, asked, options.checked)
    looked_at: list[int] = []

    def full(found: np.ndarray) -> Tensor:
        looked_at.append(len(found))
        return compared(asked)(found)

    runs, found = timed(lambda: made.top_k(asked, K, full), options.repeats)
    return {
        "n": n, "dim": options.dim, "batch": BATCH, "k": K, "precision": made.precision,
        **runs, "milliseconds_a_query": round(1000 * runs["seconds_a_batch"] / BATCH, 2),
        "bfloat16_products": coarse.bfloat16_pays(torch.get_num_threads()),
        "rows_compared_in_full": looked_at[-1], "equal_to_all_pairs": True,
        "own_row_among_k": share_found(found[1], own), "chance": K / n,
        "disk_gb": round(disk(folder) / 1e9, 2), "seconds_to_write": round(written, 1), "peak_memory_gb": peak(),
    }  # fmt: skip


def check_exact(made: Gallery, asked: Tensor, n: int) -> None:
    """Refuses to measure a search that differs from the comparison of some queries with every row."""
    asked = asked[:n]
    best = torch.full((n, K), -torch.inf)
    rows = torch.zeros((n, K), dtype=torch.int64)
    for start, values in made.parts():
        block = nearest.similarity(asked, torch.from_numpy(values).flatten(1))
        both, of = (
            torch.cat([best, block], 1),
            torch.cat([rows, start + torch.arange(block.shape[1]).expand(n, -1)], 1),
        )
        best, chosen = both.topk(K, dim=1)
        rows = of.gather(1, chosen)
    found = made.top_k(asked, K, compared(asked))
    if not torch.allclose(found[0], best, atol=1e-6):  # rows of equal similarity may change places
        raise SystemExit("the search in blocks does not find what a comparison with all rows finds")


def index_part(folder: Path, n: int, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds and recall of an index, against the exact search of the same gallery."""
    from braindec.data import gallery_index

    chosen = ("n_cells", "n_training", "n_probed", "n_listed", "n_dims", "n_codes")
    asked_for = {key: getattr(options, key) for key in chosen if getattr(options, key) is not None}
    settings = gallery_index.Config(**asked_for)
    made, written = written_or_found(folder, n, options)
    clock = time.perf_counter()
    if options.index is None:
        index = gallery_index.build(made, folder / "index", settings)
        built: float | None = round(time.perf_counter() - clock, 1)
    else:
        index, built = gallery_index.open_index(made, options.index), None
    asked, own = queries(made, BATCH)
    exact_runs, exact = timed(lambda: made.top_k(asked, K, compared(asked)), 1)
    rows = []
    for n_listed, n_probed in asked_with(settings):
        asking = index.with_(n_probed=n_probed, n_listed=n_listed)
        runs, found = timed(lambda asking=asking: asking.top_k(asked, K, compared(asked)), options.repeats)
        rows.append({
            "n_probed": n_probed, "n_listed": n_listed, **runs,
            "milliseconds_a_query": round(1000 * runs["seconds_a_batch"] / BATCH, 2),
            "recall_at_10": round(gallery_index.recall(found[1], exact[1]), 4),
            "own_row_among_k": share_found(found[1], own),
        })  # fmt: skip
    return {
        "n": n, "dim": options.dim, "batch": BATCH, "k": K, "precision": made.precision, "n_shards": len(made.shards),
        "settings": vars(settings), "asked": rows, "exact_seconds_a_batch": exact_runs["seconds_a_batch"],
        "own_row_among_k_exact": share_found(exact[1], own),
        "index_gb": round(disk(options.index or folder / "index") / 1e9, 3),
        "gallery_gb": round(disk(made.folder) / 1e9, 2), "seconds_to_write": written, "seconds_to_build": built,
        "peak_memory_gb": peak(),
    }  # fmt: skip


def written_or_found(folder: Path, n: int, options: argparse.Namespace) -> tuple[Gallery, float | None]:
    """The rounded gallery of the index, and the seconds that it took; one that was found took none that are known."""
    if options.gallery is not None:
        made = galleries.open_gallery(options.gallery)
        if (len(made), made.precision) != (n, "bfloat16"):
            raise SystemExit(
                f"{options.gallery} holds {len(made)} rows of {made.precision}, not {n} of bfloat16"
            )
        return made, None
    clock = time.perf_counter()
    rows = parts(n, options.dim)
    made = galleries.write(folder / "gallery", rows, space="drawn/unit", precision="bfloat16")
    return made, round(time.perf_counter() - clock, 1)


def asked_with(settings: Any) -> list[tuple[int, int]]:
    """(rows listed, cells looked at): a fifth of the rows and all, a quarter of the cells and four times."""
    listed = sorted({max(K, settings.n_listed // 5), settings.n_listed})
    most = min(4 * settings.n_probed, settings.n_cells)
    probed = sorted({max(1, settings.n_probed // 4), settings.n_probed, most})
    return [(some, cells) for some in listed for cells in probed]


def timed(run: Any, repeats: int) -> tuple[dict[str, Any], Any]:
    """Wall and processor seconds of a batch, after one run that is not counted."""
    found = run()
    wall, processor = [], []
    for _ in range(repeats):
        start, start_processor = time.perf_counter(), time.process_time()
        found = run()
        wall.append(time.perf_counter() - start)
        processor.append(time.process_time() - start_processor)
    return {
        "seconds_a_batch": round(statistics.median(wall), 4),
        "range": [round(min(wall), 4), round(max(wall), 4)],
        "processor_seconds_a_batch": round(statistics.median(processor), 4),
        "repeats": repeats,
        "load_average": [round(x, 2) for x in os.getloadavg()],
    }, found


def share_found(rows: Tensor, own: Tensor) -> float:
    """How often a query's own row is among those found."""
    return round(float((rows == own[:, None]).any(1).double().mean()), 4)


def arithmetic(values: dict[str, Any]) -> dict[str, Any]:
    """What a hundred million rows would take, from what was measured; nothing of it was run."""
    out: dict[str, Any] = {"not_measured": "multiplied from the sizes above", "n": LAION}
    if "index" in values:
        one = values["index"]
        times = LAION / one["n"]
        best = one["asked"][-1]
        out |= {
            "index_gb": round(one["index_gb"] * times, 1),
            "gallery_gb_bfloat16": round(one["gallery_gb"] * times),
            "hours_to_build": round(one["seconds_to_build"] * times / 3600, 1)
            if one["seconds_to_build"]
            else None,
            "milliseconds_a_query": round(best["milliseconds_a_query"] * times, 1),
            "holds_if": "cells grow with the gallery no faster than here; recall at that size is not known",
        }
    if "exact" in values:
        one = values["exact"]
        seconds = one["processor_seconds_a_batch"] * LAION / one["n"]
        out["exact_processor_seconds_a_batch_of_32"] = round(seconds)
    return out


def _asked() -> str:
    """The command line without places of this machine."""
    words = sys.argv[1:]
    places = [i for i, word in enumerate(words) if word in ("--folder", "--gallery", "--index", "--out")]
    return " ".join(word for i, word in enumerate(words) if i not in places and i - 1 not in places)


def disk(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def peak() -> float:
    """Most memory this process held so far, GB; pages of mapped files are among it."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2)


def run_of(options: argparse.Namespace) -> dict[str, Any]:
    """Command, machine and versions behind a part of the results."""
    threads = os.environ.get("OMP_NUM_THREADS")
    before = f"OMP_NUM_THREADS={threads} " if threads else ""
    names = ("torch", "numpy", *(("faiss-cpu",) if options.index_n else ()))
    return {
        "command": f"{before}python benchmarks/gallery.py {_asked()}".rstrip(),
        "options": {k: None if isinstance(v, Path) else v for k, v in vars(options).items()},
        "machine": {
            "cpu": cpu_name(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "gpu": None,
            "disk_free_gb": round(shutil.disk_usage(options.folder or tempfile.gettempdir()).free / 1e9),
        },
        "load_average": list(os.getloadavg()),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in names},
    }


if __name__ == "__main__":
    main()
