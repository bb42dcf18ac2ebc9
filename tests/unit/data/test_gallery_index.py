"""An index over a gallery: what it finds is compared exactly, what it misses is counted, its files are hashed."""

from __future__ import annotations

import shutil

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
def test_a_shortlist_holds_those_that_codes_call_nearest_in_any_shard(index, queries):
    few, many = (index.with_(n_probed=16, n_listed=n).shortlist(queries) for n in (7, 200))
    assert few.shape == (30, 7)
    assert np.array_equal(few, many[:, :7])
    shard = np.searchsorted(index.starts, few, side="right")
    assert (
        len(index.starts) > 1 and min(len(np.unique(row)) for row in shard.T) > 1
    )  # not the first shard's alone


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
    file = folder / "index-00001.faiss"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataFileError, match="index-00001"):
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
