"""Latents planted in trials are found through prepared data, decoders and times, and nothing is found in noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from braindec.data import NeuralDataset
from braindec.evaluate import inside_latents, inside_report, inside_timing
from braindec.sparse import Config, SparseAutoencoder, readers
from braindec.types import Embeddings, SensorSpace, StimulusSet, Table, Trials, VoxelSpace

IDS = tuple(f"s{i:03d}" for i in range(160))
SETTINGS = inside_latents.Settings(
    reading=readers.Settings(n_folds=4, n_inner=3, n_null=19, n_draws=40, n_rates=2, alphas=(1e1, 1e2, 1e3)),
    baselines=("pca", "random"), n_baseline=12, n_null_places=19,
)  # fmt: skip


def stimuli():
    pictures = {name: np.full((8, 8, 3), 40 + i % 100, dtype=np.uint8) for i, name in enumerate(IDS)}
    return StimulusSet(IDS, "image", lambda ids: [pictures[i] for i in ids])


@pytest.fixture(scope="module")
def planted():
    generator = torch.Generator().manual_seed(0)
    model = SparseAutoencoder(24, Config(12, "topk", 3))
    with torch.no_grad():
        atoms = torch.linalg.qr(torch.randn(24, 12, generator=generator))[0].T
        model.atoms.copy_(atoms)
        model.encoder.copy_(atoms)
    chosen = torch.rand(len(IDS), 12, generator=generator).topk(3, dim=1).indices
    code = torch.zeros(len(IDS), 12).scatter_(1, chosen, 1.0 + torch.rand(len(IDS), 3, generator=generator))
    values = (code @ atoms).numpy()[:, None]
    return model.eval(), code.numpy(), Embeddings(IDS, values.astype(np.float32), "planted", {}, "0")


def trials(signal, rng, *, space, noise=0.5, n_repeats=2, **told):
    row = np.repeat(np.arange(len(IDS)), n_repeats)
    responses = signal[row] + noise * rng.standard_normal((len(row), *signal.shape[1:]))
    n = len(row)
    table = Table(
        {
            "stimulus_id": np.array(IDS)[row], "session": np.full(n, "1"), "run": np.full(n, "1"),
            "repeat": np.arange(n) % n_repeats, "onset_s": np.arange(n) * 4.0, "acquisition_order": np.arange(n),
            "exchangeability_block": np.full(n, "1"),
        }
    )  # fmt: skip
    return Trials(responses.astype(np.float32), table, space, "a.u.", **told)


def voxels(code, rng, **told):
    """Two regions of 20 voxels: the first carries latents 0 to 3, the second nothing."""
    signal = np.zeros((len(IDS), 40))
    signal[:, :20] = code[:, :4] @ rng.standard_normal((4, 20))
    space = VoxelSpace(
        np.ones((5, 4, 2), dtype=bool),
        np.eye(4),
        {"seeing": np.arange(40) < 20, "blind": np.arange(40) >= 20},
    )
    return trials(signal, rng, space=space, subject=1, modality="fmri", **told)


def look(planted, one, settings=SETTINGS):
    model, _, embeddings = planted
    dataset = NeuralDataset.from_trials([one], stimuli())
    return dataset, inside_latents.inside(dataset, embeddings, model, settings=settings)


def test_latents_that_voxels_carry_are_read_there_and_nowhere_else(planted):
    rng = np.random.default_rng(0)
    dataset, found = look(planted, voxels(planted[1], rng))
    one = found["sub-01_fmri"]
    p = one.ways["direct"].p
    assert bool((p[:4] <= 0.05).all()) and not bool((p[4:] <= 0.05).any())
    seeing, blind = one.where.p
    assert bool((seeing[:4] <= 0.05).all()) and not bool((blind <= 0.05).any())
    assert set(one.fate[:4]) <= {"recovered", "weakened"}
    assert set(one.fate[4:]) == {"not carried"}
    ceiling, auc = one.ways["direct"].ceiling, one.ways["direct"].auc
    assert bool((ceiling[:4] >= auc[:4]).all())
    report = inside_report.report(found, dataset, SETTINGS)
    ours, shuffled = (report.score("latent_auc", system, 1) for system in ("braindec", "shuffled"))
    assert ours.value > shuffled.value and ours.p == pytest.approx(0.05)
    assert abs(ours.null - 0.5) < 0.02


def test_noise_is_given_no_claim(planted):
    rng = np.random.default_rng(1)
    _, found = look(planted, voxels(np.zeros_like(planted[1]), rng))
    assert "stands" not in found["sub-01_fmri"].claim["direct"].verdict
    assert set(found["sub-01_fmri"].fate) == {"not carried"}


def test_latents_are_read_from_sensors_when_they_were_planted(planted):
    rng = np.random.default_rng(2)
    code = planted[1]
    signal = np.zeros((len(IDS), 8, 12))
    signal[:, :, 6:8] = (code[:, :4] @ rng.standard_normal((4, 8)))[:, :, None]
    space = SensorSpace(tuple(f"e{i}" for i in range(8)), np.zeros((8, 3)), ("eeg",) * 8)
    one = trials(signal, rng, space=space, subject=2, modality="eeg", sfreq=100.0, tmin=-0.04)
    _, found = look(planted, one, replace(SETTINGS, window=2))
    when = found["sub-02_eeg"].when
    assert found["sub-02_eeg"].times.tolist() == pytest.approx(np.arange(6) * 0.02 - 0.035)
    assert bool((when.p[3, :4] <= 0.05).all())
    assert not bool((when.p[[0, 1, 2, 4, 5]] <= 0.05).any())


def test_halves_of_repeats_differ_by_the_noise_of_their_mean():
    rng = np.random.default_rng(3)
    for n_repeats in (2, 3, 5):
        space = VoxelSpace(np.ones((50, 1, 1), dtype=bool), np.eye(4), {})
        one = trials(
            np.zeros((len(IDS), 50)),
            rng,
            space=space,
            noise=1.0,
            n_repeats=n_repeats,
            subject=1,
            modality="fmri",
        )
        part = inside_latents.averaged(one)
        estimate = float(((part.halves[0] - part.halves[1]) / 2).square().mean())
        assert estimate == pytest.approx(1 / n_repeats, rel=0.05)
        torch.testing.assert_close((part.halves[0] + part.halves[1]) / 2, part.responses)


def test_stimuli_that_were_shown_once_have_no_halves():
    rng = np.random.default_rng(4)
    space = VoxelSpace(np.ones((5, 1, 1), dtype=bool), np.eye(4), {})
    one = trials(np.zeros((len(IDS), 5)), rng, space=space, n_repeats=1, subject=1, modality="fmri")
    assert inside_latents.averaged(one).halves == ()


@pytest.mark.slow
def test_planted_latencies_come_back_from_fmri_and_eeg_together(tmp_path):
    from braindec.data import catalogue

    made = catalogue.load("simulated")
    made["synthetic"](tmp_path / "raw", world="latents")
    made["prepare"](tmp_path / "raw", tmp_path / "data")
    told = readers.Settings(n_folds=4, n_inner=3, alphas=(1e2, 1e3, 1e4))
    settings = inside_latents.Settings(reading=told, n_null_places=9)
    planted = inside_timing.planted_latents(tmp_path / "data", "sub-03_eeg")
    dataset = NeuralDataset.read(tmp_path / "data")
    found = inside_timing.timing(dataset, planted, settings=settings, n_draws=49)
    assert found.rho >= 0.9
    assert found.interval[0] > 0.3
    assert abs(float(found.null.mean())) < 0.4  # nine refits
    assert found.rho > float(found.null.max())
