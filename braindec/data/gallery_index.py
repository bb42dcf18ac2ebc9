"""An index over a gallery for tens of millions: a shortlist by product-quantised codes, then the exact comparison.

Needs faiss (extra `faiss`). Rows are scaled to unit length, reduced to their principal components, sorted into cells
around centroids (IVF) and kept as one byte for each few dims (PQ; Jégou et al. 2011, doi:10.1109/TPAMI.2010.57). A
query looks at the cells nearest to it. What it returns may lack some of the nearest: `recall` measures how many.

Components, centroids and codes are learnt once and lie in one file; the cells' rows lie in others, a million each, that
are mapped. A query is reduced and finds its cells once, and looks at them through all files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks, config, store
from braindec.data.gallery import Gallery

INDEX = "index.json"
FORMAT = 2
LEARNT = "learnt.faiss"
BLOCK = 16_384  # rows coded at once, counted from row 0: codes do not depend on how rows are cut into files
ROWS = 64 * BLOCK  # of a file, which is held in memory while it is filled: 75 MB of 64 bytes a row
WAY_OUT = "Build it with braindec.data.gallery_index.build(gallery, folder, ...)."


@dataclass(frozen=True)
class Config:
    """How an index is made and asked.

    Parameters
    ----------
    n_dims : int
        Principal components that are kept; at most the gallery's own.
    n_codes : int
        Bytes a row; divides `n_dims`.
    n_cells : int
        Centroids.
    n_training : int
        Rows from which components, centroids and codes are learnt, spread over the gallery.
    n_probed : int
        Cells that a query looks at.
    n_listed : int
        Rows of a query's shortlist, those nearest by their codes, that are compared exactly.
    seed : int
    """

    n_dims: int = 128
    n_codes: int = 64
    n_cells: int = 2048
    n_training: int = 100_000
    n_probed: int = 32
    n_listed: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            checks.at_least(name, value, 0 if name == "seed" else 1)
        if self.n_dims % self.n_codes:
            raise checks.ConfigError(f"n_codes must divide n_dims, got {self.n_codes} and {self.n_dims}.")
        checks.in_range("n_probed", self.n_probed, 1, self.n_cells)


@dataclass(frozen=True, eq=False)
class Index:
    """What `build` learnt, and maps of the files that it wrote; cells are read as they are looked at."""

    gallery: Gallery
    settings: Config
    searched: Any  # what was learnt, over the lists of all files
    lists: tuple[Any, ...]  # of each file, and last all of them as one; faiss keeps none of them alive

    def shortlist(self, directions: Tensor) -> np.ndarray:
        """Rows (n, n_listed) that may be near, -1 where the cells held fewer."""
        queries = torch.nn.functional.normalize(directions, dim=1).numpy()
        _faiss().extract_index_ivf(self.searched).nprobe = self.settings.n_probed
        _, rows = self.searched.search(np.ascontiguousarray(queries), self.settings.n_listed)
        return np.asarray(rows)

    def top_k(
        self, directions: Tensor, k: int, exact: Callable[[np.ndarray], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The `k` most similar rows of the shortlist of each query, by the exact comparison.

        Parameters
        ----------
        directions : float32 Tensor, shape (n, n_tokens * n_dims)
        k : int
        exact : callable
            float32 (m, n_tokens, n_dims) -> similarity (n, m).

        Returns
        -------
        values, rows : Tensor, shape (n, k)

        Raises
        ------
        ValueError
            If a shortlist is shorter than `k`.
        """
        listed = torch.from_numpy(self.shortlist(directions))
        rows, place = listed.clamp_min(0).unique(return_inverse=True)
        values = exact(self.gallery.values(rows.numpy()))
        mine = torch.zeros(values.shape, dtype=torch.bool)
        mine.scatter_(1, place, listed >= 0)
        mine[:, rows == 0] = (listed == 0).any(1, keepdim=True)  # it also stands for what was not found
        if int(mine.sum(1).min()) < k:
            raise ValueError(f"a shortlist holds fewer than k = {k} rows; raise n_probed or n_listed.")
        best = values.masked_fill(~mine, -torch.inf).sort(dim=1, descending=True, stable=True)
        return best.values[:, :k], rows[best.indices[:, :k]]

    def with_(self, **changes: int) -> Index:
        """The same files, asked with another `n_probed` or `n_listed`."""
        for name in changes:
            checks.one_of("setting of a query", name, ("n_probed", "n_listed"))
        return replace(self, settings=replace(self.settings, **changes))


def build(gallery: Gallery, folder: str | Path, settings: Config = Config()) -> Index:
    """Learns an index, fills it file by file and writes it.

    Raises
    ------
    MissingPackageError
        If faiss is not installed.
    ConfigError
        If the folder holds something, or the gallery is too small for these settings.
    """
    faiss = _faiss()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise checks.ConfigError(f"{folder} holds something already; name a new folder.")
    if len(gallery) < max(settings.n_cells, 256):
        raise checks.ConfigError(
            f"an index of {settings.n_cells} cells needs as many rows, the gallery has {len(gallery)}; it is small "
            "enough to be searched exactly."
        )
    learnt = _learnt(gallery, settings)
    faiss.write_index(learnt, str(folder / LEARNT))
    names = [LEARNT]
    for start in range(0, len(gallery), ROWS):
        stop = min(start + ROWS, len(gallery))
        for low in range(start, stop, BLOCK):
            rows = np.arange(low, min(low + BLOCK, stop))
            learnt.add_with_ids(_rows(gallery, rows), rows)
        names.append(f"lists-{start // ROWS:05d}.faiss")
        _write_lists(learnt, folder / names[-1])
        learnt.reset()
    content = {
        "format": FORMAT,
        "settings": config.to_json(settings),
        "n": len(gallery),
        "files": [{"file": name, "sha256": store.sha256_of(folder / name)} for name in names],
    }
    store.write_json(folder / INDEX, content)
    return open_index(gallery, folder)


def open_index(gallery: Gallery, folder: str | Path) -> Index:
    """An index that `build` left; its files are hashed before faiss sees them.

    Raises
    ------
    DataFileError
        If it is of another gallery or format, or a file is damaged.
    """
    faiss, folder = _faiss(), Path(folder)
    content = store.read_json(folder / INDEX, WAY_OUT)
    if content.get("format") != FORMAT:
        raise checks.DataFileError(
            folder / INDEX, f"has format {content.get('format')}, this version reads {FORMAT}", WAY_OUT
        )
    if content.get("n") != len(gallery):
        raise checks.DataFileError(folder / INDEX, "is no index of this gallery", WAY_OUT)
    paths = [folder / Path(file["file"]).name for file in content["files"]]
    for path, file in zip(paths, content["files"], strict=True):
        if not path.is_file() or store.sha256_of(path) != file["sha256"]:
            raise checks.DataFileError(path, "is missing or damaged", WAY_OUT)
    searched = faiss.read_index(str(paths[0]))
    lists = _mapped(paths[1:])
    faiss.extract_index_ivf(searched).replace_invlists(lists[-1], False)
    return Index(gallery, Config(**content["settings"]), searched, lists)


def _write_lists(filled: Any, path: Path) -> None:
    faiss = _faiss()
    # Closed with the function's end, before the file is hashed: the writer has no other way.
    faiss.write_InvertedLists(faiss.extract_index_ivf(filled).invlists, faiss.FileIOWriter(str(path)))


def _mapped(paths: list[Path]) -> tuple[Any, ...]:
    """The lists of each file, and last all of them as one."""
    faiss = _faiss()
    flags = faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY
    lists = [faiss.read_InvertedLists(faiss.FileIOReader(str(path)), flags) for path in paths]
    pointers = faiss.InvertedListsPtrVector()
    for one in lists:
        pointers.push_back(one)
    return (*lists, faiss.HStackInvertedLists(pointers.size(), pointers.data()))


def recall(found: Tensor, exact: Tensor) -> float:
    """Share of the rows (n, k) of an exact search that another one found."""
    return float((found[:, :, None] == exact[:, None]).any(1).double().mean())


def _learnt(gallery: Gallery, settings: Config) -> Any:
    faiss = _faiss()
    dim = int(np.prod(gallery.shape))
    n = min(settings.n_training, len(gallery))
    rows = np.sort(np.random.default_rng(settings.seed).choice(len(gallery), n, replace=False))
    # A random rotation spreads variance evenly over the bytes of a code.
    made = faiss.index_factory(
        dim, f"PCAR{min(settings.n_dims, dim)},IVF{settings.n_cells},PQ{settings.n_codes}x8"
    )
    cells = faiss.downcast_index(faiss.extract_index_ivf(made))
    cells.cp.seed = cells.pq.cp.seed = settings.seed + 1
    cells.cp.niter, cells.pq.cp.niter = 10, 8
    cells.do_polysemous_training = False  # orders codes for a search by bits that is not made: minutes
    cells.cp.min_points_per_centroid = 1  # few rows a cell are no error
    cells.pq.cp.max_points_per_centroid = (
        64  # codes of two dims are learnt from 16,384 rows as well as from all
    )
    made.train(_rows(gallery, rows))
    return made


def _rows(gallery: Gallery, rows: np.ndarray) -> np.ndarray:
    values = torch.from_numpy(gallery.values(rows)).flatten(1)
    return np.ascontiguousarray(torch.nn.functional.normalize(values, dim=1).numpy())


def _faiss() -> Any:
    if util.find_spec("faiss") is None:
        raise checks.needs_package("faiss-cpu", "faiss", "an index over a gallery")
    import faiss

    return faiss
