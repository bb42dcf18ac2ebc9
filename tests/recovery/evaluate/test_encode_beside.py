"""Layers beside nuisance features, ceilings of two kinds, and maps of surfaces and heads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from braindec import report
from braindec.data import NeuralDataset, Split, maps
from braindec.evaluate import encode, encode_ceilings, encode_maps, encode_report
from braindec.types import ArraySpace, Embeddings, SensorSpace, StimulusSet, Table, Trials, VertexSpace

QUICK = encode.Settings(n_null=3, n_permutations=99)
N_TRAIN, N_TEST = 200, 100


def embeddings(ids, values, name):
    return Embeddings(ids, values[:, None].astype(np.float32), name, {"model": name}, "0" * 64)


def dataset_of(ids, responses, space, repeats=None, **about):
    rows = np.arange(len(responses)) if repeats is None else repeats
    n, of = len(rows), np.array(ids)[rows]
    table = Table({
        "stimulus_id": of, "session": np.ones(n, int), "run": np.arange(n) // 50, "repeat": np.zeros(n, int),
        "onset_s": 3.0 * (np.arange(n) % 50), "acquisition_order": np.arange(n),
        "exchangeability_block": np.ones(n, int),
    })  # fmt: skip
    trials = Trials(
        responses.astype(np.float32), table, space, "a.u.", 1, about.pop("modality", "fmri"), **about
    )
    split = Split("default", "stimulus", {"train": ids[:N_TRAIN], "test": ids[N_TRAIN:]})
    return NeuralDataset.from_trials([trials], StimulusSet(ids, "none"), split, name="world")


@pytest.fixture(scope="module")
def world():
    """Voxels of three regions: of few strong features, of many weak nuisance ones, and of both."""
    rng = np.random.default_rng(1)
    ids = tuple(f"s{i:03d}" for i in range(N_TRAIN + N_TEST))
    low, layer = rng.standard_normal((len(ids), 150)), rng.standard_normal((len(ids), 5))
    a, b = low @ rng.standard_normal((150, 30)) / 150**0.5, layer @ rng.standard_normal((5, 30)) / 5**0.5
    a[:, :10], b[:, 10:20] = 0.0, 0.0
    responses = a + b + 0.5 * rng.standard_normal((len(ids), 30))
    regions = {n: np.arange(30) // 10 == i for i, n in enumerate(("layer", "nuisance", "both"))}
    return ids, responses, regions, embeddings(ids, layer, "layer"), embeddings(ids, low, "low")


def test_a_penalty_of_its_own_lets_a_few_strong_features_stand_beside_many_weak_ones(world):
    ids, responses, regions, layer, low = world
    data = dataset_of(ids, responses, ArraySpace(30, regions))
    settings = replace(QUICK, n_null=0)
    own = encode.encode(data, {"layer": layer}, {"low": low}, settings=settings)["sub-01_fmri"]
    one = encode.encode(data, {"layer": layer}, {"low": low}, settings=replace(settings, shares=(0.5,)))
    gain = own.r2[0] - one["sub-01_fmri"].r2[0]
    assert gain[regions["layer"]].mean() > 0.1
    assert gain[regions["nuisance"]].mean() > -0.02
    assert own.share[0][regions["layer"]].mean() > 0.85 > 0.4 > own.share[0][regions["nuisance"]].mean()


def test_what_a_layer_adds_is_told_by_region_with_an_interval_that_holds_the_truth_and_may_be_negative(world):
    ids, responses, regions, layer, low = world
    data = dataset_of(ids, responses, ArraySpace(30, regions))
    found = encode.encode(data, {"layer": layer}, {"low": low}, settings=QUICK)
    added = encode_maps.unique_by_region(found["sub-01_fmri"])
    assert list(added) == ["all", *regions]
    assert added["layer"][1] > 0.5  # the layer is all there is: 0.8 of the variance
    value, below, above = added["nuisance"]
    assert below < value < above and below < 0.0 < 0.05 > value  # five features of nothing
    made = encode_report.report(found, data)
    bars = [p for title, kind, p in made.panels if kind == "regions" and "Beyond" in title]
    assert bars[0]["intervals"]["chosen layers"].shape == (4, 2)
    assert any("beyond nuisance features" in line for line in made.run["said"])


def planted_repeats(counts, n_voxels=400, snr=1.0, seed=0):
    rng = np.random.default_rng(seed)
    rows = np.repeat(np.arange(len(counts)), counts)
    signal = snr * rng.standard_normal((len(counts), n_voxels))
    y = signal[rows] + rng.standard_normal((len(rows), n_voxels))
    return torch.from_numpy(y), np.array([f"s{i}" for i in rows])


@pytest.mark.parametrize(("counts", "kind"), [([3] * 150, "split_half"), ([2, 3, 4] * 50, "ncsnr")])
def test_both_ceilings_find_the_planted_one_and_the_repeats_choose_which_leads(counts, kind):
    train, test = planted_repeats(counts), planted_repeats([3] * 50, seed=1)
    found = encode_ceilings.estimate(*train, *test, torch.Generator().manual_seed(0))
    assert found.kind == kind and found.repeats_of == "train"
    for which in ("ncsnr", "split_half"):
        assert found.test[which].mean() == pytest.approx((1 / (1 + 1 / 3)) ** 0.5, abs=0.02)
        expected = (1 / (1 + np.mean(1 / np.array(counts)))) ** 0.5
        assert found.training[which].mean() == pytest.approx(expected, abs=0.02)


def test_where_only_test_stimuli_repeat_there_is_a_ceiling_but_no_voxel_is_chosen_by_it():
    train, test = planted_repeats([1] * 50), planted_repeats([4] * 100, seed=1)
    found = encode_ceilings.estimate(*train, *test, torch.Generator().manual_seed(0))
    assert found.repeats_of == "test" and found.training == {} and found.kind == "split_half"
    assert found.test["split_half"].mean() == pytest.approx((4 / 5) ** 0.5, abs=0.02)
    assert encode_ceilings.estimate(*train, *train, torch.Generator().manual_seed(0)) is None


def test_noise_has_a_training_ceiling_below_the_threshold_by_either_kind():
    train, test = planted_repeats([3] * 600, 200, 0.0), planted_repeats([3] * 50, 200, 0.0, seed=1)
    found = encode_ceilings.estimate(*train, *test, torch.Generator().manual_seed(0))
    assert all((values >= 0.3).mean() < 0.15 for values in found.training.values())


def test_the_count_of_voxels_above_the_threshold_is_printed_by_both_kinds(world):
    ids, responses, regions, layer, _ = world
    rng = np.random.default_rng(5)
    rows = np.tile(np.arange(len(ids)), 2)
    noisy = responses[rows] + np.repeat([0.5, 20.0], [20, 10]) * rng.standard_normal((len(rows), 30))
    data = dataset_of(ids, noisy, ArraySpace(30, regions), rows)
    (e,) = encode.encode(data, {"layer": layer}, settings=replace(QUICK, n_null=0)).values()
    said = [line for line in encode_report.sentences(e) if "training ceiling of 0.3" in line]
    assert len(said) == 1 and said[0].count("of 30 by") == 2
    (score, *_) = encode_report.scores({"sub-01_fmri": e}, "p")
    assert score.ceiling_kind == "repeatability" and set(score.details["ceilings"]) == {"ncsnr", "split_half"}
    assert all(18 <= n <= 26 for n in score.details["kept_by"].values())


def test_maps_of_a_cortex_go_to_its_vertices_and_a_finer_mesh_is_drawn_on_the_one_that_it_contains(
    world, tmp_path
):
    ids, responses, _, layer, _ = world
    space = VertexSpace("fsaverage6", np.arange(0, 30_000, 2000), np.arange(0, 30_000, 2000))
    data = dataset_of(ids, responses, space)
    found = encode.encode(data, {"layer": layer}, settings=QUICK)
    left, right, model = encode_maps.write_maps(found, tmp_path)
    back = maps.from_gifti(left, right, space)
    np.testing.assert_array_equal(back["correlation"], found["sub-01_fmri"].best.astype(np.float32))
    drawn = [p for _, kind, p in encode_report.report(found, data).panels if kind == "flat_map"]
    assert len(drawn[0]["values"]) == 12 and drawn[0]["left"].max() < 10_242
    assert model.name == "sub-01_fmri_layer-0.h5"


def test_epochs_are_drawn_on_heads_moment_by_moment_and_gradiometers_of_one_place_once(world, tmp_path):
    ids, responses, _, layer, _ = world
    angle = np.linspace(0, 2 * np.pi, 5, endpoint=False)
    positions = 0.1 * np.stack([np.cos(angle), np.sin(angle), np.full(5, 0.6)], 1)
    space = SensorSpace(tuple("abcdefghij"), np.tile(positions, (2, 1)), ("grad",) * 10)
    data = dataset_of(
        ids, responses.reshape(-1, 10, 3), space, modality="meg", sfreq=10.0, tmin=-0.1
    )  # fmt: skip
    found = encode.encode(data, {"layer": layer}, settings=QUICK)
    made = encode_report.report(found, data)
    heads = [p for _, kind, p in made.panels if kind == "topography"]
    assert heads[0]["titles"] == ["-100 ms", "0 ms", "100 ms"]
    assert heads[0]["values"].shape == (3, 5)
    both = found["sub-01_meg"].best.reshape(10, 3)[[0, 5], 1]
    first = np.flatnonzero(np.isclose(heads[0]["positions"], positions[0], atol=1e-4).all(1))[0]
    assert heads[0]["values"][1, first] == pytest.approx(both.mean(), rel=1e-5)
    assert encode_maps.write_maps(found, tmp_path)[0].name == "sub-01_meg_maps.h5"
    assert "head" in report.write(made, tmp_path).read_text()
