"""What papers did otherwise in training, on planted data: each departs from the corrected score as it must."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from braindec import evaluate
from braindec.adapters import linear as linear_adapter
from braindec.backbones import mlp
from braindec.data import NeuralDataset, Split, miniature
from braindec.data.preprocessing import Standardise
from braindec.evaluate import low_level, published_fits
from braindec.losses import soft_clip
from braindec.protocols import Protocol
from braindec.targets import pixels, tiny_openclip
from braindec.train import Config
from braindec.types import ArraySpace, StimulusSet, Table, Trials

KEY = "sub-01_fmri"
TRAIN = Config(n_steps=120, validate_every=4, batch_size=64, ridge_start=False, lr=5e-2, device="cpu")


@dataclass(frozen=True)
class MiniRecipe:
    """The fields of a recipe that a fit needs."""

    adapter: Any = linear_adapter.Config(shared_dim=16)  # noqa: RUF009
    backbone: Any = mlp.Config(width=16, n_blocks=1)  # noqa: RUF009
    loss: Any = soft_clip.Config()  # noqa: RUF009
    preprocessing: Any = (Standardise(),)
    train: Config = TRAIN
    n_folds: int = 2
    calibrate: bool = False
    protocol: str = "things_eeg2_200_miniature"
    seed: int = 0


def by_concept(planted):
    """The planted data, every stimulus a concept of its own, responses without a trace of them."""
    rng = np.random.default_rng(3)
    dataset = planted.dataset
    split, ids = dataset.split, dataset.stimuli.ids
    stimuli = replace(dataset.stimuli, table=Table({"concept": np.array(ids)}))
    trials = {
        k: replace(t, responses=rng.standard_normal(np.shape(t.responses)).astype(np.float32))
        for k, t in dataset.trials.items()
        if k == KEY
    }
    return replace(dataset, stimuli=stimuli, trials=trials, split=replace(split, unit="concept"))


def test_the_best_test_step_of_a_decoder_that_knows_nothing_lies_above_chance(planted):
    dataset = by_concept(planted)
    rows = evaluate.best_test_step(MiniRecipe(), dataset, planted.embeddings, progress=False)
    assert {r.name for r in rows} == {
        f"{m}_best_test_step"
        for m in ("image_retrieval_top1", "image_retrieval_top5", "brain_retrieval_top1")
    }
    for row in rows:
        looks = list(row.details["looks"].values())
        assert len(looks) == 31 and row.value == max(looks) >= row.details["last step"] == looks[-1]
        assert row.value >= np.mean(looks) and row.protocol == "things_eeg2_200_as_published_by_atm_miniature"
        assert "step" in row.details["chosen on the test set"] and row.null_n == 0 and row.p is None
        assert row.details["differs"] == [
            "The best test accuracy of all training epochs is reported: the test set chooses the model."
        ]
    top5 = next(r for r in rows if r.name.startswith("image_retrieval_top5"))
    looks = list(top5.details["looks"].values())
    assert top5.value > top5.chance == pytest.approx(5 / 40) and np.std(looks) > 0
    assert np.mean(looks) == pytest.approx(top5.chance, abs=0.08)
    assert top5.value > np.mean(looks)


def test_a_protocol_whose_papers_did_not_gets_no_row(planted):
    recipe = MiniRecipe(protocol="heldout_stimuli")
    assert evaluate.best_test_step(recipe, planted.dataset, planted.embeddings, progress=False) == []
    target = tiny_openclip.build(tiny_openclip.Config())
    assert evaluate.half_range(recipe, planted.dataset, target) == []


@pytest.fixture(scope="module")
def pictured():
    """(dataset, embeddings, target): voxels are noisy sums of the shipped network's embedding of drawn pictures."""
    rng, target = np.random.default_rng(1), tiny_openclip.build(tiny_openclip.Config())
    images = np.stack([p.image for p in miniature.draw(miniature.concept_names(320), 1, rng)])
    ids = tuple(f"s{i:03d}" for i in range(320))
    values = target.embed_images(images)
    signal = values.reshape(320, -1) - values.reshape(320, -1).mean(0)
    signal = signal / signal.std() @ rng.standard_normal((signal.shape[1], 60)) / 10
    responses = (signal + 0.5 * signal.std() * rng.standard_normal(signal.shape)).astype(np.float32)
    n = np.arange(320)
    table = Table({"stimulus_id": np.array(ids), "session": 0 * n, "run": n // 20, "repeat": 0 * n, "onset_s": 30.0 * n,
                   "acquisition_order": n, "exchangeability_block": 0 * n})  # fmt: skip
    row = {name: i for i, name in enumerate(ids)}
    stimuli = StimulusSet(ids, "image", read=lambda names: images[[row[i] for i in names]])
    split = Split("one", "stimulus", {"train": ids[:260], "test": ids[260:]})
    trials = Trials(responses, table, ArraySpace(60), "a.u.", 1, "fmri")
    return NeuralDataset.from_trials([trials], stimuli, split, name="pictured"), images, target


def test_pictures_in_the_upper_half_of_the_range_are_washed_out():
    images = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, 3)
    washed = published_fits.in_half_range(images)
    assert (washed.min(), washed.max()) == (127, 255) and washed.dtype == np.uint8
    np.testing.assert_allclose(washed / 255, (images / 255 + 1) / 2, atol=1 / 255)


def test_a_network_that_saw_washed_out_pictures_is_a_space_of_its_own_that_tells_less_apart(
    pictured, monkeypatch
):
    dataset, _, target = pictured
    plain = evaluate.protocol_named("nsd_retrieval_300x30")
    variant = replace(evaluate.protocol_named("nsd_retrieval_300x30_as_published_by_mindeye2"))
    small = Protocol(
        "small", 1, "stimulus", "test_stimuli", "after", ("image_retrieval_top1",), "here", direction="both"
    )
    monkeypatch.setattr(published_fits, "protocol_named", lambda name: small)
    monkeypatch.setattr(published_fits, "variants", lambda protocol: (variant,))
    recipe = SimpleNamespace(preprocessing=(), seed=0, protocol="small")
    (row,) = evaluate.half_range(recipe, dataset, target, progress=False)
    whole = published_fits.embedded_as(target, dataset, as_they_are)
    washed = published_fits.embedded_as(target, dataset, published_fits.in_half_range)
    exam = evaluate.Exam(dataset, whole, [dataset.split], small, progress=False)
    ridge = evaluate.RidgeFitter(evaluate.signal_features(()))
    ours = evaluate.judge("ridge", ridge, exam, 0).measured[KEY]["image_retrieval_top1"]
    assert plain.pool.drawn == 300 and row.name == "image_retrieval_top1_half_range" and row.system == "ridge"
    assert row.value < ours.value and "[0.5, 1]" in row.details["differs"][0]
    assert washed.space.endswith("/in_half_range") and washed.provenance != whole.provenance
    spread = [np.linalg.norm(e.values - e.values.mean(0)) / np.linalg.norm(e.values) for e in (whole, washed)]
    assert spread[1] < spread[0]


def as_they_are(images):
    return images


def test_low_level_pictures_are_the_decoders_own_or_ridge_s_and_look_like_the_presented(pictured):
    dataset, images, _ = pictured
    training, test = dataset.part("train"), dataset.part("test")
    recipe = SimpleNamespace(preprocessing=(), seed=0, protocol="heldout_stimuli")
    ids = {KEY: tuple(test.stimulus_ids)[5:25]}
    none = SimpleNamespace(outputs={"main": SimpleNamespace(space="openclip/x")})
    found = low_level.low_level_pictures(none, recipe, training, test, ids)[KEY]
    assert found.shape == (20, 64, 64, 3) and found.dtype == np.uint8
    true = images[265:285].astype(float).reshape(20, -1)
    made = found.astype(float).reshape(20, -1)
    table = np.corrcoef(true - true.mean(0), made - made.mean(0))[:20, 20:]
    assert np.diag(table).mean() > table[~np.eye(20, dtype=bool)].mean() + 0.05
    target = pixels.build(pixels.Config(height=8, width=8))
    values = target.embed_images(images[:3])
    own = low_level.as_pictures(values, target.space, (8, 8))
    np.testing.assert_allclose(own[..., 0].reshape(3, -1) / 255, values[:, 0], atol=1 / 255)
    assert np.array_equal(own[..., 0], own[..., 2])
