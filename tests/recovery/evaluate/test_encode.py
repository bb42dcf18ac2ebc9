"""Encoding models of prepared data find the planted map, and nothing where stimuli are shuffled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from braindec import encoding
from braindec.data import maps
from braindec.evaluate import encode, encode_maps, encode_report
from braindec.types import VoxelSpace

QUICK = encode.Settings(n_null=3, n_permutations=99)


def other_features(embeddings, n_dims=16, seed=3):
    values = np.random.default_rng(seed).standard_normal((len(embeddings.ids), 1, n_dims)).astype(np.float32)
    return replace(embeddings, values=values, space="noise")


@pytest.fixture(scope="module")
def found(planted):
    layers = {"noise": other_features(planted.embeddings), "planted": planted.embeddings}
    nuisance = {"low": other_features(planted.embeddings, 8, 4)}
    return encode.encode(planted.dataset, layers, nuisance, settings=QUICK)


def test_the_planted_layer_is_chosen_and_predicts_and_noise_does_not(found):
    for e in found.values():
        assert (e.chosen == 1).mean() > 0.95
        assert e.best[e.kept].mean() > 0.5
        assert abs(e.r[0].mean()) < 0.1 and abs(e.null.mean()) < 0.1 and abs(e.nuisance_r.mean()) < 0.1
        assert e.unique[1].mean() > 0.3 > 0.1 > e.unique[0].mean()
        assert (e.tested.p_max[e.kept] < 0.05).mean() > 0.8


def test_a_good_model_of_a_linear_brain_reaches_its_ceiling(found):
    for e in found.values():
        share = e.normalised
        assert share.n_voxels == len(e.kept) and share.n_kept == e.kept.sum()
        assert 0.85 < float(share.values[share.kept].mean()) < 1.1


def test_the_report_counts_voxels_and_stands_beside_shuffled_pairs(found, planted):
    made = encode_report.report(found, planted.dataset)
    for key in (1, 2):
        ours, shuffled = (made.score("encoding_correlation", s, key) for s in ("braindec", "shuffled"))
        assert ours.interval[0] < ours.value < ours.interval[1]
        assert ours.value > ours.null + 0.3 and ours.value > shuffled.value + 0.3
        assert ours.n == 40 and ours.ceiling > ours.value - 0.05
        assert ours.p == pytest.approx(0.25)
    assert made.score("encoding_correlation", "braindec", "group").n == 2
    assert any("of 45 voxels" in line for line in made.run["said"])


def test_maps_go_back_to_their_voxels_and_models_come_back_from_disk(planted, tmp_path):
    key = planted.dataset.keys[0]
    trials = planted.dataset.trials[key]
    mask = np.zeros((5, 3, 3), dtype=bool)
    mask[:] = True
    space = VoxelSpace(mask, np.diag([2.0, 2, 2, 1]), {"all": np.ones(45, dtype=bool)})
    dataset = replace(planted.dataset, trials={key: replace(trials, space=space)})
    found = encode.encode(dataset, {"planted": planted.embeddings}, settings=QUICK)
    written = encode_maps.write_maps(found, tmp_path)
    path = tmp_path / f"{key}_correlation.nii.gz"
    assert path in written
    np.testing.assert_allclose(maps.from_nifti(path, space), found[key].best, rtol=1e-6)
    model = encoding.VoxelwiseEncoding.load(tmp_path / f"{key}_layer-0.h5")
    assert torch.equal(model.weights, found[key].layers["planted"].weights)
    assert np.array_equal(model.space.mask, mask)
    panels = {kind for _, kind, _ in encode_report.report(found, dataset).panels}
    assert {"volume", "regions", "table", "histogram", "text"} <= panels


def test_nothing_is_found_when_the_features_belong_to_other_stimuli(planted):
    order = np.random.default_rng(0).permutation(len(planted.embeddings.ids))
    shuffled = replace(planted.embeddings, values=planted.embeddings.values[order])
    for e in encode.encode(planted.dataset, {"shuffled": shuffled}, settings=QUICK).values():
        assert abs(e.best.mean()) < 0.1
        assert (e.tested.p_max < 0.05).mean() <= 0.05


def test_a_feature_that_leaves_its_training_range_does_not_spoil_the_test(planted):
    values = np.concatenate([planted.embeddings.values, np.zeros((160, 1, 1), np.float32)], 2)
    values[0, 0, -1], values[130, 0, -1] = (
        1.0,
        500.0,
    )  # silent but for one training stimulus; loud in a test one
    wild = replace(planted.embeddings, values=values)
    tame = encode.encode(planted.dataset, {"planted": planted.embeddings}, settings=QUICK)
    for key, e in encode.encode(planted.dataset, {"wild": wild}, settings=QUICK).items():
        assert abs(e.best.mean() - tame[key].best.mean()) < 0.05
