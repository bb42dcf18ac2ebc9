"""A first decoder finds what is planted, finds nothing where nothing is, and refuses what would not be honest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from braindec import Embeddings, NeuralDataset, QuickDecoder, checks, cli, store
from braindec import report as pages
from braindec.data import layout
from braindec.data.preprocessing import Preprocessing, Standardise
from braindec.data.usual_steps import usual_steps
from braindec.decoder import BrainDecoder
from braindec.decoder.rows import fitted_on
from braindec.quick import first_settings

N, N_DIMS, N_VOXELS = 90, 6, 30


@pytest.fixture(scope="module")
def vectors():
    return np.random.default_rng(0).standard_normal((N, N_DIMS))


@pytest.fixture(scope="module")
def embeddings(vectors):
    return Embeddings.from_arrays(range(N), vectors, "planted")


def dataset_of(vectors, noise=1.0, signal=1.0):
    rng = np.random.default_rng(1)
    shown = np.tile(rng.permutation(N), 2)
    responses = signal * vectors[shown] @ rng.standard_normal((N_DIMS, N_VOXELS))
    responses += noise * rng.standard_normal(responses.shape)
    order = np.arange(2 * N)
    kind = np.where(vectors[shown, 0] > 0, "face", "house")
    about = {"betas": {"overlap": "modelled"}}
    return NeuralDataset.from_arrays(responses, shown, modality="fmri", run=order // 60, onset_s=4.0 * (order % 60),
                                     kind=kind, about=about)  # fmt: skip


@pytest.fixture(scope="module")
def fitted(vectors, embeddings):
    dataset = dataset_of(vectors).hold_out("stimulus", 0.2)
    return QuickDecoder(nuisance=("run", "onset_s"), n_null=3, progress=False).fit(dataset, embeddings)


def test_planted_responses_are_retrieved_and_every_score_comes_with_chance_null_n_and_baselines(fitted):
    found = fitted.retrieve(k=3)
    assert len(found) == 18 and all(len(row) == 3 for row in found.values())
    assert np.mean([row[0] == name for name, row in found.items()]) >= 0.8
    report = fitted.score()
    ours, without_brain = (
        report.score("image_retrieval_top1", system) for system in ("braindec", "nuisance")
    )
    assert ours.value >= 0.8 and ours.interval[0] > ours.chance == pytest.approx(1 / 18)
    assert (ours.n, ours.null_n) == (18, 3) and ours.null < 0.3
    assert without_brain.value < 0.3 and without_brain.details["columns"] == ["run", "onset_s"]
    assert report.run["nuisance"] == ["run", "onset_s"] and "leak" in report.run["audit"]["verdict"]


def test_predictions_are_of_held_out_stimuli_with_repeats_averaged(fitted, vectors):
    found = fitted.predict()
    truth = vectors[[int(i) for i in found.ids]]
    assert found.values.shape == (18, 1, N_DIMS)
    assert np.corrcoef(found.values[:, 0].ravel(), truth.ravel())[0, 1] > 0.9


def test_noise_is_retrieved_at_chance(vectors, embeddings):
    dataset = dataset_of(vectors, signal=0.0).hold_out("stimulus", 0.4)
    decoder = QuickDecoder(nuisance=(), n_null=1, progress=False).fit(dataset, embeddings)
    hits = sum(row[0] == name for name, row in decoder.retrieve(k=1).items())
    assert hits <= 5  # of 36, one expected: six and more have a probability of 0.0005


def test_classes_are_told_apart_in_runs_that_were_held_out(vectors):
    dataset = dataset_of(vectors)
    decoder = QuickDecoder(nuisance=(), label_column="kind", n_null=1, progress=False)
    report = decoder.cross_validate(dataset, by="run")
    score = report.score("category_accuracy")
    assert score.value > 0.8 and score.chance == 0.5 and score.n == 2 * N
    assert not [s for s in report.scores if s.system == "nuisance"]
    assert any("not tested" in str(payload) for _, _, payload in report.panels)
    held = dataset.hold_out("run", ["2"])
    truth = held.part("test").trials["sub-01_fmri"].table["kind"]
    assert np.mean(decoder.fit(held).classify() == truth) > 0.8


def test_two_classes_get_an_area_beside_accuracy_and_more_or_one_sided_runs_do_not(vectors):
    dataset = dataset_of(vectors)
    told = {"label_column": "kind", "n_null": 1, "progress": False}
    found = QuickDecoder(nuisance=("onset_s",), **told).cross_validate(dataset, by="run")
    area = found.score("roc_auc")
    assert area.value > 0.9 and area.chance == 0.5 and area.n == 2 * N and abs(area.null - 0.5) < 0.2
    assert found.run["words"]["systems"]["nuisance"] == "a decoder that is told onset_s and sees no brain"
    held = QuickDecoder(nuisance=(), **told).fit(dataset.hold_out("run", ["2"])).score()
    assert {s.name for s in held.scores} == {"category_accuracy", "roc_auc"}
    (trials,) = dataset.trials.values()
    lasts = np.where(trials.table["run"].astype(str) == "2", "face", trials.table["kind"])
    one_sided = NeuralDataset.from_arrays(trials.responses, [f"t{i}" for i in range(2 * N)], modality="fmri",
                                          run=trials.table["run"], kind=lasts)  # fmt: skip
    found = QuickDecoder(nuisance=(), **told).cross_validate(one_sided, by="run")
    assert {s.name for s in found.scores} == {"category_accuracy"}


def test_trials_that_are_named_by_their_class_alone_are_no_repeats_of_it():
    """Noise that voxels share hides the classes from their means, which are two rows a run; not from the trials."""
    rng = np.random.default_rng(0)
    kind, run = rng.permutation(np.repeat(["a", "b"], 120)), np.repeat(np.arange(4), 60)
    responses = rng.standard_normal((240, 20)) + 4 * rng.standard_normal((240, 3)) @ rng.standard_normal(
        (3, 20)
    )
    responses[:, :6] += 0.5 * (kind == "a")[:, None]
    found = []
    for ids in (kind, np.arange(240)):
        dataset = NeuralDataset.from_arrays(responses, ids, modality="fmri", run=run, category=kind)
        quick = QuickDecoder(nuisance=(), label_column="category", n_null=1, progress=False)
        report = quick.cross_validate(dataset, by="run")
        found.append({s.system: s.value for s in report.scores if s.name == "roc_auc"})
    assert (
        found[0]["braindec"] == pytest.approx(found[1]["braindec"], abs=0.01) and found[0]["braindec"] > 0.65
    )
    assert found[0]["ridge"] == pytest.approx(found[1]["ridge"], abs=0.01)


def blinking(rng, n=240):
    """Epochs of four channels in noise, a third of them with artefacts forty times as large, and their classes."""
    kind = rng.permutation(np.repeat([0, 1], n // 2))
    x = rng.standard_normal((n, 4, 50)) + 0.5 * rng.standard_normal((n, 1, 1))
    x[:, 2, 20:35] += 1.2 * (kind - 0.5)[:, None]
    for row in rng.permutation(n)[: n // 3]:
        start = rng.integers(0, 35)
        x[row, :, start : start + 15] += 40 * rng.standard_normal((4, 1))
    told = {"modality": "eeg", "sfreq": 128.0, "tmin": -0.1, "run": np.arange(n) // (n // 3)}
    return NeuralDataset.from_arrays(x, [f"t{i}" for i in range(n)], kind=np.array(["a", "b"])[kind], **told)


def test_epochs_are_cropped_clipped_and_averaged_unless_told_otherwise():
    dataset = blinking(np.random.default_rng(3))
    (steps,) = usual_steps(dataset.info).values()
    assert [type(step).__name__ for step in steps] == ["Crop", "ClipMad", "AverageTime", "Standardise"]
    assert (steps[0].tmin, steps[2].n_samples) == (0.0, 2)
    kept = fitted_on(Preprocessing(steps), dataset.trials["sub-01_eeg"]).signal
    assert kept.tmin >= 0 and kept.sfreq == 64.0
    told = {"nuisance": (), "label_column": "kind", "n_null": 1, "progress": False}
    usual = QuickDecoder(**told).cross_validate(dataset, by="run").score("roc_auc")
    plain = (
        QuickDecoder(preprocessing=(Standardise(),), **told)
        .cross_validate(dataset, by="run")
        .score("roc_auc")
    )
    assert usual.value > plain.value + 0.05 and usual.interval[0] > 0.5


def test_what_is_usual_follows_the_modality_and_the_clock():
    def steps(modality, shape, **clock):
        x = np.random.default_rng(0).standard_normal((8, *shape))
        info = NeuralDataset.from_arrays(x, np.arange(8), modality=modality, **clock).info
        return {m: [type(s).__name__ for s in found] for m, found in usual_steps(info).items()}

    assert steps("fmri", (6,)) == {"fmri": ["Standardise"]}
    assert steps("meg", (6, 30), sfreq=100, tmin=0.0) == {"meg": ["ClipMad", "Standardise"]}
    assert steps("eeg", (6, 30), sfreq=100, tmin=-0.4) == {
        "eeg": ["ClipMad", "Standardise"]
    }  # nothing after onset
    assert steps("eeg", (2, 3), sfreq=1000, tmin=-0.001)["eeg"] == [
        "Crop",
        "ClipMad",
        "AverageTime",
        "Standardise",
    ]
    assert steps("ieeg", (6, 300), sfreq=1000, tmin=-0.1) == {"ieeg": ["Standardise"]}


def test_a_decoder_says_what_it_is_in_a_line(fitted):
    said = repr(fitted.decoder)
    assert "\n" not in said and "sub-01_fmri" in said and "planted (1 x 6)" in said
    assert "fitted closed form" in said and "parameters " in said
    unfitted = BrainDecoder(fitted.decoder.settings, fitted.decoder.info, fitted.decoder.outputs)
    assert "fitted no: call fit(...)" in repr(unfitted)


def test_arrays_are_told_in_the_words_of_arrays(fitted):
    said = fitted.score().run["audit"]["not_checked"]["normalisation"]
    assert "about={'betas': {'z_scored_on': 'none'}}" in said and "dataset.json" not in said


def test_a_decoder_of_classes_is_kept_and_names_the_classes_of_new_responses(vectors, tmp_path):
    dataset = dataset_of(vectors).hold_out("run", ["2"])
    quick = QuickDecoder(nuisance=(), label_column="kind", n_null=1, progress=False).fit(dataset)
    bare = BrainDecoder.from_pretrained(quick.save_pretrained(tmp_path / "bare"))
    assert "Not evaluated yet" in (tmp_path / "bare" / "README.md").read_text()
    test = dataset.part("test").trials["sub-01_fmri"]
    found = bare.classify(test.responses)  # an array: the decoder knows one subject
    assert found.tolist() == quick.classify().tolist() == bare.classify(test).tolist()
    assert np.mean(found == test.table["kind"]) > 0.8
    noise = bare.classify(np.random.default_rng(5).standard_normal((400, N_VOXELS)))
    assert 0.3 < np.mean(noise == np.resize(test.table["kind"], 400)) < 0.7
    quick.score()
    quick.save_pretrained(tmp_path / "scored")
    assert "category_accuracy" in (tmp_path / "scored" / "README.md").read_text()
    with pytest.raises(ValueError, match=r"shape \(n_trials, 30\).*got \(4, 7\)"):
        bare.classify(np.zeros((4, 7)))

    recording = layout.write_trials(tmp_path, test)
    assert recording and cli.main(["decode", str(tmp_path / "bare"), str(tmp_path / f"{test.key}.h5")]) == 0
    rows = (tmp_path / "decoded.classes.csv").read_text().splitlines()
    assert rows[0] == "row,stimulus_id,class" and [row.split(",")[2] for row in rows[1:]] == found.tolist()
    assert store.Stored(tmp_path / "decoded.h5").array("classes").tolist() == found.tolist()


def test_a_decoder_of_embeddings_has_no_classes_and_several_subjects_need_trials(fitted, vectors, embeddings):
    with pytest.raises(checks.ConfigError, match="knows no classes"):
        fitted.decoder.classify(np.zeros((2, N_VOXELS)))
    one = dataset_of(vectors)
    (trials,) = one.trials.values()
    two = replace(one, trials={t.key: t for t in (trials, replace(trials, subject=2))})
    both = QuickDecoder(nuisance=(), n_null=1, progress=False).fit(two.hold_out("stimulus", 0.2), embeddings)
    with pytest.raises(checks.ConfigError, match=r"sub-01_fmri.*sub-02_fmri.*does not say whose"):
        both.predict(trials.responses)


def test_statistics_of_a_run_are_not_taken_from_an_array_that_names_none(vectors):
    steps = (Standardise(unit="run", scope="unit_unlabelled"),)
    quick = QuickDecoder(nuisance=(), label_column="kind", preprocessing=steps, n_null=1, progress=False)
    dataset = dataset_of(vectors).hold_out("run", ["2"])
    decoder = quick.fit(dataset).decoder
    test = dataset.part("test").trials["sub-01_fmri"]
    assert np.mean(decoder.classify(test) == test.table["kind"]) > 0.8
    with pytest.raises(checks.ConfigError, match=r"takes its numbers from the run.*run="):
        decoder.classify(test.responses[:1])


def test_folds_leave_no_decoder_behind_and_say_so(vectors):
    decoder = QuickDecoder(nuisance=(), label_column="kind", n_null=1, progress=False)
    decoder.cross_validate(dataset_of(vectors), by="run")
    with pytest.raises(ValueError, match="cross_validate leaves no decoder"):
        decoder.save_pretrained("nowhere")
    one_run = NeuralDataset.from_arrays(np.eye(4), list("abab"), modality="fmri", kind=list("xyxy"))
    with pytest.raises(checks.ConfigError, match=r"all trials have run '1'.*run=\[\.\.\.\]"):
        decoder.cross_validate(one_run, by="run")


def test_stimuli_are_told_apart_over_folds_that_test_each_of_them_once(vectors, embeddings):
    decoder = QuickDecoder(nuisance=(), n_null=1, progress=False)
    report = decoder.cross_validate(dataset_of(vectors), embeddings, by="stimulus", n_folds=3)
    score = report.score("pairwise_identification")
    assert score.value > 0.9 and score.chance == 0.5 and score.n == N and report.run["n_folds"] == 3


def test_what_would_not_be_honest_or_cannot_be_is_refused(vectors, embeddings, fitted):
    dataset = dataset_of(vectors)
    split = dataset.hold_out("stimulus", 0.2)
    with pytest.raises(TypeError, match="sequence of column names"):
        QuickDecoder(nuisance="run")
    with pytest.raises(checks.ConfigError, match=r"nuisance=\(\) where none is known"):
        QuickDecoder()
    with pytest.raises(checks.ConfigError, match=r"no split.*hold_out"):
        QuickDecoder(nuisance=()).fit(dataset, embeddings)
    with pytest.raises(ValueError, match=r"nuisance must be one of .*'runn'"):
        QuickDecoder(nuisance=("runn",)).fit(split, embeddings)
    with pytest.raises(ValueError, match="what is held out must be one of"):
        QuickDecoder(nuisance=()).fit(dataset.hold_out("run", ["2"]), embeddings)
    with pytest.raises(checks.ConfigError, match="what is decoded"):
        QuickDecoder(nuisance=(), label_column="kind").fit(split, embeddings)
    with pytest.raises(ValueError, match="not fitted"):
        QuickDecoder(nuisance=()).score()
    with pytest.raises(checks.ConfigError, match="no classes"):
        fitted.classify()


def test_only_what_there_is_enough_of_is_calibrated(embeddings):
    wide = Embeddings.from_arrays(range(4), np.eye(4, 500), "wide")
    assert first_settings(embeddings, 60).calibrate
    assert not first_settings(embeddings, 59).calibrate and not first_settings(wide, 499).calibrate
    assert first_settings(wide, 500).adapter.shared_dim == 256


def test_embeddings_that_are_all_equal_are_refused_before_anything_is_fitted(vectors):
    alike = Embeddings.from_arrays(range(N), np.ones((N, N_DIMS)), "planted")
    dataset, decoder = dataset_of(vectors), QuickDecoder(nuisance=(), n_null=1, progress=False)
    with pytest.raises(ValueError, match="embeddings of all 72 training stimuli are equal"):
        decoder.fit(dataset.hold_out("stimulus", 0.2), alike)
    with pytest.raises(ValueError, match="embeddings of all 60 training stimuli are equal"):
        decoder.cross_validate(dataset, alike, by="stimulus", n_folds=3)


def of_classes(kind, ids=None, **told):
    n = len(kind)
    names = ids or [f"t{i}" for i in range(n)]
    responses = np.random.default_rng(0).standard_normal((n, 5))
    told = {"run": np.arange(n) // 10} | told
    return NeuralDataset.from_arrays(responses, names, modality="fmri", kind=kind, **told)


def test_a_class_that_training_never_shows_is_named_with_the_way_out():
    dataset = of_classes(np.append(np.tile(["apple", "pear"], 20)[:39], "banana"))
    decoder = QuickDecoder(nuisance=(), label_column="kind", n_null=1, progress=False)
    with pytest.raises(
        checks.ConfigError, match="'banana' of column 'kind' has no trial in training and 1 in the"
    ) as e:
        decoder.cross_validate(dataset, by="run")
    code = str(e.value).split("Leave the class out, ")[1].split("; or")[0]
    left = eval(code, {"np": np, "dataset": dataset})
    assert left.n_trials == 39
    decoder.cross_validate(left, by="run")


def test_a_label_that_is_missing_is_no_class():
    decoder = QuickDecoder(nuisance=(), label_column="kind", n_null=1, progress=False)
    kind = np.tile([0.0, 1.0], 20)
    kind[5] = np.nan
    torn = of_classes(kind, [f"c{i % 8}" for i in range(40)])
    with pytest.raises(
        ValueError, match=r"kind of stimulus 'c5' is '1.0' in some trials and missing \('nan'\)"
    ):
        decoder.cross_validate(torn, by="run")
    for missing in (np.nan, "nan", ""):
        labels = np.tile(["x", "y"], 20).astype(object)
        labels[5] = missing
        with pytest.raises(
            checks.ConfigError, match="'kind' tells no class of 1 of 40 stimuli, first 't5'"
        ) as e:
            decoder.cross_validate(of_classes(labels.astype(str)), by="run")
    left = eval(
        str(e.value).split("leave them out: ")[1][:-1], {"np": np, "dataset": of_classes(labels.astype(str))}
    )
    assert left.n_trials == 39


def test_a_subject_that_is_not_judged_is_named():
    trials = []
    for subject, n_runs in ((1, 4), (2, 3)):
        kind, shown = np.tile([*"ab"], 4 * n_runs), [f"s{i}" for i in range(8)] * n_runs
        made = of_classes(kind, shown, subject=subject, run=np.arange(8 * n_runs) // 8)
        trials += made.trials.values()
    dataset = NeuralDataset.from_trials(trials, made.stimuli)
    decoder = QuickDecoder(nuisance=(), label_column="kind", n_null=1, progress=False)
    with pytest.warns(UserWarning, match="nothing of it is tested"):
        held = dataset.hold_out("run", ["3"])
    said = str(decoder.fit(held).score().panels)
    assert "Not judged: sub-02_fmri, of which nothing is held out." in said
    assert "Not judged" not in str(decoder.fit(dataset.hold_out("run", ["2"])).score().panels)


def test_the_page_shows_the_bar_beside_chance_and_why_there_is_no_ceiling(fitted):
    report = fitted.score()
    text = pages.page(report)
    bar = report.score("image_retrieval_top1", "nuisance").value
    glance = text[text.index('<section id="headline">') :].split("</section>")[0]
    assert f"nuisance {bar:.3f}" in glance and glance.count('class="mark nuisance"') == glance.count(
        'class="gauge"'
    )
    assert "Ceiling: none was worked out here" in text
    silent = replace(report, scores=tuple(s for s in report.scores if s.system != "nuisance"))
    assert 'class="mark nuisance"' not in pages.page(silent)


def test_what_is_no_embeddings_is_told_how_to_become_them(vectors):
    dataset = dataset_of(vectors).hold_out("stimulus", 0.2)
    for given in (vectors, dict(enumerate(vectors))):
        with pytest.raises(
            TypeError, match=r"embeddings must be Embeddings, got (ndarray|dict)\. .*from_arrays"
        ):
            QuickDecoder(nuisance=()).fit(dataset, given)
