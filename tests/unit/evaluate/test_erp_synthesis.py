"""Made epochs of a planted oddball task: peaks lie where planted, copies and ERPs without noise are caught."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from braindec.data import NeuralDataset, bids_erp, catalogue
from braindec.data.preprocessing import ClipMad, Preprocessing
from braindec.evaluate import erp_recordings, erp_synthesis
from braindec.evaluate.erp_synthesis import Settings, least_guidance
from braindec.synthesis import Config
from braindec.synthesis.measures import Component

SETTINGS = Settings(guidances=(0.0, 1.0), n_made=3, n_null=1, model=Config(n_steps=0, n_sample_steps=10))


@pytest.fixture(scope="module")
def oddball(tmp_path_factory) -> NeuralDataset:
    folder = tmp_path_factory.mktemp("oddball")
    functions = catalogue.load("bids")
    functions["synthetic"](folder / "raw", erp=True)
    functions["prepare"](folder / "raw", folder / "prepared", sets=["meeg.tmin=-0.1", "meeg.tmax=0.7"])
    return NeuralDataset.read(folder / "prepared")


@pytest.fixture(scope="module")
def report(oddball, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    made = erp_synthesis.erp_synthesis(
        oddball, [oddball.splits["default"]], label_column="category", settings=SETTINGS, out_dir=folder
    )
    assert sorted(p.name for p in (folder / "generator").iterdir()) == ["config.json", "weights.safetensors"]
    return made


def of(report, name: str, system: str) -> float:
    return float(np.mean([s.value for s in report.scores if s.name == name and s.system == system]))


def test_planted_latencies_of_each_subject_are_made_again(report):
    late = {
        row["subject"]: row["braindec"]["latency_s"]
        for row in report.run["peaks"]
        if row["component"] == "P300"
    }
    assert late == pytest.approx(dict(enumerate(bids_erp.LATENCY_S, start=1)), abs=0.03)
    n170 = [row["braindec"]["latency_s"] for row in report.run["peaks"] if row["component"] == "N170"]
    assert n170 == pytest.approx([bids_erp.N170_S] * 2, abs=0.01)


def test_classifiers_learn_from_made_epochs_and_not_from_those_of_shuffled_conditions(report):
    ours, theirs = (of(report, "trained_on_made_auc", s) for s in ("braindec", "shuffled"))
    assert ours > 0.8
    assert abs(theirs - 0.5) < 0.25
    assert of(report, "trained_on_made_auc", "oracle") > 0.8


def test_erps_without_noise_fail_where_trials_vary_and_training_trials_are_copies(report):
    assert of(report, "covariance_distance", "mean") == pytest.approx(1.0)
    assert of(report, "covariance_distance", "braindec") < 0.6
    assert of(report, "sliced_wasserstein", "mean") > 2 * of(report, "sliced_wasserstein", "braindec")
    assert of(report, "copied_auc", "oracle") == 1.0
    assert of(report, "copied_auc", "braindec") < 0.75


def test_every_distance_stands_beside_the_ceiling_of_recorded_trials_and_an_interval_that_holds_it(report):
    for score in report.scores:
        assert score.interval[0] <= score.value <= score.interval[1], score.name
        if score.name != "copied_auc":
            assert score.ceiling_kind == "repeatability"


def test_guidance_is_the_least_that_teaches_as_well_as_any():
    assert least_guidance((0.0, 1.0, 2.0, 3.0), (0.5, 0.79, 0.80, 0.75)) == 1.0
    assert least_guidance((0.0, 1.0, 2.0), (0.5, 0.6, 0.9)) == 2.0


def test_codes_say_who_and_what_and_volts_become_microvolts(oddball):
    whole = oddball.with_split(oddball.splits["default"])
    found = erp_recordings.recorded(whole, "category", "target", Preprocessing())
    assert found.factors.sizes == (2, 4, 2)
    assert (found.unit, found.classes, found.subjects) == ("µV", ("standard", "target"), (1, 2))
    kinds = np.concatenate([t.table["trial_type"] for t in whole.part("train").trials.values()])
    np.testing.assert_array_equal(found.train.codes[:, 2].numpy() == 1, kinds == "target")
    first = next(iter(whole.part("test").trials.values()))
    np.testing.assert_allclose(found.test.values[: first.n_trials], 1e6 * first.responses[:], rtol=1e-5)


def test_what_cannot_be_compared_is_refused(oddball):
    whole = oddball.with_split(oddball.splits["default"])
    with pytest.raises(ValueError, match="target must be one of"):
        erp_recordings.recorded(whole, "category", "face", Preprocessing())
    with pytest.raises(ValueError, match="two classes are compared, column 'onset_s'"):
        erp_recordings.recorded(whole, "onset_s", "target", Preprocessing())
    with pytest.raises(ValueError, match="no split"):
        erp_recordings.recorded(replace(oddball, split=None), "category", "target", Preprocessing())
    by_session = oddball.hold_out("session", ["02"])
    with pytest.raises(ValueError, match="are tested and never trained on"):
        erp_recordings.recorded(by_session, "category", "target", Preprocessing())


@pytest.mark.slow
def test_what_tells_faces_from_houses_is_found_again_in_epochs_made_of_real_recordings(real_data, tmp_path):
    catalogue.load("faces_houses_eeg")["prepare"](real_data, tmp_path)
    faces = NeuralDataset.read(tmp_path)
    n170 = Component("N170", (0.13, 0.25), difference=True)
    settings = replace(SETTINGS, target="face", components=(n170,), guidances=(1.0,), n_made=1)
    found = erp_synthesis.erp_synthesis(
        faces, [faces.splits["default"]], label_column="category", settings=settings,
        preprocessing=Preprocessing((ClipMad(5.0),)),
    )  # fmt: skip
    assert of(found, "trained_on_made_auc", "braindec") > 0.6
    assert (
        of(found, "difference_correlation", "braindec")
        > of(found, "difference_correlation", "shuffled") + 0.2
    )
