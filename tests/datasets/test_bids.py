"""A miniature BIDS dataset with fMRIPrep derivatives is prepared: planted betas come back, as sure as promised."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from braindec import checks, store
from braindec.cli import _verbs
from braindec.data import NeuralDataset, Split, catalogue, layout, leakage

FMRI = {"fmri": True, "eeg": False}


@pytest.fixture(scope="module")
def functions():
    return catalogue.load("bids")


@pytest.fixture(scope="module")
def raw(functions, tmp_path_factory):
    """(raw folder, truth) of fMRI and EEG."""
    folder = tmp_path_factory.mktemp("bids") / "raw"
    return folder, functions["synthetic"](folder)


@pytest.fixture(scope="module")
def out(functions, raw, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bids") / "out"
    functions["prepare"](raw[0], folder)
    return folder


@pytest.fixture
def own(raw, tmp_path):
    """A copy of the raw folder that a test may damage: fMRI of subject 1 alone."""
    shutil.copytree(raw[0], tmp_path / "raw")
    shutil.rmtree(tmp_path / "raw/sub-02")
    shutil.rmtree(tmp_path / "raw/derivatives/fmriprep/sub-02")
    shutil.rmtree(tmp_path / "raw/sub-01/eeg")
    return tmp_path / "raw"


def func(root, ending, run=2):
    return root / f"derivatives/fmriprep/sub-01/func/sub-01_task-pictures_run-{run}_{ending}"


def events(root, run=2):
    return root / f"sub-01/func/sub-01_task-pictures_run-{run}_events.tsv"


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def edit_image(path, change):
    import nibabel

    image = nibabel.load(path)
    data = np.asarray(image.dataobj).copy()
    change(data)
    nibabel.save(nibabel.Nifti1Image(data, image.affine, image.header), path)


def audited(dataset):
    """Severities of what the audit of a dataset's split finds, by kind."""
    audit = leakage.audit([leakage.Case(dataset.part("train"), dataset.part("test"))])
    return {f.kind: {g.severity for g in audit.findings if g.kind == f.kind} for f in audit.findings}


def maps(out, key="sub-01_fmri"):
    return store.Stored(out / f"{key}_maps.h5")


def test_counts_tables_and_hashes_are_those_of_the_truth(functions, raw, out):
    folder, truth = raw
    counts = catalogue.counts(out)
    assert counts.trials == {key: len(values) for key, values in truth.responses.items()}
    assert functions["prepare"](folder, out.parent / "none", dry_run=True) == counts
    assert not (out.parent / "none").exists()
    layout.verify(out)
    dataset = NeuralDataset.read(out)
    for key, table in truth.tables.items():
        for column in ("stimulus_id", "run", "trial_type"):
            assert np.array_equal(dataset.trials[key].table[column], table[column]), column
        assert dataset.trials[key].table["onset_s"] == pytest.approx(table["onset_s"], abs=1e-4)


@pytest.mark.parametrize("method", ["lss", "lsa"])
def test_planted_betas_come_back_with_the_error_that_t_values_promise(method, functions, raw, tmp_path):
    folder, truth = raw
    sets = (f"fmri.glm.method={method}", 'modalities=["fmri"]')
    functions["prepare"](folder, tmp_path / "out", sets=sets)
    for key in ("sub-01_fmri", "sub-02_fmri"):
        beta = NeuralDataset.read(tmp_path / "out").trials[key].responses[:]
        planted = truth.responses[key]
        t = maps(tmp_path / "out", key).rows("t")[:]
        assert np.corrcoef(beta.ravel(), planted.ravel())[0, 1] > 0.85
        assert (beta * planted).sum() / (planted**2).sum() == pytest.approx(1.0, abs=0.03)
        if method == "lsa":  # its model is the truth, so errors are as large as their standard errors say
            z = (beta - planted) / (beta / t)
            assert z.std() == pytest.approx(1.0, abs=0.06)
            assert (np.abs(z) > 1.96).mean() == pytest.approx(0.05, abs=0.015)
        shuffled = np.roll(planted, 1, axis=0)
        assert abs(np.corrcoef(beta.ravel(), shuffled.ravel())[0, 1]) < 0.35


def test_without_noise_the_planted_betas_come_back_exactly(functions, tmp_path):
    truth = functions["synthetic"](tmp_path / "raw", noise=0.0, **FMRI)
    functions["prepare"](
        tmp_path / "raw", tmp_path / "out", sets=("fmri.glm.method=lsa", "fmri.glm.noise=ols")
    )
    found = NeuralDataset.read(tmp_path / "out").trials["sub-02_fmri"].responses[:]
    scale = (found * truth.responses["sub-02_fmri"]).sum() / (truth.responses["sub-02_fmri"] ** 2).sum()
    assert scale == pytest.approx(
        1.0, abs=0.02
    )  # percent of the run's mean, which the responses themselves raise
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(found.T, truth.responses["sub-02_fmri"].T, strict=True)]
    assert min(r) > 0.999


def test_one_design_without_motion_components_or_censoring_is_worse(functions, raw, tmp_path):
    folder, truth = raw
    full = {}
    for name, sets in {
        "all": (),
        "no motion": ("fmri.motion=0",),
        "no acompcor": ("fmri.n_acompcor=0",),
        "no censoring": ("fmri.fd_mm=null",),
    }.items():
        functions["prepare"](folder, tmp_path / "out", subjects=[1], sets=('modalities=["fmri"]', *sets))
        beta = NeuralDataset.read(tmp_path / "out").trials["sub-01_fmri"].responses[:]
        full[name] = float(np.square(beta - truth.responses["sub-01_fmri"]).mean())
    assert min(full, key=lambda n: full[n]) == "all"
    assert min(v for n, v in full.items() if n != "all") > 1.05 * full["all"]


def test_what_was_measured_of_runs_and_voxels_is_said(out, raw):
    about = layout.read_manifest(out)
    said = about["processing"]["sub-01_fmri"]
    assert said["censored"] == [1, 1, 1, 1] and said["t_r_s"] == 1.5 and said["other_events"] == ["press"]
    assert all(0 < share < 1 / 3 for share in said["drift_share_median"])
    table = NeuralDataset.read(out).trials["sub-01_fmri"].table
    assert table["fd_mm"].max() > 2 * np.median(table["fd_mm"])  # trials at the planted jump
    assert (table["censored_share"] > 0).sum() in range(2, 9)
    stored = maps(out)
    assert stored.array("tsnr").shape == (4, raw[1].details["mask"].sum())
    assert 20 < np.median(stored.array("tsnr")) < 400
    assert not stored.array("hrf_index").any() and (stored.array("ridge_fraction") == 1).all()
    assert about["maps"]["sub-01_fmri"]["sha256"] == store.sha256_of(out / "sub-01_fmri_maps.h5")


def test_t_values_may_be_the_responses_and_betas_the_map(functions, raw, out, tmp_path):
    sets = ("fmri.values=t", 'modalities=["fmri"]')
    functions["prepare"](raw[0], tmp_path / "t", subjects=[1], sets=sets)
    trials = NeuralDataset.read(tmp_path / "t").trials["sub-01_fmri"]
    assert trials.units == "t"
    assert np.array_equal(trials.responses[:], maps(out).rows("t")[:])
    assert np.array_equal(
        maps(tmp_path / "t").rows("beta")[:], NeuralDataset.read(out).trials["sub-01_fmri"].responses[:]
    )


def test_pictures_are_read_with_their_ids_and_categories(out, raw):
    stimuli = NeuralDataset.read(out).stimuli
    assert stimuli.kind == "image" and stimuli.images(stimuli.ids[:2]).shape == (2, 224, 224, 3)
    assert stimuli.table["category"].tolist() == [i.split("/")[0] for i in stimuli.ids]


def test_choices_are_made_on_training_runs_and_recorded_row_by_row(functions, raw, tmp_path):
    sets = ("fmri.glm.hrf=library", "fmri.glm.max_components=2", 'test=["1"]', 'modalities=["fmri"]')
    functions["prepare"](raw[0], tmp_path / "out", subjects=[1], sets=sets)
    dataset = NeuralDataset.read(tmp_path / "out")
    assert list(dataset.splits) == ["default"] and dataset.split.values("test") == ("1",)
    record = dataset.about["betas"]["hrf_chosen_on"]["sub-01_fmri"]
    assert record["n"] == 48
    assert "betas" not in audited(dataset)
    other = dataset.with_split(Split("other", "run", {"train": ("1", "2", "3"), "test": ("4",)}))
    assert audited(other)["betas"] == {"leak"}


def test_test_runs_do_not_move_what_was_chosen(functions, own, tmp_path):
    sets = ("fmri.glm.hrf=library", "fmri.glm.method=lsa", "fmri.glm.ridge=true")
    functions["prepare"](own, tmp_path / "a", sets=sets)
    edit_image(
        func(own, "space-T1w_desc-preproc_bold.nii.gz", 4),
        lambda d: d.__imul__(1 + 0.01 * (np.arange(150) % 7)),
    )
    functions["prepare"](own, tmp_path / "b", sets=sets)
    for name in ("hrf_index", "ridge_fraction"):
        assert np.array_equal(maps(tmp_path / "a").array(name), maps(tmp_path / "b").array(name)), name
    first, second = (NeuralDataset.read(tmp_path / n).trials["sub-01_fmri"].responses[:] for n in "ab")
    assert np.array_equal(first[:48], second[:48])
    assert not np.array_equal(first[48:], second[48:])


def test_every_split_is_by_run_and_clean_and_one_within_runs_is_refused(functions, raw, out, tmp_path):
    dataset = NeuralDataset.read(out)
    assert [s for s in dataset.splits if s != "default"] == [f"leave_one_run_out/{r}" for r in "1234"]
    for split in dataset.splits.values():
        assert split.unit == "run"
    leakage.check(dataset.part("train"), dataset.part("test"))
    with pytest.raises(checks.ConfigError, match="split=run"):
        functions["prepare"](raw[0], tmp_path / "x", sets=("split=stimulus",))
    functions["prepare"](
        raw[0], tmp_path / "y", sets=("within_run=true", "split=stimulus", 'modalities=["fmri"]')
    )
    within = NeuralDataset.read(tmp_path / "y")
    assert "response_windows" in audited(within)


def test_an_own_mask_is_used_and_left_as_it_is(functions, own, tmp_path):
    import nibabel

    mask = np.zeros((8, 8, 5), dtype=np.uint8)
    mask[3:5, 3:5, 2] = 1
    brain = nibabel.load(func(own, "space-T1w_desc-brain_mask.nii.gz"))
    path = own / "my_mask.nii.gz"
    nibabel.save(nibabel.Nifti1Image(mask, brain.affine), path)
    before = {p: store.sha256_of(p) for p in own.rglob("*") if p.is_file()}
    functions["prepare"](own, tmp_path / "out", sets=("fmri.mask=my_mask.nii.gz",))
    assert NeuralDataset.read(tmp_path / "out").trials["sub-01_fmri"].responses.shape == (64, 4)
    assert {p: store.sha256_of(p) for p in own.rglob("*") if p.is_file()} == before


def no_events(root):
    events(root).unlink()


def no_onset_column(root):
    edit(events(root), "onset", "Onset")


def event_after_the_end(root):
    with events(root).open("a") as file:
        file.write("9000\t2\tface\tface/00.png\n")


def onset_in_words(root):
    with events(root).open("a") as file:
        file.write("soon\t2\tface\tface/00.png\n")


def other_t_r(root):
    edit(func(root, "space-T1w_desc-preproc_bold.json"), "1.5", "2.0")


def nan_voxels(root):
    edit_image(
        func(root, "space-T1w_desc-preproc_bold.nii.gz"), lambda d: d.__setitem__((4, 4, 2, 9), np.nan)
    )


def constant_voxels(root):
    edit_image(func(root, "space-T1w_desc-preproc_bold.nii.gz"), lambda d: d.__setitem__((4, 4), 7.0))


def another_subject(root):
    path = events(root)
    path.rename(path.with_name(path.name.replace("sub-01", "sub-02")))
    bold = func(root, "space-T1w_desc-preproc_bold.nii.gz")
    bold.rename(bold.with_name(bold.name.replace("sub-01", "sub-02")))


def short_confounds(root):
    path = func(root, "desc-confounds_timeseries.tsv")
    path.write_text("\n".join(path.read_text().splitlines()[:-5]) + "\n")


def no_acompcor(root):
    edit(func(root, "desc-confounds_timeseries.tsv"), "a_comp_cor_03", "t_comp_cor_03")


def no_acompcor_at_all(root):
    edit(func(root, "desc-confounds_timeseries.tsv"), "a_comp_cor", "t_comp_cor")


def no_axis_of_motion(root):
    edit(func(root, "desc-confounds_timeseries.tsv"), "rot_z", "rot_w")


def truncated_bold(root):
    path = func(root, "space-T1w_desc-preproc_bold.nii.gz")
    path.write_bytes(path.read_bytes()[:-2000])


def missing_picture(root):
    (root / "stimuli/face/00.png").unlink()


def empty_mask(root):
    edit_image(func(root, "space-T1w_desc-brain_mask.nii.gz"), lambda d: d.__imul__(0))


DAMAGE = {
    no_events: ("has no events file", "events.tsv"),
    no_onset_column: (r"has no column 'onset'; it has \['Onset'", "Add the column"),
    event_after_the_end: ("1 of 17 onsets that do not fit into the run's 150 volumes", "bad_events=drop"),
    onset_in_words: ("has 'soon' in column 'onset', line 2", "Correct the cell"),
    other_t_r: (r"RepetitionTime 2.0 but the header of .*bold.nii.gz says 1.5", "fmri.t_r"),
    nan_voxels: (r"holds 1 bad of 172 voxels .*1 with NaN", "bad_voxels=drop"),
    constant_voxels: (r"holds 5 bad of 172 voxels .*5 constant", "bad_voxels=drop"),
    another_subject: ("names sub-02 but lies in the folder of sub-01", "Move it"),
    short_confounds: ("has 145 rows but", "one fMRIPrep run"),
    no_acompcor: ("has no column 'a_comp_cor_03'", "--set fmri.n_acompcor=3"),
    no_acompcor_at_all: ("has no column 'a_comp_cor_00'", "--set fmri.n_acompcor=0"),
    no_axis_of_motion: ("has no column 'rot_z'", "--set fmri.motion="),
    truncated_bold: ("cannot be read", "copy"),
    missing_picture: ("lacks 1 of 16 pictures", "stimuli"),
    empty_mask: ("marks no voxel", "mask"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda d: d.__name__)
def test_damage_is_one_error_with_the_way_out_and_leaves_what_was_there(
    damage, functions, own, out, tmp_path
):
    found, way_out = DAMAGE[damage]
    target = tmp_path / "out"
    shutil.copytree(out, target)
    before = {p.name: store.sha256_of(p) for p in target.iterdir()}
    damage(own)
    with pytest.raises(checks.DataFileError, match=found) as error:
        functions["prepare"](own, target)
    assert way_out.lower() in str(error.value).lower()
    assert {p.name: store.sha256_of(p) for p in target.iterdir()} == before
    kept = {".out.staging"} if damage is missing_picture else set()  # the sessions, which are whole
    assert {p.name for p in tmp_path.iterdir()} == {"raw", "out"} | kept
    with pytest.raises(checks.DataFileError):
        functions["prepare"](own, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "damage", [event_after_the_end, nan_voxels, constant_voxels], ids=lambda d: d.__name__
)
def test_a_chosen_policy_leaves_the_bad_part_out_and_counts_it(damage, functions, own, tmp_path):
    damage(own)
    functions["prepare"](own, tmp_path / "out", sets=("bad_events=drop", "fmri.bad_voxels=drop"))
    trials = NeuralDataset.read(tmp_path / "out").trials["sub-01_fmri"]
    assert trials.responses.shape == (
        64,
        {event_after_the_end: 172, nan_voxels: 171, constant_voxels: 167}[damage],
    )
    dropped = layout.read_manifest(tmp_path / "out")["processing"]["sub-01_fmri"]["events_dropped"]
    assert dropped == ([0, 1, 0, 0] if damage is event_after_the_end else [0, 0, 0, 0])


def test_a_high_pass_that_takes_the_responses_away_is_told(functions, own, tmp_path):
    with pytest.warns(UserWarning, match=r"below 0\.1 Hz explains \d\d% .*--set fmri\.high_pass_hz=0\.002"):
        functions["prepare"](own, tmp_path / "out", sets=("fmri.high_pass_hz=0.1", "fmri.n_acompcor=0"))
    shares = layout.read_manifest(tmp_path / "out")["processing"]["sub-01_fmri"]["drift_share_median"]
    assert len(shares) == 4 and max(shares) > 1 / 3


def test_other_folders_subjects_and_tasks_are_refused_by_name(functions, raw, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("keep")
    with pytest.raises(checks.ConfigError, match="no prepared dataset"):
        functions["prepare"](raw[0], tmp_path / "mine", subjects=[1])
    assert (tmp_path / "mine/notes.txt").read_text() == "keep"
    with pytest.raises(checks.ConfigError, match="subjects"):
        functions["prepare"](raw[0], tmp_path / "x", subjects=[3])
    with pytest.raises(checks.ConfigError, match=r"task must be one of \['pictures'\]"):
        functions["prepare"](raw[0], tmp_path / "x", sets=("task=faces",))
    with pytest.raises(FileNotFoundError, match="--raw"):
        functions["prepare"](tmp_path, tmp_path / "x")
    with pytest.raises(checks.ConfigError, match="own recordings"):
        functions["fetch"](tmp_path)


def test_the_command_prepares_with_settings_and_says_what_is_wrong_with_others(raw, tmp_path, capsys):
    words = [str(w) for w in ("bids", "--raw", raw[0], "--out", tmp_path / "out", "--subjects", "[1]")]
    assert _verbs.run("prepare", [*words, "--set", 'modalities=["fmri"]', "--set", "fmri.glm.noise=ols"]) == 0
    assert "sub-01_fmri: 64 trials prepared" in capsys.readouterr().out
    with pytest.raises(checks.ConfigError, match="Did you mean 'glm'"):
        _verbs.run("prepare", [*words, "--set", "fmri.gml.noise=ols"])
    with pytest.raises(checks.ConfigError, match="no settings"):
        _verbs.run("prepare", ["haxby2001", *words[1:], "--set", "a=1"])


def test_jobs_give_the_same_bits(functions, raw, out, tmp_path):
    from joblib import parallel_config

    with parallel_config(backend="threading"):
        functions["prepare"](raw[0], tmp_path / "two", n_jobs=2)
    assert [e["content"] for e in layout.read_manifest(out)["recordings"]] == [
        e["content"] for e in layout.read_manifest(tmp_path / "two")["recordings"]
    ]
