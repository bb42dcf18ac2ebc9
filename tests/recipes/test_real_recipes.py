"""The recipes on real recordings, end to end: prepared from raw files, judged, reported, saved."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from braindec import recipe
from braindec.data import NeuralDataset, catalogue
from braindec.decoder import BrainDecoder
from braindec.types import Report

pytestmark = pytest.mark.slow

# Floors leave room for another processor's rounding; recipes/README.md holds what was measured.
SLACK = 0.01
FEW = ("plan.n_null=1", "plan.n_null_baselines=3", "plan.progress=false")  # nulls have tests of their own


@dataclass(frozen=True)
class Done:
    """A recipe that has run: its report and its folders."""

    report: Report
    data: Path
    out: Path


def run(name: str, dataset: str, raw: Path, folder: Path, *sets: str) -> Done:
    catalogue.load(dataset)["prepare"](raw, folder / "data")
    report = recipe.run(name, folder / "data", folder / "out", sets=(*FEW, *sets))
    return Done(report, folder / "data", folder / "out")


@pytest.fixture(scope="module")
def haxby(real_data, tmp_path_factory) -> Done:
    return run("haxby2001_category", "haxby2001", real_data, tmp_path_factory.mktemp("haxby"))


@pytest.fixture(scope="module")
def digits(real_data, tmp_path_factory) -> Done:
    return run("digits69_reconstruct", "digits69", real_data, tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def faces(real_data, tmp_path_factory) -> Done:
    few = "settings.n_null_time_course=199"
    return run("faces_houses_eeg", "faces_houses_eeg", real_data, tmp_path_factory.mktemp("faces"), few)


def test_eight_categories_are_decoded_from_runs_never_seen(haxby):
    ours = haxby.report.score("category_accuracy")
    assert ours.n == 96
    assert ours.chance == 0.125
    assert ours.value >= 0.80
    assert ours.interval[0] > 0.5


def test_run_normalisation_is_said_to_be_transductive(haxby):
    assert haxby.report.run["transductive"] is True
    assert haxby.report.score("category_accuracy").details["transductive"] is True


def test_the_position_of_a_block_alone_tells_more_than_chance(haxby):
    known = haxby.report.score("category_accuracy", "nuisance")
    assert 0.15 < known.value < 0.40  # 0.27 by another classifier
    assert known.value < haxby.report.score("category_accuracy").interval[0]


def test_digits_are_told_apart_by_their_decoded_pixels(digits):
    assert digits.report.score("pairwise_identification").value >= 0.95 - SLACK
    within = digits.report.score("pairwise_identification_within_class")
    assert within.value >= 0.90 - SLACK
    assert within.n == 100
    assert abs(within.null - 0.5) < 0.1


def test_the_learned_decoder_and_ridge_are_compared_digit_by_digit(digits):
    rows = digits.report.run["comparisons"]
    assert {r["metric"] for r in rows} == {"pairwise_identification", "pairwise_identification_within_class"}
    for row in rows:
        assert (row["a"], row["b"], row["n"]) == ("braindec", "ridge", 100)
        assert row["interval"][0] <= row["difference"] <= row["interval"][1]
        assert row["interval"][1] >= 0  # not worse than ridge


def test_faces_and_houses_are_told_apart_on_every_trial(faces):
    ours = faces.report.score("roc_auc")
    assert ours.value >= 0.69 - SLACK
    assert ours.n == 1174
    assert ours.details["fraction_kept"] == 1.0
    window = next(s for s in faces.report.run["config"]["preprocessing"]["all"] if s["step"] == "Crop")
    assert window["tmax"] - window["tmin"] <= 0.5


def test_the_time_course_peaks_after_150_ms_and_its_baseline_lies_inside_the_null(faces):
    course = faces.report.run["time_course"]
    peak = max(course["windows"], key=lambda w: w["value"])
    assert 0.15 <= peak["start_s"] <= 0.30
    assert peak["p"] == pytest.approx(1 / 200)
    assert course["baseline_inside_null"]
    assert all(w["p"] > 0.05 for w in course["windows"] if w["stop_s"] < 0.1)


def test_means_of_ten_trials_are_told_apart_better_than_single_ones(faces):
    averaged = faces.report.run["roc_auc_of_averages"]
    assert averaged["n_averaged"] == 10
    assert averaged["value"]["sub-01_eeg"] > faces.report.score("roc_auc").value + 0.08


@pytest.mark.parametrize("which", ["haxby", "digits", "faces"])
def test_no_recipe_falls_below_ridge_and_all_beat_their_controls(which, request):
    done: Done = request.getfixturevalue(which)
    for metric in {s.name for s in done.report.scores}:
        ours = done.report.score(metric)
        assert ours.value >= done.report.score(metric, "ridge").value - SLACK / 2
        for control in ("shuffled", "nuisance", "mean"):
            assert ours.value > done.report.score(metric, control).value + 0.1
        assert ours.value > ours.null + 0.1


@pytest.mark.parametrize("which", ["haxby", "digits", "faces"])
def test_the_report_and_the_decoder_are_on_disk(which, request):
    done: Done = request.getfixturevalue(which)
    written = json.loads((done.out / "report.json").read_text())
    assert written["schema"] == 1
    assert len(written["scores"]) == len(done.report.scores)
    page = (done.out / "report.html").read_text()
    assert "https://" not in page.replace("https://www.w3.org", "")
    trials = next(iter(NeuralDataset.read(done.data).trials.values()))
    prediction = BrainDecoder.from_pretrained(done.out / "decoder").predict(trials)
    assert len(prediction.ids) == trials.n_trials
