"""The nuisance decoder of classes knows an order that every run repeats, and stays linear where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from braindec import evaluate
from braindec.data import NeuralDataset, splits
from braindec.evaluate.systems import RidgeFitter, nuisance_features
from braindec.evaluate.time_told import TimedNuisanceFitter, TimedSystem, Timetable, runs_of
from braindec.targets import category_prototypes
from braindec.types import Embeddings

N_RUNS, N = 6, 30
PROTOCOL = evaluate.protocol_named("leave_one_run_out_categories")


def shown(rng, kind, n_runs=N_RUNS):
    """Runs of thirty trials, four seconds apart and a little before or after, of these classes; no brain."""
    order = np.arange(len(kind)) % N
    names = [f"t{i}" for i in range(len(kind))]
    dataset = NeuralDataset.from_arrays(
        np.zeros((len(kind), 2)), names, modality="fmri", run=np.arange(len(kind)) // N, kind=kind,
        onset_s=4.0 * order + rng.uniform(-0.5, 0.5, len(kind)),
    )  # fmt: skip
    target = category_prototypes.build(category_prototypes.Config(tuple(sorted(set(kind)))))
    return dataset, Embeddings.from_arrays(names, target.embed(list(kind)), target.space)


def accuracy(fit, dataset, embeddings):
    folds = splits.leave_one_out(dataset, "run")
    exam = evaluate.Exam(dataset, embeddings, folds, PROTOCOL, label_column="kind", progress=False)
    return evaluate.judge("x", fit, exam, n_null=0).measured["sub-01_fmri"]["category_accuracy"].value


def linear(*columns):
    return RidgeFitter(lambda trials: nuisance_features(trials, columns))


def test_alternating_classes_are_told_by_their_time_where_a_line_sees_nothing(rng):
    data = shown(rng, np.array(["face", "house"])[np.arange(N_RUNS * N) % 2])
    assert accuracy(linear("onset_s"), *data) < 0.65
    assert accuracy(TimedNuisanceFitter(("run", "onset_s")), *data) == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_classes_in_a_new_order_in_every_run_stay_at_chance(seed):
    rng = np.random.default_rng(seed)
    kind = np.concatenate([rng.permutation(np.repeat(["face", "house"], N // 2)) for _ in range(N_RUNS)])
    assert 0.38 < accuracy(TimedNuisanceFitter(("onset_s",)), *shown(rng, kind)) < 0.62  # 0.5 +- 3.2 SE


def test_where_a_line_tells_as_much_or_no_time_is_named_the_line_stays_to_the_bit(rng):
    early = np.where(np.arange(N_RUNS * N) % N < N // 2, "face", "house")
    alternating = np.array(["face", "house"])[np.arange(N_RUNS * N) % 2]
    for kind, columns in (
        (early, ("onset_s",)),
        (alternating, ("run",)),
        (alternating, ("acquisition_order",)),
    ):
        dataset, embeddings = shown(rng, kind)
        whole = dataset.with_split(splits.leave_one_out(dataset, "run")[0])
        train, (test,) = whole.part("train"), whole.part("test").trials.values()
        found = TimedNuisanceFitter(columns)(train, embeddings, 0)
        assert isinstance(found, TimedSystem) and not found.tables
        wanted = linear(*columns)(train, embeddings, 0).predict(test, repeats="none")
        np.testing.assert_array_equal(found.predict(test, repeats="none").values, wanted.values)


def test_what_other_runs_show_is_the_mean_of_their_nearest_trials(rng):
    dataset, embeddings = shown(rng, rng.permutation(np.repeat(["a", "b", "c"], N_RUNS * N // 3)))
    (trials,) = dataset.trials.values()
    values = embeddings.of(trials.table["stimulus_id"].tolist())
    runs, places = runs_of(trials), trials.table["onset_s"]
    order = rng.permutation(len(runs))  # rows need not lie in time
    found = Timetable("onset_s", runs[order], places[order], values[order]).of(trials)
    for row in range(0, len(runs), 7):
        others = [np.flatnonzero(runs == run) for run in np.unique(runs) if run != runs[row]]
        nearest = [rows[np.abs(places[rows] - places[row]).argmin()] for rows in others]
        np.testing.assert_allclose(found[row], values[nearest].mean(0), atol=1e-6)
