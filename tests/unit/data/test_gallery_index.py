"""An index over a gallery: what it finds is compared exactly, what it misses is counted, its files are hashed."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from braindec.checks import ConfigError, DataFileError, MissingPackageError
from braindec.data import gallery as galleries
from braindec.data import gallery_index
from braindec.maths import nearest

N, DIM, K = 3000, 32, 5
SMALL = gallery_index.Config(n_dims=16, n_codes=4, n_cells=16, n_training=1000, n_probed=4, n_listed=40)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    rng = np.random.default_rng(0)
    values = rng.standard_normal((N, DIM)).astype(np.float32) * np.arange(1, DIM + 1) ** -0.7
    folder = tmp_path_factory.mktemp("gallery") / "made"
    return galleries.write(folder, [([str(i) for i in range(N)], values)], space="toy", shard_rows=1100)


@pytest.fixture(scope="module")
def built(gallery, tmp_path_factory):
    """The folder of an index."""
    pytest.importorskip("faiss", reason="needs faiss-cpu: pip install 'braindec[faiss]'")
    folder = tmp_path_factory.mktemp("index") / "made"
    gallery_index.build(gallery, folder, SMALL)
    return folder


@pytest.fixture
def index(gallery, built):
    return gallery_index.open_index(gallery, built)


@pytest.fixture
def queries(gallery):
    rng = np.random.default_rng(1)
    return torch.from_numpy(
        gallery.values(np.arange(0, N, 100))[:, 0] + 0.1 * rng.standard_normal((30, DIM))
    ).float()


def cosine(queries):
    return lambda found: nearest.similarity(queries, torch.from_numpy(found).flatten(1))


@pytest.mark.slow
def test_looking_everywhere_finds_nearly_all_of_the_nearest_and_looking_at_little_finds_fewer(
    gallery, index, queries
):
    exact, rows = nearest.top_k(queries, torch.from_numpy(gallery.values(np.arange(N))).flatten(1), K)
    wide = index.with_(n_probed=16, n_listed=200).top_k(queries, K, cosine(queries))
    narrow = index.with_(n_probed=1, n_listed=5).top_k(queries, K, cosine(queries))
    shares = [gallery_index.recall(found[1], rows) for found in (wide, narrow)]
    assert shares[0] > 0.97 > shares[1] > 20 * K / N  # chance is K / N
    same = wide[1] == rows
    assert torch.allclose(wide[0][same], exact[same], atol=1e-6)  # the shortlist is compared exactly


@pytest.mark.slow
def test_every_row_lies_in_the_index_once_and_row_0_is_a_row_like_any_other(gallery, index):
    own = torch.from_numpy(gallery.values(np.array([0, 1, 1500, N - 1]))).flatten(1)
    values, rows = index.with_(n_probed=16).top_k(own, 1, cosine(own))
    assert rows[:, 0].tolist() == [0, 1, 1500, N - 1] and torch.allclose(values, torch.ones(4, 1))


@pytest.mark.slow
def test_a_shortlist_is_that_of_one_index_in_memory(gallery, index, queries):
    alone = gallery_index._learnt(gallery, SMALL)
    alone.add(gallery_index._rows(gallery, np.arange(N)))
    faiss = pytest.importorskip("faiss")
    for n_probed, n_listed in ((1, 7), (4, 40), (16, 200)):
        faiss.extract_index_ivf(alone).nprobe = n_probed
        _, expected = alone.search(torch.nn.functional.normalize(queries, dim=1).numpy(), n_listed)
        assert np.array_equal(index.with_(n_probed=n_probed, n_listed=n_listed).shortlist(queries), expected)


def test_however_rows_are_cut_the_same_are_listed_and_their_files_are_mapped_and_small(
    gallery, index, queries, tmp_path, monkeypatch
):
    faiss = pytest.importorskip("faiss")
    expected = index.shortlist(queries)
    ids, values = gallery.ids(np.arange(N)), gallery.values(np.arange(N))
    monkeypatch.setattr(gallery_index, "BLOCK", 250)
    for shard_rows, rows_of_file in ((700, 1000), (N, 500)):
        monkeypatch.setattr(gallery_index, "ROWS", rows_of_file)
        cut = galleries.write(tmp_path / f"{shard_rows}", [(ids, values)], space="toy", shard_rows=shard_rows)
        folder = tmp_path / f"index-{shard_rows}"
        found = gallery_index.build(cut, folder, SMALL)
        assert np.array_equal(found.shortlist(queries), expected)
        *lists, _ = found.lists
        assert len(lists) == N // rows_of_file
        for one in lists:
            assert isinstance(one, faiss.OnDiskInvertedLists)  # a map
            assert sum(one.list_size(i) for i in range(SMALL.n_cells)) == rows_of_file
        own = sum(path.stat().st_size for path in folder.glob("lists-*"))
        assert own < N * (SMALL.n_codes + 8) + len(lists) * (
            8 * SMALL.n_cells + 200
        )  # nothing learnt is among them


def test_a_query_finds_its_cells_once_for_all_files(gallery, queries, tmp_path, monkeypatch):
    faiss = pytest.importorskip("faiss")
    monkeypatch.setattr(gallery_index, "BLOCK", 250)
    monkeypatch.setattr(gallery_index, "ROWS", 500)
    index = gallery_index.build(gallery, tmp_path / "index", SMALL)
    faiss.cvar.indexIVF_stats.reset()
    index.shortlist(queries)
    assert faiss.cvar.indexIVF_stats.nlist == len(queries) * SMALL.n_probed


def test_recall_is_the_share_of_the_exact_rows():
    exact = torch.tensor([[1, 2], [3, 4]])
    assert gallery_index.recall(torch.tensor([[2, 9], [4, 3]]), exact) == 0.75
    assert gallery_index.recall(exact + 10, exact) == 0.0


@pytest.mark.slow
def test_a_shortlist_that_is_too_short_is_refused(index, queries):
    with pytest.raises(ValueError, match="raise n_probed"):
        index.with_(n_probed=1, n_listed=1).top_k(queries, 50, cosine(queries))


@pytest.mark.slow
def test_a_damaged_index_and_one_of_another_gallery_are_refused(gallery, built, tmp_path):
    small = galleries.write(tmp_path / "small", [(["a"], np.ones((1, DIM), np.float32))], space="toy")
    with pytest.raises(DataFileError, match="no index of this gallery"):
        gallery_index.open_index(small, built)
    with pytest.raises(ConfigError, match="small"):
        gallery_index.build(small, tmp_path / "none", SMALL)
    folder = shutil.copytree(built, tmp_path / "copy")
    file = folder / "lists-00000.faiss"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataFileError, match="lists-00000"):
        gallery_index.open_index(gallery, folder)


def test_an_index_of_an_earlier_format_is_told_in_one_line(gallery, built, tmp_path):
    folder = shutil.copytree(built, tmp_path / "earlier")
    file = folder / gallery_index.INDEX
    file.write_text(file.read_text().replace('"format": 2', '"format": 1'))
    with pytest.raises(DataFileError, match=r"has format 1, this version reads 2.*Build it with"):
        gallery_index.open_index(gallery, folder)


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(ConfigError, match="n_codes must divide"):
        gallery_index.Config(n_dims=100, n_codes=64)
    with pytest.raises(ValueError, match="n_probed"):
        gallery_index.Config(n_cells=16, n_probed=17)


def test_without_faiss_the_line_that_installs_it_is_said(gallery, tmp_path, monkeypatch):
    monkeypatch.setattr(gallery_index.util, "find_spec", lambda package: None)
    with pytest.raises(MissingPackageError, match=r"pip install 'braindec\[faiss\]'"):
        gallery_index.build(gallery, tmp_path, SMALL)


def test_row_0_is_not_lost_where_a_list_is_not_full(monkeypatch):
    values = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]], np.float32)[:, None]
    held = SimpleNamespace(values=lambda rows: values[rows])
    asked = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    index = gallery_index.Index(held, SMALL, None, ())
    for listed, expected in (
        ([[0, 1, -1], [2, 1, 0]], [[0, 1], [2, 1]]),
        ([[1, 0, -1], [2, 1, -1]], [[0, 1], [2, 1]]),  # the second list has no row 0
        ([[1, 2, -1], [2, 1, -1]], [[1, 2], [2, 1]]),
        ([[1, 2, 0], [1, 2, 0]], [[0, 1], [2, 1]]),
        ([[1, 2], [2, 1]], [[1, 2], [2, 1]]),
    ):
        monkeypatch.setattr(gallery_index.Index, "shortlist", lambda *_, rows=listed: np.array(rows))
        found = index.top_k(asked, 2, lambda some: asked @ torch.from_numpy(some[:, 0]).T)
        assert found[1].tolist() == expected
