"""Baselines: what they keep between refits, and what a nuisance decoder notices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from braindec import evaluate
from braindec.adapters import linear as linear_adapter
from braindec.backbones import linear
from braindec.data import NeuralDataset, splits
from braindec.data.preprocessing import Standardise
from braindec.decoder import BrainDecoder, Settings
from braindec.losses import cross_entropy
from braindec.targets import category_prototypes
from braindec.train import Config
from braindec.types import ArraySpace, Embeddings, StimulusSet, Table, Trials

CLASSES = ("a", "b", "c")
N_RUNS, N_POSITIONS = 20, 6
PROTOCOL = evaluate.protocol_named("leave_one_run_out_categories")


@pytest.fixture(scope="module")
def blocks() -> tuple[NeuralDataset, Embeddings]:
    """Twenty runs of six blocks: position 0 mostly shows "a", no other says anything; ten empty motion columns."""
    rng = np.random.default_rng(3)
    n = N_RUNS * N_POSITIONS
    position = np.arange(n) % N_POSITIONS
    number = np.where((position == 0) & (rng.random(n) < 0.8), 0, rng.integers(0, 3, n))
    patterns = 0.5 * rng.standard_normal((3, 20))
    responses = (patterns[number] + rng.standard_normal((n, 20))).astype(np.float32)
    run = (np.arange(n) // N_POSITIONS).astype(str)
    table = {
        "stimulus_id": np.array(CLASSES)[number], "session": np.full(n, "1"), "run": run, "run_position": position,
        "repeat": np.zeros(n, int), "onset_s": 30.0 * position, "acquisition_order": np.full(n, -1),
        "exchangeability_block": run,
    }  # fmt: skip
    table |= {f"motion_{i}": rng.standard_normal(n) for i in range(10)}
    trials = Trials(responses, Table(table), ArraySpace(20), "a.u.", 1, "fmri")
    stimuli = StimulusSet(CLASSES, "none", table=Table({"category": np.array(CLASSES)}))
    target = category_prototypes.build(category_prototypes.Config(classes=CLASSES))
    embeddings = Embeddings(CLASSES, target.embed(CLASSES), target.space, target.identity(), "0" * 64)
    return NeuralDataset.from_trials([trials], stimuli, name="blocks"), embeddings


def hits(fit, blocks) -> np.ndarray:
    """Of every block, (run, position)."""
    dataset, embeddings = blocks
    folds = splits.leave_one_out(dataset, "run")
    exam = evaluate.Exam(dataset, embeddings, folds, PROTOCOL, label_column="category", progress=False)
    judged = evaluate.judge("x", fit, exam, n_null=0)
    return judged.measured["sub-01_fmri"]["category_accuracy"].per_sample.reshape(N_RUNS, N_POSITIONS)


def test_a_nuisance_decoder_notices_a_telling_position_among_empty_columns(blocks):
    def position(part, embeddings, seed):
        """What can be known: "a" at position 0, and elsewhere whatever is most frequent in training."""
        return evaluate.RidgeFitter(lambda trials: _indicator(trials))(part, embeddings, seed)

    known = hits(position, blocks)[:, 0].mean()
    assert known > 0.7
    assert hits(evaluate.NuisanceFitter(), blocks)[:, 0].mean() == pytest.approx(known, abs=0.1)


def _indicator(trials):
    return lambda other: (other.table["run_position"] == 0)[:, None].astype(np.float32)


def test_trials_of_one_class_are_not_averaged_for_training(blocks):
    """A class is the stimulus of trials in every run: averaging them would leave three rows, or three a run."""
    dataset, embeddings = blocks
    part = dataset.with_split(splits.leave_one_out(dataset, "run")[0]).part("train")
    fitter = evaluate.RidgeFitter(evaluate.signal_features((Standardise(),)))
    fitter(part, embeddings, 0)
    (kept,) = fitter._kept.values()
    assert len(kept.x) == part.trials["sub-01_fmri"].n_trials


def test_a_ridge_that_meets_other_rows_forgets_the_last_ones(planted):
    """Rows without an order of acquisition look alike but for their values."""
    key = "sub-01_fmri"
    trials = planted.dataset.trials[key]
    unordered = replace(trials, table=trials.table.replace(acquisition_order=np.full(trials.n_trials, -1)))
    dataset = replace(planted.dataset, trials={key: unordered})
    features = evaluate.signal_features((Standardise(),))
    used = evaluate.RidgeFitter(features)
    for split in splits.k_fold(dataset, "stimulus", 4, np.random.default_rng(0)):
        part = dataset.with_split(split).part("train")
        again, fresh = (f(part, planted.embeddings, 0) for f in (used, evaluate.RidgeFitter(features)))
        torch.testing.assert_close(again.fits[key].weights, fresh.fits[key].weights)


def test_a_decoder_of_classes_learns_by_cross_entropy(blocks):
    """Targets come to the loss as probabilities although everything else sees them centred."""
    train = Config(n_steps=40, batch_size=64, lr=1e-2, validate_every=20, ridge_start=False, device="cpu")
    settings = Settings(
        linear_adapter.Config(shared_dim=8), linear.Config(), cross_entropy.Config(), preprocessing=(Standardise(),),
        train=train, n_folds=0, calibrate=False,
    )  # fmt: skip

    def fit(part, embeddings, seed):
        return BrainDecoder.build(settings, part.info, embeddings.info).fit(part, embeddings, progress=False)

    assert hits(fit, blocks).mean() > 0.6  # chance 0.33


def test_a_permuted_pairing_meets_the_factors_again(planted, rng):
    fitter = evaluate.RidgeFitter(evaluate.signal_features((Standardise(),)))
    part = planted.dataset.part("train")
    fitter(part, planted.embeddings, 0)
    kept = set(fitter._kept)
    fitter(evaluate.permuted(part, rng, evaluate.protocol_named("heldout_stimuli")), planted.embeddings, 0)
    assert set(fitter._kept) == kept


@pytest.mark.parametrize("where", ["train", "test"])
def test_a_nuisance_column_with_a_gap_is_refused_by_its_name(blocks, where):
    dataset, _ = blocks
    dataset = dataset.with_split(splits.leave_one_out(dataset, "run")[0])
    trials = dataset.trials["sub-01_fmri"]
    inside = dataset.split.members(trials, dataset.stimuli, where)
    motion = trials.table["motion_3"].copy()
    motion[np.flatnonzero(inside)[0]] = np.nan
    held = replace(
        dataset, trials={"sub-01_fmri": replace(trials, table=trials.table.replace(motion_3=motion))}
    )
    with pytest.raises(ValueError, match="nuisance column 'motion_3' holds 1 NaN"):
        train, test = (held.part(name).trials["sub-01_fmri"] for name in ("train", "test"))
        evaluate.nuisance_features(train)(test)
