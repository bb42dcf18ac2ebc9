"""Cross-fitting: folds that know nothing of what they hold out, and fits that go on where they were stopped."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from braindec import checks, train
from braindec.adapters import linear as linear_adapter
from braindec.backbones import linear
from braindec.data import NeuralDataset, Split
from braindec.data.preprocessing import Standardise, Whiten
from braindec.decoder import BrainDecoder, Settings, cross_fit, learning
from braindec.losses import clip, mse
from braindec.types import ArraySpace, Embeddings, StimulusSet, Table, Trials

N_CLASSES, N_RUNS, N_VOXELS = 6, 9, 44
CHANCE = np.mean(1 / np.arange(1, N_CLASSES + 1))  # mean reciprocal rank of a guess
TRAIN = train.Config(n_steps=0, device="cpu")
WHITENED = Settings(
    adapter=linear_adapter.Config(shared_dim=5), backbone=linear.Config(), loss=mse.Config(),
    preprocessing=(Standardise(), Whiten(noise="repeats", shrinkage=0.02)), train=TRAIN, n_folds=3, calibrate=False,
)  # fmt: skip


def classes_by_run(signal: float, seed: int = 0):
    """A few classes shown once a run, each run a unit; voxels of noise, and of the class where there is `signal`."""
    rng = np.random.default_rng(seed)
    number = np.tile(np.arange(N_CLASSES), N_RUNS)
    run, n = np.repeat(np.arange(N_RUNS), N_CLASSES), np.arange(N_CLASSES * N_RUNS)
    patterns = rng.standard_normal((N_CLASSES, N_VOXELS))
    x = signal * patterns[number] + rng.standard_normal((len(n), N_VOXELS))
    ids = tuple(f"class-{i}" for i in range(N_CLASSES))
    table = Table({
        "stimulus_id": np.array(ids)[number], "session": np.ones(len(n), int), "run": run, "repeat": run,
        "onset_s": 3.0 * (n % N_CLASSES), "acquisition_order": n, "exchangeability_block": run,
    })  # fmt: skip
    trials = Trials(x.astype(np.float32), table, ArraySpace(N_VOXELS), "a.u.", 1, "fmri")
    split = Split("runs", "run", {"train": tuple(str(r) for r in range(N_RUNS))})
    stimuli = StimulusSet(ids, "none", table=Table({"name": np.array(ids)}))
    targets = Embeddings(
        ids, np.eye(N_CLASSES, dtype=np.float32)[:, None], "one hot", {"made": "here"}, "0" * 64
    )
    return NeuralDataset.from_trials([trials], stimuli, split, name="classes"), targets


def inner_score(signal: float, seed: int = 0) -> float:
    dataset, targets = classes_by_run(signal, seed)
    decoder = BrainDecoder.build(WHITENED, dataset.info, targets.info)
    decoder.fit(dataset, targets, prior=False, progress=False)
    return decoder.log.column("validation")[1][0]


def test_whitening_tells_folds_nothing_of_the_labels_they_hold_out(monkeypatch):
    """Noise alone: residuals of all rows' own classes make held-out classes stand apart; those of the kept rows not."""
    honest = np.mean([inner_score(0.0, seed) for seed in range(4)])
    assert honest == pytest.approx(CHANCE, abs=0.08)
    monkeypatch.setattr(
        learning, "refit_of", lambda *_: None
    )  # as if preprocessing were fitted once, on all rows
    assert np.mean([inner_score(0.0, seed) for seed in range(4)]) > CHANCE + 0.3


def test_classes_that_are_there_are_found_out_of_fold():
    assert inner_score(2.0) > CHANCE + 0.3


def test_preprocessing_without_statistics_is_not_done_again(planted):
    settings = replace(WHITENED, preprocessing=())
    part = planted.dataset.part("train")
    decoder = BrainDecoder.build(settings, part.info, planted.embeddings.info)
    named = {"main": planted.embeddings}
    sets = learning.prepared_sets_(decoder, part, named)
    assert (
        learning.refit_of(decoder, part, sets)({"sub-01_fmri": np.arange(50)})["sub-01_fmri"]
        is sets["sub-01_fmri"].signals
    )


def test_a_subject_with_nothing_kept_is_predicted_by_nobody(planted):
    part = planted.dataset.part("train")
    decoder = BrainDecoder.build(WHITENED, part.info, planted.embeddings.info)
    sets = learning.prepared_sets_(decoder, part, {"main": planted.embeddings})
    sets["sub-02_fmri"] = replace(sets["sub-02_fmri"], units=("alone",) * len(sets["sub-02_fmri"].units))
    for kept, held in cross_fit.fold_sets(sets, 3, 0):
        assert ("sub-02_fmri" in held) <= ("sub-02_fmri" in kept)
        assert "sub-01_fmri" in kept and "sub-01_fmri" in held


# ------------------------------------------------------------------------------------------------ stopped and resumed

STEPS = replace(
    WHITENED, adapter=linear_adapter.Config(shared_dim=16), loss=clip.Config(learned=True), calibrate=True,
    preprocessing=(Standardise(),),
    train=train.Config(n_steps=30, batch_size=64, lr=3e-2, validate_every=15, ridge_start=False, device="cpu"),
)  # fmt: skip


def fitted(planted, folder=None, settings=STEPS):
    part = planted.dataset.part("train")
    decoder = BrainDecoder.build(settings, part.info, planted.embeddings.info)
    return decoder.fit(part, planted.embeddings, folder, prior=False, progress=False)


class Stopped(Exception):
    """As if the process were killed."""


def stop_before(monkeypatch, name):
    """Trains until a run of this name begins; the names of the runs that began."""
    began, fit = [], train.fit

    def spy(*args, **settings):
        if settings["name"] == name:
            raise Stopped
        began.append(settings["name"])
        return fit(*args, **settings)

    monkeypatch.setattr(train, "fit", spy)
    return began


def test_a_fit_stopped_after_two_folds_goes_on_with_the_third_to_the_same_bits(
    planted, tmp_path, monkeypatch
):
    whole = fitted(planted)
    with monkeypatch.context() as patch:
        assert stop_before(patch, "encoder-fold-2") == []
        with pytest.raises(Stopped):
            fitted(planted, tmp_path)
    began = stop_before(monkeypatch, None)
    resumed = fitted(planted, tmp_path)
    assert began == ["encoder-fold-2", "encoder"]
    assert whole.log.best_step > 0  # a learned temperature went through training too
    first, second = whole.state_dict(), resumed.state_dict()
    assert first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)
    assert not list((tmp_path / "checkpoints").glob("*"))  # nothing is kept of a fit that is done


def test_folds_of_other_preprocessing_or_other_trials_are_refused(planted, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_before(patch, "encoder-fold-1")
        with pytest.raises(Stopped):
            fitted(planted, tmp_path)
    with pytest.raises(checks.ConfigError, match=r"encoder-fold-0.*other settings, data"):
        fitted(planted, tmp_path, replace(STEPS, preprocessing=(Standardise(scale=False),)))
    part = planted.dataset.part("train").limit(0.9, np.random.default_rng(0))
    decoder = BrainDecoder.build(STEPS, part.info, planted.embeddings.info)
    with pytest.raises(checks.ConfigError, match="other settings, data"):
        decoder.fit(part, planted.embeddings, tmp_path, prior=False, progress=False)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_another_fit_is_refused_before_it_trains_and_leaves_all_as_it_was(planted, tmp_path, monkeypatch):
    """Its folds would lie beside the other's checkpoints, and the fit that made those could not go on."""
    kept = replace(STEPS, train=replace(STEPS.train, checkpoint_every=10))
    first = fitted(planted, tmp_path, kept)
    before = contents(tmp_path)
    assert any(path.name.startswith("encoder-000") for path in before)
    with monkeypatch.context() as patch:
        began = stop_before(patch, None)
        with pytest.raises(checks.ConfigError, match=r"encoder-0.*other settings, data.*nothing was trained"):
            fitted(planted, tmp_path, replace(kept, train=replace(kept.train, lr=5e-2)))
    assert began == [] and contents(tmp_path) == before
    again = fitted(planted, tmp_path, kept).state_dict()
    assert all(torch.equal(values, again[name]) for name, values in first.state_dict().items())


def test_another_adaptation_is_refused_before_it_trains(planted, tmp_path, monkeypatch):
    part = planted.dataset.part("train")
    known, new = (replace(part, trials={key: part.trials[key]}) for key in part.keys)
    decoder = BrainDecoder.build(STEPS, known.info, planted.embeddings.info)
    decoder.fit(known, planted.embeddings, prior=False, progress=False)
    kept = replace(STEPS.train, checkpoint_every=5)

    def adapted(settings):
        return decoder.adapt(new, planted.embeddings, tmp_path, settings=settings, mode="all", progress=False)

    scores = itertools.count()
    monkeypatch.setattr(cross_fit, "_score", lambda looks, rank: next(scores))  # the last step is preferred
    adapted(kept)
    before = contents(tmp_path)
    assert any(path.name.startswith("adapt-000") for path in before)
    began = stop_before(monkeypatch, None)
    with pytest.raises(checks.ConfigError, match=r"adapt-0.*other settings, data"):
        adapted(replace(kept, lr=5e-2))
    assert began == [] and contents(tmp_path) == before


def test_a_damaged_fold_is_made_again(planted, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_before(patch, "encoder-fold-1")
        with pytest.raises(Stopped):
            fitted(planted, tmp_path)
    (path,) = (tmp_path / "checkpoints").glob("*.pt")
    path.write_bytes(path.read_bytes()[:-9])
    began = stop_before(monkeypatch, None)
    fitted(planted, tmp_path)
    assert began[0] == "encoder-fold-0"
