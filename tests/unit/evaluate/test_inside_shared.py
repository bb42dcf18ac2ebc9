"""Latents of brains: shared where responses share causes, not where they do not, and not for the noise of a trial."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec.data import NeuralDataset
from braindec.evaluate import inside_shared
from braindec.evaluate.inside_shared import Settings
from braindec.sparse import Config, SparseAutoencoder
from braindec.types import StimulusSet, Table, Trials, VoxelSpace

IDS = tuple(f"s{i:03d}" for i in range(240))
TRAIN, TEST = IDS[:160], IDS[160:]
QUICK = Settings(n_dims=10, n_latents=12, n_active=2, n_steps=80, n_draws=19, n_rotated=3)


def causes(rng, n=8):
    """Few of several causes in each stimulus, (stimulus, cause)."""
    return (rng.random((len(IDS), n)) < 0.2) * (1 + rng.random((len(IDS), n)))


def recorded(rng, subject, signal, common_noise=0.0, noise=0.3, n_repeats=2):
    """Trials of a brain of two regions, 20 voxels each, that both mix `signal` (or nothing)."""
    row = np.tile(np.arange(len(IDS)), n_repeats)
    n = len(row)
    x = noise * rng.standard_normal((n, 40))
    if signal is not None:
        x = x + (signal @ rng.standard_normal((signal.shape[1], 40)))[row]
    if common_noise:
        # What varies from trial to trial and reaches both regions alike: no response to the stimulus.
        x = x + common_noise * causes_of_trials(rng, n) @ rng.standard_normal((8, 40))
    table = Table({
        "stimulus_id": np.array(IDS)[row], "session": np.full(n, "1"), "run": np.full(n, "1"),
        "repeat": np.repeat(np.arange(n_repeats), len(IDS)), "onset_s": 4.0 * np.arange(n),
        "acquisition_order": np.arange(n), "exchangeability_block": np.full(n, "1"),
    })  # fmt: skip
    space = VoxelSpace(
        np.ones((5, 4, 2), bool), np.eye(4), {"front": np.arange(40) < 20, "back": np.arange(40) >= 20}
    )
    return Trials(x.astype(np.float32), table, space, "a.u.", subject=subject, modality="fmri")


def causes_of_trials(rng, n):
    return (rng.random((n, 8)) < 0.2) * (1 + rng.random((n, 8)))


def dataset_of(*trials):
    return NeuralDataset.from_trials(list(trials), StimulusSet(IDS, "none"))


def test_two_brains_share_latents_of_what_drives_both_and_none_when_nothing_does(rng):
    common = causes(rng)
    several = dataset_of(recorded(rng, 1, common), recorded(rng, 2, common), recorded(rng, 3, causes(rng)))
    whole, _ = inside_shared.brains(several, TRAIN, TEST, QUICK)
    alike = inside_shared.compare(whole[0], whole[1], QUICK)
    apart = inside_shared.compare(whole[0], whole[2], QUICK)
    assert alike.n_stimuli == 80 and alike.found is not None and apart.found is not None
    assert float(alike.found.mean.value) > float(alike.found.mean.nulls["rotated"].max()) + 0.03
    assert float(alike.found.mean.p) <= 0.25  # three rotations
    assert float(alike.found.mean.nulls["permuted"].max()) < float(alike.found.mean.value) - 0.2
    assert abs(float(apart.found.mean.value) - float(apart.found.mean.nulls["permuted"].mean())) < 0.12


def test_regions_are_not_alike_for_the_noise_of_their_common_trials(rng):
    noisy = dataset_of(recorded(rng, 1, None, common_noise=1.0))
    _, regions = inside_shared.brains(noisy, TRAIN, TEST, QUICK)
    front, back = regions["sub-01 fmri"]
    fair = inside_shared.compare(front, back, QUICK, apart=True)
    naive = inside_shared.compare(front, back, QUICK)
    assert fair.found is not None and naive.found is not None
    permuted = float(fair.found.mean.nulls["permuted"].mean())
    assert abs(float(fair.found.mean.value) - permuted) < 0.1
    assert float(naive.found.mean.value) > permuted + 0.2  # what the same trials would have feigned


def test_regions_that_answer_to_the_same_causes_are_alike_in_different_repeats(rng):
    _, regions = inside_shared.brains(dataset_of(recorded(rng, 1, causes(rng))), TRAIN, TEST, QUICK)
    found = inside_shared.compare(*regions["sub-01 fmri"], QUICK, apart=True).found
    assert found is not None
    assert float(found.mean.value) > float(found.mean.nulls["permuted"].max()) + 0.1


def test_another_order_of_a_model_is_the_same_model_and_too_few_stimuli_are_said_to_be(rng, generator):
    model = SparseAutoencoder(12, Config(16, "topk", 3)).eval()
    order = torch.randperm(16, generator=generator)
    other = SparseAutoencoder(12, Config(16, "topk", 3)).eval()
    with torch.no_grad():
        for mine, theirs in ((other.atoms, model.atoms), (other.encoder, model.encoder)):
            mine.copy_(theirs[order])
    values = torch.randn(60, 12, generator=generator)
    a, b = (inside_shared.of_embeddings(n, m, IDS[:60], values) for n, m in (("one", model), ("two", other)))
    found = inside_shared.compare(a, b, QUICK)
    assert found.found is not None
    assert float(found.found.mean.value) == pytest.approx(1, abs=1e-4)
    few = inside_shared.compare(inside_shared.of_embeddings("few", model, IDS[:9], values[:9]), b, QUICK)
    assert few.found is None and few.row()[3] == "too few"
    shown = inside_shared.panels([found, few])
    assert [kind for _, kind, _ in shown] == ["table", "regions"]
    assert len(shown[0][2]["rows"]) == 2 and len(shown[0][2]["rows"][1]) == len(inside_shared.COLUMNS)
    assert inside_shared.words([found, few]).endswith("1 had too few stimuli or latents")
