"""Activation patterns find what was planted, not what cancels noise, and nothing where nothing was shown."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from braindec import Embeddings, NeuralDataset, QuickDecoder, checks
from braindec.evaluate.patterns import patterns, write_patterns
from braindec.types import VoxelSpace

TELLS, CANCELS, SAME, N_VOXELS = 0, 1, 2, 12
RUNS = np.repeat(np.arange(6), 50)


def two_classes(rng, strength=1.0):
    """(responses, classes): voxel 0 has the class in noise of its own and much that voxel 1 has alone."""
    kind = rng.integers(0, 2, 300)
    x = rng.standard_normal((300, N_VOXELS))
    noise = rng.standard_normal(300)
    x[:, TELLS] = strength * (kind - 0.5) + 3 * noise + 0.3 * x[:, TELLS]
    x[:, CANCELS] = 3 * noise
    x[:, SAME] += 2 * strength * (kind - 0.5)
    return x, np.array(["house", "tool"])[kind]


def fitted(x, kind, modality="fmri", **more):
    ids = [f"trial-{i}" for i in range(len(x))]
    dataset = NeuralDataset.from_arrays(x, ids, modality=modality, kind=kind, run=RUNS, **more)
    dataset = dataset.hold_out("run", ["3", "4", "5"])
    quick = QuickDecoder(nuisance=(), label_column="kind", n_null=1, progress=False).fit(dataset)
    return quick.decoder, dataset.part("test")


def test_a_voxel_that_only_cancels_noise_has_weight_and_no_pattern():
    decoder, test = fitted(*two_classes(np.random.default_rng(0)))
    (found,) = patterns(decoder, test, label_column="kind").values()
    tool = found.names.index("tool")
    # Weights, as any reader of a linear decoder would get them: what a step of one voxel changes in its output.
    steps = np.concatenate([np.zeros((1, N_VOXELS)), np.eye(N_VOXELS)])
    outputs = decoder.predict(steps.astype(np.float32)).values[:, 0, tool]
    weight = np.abs(outputs[1:] - outputs[0])
    assert weight[CANCELS] > 0.5 * weight[TELLS] > 5 * np.median(weight[3:])
    assert found.agreement[tool] > 0.6
    assert found.p[tool, SAME] <= 0.01 and found.p[tool, CANCELS] > 0.05
    assert abs(found.correlation[tool, CANCELS]) < 0.25 < 0.4 < found.correlation[tool, SAME]
    assert (found.p[tool, 3:] > 0.05).all()
    assert np.allclose(found.correlation[0], -found.correlation[1], atol=1e-5)  # of two classes, one axis


def test_values_are_haufes_formula_from_weights_and_covariance():
    """A = cov(x) w / var(y) of one output, from weights that are told apart from the decoder; times sd(y)."""
    rng = np.random.default_rng(1)
    x, kind = two_classes(rng)
    decoder, test = fitted(x, kind)
    (trials,) = test.trials.values()
    held = np.asarray(trials.responses, dtype=np.float64)
    held = held - np.stack([held[RUNS[150:] == r].mean(0) for r in RUNS[150:]])
    steps = np.concatenate([np.zeros((1, N_VOXELS)), np.eye(N_VOXELS)]).astype(np.float32)
    outputs = decoder.predict(steps).values[:, 0]
    w = (outputs[1:] - outputs[0]).astype(np.float64)
    w = w / np.abs(w).max()
    covariance = held.T @ held / len(held)
    (found,) = patterns(decoder, test, label_column="kind", n_null=19).values()
    for k in (0, 1):
        expected = covariance @ w[:, k] / np.sqrt(w[:, k] @ covariance @ w[:, k])
        assert found.values[k] == pytest.approx(expected, abs=2e-3)
        assert found.correlation[k] == pytest.approx(expected / held.std(0), abs=2e-3)


def test_shuffled_classes_leave_no_voxel_with_what_was_shown():
    hits = 0
    for seed in range(20):
        rng = np.random.default_rng(100 + seed)
        x, kind = two_classes(rng, strength=0.0)
        decoder, test = fitted(x, kind)
        (found,) = patterns(decoder, test, label_column="kind", n_null=199, seed=seed).values()
        hits += bool((found.p < 0.05).any())
    assert hits <= 4  # of 20 families at 5 %: 5 or more happen once in 400


def test_embeddings_have_components_and_voxels_maps(tmp_path):
    rng = np.random.default_rng(2)
    vectors = rng.standard_normal((120, 4)) * [3, 0.1, 0.1, 0.1]
    ids = [f"s{i}" for i in range(120)]
    shown = np.tile(np.arange(120), 2)
    x = rng.standard_normal((240, 8))
    x[:, 5] += vectors[shown, 0]
    space = VoxelSpace(np.ones((2, 2, 2), bool), np.diag([3.0, 3.0, 3.0, 1.0]))
    dataset = NeuralDataset.from_arrays(x, [ids[i] for i in shown], modality="fmri", space=space)
    dataset, told = dataset.hold_out("stimulus", 0.4), Embeddings.from_arrays(ids, vectors, "mine")
    decoder = QuickDecoder(nuisance=(), n_null=1, progress=False).fit(dataset, told).decoder
    found = patterns(decoder, dataset.part("test"), told, n_components=2)
    (one,) = found.values()
    assert one.names == ("component 1", "component 2") and one.n == 48
    assert one.agreement[0] > 0.8 and np.abs(one.correlation[0]).argmax() == 5
    assert one.p[0, 5] <= 0.002 and (np.delete(one.p[0], 5) > 0.05).all()
    assert one.to_json()["component 1"]["features"] == 1
    paths = write_patterns(found, tmp_path)
    names = {p.name for p in paths}
    assert {"sub-01_fmri_pattern-component-1.nii.gz", "sub-01_fmri_p-component-2.nii.gz"} <= names
    volume = nibabel.load(tmp_path / "sub-01_fmri_pattern-component-1.nii.gz").get_fdata()
    assert volume.ravel() == pytest.approx(one.correlation[0], abs=1e-5)
    with pytest.raises(checks.LeakageError, match=r"144 of 144 trials .*held-out ones: dataset"):
        patterns(decoder, dataset.part("train"), told)
    with pytest.raises(checks.ConfigError, match="tells embeddings: give them"):
        patterns(decoder, dataset.part("test"), label_column="kind")


def test_epochs_keep_their_channels_and_times():
    rng = np.random.default_rng(3)
    kind = rng.integers(0, 2, 300)
    x = rng.standard_normal((300, 3, 40))
    x[:, 1, 20:30] += (kind - 0.5)[:, None]
    decoder, test = fitted(x, np.array(["a", "b"])[kind], modality="eeg", sfreq=100, tmin=-0.1)
    (found,) = patterns(decoder, test, label_column="kind").values()
    assert found.correlation.shape == (2, 3, 40)
    assert found.correlation[1, 1, 20:30].mean() > 0.3
    assert abs(found.correlation[1, 1, :10]).mean() < 0.15 and (found.p[:, :, :8] > 0.05).all()


def test_a_unit_as_small_as_teslas_changes_no_correlation():
    x, kind = two_classes(np.random.default_rng(4))
    x[:, 7] = 2.5  # says nothing
    (plain,), (tiny,) = (
        patterns(*fitted(scale * x, kind), label_column="kind", n_null=99).values() for scale in (1.0, 2e-14)
    )
    assert np.abs(plain.correlation[:, SAME]).min() > 0.4
    np.testing.assert_allclose(tiny.correlation, plain.correlation, atol=0.02)
    np.testing.assert_allclose(tiny.shown, plain.shown, atol=1e-5)
    np.testing.assert_array_equal(tiny.shown[:, 7], 0.0)
