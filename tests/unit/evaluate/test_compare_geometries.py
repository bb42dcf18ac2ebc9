"""Brains, files, labels and networks beside each other: planted geometry is found through every door."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from scipy import stats

from braindec import report as reporting
from braindec.checks import ConfigError
from braindec.cli import main
from braindec.data import catalogue, layout
from braindec.evaluate import compare_geometries as geometries
from braindec.evaluate import compare_report, compare_sources
from braindec.evaluate.compare_sources import Choices, folds_of
from braindec.rdm import infer, stack

QUICK = geometries.Settings(n_draws=30, n_permutations=99, choices=Choices(part="all", n_conditions=50))


@pytest.fixture
def files(planted, tmp_path, rng):
    """The planted embeddings and unrelated ones as files."""
    ids, values = np.array(planted.embeddings.ids), planted.embeddings.values[:, 0]
    paths = {"true": tmp_path / "true.npz", "other": tmp_path / "other.npz"}
    np.savez(paths["true"], ids=ids[::-1], values=values[::-1])
    np.savez(paths["other"], ids=ids, values=rng.standard_normal(values.shape))
    return {name: str(path) for name, path in paths.items()}


def test_the_features_that_made_the_responses_win_and_others_are_at_the_null(planted, files):
    found = geometries.compare(planted.dataset, list(files.values()), QUICK)
    i = found.inference
    assert i is not None and i.over == "conditions" and i.n_subjects == 2 and i.n_conditions == 50
    assert i.value[0] > 0.3 and i.p_corrected[0] < 0.02 and abs(i.value[1]) < 0.1
    assert "crossnobis" in found.reference.said[0]
    made = compare_report.report(found)
    score = made.score(f"rsa_rho_a:{files['true']}", "braindec", 1)
    assert score.ceiling_kind == "other_subjects" and score.value > score.null + 0.2
    assert "rdm" in reporting.page(made) or "<svg" in reporting.page(made)


@pytest.mark.parametrize("measure", ["cka", "procrustes"])
def test_any_similarity_measure_goes_through_the_same_door(planted, files, measure):
    found = geometries.compare(
        planted.dataset, list(files.values()), replace(QUICK, measure=measure, n_permutations=19)
    )
    m = found.measured
    assert m is not None and found.inference is None
    assert m.calibrated[0] > m.calibrated[1] and m.p[0] == pytest.approx(0.05)
    assert (m.interval[:, 0] < m.value).all() and m.ceiling is not None
    assert "<svg" in reporting.page(compare_report.report(found))
    said = " ".join(found.reference.said)
    assert "mean patterns (of stimuli that repeat) of" in said and "distances" not in said


def test_a_dataset_of_several_modalities_asks_for_one_of_them(tmp_path):
    made = catalogue.load("simulated")
    made["synthetic"](tmp_path / "raw", world="smoke")
    made["prepare"](tmp_path / "raw", tmp_path / "out")
    with pytest.raises(ConfigError, match="holds eeg and fmri; say which: --modality eeg or fmri"):
        compare_sources.open_dataset(str(tmp_path / "out"), Choices())


def test_halves_of_repeats_give_a_ceiling_and_one_sided_measures_are_told_both_ways(planted, files):
    quick = replace(QUICK, n_permutations=9)
    cka = geometries.compare(planted.dataset, list(files.values()), replace(quick, measure="cka")).measured
    assert cka is not None and cka.repeats is not None and cka.back is None
    low, high = cka.repeats
    assert cka.value[1] < cka.value[0] < high + 0.02 and low < high <= 1
    pwcca = geometries.compare(files["true"], [files["other"]], replace(quick, measure="pwcca")).measured
    assert pwcca is not None and pwcca.repeats is None and pwcca.back is not None
    assert pwcca.back[0] != pwcca.value[0]


def test_files_of_embeddings_are_compared_without_any_brain(files):
    found = geometries.compare(files["true"], [files["other"]], QUICK)
    assert found.inference is not None and found.inference.ceiling is None
    assert "one subject" in found.inference.statement and abs(found.inference.value[0]) < 0.15


def test_labels_are_a_geometry(planted):
    found = geometries.compare(planted.dataset, ["column:category"], QUICK)
    assert set(np.unique(found.models[0].rdm.distances)) == {0.0, 1.0}
    assert found.inference is not None and found.inference.value[0] > 0


def test_labels_that_leave_nothing_to_compare_are_refused(planted):
    """A stimulus, a label: all distances are equal, and a value of 0 would say that there is no likeness."""
    dataset, ids = planted.dataset, planted.dataset.stimuli.ids
    table = dataset.stimuli.table.replace(own=np.array([f"label of {i}" for i in ids]))
    named = replace(dataset, stimuli=replace(dataset.stimuli, table=table))
    for measure in ("rsa", "cka"):
        with pytest.raises(
            ConfigError, match=r"column:own: all 50 stimuli have labels of their own.*several"
        ):
            geometries.compare(named, ["column:own"], replace(QUICK, measure=measure))


def test_a_model_whose_distances_are_all_equal_is_refused_but_where_that_means_something(planted):
    shared = planted.dataset.stimulus_ids
    ids = tuple(sorted(shared)[:50])
    flat = compare_sources.of_features("flat", ids, np.eye(50), ids)
    with pytest.raises(ConfigError, match=r"flat: all of its 120 distances .* leave it out"):
        geometries.compare(planted.dataset, [flat], QUICK)
    found = geometries.compare(planted.dataset, [flat], replace(QUICK, comparator="cosine"))
    assert (
        found.inference is not None and found.inference.value[0] != 0
    )  # the mean distance over their length


@pytest.mark.parametrize("measure", ["rsa", "cka"])
def test_intervals_end_where_the_measure_ends(rng, measure):
    ids = tuple(f"s{i}" for i in range(6))
    sides = [compare_sources.of_features(n, ids, rng.standard_normal((6, 5)), ids) for n in "ab"]
    if measure == "rsa":
        made = compare_sources.Geometry(
            "a", stack([sides[0].rdm], "subject", ["sub-01_fmri"]), None, sides[0].patterns
        )
        found = infer(
            made.rdm, {"b": sides[1].rdm}, n_draws=50, n_permutations=9, generator=torch.Generator()
        )
        null = np.zeros((9, 1, 1))
        whole = geometries.Comparison(made, (sides[1],), QUICK, ids, found, null, None, None, None)
        (score, _) = compare_report.scores(whole, "comparison")
        assert found.half_width[0] > 1 - abs(found.value[0])  # of 15 distances
        assert score.interval == tuple(found.interval[0]) and set(score.interval) & {-1.0, 1.0}
    else:
        measured = geometries.measured(
            sides[0], sides[1:], ids, replace(QUICK, measure="cka", n_permutations=9)
        )
        low, high = measured.measure.range
        assert low <= measured.interval.min() and measured.interval.max() <= high


def test_folds_are_runs_where_every_run_shows_all_and_repeats_otherwise(planted):
    (trials, *_) = planted.dataset.trials.values()
    fold, note = folds_of(trials)
    stimulus = trials.table["stimulus_id"]
    for one in np.unique(stimulus)[:10]:
        assert sorted(fold[stimulus == one]) == [0, 1, 2]
    assert "repeat within a run" in note
    fold, note = folds_of(replace(trials, table=trials.table.replace(run=trials.table["repeat"])))
    assert note == "" and np.array_equal(fold, trials.table["repeat"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["compare", "nothing.npz", "other.npz"], "does not exist"),
        (["compare", "pixels", "tiny_openclip"], "name a prepared dataset or a file of embeddings first"),
        (["compare", "a", "b", "--comparator", "rho"], "comparator must be one of"),
        (["compare", "a", "b", "--part", "tets"], "Did you mean 'test'"),
    ],
)
def test_wrong_words_are_answered_in_one_line(words, says, capsys):
    assert main(words) == 2
    assert says in capsys.readouterr().err


def test_runs_are_sent_to_the_verb_that_compares_their_scores(tmp_path, capsys):
    runs = [tmp_path / name for name in "ab"]
    for run in runs:
        run.mkdir()
        (run / "report.json").write_text("{}")
    assert main(["compare", *map(str, runs)]) == 2
    assert f"braindec report --compare {runs[0]} {runs[1]}" in capsys.readouterr().err


def test_the_verb_prints_a_table_and_writes_a_report(files, tmp_path, capsys):
    words = [
        "compare",
        files["true"],
        files["other"],
        "--draws",
        "20",
        "--permutations",
        "19",
        "--conditions",
        "30",
    ]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "other.npz" in said and "95 % interval" in said and "report.html" in said
    assert "not what is computed" in said and "Effective dimensions" in said  # what any likeness leaves open
    assert (tmp_path / "out" / "report.html").is_file()


def test_a_decoder_beside_its_own_recordings_is_told_to_share_their_noise(planted, monkeypatch):
    """What it predicts is made from the very trials; the warning travels into the report."""

    class Echo:
        preprocessing: ClassVar = {"sub-01_fmri": None}

        def activations(self, layer, trials):
            return np.asarray(trials.responses)

    monkeypatch.setattr(
        compare_sources.BrainDecoder, "from_pretrained", classmethod(lambda cls, name: Echo())
    )
    monkeypatch.setattr(compare_sources.Path, "is_dir", lambda self: self.name == "saved" or self.exists())
    unsaid = replace(QUICK, choices=replace(QUICK.choices, part="auto"))
    with pytest.raises(ConfigError, match="may have been fitted on some of these trials"):
        geometries.compare(planted.dataset, ["saved@first"], unsaid)
    found = geometries.compare(planted.dataset, ["saved@first"], QUICK)
    assert any("holds their noise too" in line for line in compare_report.sentences(found))
    assert found.inference is not None and found.inference.scores[0, 0] > found.inference.scores[1, 0] > 0


def test_a_split_by_runs_hides_no_trials_and_the_trials_that_count_are_told(planted, files, tmp_path):
    """Only where stimuli are held out has a decoder seen the others: `auto` takes the test part there."""
    small = geometries.Settings(n_draws=10, n_permutations=9, choices=Choices())
    whole = planted.dataset
    for unit, held, n_trials in (("run", ["1"], 960), ("stimulus", 0.4, 384)):
        folder = tmp_path / unit
        layout.write_stimuli(folder, whole.stimuli.ids, kind="none", table=whole.stimuli.table)
        layout.write_manifest(
            folder, name="planted", licence="none", source="this test",
            splits={"default": whole.hold_out(unit, held).split},
            recordings=[layout.write_trials(folder, trials) for trials in whole.trials.values()],
        )  # fmt: skip
        found = geometries.compare(str(folder), [files["true"]], small)
        assert f"{n_trials} trials" in found.reference.said[0]
        assert ("of the part 'test'" in found.reference.said[0]) == (unit == "stimulus")


def test_few_stimuli_have_the_limits_of_few_groups(rng):
    ids = tuple(f"s{i}" for i in range(8))
    x = rng.standard_normal((8, 5))
    sides = [
        compare_sources.of_features(n, ids, v, ids)
        for n, v in (("a", x), ("b", x + rng.standard_normal((8, 5))))
    ]
    found = geometries.measured(
        sides[0], sides[1:], ids, replace(QUICK, measure="cka_biased", n_permutations=9)
    )
    (a,), (b,) = (side.patterns for side in sides)
    left = [
        float(found.measure(*(torch.from_numpy(np.delete(v, i, 0)) for v in (a, b)))) for i in range(8)
    ]  # each of eight left out once
    half = stats.t.ppf(0.975, 7) * np.sqrt(7 / 8 * np.square(left - np.mean(left)).sum())
    np.testing.assert_allclose(found.interval[0], [found.value[0] - half, found.value[0] + half], rtol=1e-6)


def test_what_is_said_first_is_the_best_model_and_namesakes_stay_apart(planted, files, tmp_path):
    again = tmp_path / "again" / "true.npz"
    again.parent.mkdir()
    again.write_bytes(Path(files["other"]).read_bytes())  # another model, by the name of the true one
    words = [str(again), files["true"]]
    told = (replace(QUICK, measure="cka", n_permutations=9), QUICK)
    for settings in told:
        found = geometries.compare(planted.dataset, words, settings)
        made = compare_report.report(found)
        assert made.run["summary"].startswith(f"{files['true']}: ")
        said = compare_report.sentences(found)
        assert said.index(made.run["summary"]) < next(
            i for i, line in enumerate(said) if line.startswith(f"{again}: ")
        )
    bars = next(p for _, kind, p in made.panels if kind == "model_bars")
    assert bars["models"] == words
