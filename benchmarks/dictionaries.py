"""Which method finds planted dictionaries again: codes of real concepts mixed by random atoms, fewer dims than atoms.

Run     python benchmarks/dictionaries.py [--codes FILE --samples 500 8000 --dims 12 24 40 --seeds 3 --steps 1500]
Writes  benchmarks/results/dictionaries.json, after two to three minutes on two cores

FILE is a text table of concepts by dimensions, such as SPoSE's 49 of THINGS; without it, it is looked for under
BRAINDEC_REAL_DATA, and where that is unset codes are drawn that are as sparse and co-occur in groups. Exemplars vary by
20 % in every dimension, noise has a spread of 0.02 a dim. The score is the signed mean cosine over planted atoms,
paired one to one; an atom without a partner counts 0 (PCA and ICA have no more atoms than dims). "chance" are unit
atoms drawn at random. Thirds are of planted atoms by how often they are active.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from _record import cpu_name

from braindec import sparse
from braindec.sparse import baselines, matching

RESULTS = Path(__file__).parent / "results" / "dictionaries.json"
LEAST = 0.2  # of a weight; smaller ones are taken for noise of the behaviour
CODES = Path("things_spose") / "spose_embedding_49d_sorted.txt"


def main() -> None:
    """Every method on every number of samples and dims; prints a table and writes it."""
    options = parse()
    torch.set_num_threads(
        1
    )  # products as small as these gain nothing from more, and lose where others compute
    codes, origin = load(options.codes)
    print(
        f"{origin}: {codes.shape[1]} atoms, {float((codes > 0).sum(1).float().mean()):.1f} active a concept"
    )
    rows = []
    for n_samples in options.samples:
        for n_dims in options.dims:
            rows += measured(codes, n_samples, n_dims, options)
    record = {
        "measured": True,
        "command": f"python {' '.join(sys.argv)}",
        "codes": origin,
        "machine": {"cpu": cpu_name(), "cores": os.cpu_count(), "threads": torch.get_num_threads()},
        "versions": {"python": platform.python_version()}
        | {p: version(p) for p in ("torch", "numpy", "scipy", "scikit-learn")},
        "values": rows,
    }
    options.out.write_text(json.dumps(record, indent=1) + "\n")


def parse() -> argparse.Namespace:
    """Sizes from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--codes", type=Path)
    parser.add_argument("--samples", type=int, nargs="+", default=[500, 8000])
    parser.add_argument("--dims", type=int, nargs="+", default=[12, 24, 40])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def load(path: Path | None) -> tuple[torch.Tensor, str]:
    """Codes (n_concepts, n_atoms) and where they come from."""
    real = os.environ.get("BRAINDEC_REAL_DATA")
    path = path or (Path(real) / CODES if real else None)
    if path is None:
        generator = torch.Generator().manual_seed(0)
        groups = torch.rand(1500, 7, generator=generator) < 0.3
        fires = torch.rand(1500, 49, generator=generator) < 0.05 + 0.4 * groups.repeat_interleave(7, 1)
        return fires * torch.rand(1500, 49, generator=generator).add(LEAST), "drawn"
    codes = torch.from_numpy(np.loadtxt(path)).float()
    return codes * (codes > LEAST), path.name


def mixed(codes: torch.Tensor, n_samples: int, n_dims: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Planted atoms (n_atoms, n_dims) and samples (n_samples, n_dims)."""
    generator = torch.Generator().manual_seed(seed)
    atoms = torch.nn.functional.normalize(torch.randn(codes.shape[1], n_dims, generator=generator), dim=1)
    drawn = codes[torch.randint(len(codes), (n_samples,), generator=generator)]
    strength = 1 + 0.2 * torch.randn(drawn.shape, generator=generator)
    return atoms, drawn * strength @ atoms + 0.02 * torch.randn(n_samples, n_dims, generator=generator)


def measured(codes: torch.Tensor, n_samples: int, n_dims: int, options: argparse.Namespace) -> list[dict]:
    """A row a method, median and range over seeds."""
    often = (codes > 0).float().mean(0).argsort(descending=True).tensor_split(3)
    found: dict[str, list[torch.Tensor]] = {}
    for seed in range(options.seeds):
        atoms, values = mixed(codes, n_samples, n_dims, seed)
        for name, learned in methods(values, len(atoms), seed, options.steps).items():
            pairs = matching.match(matching.cosines(atoms, learned))
            each = torch.zeros(len(atoms)).index_put_((pairs.first,), pairs.similarity)
            found.setdefault(name, []).append(each)
    rows = []
    for name, of_seeds in found.items():
        means = [float(each.mean()) for each in of_seeds]
        thirds = [statistics.median(float(each[part].mean()) for each in of_seeds) for part in often]
        rows.append(
            {
                "system": name,
                "n_samples": n_samples,
                "n_dims": n_dims,
                "n_atoms": codes.shape[1],
                "unit": "signed mean cosine",
                "n": len(means),
                "median": round(statistics.median(means), 4),
                "range": [round(min(means), 4), round(max(means), 4)],
                "by_frequency": [round(x, 4) for x in thirds],
            }
        )
        said = f"n {n_samples:6d}  dims {n_dims:3d}  {name:12s} {rows[-1]['median']:.3f}"
        print(said, rows[-1]["by_frequency"], flush=True)
    return rows


def methods(values: torch.Tensor, n_atoms: int, seed: int, n_steps: int) -> dict[str, torch.Tensor]:
    """The atoms that each method learns."""
    out = {}
    for kind in ("topk", "batch_topk"):
        settings = sparse.FitConfig(n_steps=n_steps, batch_size=256, lr=4e-3, dead_after=3000, device="cpu")
        config = sparse.Config(n_atoms, kind, min(6, n_atoms))
        out[kind] = sparse.fit(values, config, settings, seed=seed, progress=False).model.atoms
    for name in ("ica", "nmf", "kmeans", "pca", "random"):
        most = min(values.shape) if name in ("ica", "pca") else n_atoms
        label = "chance" if name == "random" else name
        out[label] = baselines.fit(name, values, min(most, n_atoms), seed=seed).atoms
    return out


if __name__ == "__main__":
    main()
