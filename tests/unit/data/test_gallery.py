"""A gallery in files: the same answer as a comparison with everything in memory, to the bit what was written."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec.checks import ConfigError, DataFileError
from braindec.data import gallery as galleries
from braindec.maths import coarse, nearest

N, DIM = 700, 48


@pytest.fixture
def values(rng):
    return rng.standard_normal((N, 1, DIM)).astype(np.float32)


@pytest.fixture
def made(values, tmp_path):
    return write(tmp_path / "gallery", values)


def write(folder, values, **settings):
    ids = [f"http://example.invalid/é{i}.jpg" for i in range(len(values))]
    parts = [(ids[:123], values[:123]), (ids[123:], values[123:])]
    return galleries.write(folder, parts, space="toy/pooled", **{"shard_rows": 256} | settings)


def exact(queries):
    return lambda found: queries @ torch.from_numpy(found).flatten(1).T


def test_what_is_read_is_what_was_written_to_the_bit(made, values, rng):
    rows = rng.permutation(N)[:50]
    assert np.array_equal(made.values(rows), values[rows])
    assert made.ids(rows) == [f"http://example.invalid/é{i}.jpg" for i in rows]
    assert len(made) == N and len(made.shards) == 3
    assert np.array_equal(np.concatenate([part for _, part in made.parts(100)]), values)


@pytest.mark.parametrize("k", [1, 7, N])
def test_the_nearest_are_those_of_a_search_in_memory(made, values, rng, k):
    queries = torch.from_numpy(rng.standard_normal((9, DIM)).astype(np.float32))
    similarity, rows = made.top_k(queries, k, exact(queries))
    expected, where = nearest.top_k(queries, torch.from_numpy(values[:, 0]), k, measure="dot")
    assert torch.equal(rows, where)
    assert torch.allclose(similarity, expected, atol=1e-5)


def test_scale_and_offset_of_rows_are_part_of_the_comparison(made, values, rng):
    queries = torch.from_numpy(rng.standard_normal((5, DIM)).astype(np.float32))
    shift = torch.from_numpy(rng.standard_normal(5).astype(np.float32))

    def terms(rows):
        return 1 / rows.norm(dim=1), rows[:, 0] - 100.0

    def whole(found):
        rows = torch.from_numpy(found).flatten(1)
        scale, offset = terms(rows)
        return (queries @ rows.T + shift[:, None]) * scale + offset

    similarity, rows = made.top_k(queries, 4, whole, shift=shift, terms=terms, name="own")
    expected = whole(values).topk(4, dim=1)
    assert torch.equal(rows, expected.indices) and torch.allclose(similarity, expected.values, atol=1e-4)


def test_only_a_few_rows_are_looked_at_in_full(made, rng):
    queries = torch.from_numpy(rng.standard_normal((3, DIM)).astype(np.float32))
    seen = []
    made.top_k(queries, 2, lambda found: seen.append(len(found)) or exact(queries)(found))
    assert sum(seen) < N // 10


def test_of_equal_rows_the_first_are_found_however_many_there_are(rng, tmp_path, monkeypatch):
    monkeypatch.setattr(coarse, "PENDING", 200)  # or a small test would never be short of room
    values = np.repeat(rng.standard_normal((1, DIM)), 500, axis=0).astype(np.float32)
    made = write(tmp_path / "equal", values)
    queries = torch.from_numpy(values[:2])
    _, rows = made.top_k(queries, 3, exact(queries))
    assert rows.tolist() == [[0, 1, 2], [0, 1, 2]]


def test_float32_is_two_halves_without_loss_whatever_its_bits(rng):
    bits = torch.from_numpy(rng.integers(0, 0x7F000000, 100_000, dtype=np.int32))
    edges = torch.arange(0x3F800000 - 70_000, 0x3F800000 + 70_000, dtype=torch.int32)  # every way to round
    x = torch.cat([bits, edges]).view(torch.float32)
    x = torch.cat([x, -x])
    upper, lower = coarse.split(x)
    assert torch.equal(coarse.joined(upper, lower).view(torch.int32), x.view(torch.int32))
    usual = x.abs() > 1e-37
    assert bool(((upper.float() - x).abs() <= coarse.ROUNDING * x.abs())[usual].all())


def test_half_the_disk_holds_rounded_values_and_searches_those(values, rng, tmp_path):
    made = write(tmp_path / "half", values, precision="bfloat16")
    kept = made.values(np.arange(N))
    assert np.array_equal(kept, coarse.split(torch.from_numpy(values))[0].float().numpy())
    queries = torch.from_numpy(rng.standard_normal((4, DIM)).astype(np.float32))
    _, rows = made.top_k(queries, 5, exact(queries))
    assert torch.equal(rows, nearest.top_k(queries, torch.from_numpy(kept[:, 0]), 5, measure="dot")[1])


def test_processors_without_bfloat16_find_the_same(made, rng, monkeypatch):
    queries = torch.from_numpy(rng.standard_normal((4, DIM)).astype(np.float32))
    found = []
    for pays in (True, False):
        monkeypatch.setattr(coarse, "bfloat16_pays", lambda _threads, pays=pays: pays)
        found.append(made.top_k(queries, 6, exact(queries))[1])
    assert torch.equal(*found)


def test_a_changed_byte_is_found_by_verify(made):
    made.verify()
    file = made.folder / "shard-00001.h5"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataFileError, match="shard-00001"):
        made.verify()


def test_what_is_no_gallery_or_would_overwrite_something_is_refused(made, values, tmp_path):
    with pytest.raises(ConfigError, match="holds something"):
        write(made.folder, values)
    with pytest.raises(FileNotFoundError, match=r"gallery\.write"):
        galleries.open_gallery(tmp_path / "nothing")
    with pytest.raises(ValueError, match="NaN"):
        write(tmp_path / "nan", np.full((300, DIM), np.nan, dtype=np.float32))
    with pytest.raises(ValueError, match="k must lie in"):
        made.top_k(torch.zeros(1, DIM), N + 1, exact(torch.zeros(1, DIM)))
    with pytest.raises(ValueError, match="along axis 'dim'"):
        made.top_k(torch.zeros(1, DIM + 1), 1, exact(torch.zeros(1, DIM)))
