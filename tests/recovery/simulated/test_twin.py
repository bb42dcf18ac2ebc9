"""A twin expects of a recording what the recording scores, and finds scores that no honest copy reaches."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from braindec import report
from braindec.data import NeuralDataset, Split
from braindec.data.preprocessing import Standardise
from braindec.data.simulated import twin as simulated
from braindec.evaluate import twin_panels
from braindec.evaluate.twin import band, twin
from braindec.evaluate.twin_result import Expectation, Settings, TwinResult
from braindec.evaluate.twin_subject_panels import of_subjects, subject_panels
from braindec.evaluate.twin_subjects import Goal, needed_subjects
from braindec.types import ArraySpace, Embeddings, StimulusSet, Table, Trials

FEW = Settings("ridge", n_copies=6, n_growth=2, sizes=(0.5, 2.0))


@dataclass(frozen=True)
class MiniRecipe:
    protocol: str
    label_column: str | None = None
    preprocessing: Any = (Standardise(),)
    seed: int = 0
    settings: dict[str, Any] = field(default_factory=dict)


def table_of(ids, run, **more):
    n = np.arange(len(ids))
    text = np.asarray(run).astype(str)
    return Table({"stimulus_id": ids, "session": np.full(len(n), "1"), "run": text, "repeat": 0 * n, "onset_s": 2.0 * n,
                  "acquisition_order": n, "exchangeability_block": text, **more})  # fmt: skip


def class_dataset(rng, label, run, responses):
    names = np.array([f"class-{c}" for c in range(label.max() + 1)])
    table = table_of(names[label], run, category=names[label])
    trials = Trials(responses.astype(np.float32), table, ArraySpace(responses.shape[1]), "a.u.", 1, "fmri")
    stimuli = StimulusSet(tuple(names), "none", table=Table({"category": names}))
    values = np.eye(len(names), dtype=np.float32)[:, None]
    return NeuralDataset.from_trials([trials], stimuli), Embeddings(
        tuple(names), values, "one-hot", {}, "0" * 64
    )


def runs_of_classes(rng, strength, n_runs=8, n_classes=4, times=4, p=80):
    label = np.concatenate([rng.permutation(np.repeat(np.arange(n_classes), times)) for _ in range(n_runs)])
    pattern = rng.standard_normal((n_classes, p)) * (rng.random(p) < 0.4)
    shared = rng.standard_normal((len(label), 4)) @ rng.standard_normal((4, p))
    responses = strength * pattern[label] + shared + rng.standard_normal((len(label), p))
    return class_dataset(rng, label, np.repeat(np.arange(n_runs), n_classes * times), responses)


CLASSES = MiniRecipe("leave_one_run_out_categories", "category")


def test_an_honest_score_lies_in_the_band_and_more_trials_raise_it(rng, tmp_path):
    dataset, embeddings = runs_of_classes(rng, 0.4)
    found = twin(CLASSES, dataset, embeddings, settings=FEW, progress=False)
    expected = found.of("category_accuracy")
    assert expected.verdict == "inside"
    assert 0.3 < expected.value < 0.95
    assert found.honest_folds == "the recipe's own"
    assert expected.growth[0.5].mean() < expected.growth[2.0].mean()
    assert 0.5 <= expected.size_for(expected.copies.mean()) <= 2.0
    assert expected.size_for(1.5) is None
    made = twin_panels.report(found, CLASSES, dataset, target=0.999, score=1.0)
    page = report.write(made, tmp_path).read_text()
    assert "What to expect of this recording" in page and "not reached with 2 times" in page
    written = json.loads((tmp_path / "report.json").read_text())["run"]["twin"]
    assert written["expectations"][0]["verdict"] == "inside"


def test_responses_without_signal_expect_chance(rng):
    dataset, embeddings = runs_of_classes(rng, 0.0)
    expected = twin(CLASSES, dataset, embeddings, settings=Settings("ridge", 6, 0, ()), progress=False).of(
        "category_accuracy"
    )
    assert expected.copies.mean() == pytest.approx(0.25, abs=0.1)
    assert expected.verdict == "inside"


def test_classes_in_blocks_on_both_sides_of_interleaved_runs_lie_above(rng):
    """Every class is a few long blocks; each fourth trial is called a run; slow drift tells blocks apart."""
    label = np.repeat(np.tile(np.arange(3), 3), 12)
    walk = np.cumsum(rng.standard_normal((len(label), 20)), 0) / np.sqrt(len(label))
    responses = 6 * walk @ rng.standard_normal((20, 80)) + rng.standard_normal((len(label), 80))
    dataset, embeddings = class_dataset(rng, label, np.arange(len(label)) % 4, responses)
    found = twin(CLASSES, dataset, embeddings, settings=Settings("ridge", 6, 0, ()), progress=False)
    assert found.honest_folds == "whole blocks"
    assert found.of("category_accuracy").verdict == "above"


def test_a_class_that_is_one_block_could_be_told_by_time_alone(rng):
    label = np.repeat(np.arange(3), 24)
    walk = np.cumsum(rng.standard_normal((len(label), 5)), 0)
    responses = walk @ rng.standard_normal((5, 60)) + rng.standard_normal((len(label), 60))
    dataset, embeddings = class_dataset(rng, label, np.arange(len(label)) % 4, responses)
    found = twin(CLASSES, dataset, embeddings, settings=Settings("ridge", 6, 0, ()), progress=False)
    assert found.honest_folds.startswith("none")
    assert (found.gains["sub-01_fmri"] == 0).all()
    assert found.of("category_accuracy").verdict == "above"


def pictures(rng, doubled):
    n, d, p = 120, 10, 150
    values = rng.standard_normal((n, d))
    signal = 0.25 * values @ rng.standard_normal((d, p))
    responses = signal + 1.5 * rng.standard_normal((n, p))
    names = np.array([f"picture-{i:03d}" for i in range(n)])
    test = names[:40]
    if doubled:  # the same trials once more, under other names, in training
        names = np.r_[names, [f"other-{i:03d}" for i in range(n)]]
        responses, values = np.r_[responses, responses], np.r_[values, values]
    order = rng.permutation(len(names))
    split = Split("default", "stimulus", {"train": tuple(np.setdiff1d(names, test)), "test": tuple(test)})
    table = table_of(names[order], np.arange(len(names)) * 4 // len(names))
    trials = Trials(responses[order].astype(np.float32), table, ArraySpace(p), "a.u.", 1, "fmri")
    embeddings = Embeddings(tuple(names), values.astype(np.float32)[:, None], "features", {}, "0" * 64)
    return NeuralDataset.from_trials([trials], StimulusSet(tuple(names), "none"), split), embeddings


@pytest.mark.parametrize("doubled", [False, True])
def test_test_trials_that_are_in_training_by_another_name_lie_above(rng, doubled):
    dataset, embeddings = pictures(rng, doubled)
    settings = Settings("ridge", 6, 0, ())
    expected = twin(MiniRecipe("heldout_stimuli"), dataset, embeddings, settings=settings, progress=False).of(
        "image_retrieval_top1"
    )
    assert expected.verdict == ("above" if doubled else "inside")


def test_copies_have_the_recordings_covariance_and_stimuli_explain_what_they_do(rng):
    n, p = 400, 30
    features = rng.standard_normal((n, 5))
    weights = rng.standard_normal((5, p)) * (np.arange(p) < 15)
    noise = rng.standard_normal((n, 3)) @ rng.standard_normal((3, p)) + rng.standard_normal((n, p))
    responses = 0.6 * features @ weights + noise
    made = simulated.fit(
        responses, simulated.Design(features, np.repeat(np.arange(8), 50), np.arange(n), by_stimulus=False)
    )
    true = (0.6 * features @ weights).var(0) / responses.var(0)
    assert made.explained.mean() == pytest.approx(true.mean(), abs=0.04)
    assert made.explained[15:].max() < 0.05 < made.explained[:15].min() + 0.05
    copies = [simulated.draw_signal(made, rng) + simulated.draw_noise(made, rng) for _ in range(20)]
    found = np.mean([np.cov(c.T) for c in copies], 0)
    assert np.corrcoef(found.ravel(), np.cov(responses.T).ravel())[0, 1] > 0.98
    assert np.trace(found) == pytest.approx(np.trace(np.cov(responses.T)), rel=0.1)


def test_blocks_and_repeats_are_one_piece_of_evidence():
    shown = np.repeat([0, 1, 0, 1], 5)
    design = simulated.Design(np.eye(2)[shown], np.arange(20) % 2, np.arange(20), by_stimulus=False)
    assert simulated.cells(design).tolist() == np.repeat([0, 1, 2, 3], 5).tolist()
    mixed = simulated.Design(
        np.eye(2)[np.arange(20) * 7 % 3 % 2], np.zeros(20), np.arange(20), by_stimulus=False
    )
    assert len(np.unique(simulated.cells(mixed))) == 20
    repeats = simulated.Design(np.eye(4)[np.arange(20) % 4], np.zeros(20), np.arange(20), by_stimulus=True)
    found = simulated.cells(repeats)
    assert len(np.unique(found)) == 4
    assert (found[:16] == found[4:]).all()


def test_the_band_covers_one_more_value(rng):
    inside = []
    for _ in range(400):
        hits = rng.binomial(60, rng.beta(30, 20, 21)) / 60
        low, high = band(hits[:20], 60)
        inside.append(low <= hits[20] <= high)
    assert 0.92 <= np.mean(inside) <= 0.98
    low, high = band(np.ones(5), 60)
    assert low < 1.0 == high
    assert band(np.array([3.0, 4.0, 5.0]))[1] > 5


def test_the_sentences_say_what_to_do():
    copies = np.array([0.5, 0.52, 0.54])
    e = Expectation(
        "sub-01_fmri", "category_accuracy", 0.9, copies, (0.4, 0.6), 0.25, {1.0: copies, 2.0: copies + 0.2}
    )
    assert "suspect a leak" in twin_panels.sentences(e)[0]
    assert "times the training trials" in twin_panels.needed(e, 0.6, 100)[0]
    assert "not reached" in twin_panels.needed(e, 0.99, 100)[0]
    assert "above the band" in twin_panels.judged(e, 0.7)[0]


def group_of(values, chance=0.25, copies_sd=0.02, rng=None):
    """Expectations of several subjects, as `twin` would make them."""
    rng = rng or np.random.default_rng(0)
    made = []
    for i, value in enumerate(values, 1):
        copies = value + copies_sd * rng.standard_normal(20)
        growth = {1.0: copies, 2.0: copies[:3] + 0.1}
        made.append(Expectation(f"sub-{i:02d}_fmri", "category_accuracy", value, copies, (0.0, 1.0), chance, growth,
                                i, "fmri"))  # fmt: skip
    return TwinResult(tuple(made), {}, {}, "the recipe's own", Settings("ridge"))


def test_needed_subjects_fall_with_trials_and_rise_with_precision():
    found = group_of([0.3, 0.42, 0.28, 0.45, 0.36])
    wide, narrow = (needed_subjects(found, "category_accuracy", Goal(w))[0] for w in (0.05, 0.02))
    assert wide.above[2.0] < wide.above[1.0]
    assert wide.within[1.0] < narrow.within[1.0]
    spread = np.std([0.3, 0.42, 0.28, 0.45, 0.36], ddof=1)
    assert wide.between == pytest.approx(spread, rel=0.2)
    assert wide.single == pytest.approx(0.02, rel=0.3)
    said = " ".join(of_subjects(wide))
    assert f"about {wide.above[1.0]} subjects" in said and "+-0.05" in said
    _, kind, payload = subject_panels([wide])[1]
    assert kind == "curve" and set(payload["series"]) == {
        "interval excludes chance",
        "interval within +-0.05",
    }


def test_one_subject_cannot_say_how_many_are_needed_but_what_to_assume():
    one = needed_subjects(group_of([0.5]), "category_accuracy", Goal(0.05))[0]
    assert not one.above and one.sure is None
    assert list(one.assumed) == [0.025, 0.0625, 0.125]  # of a distance of 0.25 from chance
    fewest = [n for n, _ in one.assumed.values()]
    assert fewest == sorted(fewest)
    assert "cannot be known from one" in of_subjects(one)[0]
    assert "SD of 0.12" in of_subjects(one)[0]
    below = needed_subjects(group_of([0.2]), "category_accuracy")[0]
    assert "not better than chance" in of_subjects(below)[0]


def test_subjects_at_chance_need_no_number():
    none = needed_subjects(group_of([0.2, 0.3, 0.27, 0.22]), "category_accuracy")[0]
    assert none.above[1.0] is None
    assert "no number of subjects can be named" in of_subjects(none)[1]


def test_a_twin_of_several_subjects_says_how_many_a_group_result_needs(rng, tmp_path):
    parts = [runs_of_classes(rng, strength, n_runs=4, p=40) for strength in (0.3, 0.4, 0.5)]
    trials = [next(iter(d.trials.values())) for d, _ in parts]
    dataset = NeuralDataset.from_trials(
        [replace(t, subject=i + 1) for i, t in enumerate(trials)], parts[0][0].stimuli
    )
    found = twin(CLASSES, dataset, parts[0][1], settings=Settings("ridge", 3, 2, (2.0,)), progress=False)
    made = twin_panels.report(found, CLASSES, dataset, goal=Goal(0.1))
    page = report.write(made, tmp_path).read_text()
    assert "Subjects that a group result needs" in page and "What a number of subjects reaches" in page
    entry = json.loads((tmp_path / "report.json").read_text())["run"]["needed_subjects"][0]
    assert set(entry["values"]) == {"1", "2", "3"}
    assert set(entry["above_chance"]) == {"1", "2"}
    assert entry["chance"] == 0.25


@pytest.mark.parametrize("unit", [1.0, 1e-6, 1e-13], ids=["z", "V", "T"])
def test_further_trials_have_the_noise_of_the_recording_in_any_unit(rng, unit):
    n, k = 120, 40
    features = rng.standard_normal((n, 5))
    responses = features @ rng.standard_normal((5, k)) + rng.standard_normal((n, k))
    design = simulated.Design(features, np.repeat(np.arange(4), n // 4), np.arange(n), True)
    made = simulated.draw_more_noise(simulated.fit(unit * responses, design), rng)
    assert made.std() / unit == pytest.approx(1, abs=0.1)  # that of the planted noise
