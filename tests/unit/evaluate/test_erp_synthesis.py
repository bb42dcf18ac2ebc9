"""Made epochs of a planted oddball task: peaks lie where planted, copies and ERPs without noise are caught."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from braindec import synthesis
from braindec.data import NeuralDataset, bids_erp, catalogue
from braindec.data.preprocessing import ClipMad, Preprocessing
from braindec.evaluate import erp_recordings, erp_synthesis, erp_synthesis_report, erp_synthesis_scores
from braindec.evaluate.erp_synthesis import Settings, least_guidance
from braindec.synthesis import Config, Epochs
from braindec.synthesis.measures import Component
from braindec.types import Table

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


@pytest.fixture(scope="module")
def recording(oddball) -> erp_recordings.Recording:
    whole = oddball.with_split(oddball.splits["default"])
    return erp_recordings.recorded(whole, "category", "target", Preprocessing())


def changed(recording, part, rows, *, values=None, codes=None):
    """The recording with other values or codes in some rows of a part."""
    found = getattr(recording, part)
    new = [found.values.clone(), found.codes.clone()]
    for tensor, change in zip(new, (values, codes), strict=True):
        if change is not None:
            tensor[rows] = change(tensor[rows])
    return replace(recording, **{part: Epochs(*new)})


def other_class(codes):
    return torch.cat([codes[:, :2], 1 - codes[:, 2:]], 1)


def test_what_guidance_is_chosen_by_never_learns_from_the_unit_it_is_chosen_on(recording):
    areas = np.array(erp_synthesis._guidance(recording, SETTINGS)["auc"])
    held = erp_synthesis.last_units(recording)
    assert set(recording.units[held.numpy()]) == {"2"}
    # Classifiers that never saw these trials rank them alike when all rise, and wrongly when classes trade names.
    risen = changed(recording, "train", held, values=lambda x: x + 40.0)
    assert erp_synthesis._guidance(risen, SETTINGS)["auc"] == pytest.approx(areas, abs=0.002)
    traded = changed(recording, "train", held, codes=other_class)
    assert erp_synthesis._guidance(traded, SETTINGS)["auc"] == pytest.approx(1 - areas, abs=0.002)


def test_nothing_that_is_fitted_or_chosen_knows_the_held_out_runs(recording):
    whole = torch.ones(len(recording.test.codes), dtype=torch.bool)
    other = changed(recording, "test", whole, values=lambda x: 3 * x.flip(2), codes=other_class)
    one, two = (erp_synthesis._fold(r, SETTINGS, 0) for r in (recording, other))
    assert (one.guided, one.guidance, one.null_guidances) == (two.guided, two.guidance, two.null_guidances)
    pairs = [*((one.made[s], two.made[s]) for s in one.made), (one.nulls[0], two.nulls[0])]
    for a, b in [*pairs, *((one.augmented[s], two.augmented[s]) for s in one.augmented)]:
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_nulls_keep_people_and_sessions_and_shuffle_classes_alone(recording):
    wave = 5 * torch.sin(12 * recording.times_s)  # one of them has it, in every trial
    first = recording.train.codes[:, 0] == 0
    planted = changed(recording, "train", first, values=lambda x: x + wave)
    fold = erp_synthesis._fold(planted, replace(SETTINGS, guidances=(1.0,)), 0)
    few, mixed = fold.augmented["scratch"], fold.few_nulls[0]
    n = len(few.codes)
    torch.testing.assert_close(mixed.values[:n], few.values)
    torch.testing.assert_close(mixed.codes[:n, :2], few.codes[:, :2])
    assert 0.2 < (mixed.codes[:n, 2] != few.codes[:, 2]).float().mean() < 0.8
    torch.testing.assert_close(*(e.codes[:n].unique(dim=0, return_counts=True)[1] for e in (mixed, few)))
    # What the two people have apart, whichever class, is made again by a null as by the diffusion itself.
    apart = [of_person(e, 0) - of_person(e, 1) for e in (planted.train, fold.made["braindec"], fold.nulls[0])]
    for made in apart[1:]:
        assert np.corrcoef(apart[0], made)[0, 1] > 0.8


def of_person(epochs, subject: int) -> np.ndarray:
    return epochs.values[epochs.codes[:, 0] == subject].mean(0).flatten().numpy()


def test_classes_trade_places_within_sessions_and_parts_alone():
    codes = torch.cartesian_prod(torch.arange(1), torch.arange(3), torch.arange(2)).repeat(20, 1)
    apart = torch.arange(len(codes)) % 4 == 0
    codes[(codes[:, 1] == 0) & apart, 2] = 1
    made = erp_synthesis.shuffled_classes(
        Epochs(torch.zeros(len(codes), 1, 1), codes), apart, np.random.default_rng(0)
    )
    torch.testing.assert_close(made.codes[:, :2], codes[:, :2])
    assert (made.codes[(codes[:, 1] == 0) & apart, 2] == 1).all()
    for session in range(3):
        for part in (apart, ~apart):
            rows = (codes[:, 1] == session) & part
            assert made.codes[rows, 2].sum() == codes[rows, 2].sum()
    assert (made.codes[:, 2] != codes[:, 2]).float().mean() > 0.2


def test_each_null_chooses_its_own_guidance_and_few_trials_choose_none(recording, monkeypatch):
    seen, drawn = [], []

    def choose(given, settings):
        seen.append(given.train.codes)
        return {"auc": [0.5, 0.9] if len(seen) == 1 else [0.9, 0.9]}

    fit = synthesis.fit

    def note(epochs, factors, config, seed=0):
        drawn.append((len(epochs.codes), config.guidance, seed))
        return fit(epochs, factors, config, seed)

    monkeypatch.setattr(erp_synthesis, "_guidance", choose)
    monkeypatch.setattr(synthesis, "fit", note)
    settings = replace(SETTINGS, guidances=(0.0, 2.0), seed=7)
    fold = erp_synthesis._fold(recording, settings, 0)
    assert (fold.guidance, fold.null_guidances) == (2.0, [0.0])
    assert not torch.equal(seen[0], seen[1])
    whole, few = len(recording.train.codes), len(fold.augmented["scratch"].codes)
    assert drawn == [(whole, 2.0, 7), (few, 1.0, 7), (whole, 0.0, 7), (few, 1.0, 7)]


def test_the_last_unit_is_each_subjects_own_and_ten_follows_nine(recording):
    names = np.where(recording.train.codes[:, 0].numpy() == 0, "9", "3").astype("<U2")
    later = recording.units == "2"
    names[later] = np.where(names[later] == "9", "10", "4")
    held = erp_synthesis.last_units(replace(recording, units=names))
    np.testing.assert_array_equal(held.numpy(), later)
    names[(names == "3") | (names == "4")] = "9"
    with pytest.raises(ValueError, match="training units of subject 2 must be at least 2, got 1"):
        erp_synthesis.last_units(replace(recording, units=names))
    alone = changed(recording, "train", later, codes=lambda x: x * torch.tensor([1, 1, 0]))
    with pytest.raises(ValueError, match="class 'target' in unit '2' of subject 1 must be at least 1, got 0"):
        erp_synthesis.last_units(alone)


def test_a_held_out_session_without_a_class_is_refused(oddball):
    whole = oddball.with_split(oddball.splits["default"])
    key = next(iter(whole.trials))
    trials = whole.trials[key]
    run, session = trials.table["run"].astype(str), trials.table["session"].astype(str)
    rows = (run == whole.split.parts["test"][0]) & (session == "02")

    def with_trials(**new):
        return replace(whole, trials={**whole.trials, key: replace(trials, **new)})

    kinds = trials.table["trial_type"].copy()
    kinds[rows] = "standard"
    table = Table({**trials.table, "trial_type": kinds})
    with pytest.raises(
        ValueError, match=r"held-out trials of class 'target' in session '02' of .*got 0.*Split by a run"
    ):
        erp_recordings.recorded(with_trials(table=table), "trial_type", "target", Preprocessing())
    elsewhere = trials.take(np.flatnonzero(~rows))
    with pytest.raises(ValueError, match="held-out trials of class 'standard' in session '02'"):
        erp_recordings.recorded(
            replace(whole, trials={**whole.trials, key: elsewhere}), "trial_type", "target", Preprocessing()
        )


def test_a_flat_channel_has_a_scale(recording):
    values = recording.train.values.clone()
    values[:, 1] = 0.0
    found = erp_synthesis_scores.spread_of(values)
    assert found[0, 1, 0] == 1.0 and bool((values / found).isfinite().all())
    torch.testing.assert_close(found[:, 2:], values[:, 2:].std((0, 2), keepdim=True))


def test_spectra_of_teslas_have_the_shape_of_those_of_microvolts(recording):
    def shown(unit):
        test = Epochs(unit * recording.test.values, recording.test.codes)
        made = dict.fromkeys(("braindec", "contender", "mean"), test)
        fold = SimpleNamespace(recording=replace(recording, test=test), made=made)
        panels = erp_synthesis_report._spectra([fold], SETTINGS)
        return np.stack([p["series"]["recorded"] for _, _, p in panels])

    np.testing.assert_allclose(shown(1e-13) + 260, shown(1.0), atol=1e-3)  # dB of a power


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
