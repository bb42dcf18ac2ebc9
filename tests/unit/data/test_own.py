"""One's own arrays, NIfTI and FIF files become a dataset in one call; what does not fit is refused with the way out."""

from __future__ import annotations

import warnings

import nibabel
import numpy as np
import pytest

from braindec import Embeddings, NeuralDataset, checks
from braindec.data import splits
from braindec.types import ArraySpace, SensorSpace

AFFINE = np.diag([3.0, 3.0, 3.0, 1.0])


@pytest.fixture
def arrays(rng):
    return rng.standard_normal((12, 5)), np.arange(12) % 6


def test_arrays_become_trials_whose_unknown_times_are_marked_as_unknown(arrays):
    responses, shown = arrays
    dataset = NeuralDataset.from_arrays(
        responses, shown, modality="fmri", run=np.arange(12) // 6, category=["a"] * 12
    )
    (trials,) = dataset.trials.values()
    assert dataset.keys == ("sub-01_fmri",) and trials.space.n_features == ArraySpace(5).n_features
    assert np.array_equal(trials.responses, responses.astype(np.float32))
    assert trials.table["stimulus_id"].tolist() == [str(i) for i in shown]
    assert trials.table["repeat"].tolist() == [0] * 6 + [1] * 6
    assert trials.table["exchangeability_block"].tolist() == ["1/0"] * 6 + ["1/1"] * 6
    assert set(trials.table["acquisition_order"].tolist()) == {-1} and not trials.table["onset_s"].any()
    assert trials.table["category"].tolist() == ["a"] * 12


@pytest.mark.parametrize(
    "change, said",
    [
        ({"responses": np.zeros((5, 12))}, "transposed"),
        ({"responses": np.full((12, 5), np.nan)}, "60 NaN or infinite"),
        ({"responses": np.full((12, 5), 1e300)}, "60 NaN or infinite.*divide by a constant"),
        ({"responses": np.ones((12, 5)).astype(object)}, r"got object \(12, 5\).*responses.astype\(float\)"),
        ({"responses": np.zeros(12)}, "responses must be numbers"),
        ({"stimulus_ids": np.linspace(0, 1, 12)}, "names or whole numbers"),
        ({"run": [1, 2]}, "column 'run' has shape"),
        ({"repeat": np.zeros(12)}, "made of stimulus_ids"),
        ({"modality": "mri"}, "modality must be one of"),
        ({"responses": np.zeros((12, 5, 4))}, "epochs .* need sfreq"),
        ({"runs": np.arange(12) // 6}, "column 'runs' is not known; did you mean 'run'"),
        ({"Session": np.zeros(12)}, "did you mean 'session'"),
        ({"about": {"beta": {"overlap": "modelled"}}}, "about has 'beta', .* did you mean 'betas'"),
        ({"about": {"betas": {"overlaps": "modelled"}}}, "did you mean 'overlap'"),
        ({"about": {"betas": "modelled"}}, r"about\['betas'\] must say which entry .*got 'modelled'"),
        (
            {"stimulus_ids": np.array([*"abcdefghijk", None], object)},
            r"1 of 12 places, first 11 .* None\. Name it",
        ),
        ({"stimulus_ids": ["a", float("nan"), *"cdefghijkl"]}, r"1 of 12 places, first 1 .* nan\. Name it"),
        (
            {"run": np.where(np.arange(12) == 3, np.nan, 1.0)},
            r"column 'run' has no value in 1 of 12 places, first 3",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused_with_what_is_wrong(arrays, change, said):
    given = {"responses": arrays[0], "stimulus_ids": arrays[1], "modality": "fmri"} | change
    with pytest.raises(ValueError, match=said):
        NeuralDataset.from_arrays(given.pop("responses"), given.pop("stimulus_ids"), **given)


@pytest.mark.parametrize(
    "shape, at, said",
    [
        ((12, 5), np.s_[:, 3], r"first at \(0, 3\).*1 voxel\(s\) without a number in any trial, \[3\]"),
        ((12, 5), np.s_[7], r"1 trial\(s\) without any number, \[7\]"),
        (
            (12, 5, 4),
            np.s_[:, [0, 2]],
            r"2 channel\(s\) without a number in any trial, \[0, 2\].*all\(\(0, 2\)\)",
        ),
        ((12, 5), np.s_[7, 3], "Leave out such trials or voxels"),
        ((12, 5), np.s_[[7, 8], [3, 4]], "Leave out such trials or voxels"),
    ],
)
def test_nan_is_told_to_be_of_voxels_channels_or_trials_where_it_is(shape, at, said, rng):
    x = rng.standard_normal(shape)
    x[at] = np.nan
    with pytest.raises(ValueError, match=said):
        NeuralDataset.from_arrays(x, np.arange(12), modality="array", sfreq=10.0, tmin=0.0)


@pytest.mark.parametrize(
    "subject, said",
    [("sub-01", "Say subject=1."), ("07", "Say subject=7."), ("anna", "from 1"), (1.0, "1.0")],
)
def test_a_subject_is_a_whole_number(arrays, subject, said):
    with pytest.raises(TypeError, match="subject must be a whole number") as error:
        NeuralDataset.from_arrays(*arrays, modality="fmri", subject=subject)
    assert said in str(error.value)
    assert NeuralDataset.from_arrays(*arrays, modality="fmri", subject=np.int64(7)).keys == ("sub-07_fmri",)


@pytest.mark.parametrize("shape, warned", [((12, 80, 20), 1), ((12, 20, 80), 0), ((12, 64, 40), 0)])
def test_times_before_channels_are_noticed(shape, warned, rng):
    x, told = rng.standard_normal(shape), {"sfreq": 100, "tmin": 0.0}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        NeuralDataset.from_arrays(x, np.arange(12), modality="eeg", **told)
        NeuralDataset.from_arrays(
            x, np.arange(12), modality="ieeg", **told
        )  # grids may have as many as they like
    assert len(said) == warned
    for one in said:
        assert "80 channels and 20 samples: expected are (trial, channel, time)" in str(one.message)
        assert "transpose(0, 2, 1)" in str(one.message) and one.filename == __file__


def test_columns_of_ones_own_may_be_called_nearly_like_known_ones(arrays):
    own = {name: np.arange(12) for name in ("onset", "session_id", "lesson", "acquisition", "run_position")}
    dataset = NeuralDataset.from_arrays(*arrays, modality="fmri", **own)
    assert set(own) <= set(dataset.trials["sub-01_fmri"].table)


def test_images_come_with_the_stimuli_that_were_shown(arrays, rng):
    images = {str(i): rng.integers(0, 256, (4, 4, 3), dtype=np.uint8) for i in range(9)}
    dataset = NeuralDataset.from_arrays(*arrays, modality="fmri", images=images)
    assert dataset.stimuli.ids == tuple("012345")
    assert np.array_equal(dataset.stimuli.images(["3"])[0], images["3"])
    with pytest.raises(ValueError, match="uint8"):
        NeuralDataset.from_arrays(*arrays, modality="fmri", images={k: v / 255 for k, v in images.items()})


def test_volumes_become_trials_of_the_masks_voxels(tmp_path, rng):
    maps, mask = rng.standard_normal((3, 4, 5, 6)).astype(np.float32), rng.random((3, 4, 5)) < 0.5
    nibabel.save(nibabel.Nifti1Image(maps, AFFINE), tmp_path / "maps.nii.gz")
    nibabel.save(nibabel.Nifti1Image(mask.astype(np.uint8), AFFINE), tmp_path / "mask.nii.gz")
    dataset = NeuralDataset.from_nifti(
        tmp_path / "maps.nii.gz", tmp_path / "mask.nii.gz", list("abcabc"), run=[1, 1, 1, 2, 2, 2]
    )
    (trials,) = dataset.trials.values()
    for row, volume in zip(trials.responses, np.moveaxis(maps, 3, 0), strict=True):
        assert np.array_equal(row, volume[mask])
    assert np.array_equal(trials.space.mask, mask) and trials.table["repeat"].tolist() == [0] * 3 + [1] * 3
    nibabel.save(nibabel.Nifti1Image(mask.astype(np.uint8), 2 * AFFINE), tmp_path / "other.nii.gz")
    with pytest.raises(checks.DataFileError, match="has grid"):
        NeuralDataset.from_nifti(tmp_path / "maps.nii.gz", tmp_path / "other.nii.gz", list("abcabc"))


def test_planted_betas_are_recovered_from_runs_and_events(tmp_path, rng):
    from nilearn.glm.first_level import compute_regressor

    t_r, n_volumes, planted = 2.0, 120, rng.standard_normal((2, 4, 8))  # (run, event, voxel)
    nibabel.save(nibabel.Nifti1Image(np.ones((2, 2, 2), np.uint8), AFFINE), tmp_path / "mask.nii.gz")
    bold, events = [], []
    onsets = 20.0 + 50.0 * np.arange(4)
    for run in range(2):
        signal = np.full((n_volumes, 8), 1000.0) + rng.standard_normal((n_volumes, 8))
        for event in range(4):
            condition = (onsets[[event]], np.array([2.0]), np.array([1.0]))
            wave, _ = compute_regressor(condition, "spm", t_r * np.arange(n_volumes))
            signal += 10.0 * wave * planted[run, event]  # 1 % of the mean
        image = nibabel.Nifti1Image(signal.T.reshape(2, 2, 2, -1).astype(np.float32), AFFINE)
        image.header.set_zooms((3, 3, 3, t_r))
        image.header.set_xyzt_units("mm", "sec")
        bold.append(tmp_path / f"run{run}.nii.gz")
        nibabel.save(image, bold[-1])
        events.append(tmp_path / f"run{run}.tsv")
        rows = "".join(f"{onset}\t2\tpicture-{i}\n" for i, onset in enumerate(onsets))
        events[-1].write_text("onset\tduration\tstim_file\n" + rows + "230\t0\tn/a\n")
    dataset = NeuralDataset.from_bold(bold, events, tmp_path / "mask.nii.gz", stimulus_column="stim_file")
    (trials,) = dataset.trials.values()
    assert trials.table["stimulus_id"].tolist() == [f"picture-{i}" for i in range(4)] * 2
    assert trials.table["run"].tolist() == ["1"] * 4 + ["2"] * 4
    assert np.corrcoef(trials.responses.ravel(), planted.reshape(8, 8).ravel())[0, 1] > 0.95
    assert dataset.about["betas"]["overlap"] == "kept"  # of lss: the others share one regressor
    together = NeuralDataset.from_bold(
        bold[:1], events[:1], tmp_path / "mask.nii.gz", stimulus_column="stim_file", method="lsa"
    )
    assert together.about["betas"]["overlap"] == "modelled"
    with pytest.raises(checks.DataFileError, match=r"'stimulus'.*stim_file"):
        NeuralDataset.from_bold(bold, events, tmp_path / "mask.nii.gz", stimulus_column="stimulus")


@pytest.fixture
def fif(tmp_path, rng):
    import mne
    import pandas as pd

    def write(name, n_times=20, channels=("Oz", "Pz"), tmin=-0.1):
        info = mne.create_info(list(channels), 100.0, "eeg")
        values = rng.standard_normal((4, 2, n_times)) * 1e-6
        events = np.stack([np.arange(4) * 100, np.zeros(4), [1, 2, 1, 2]], axis=1).astype(int)
        metadata = pd.DataFrame({"picture": ["a", "b", "a", "c"], "run": [1, 1, 2, 2]})
        made = mne.EpochsArray(
            values, info, events, tmin, {"x": 1, "y": 2}, metadata=metadata, verbose="error"
        )
        made.save(tmp_path / name, verbose="error")
        return tmp_path / name, values

    return write


def test_epochs_become_trials_and_files_become_sessions(fif):
    (first, values), (second, others) = fif("one-epo.fif"), fif("two-epo.fif")
    dataset = NeuralDataset.from_fif([first, second], stimulus_column="picture")
    (trials,) = dataset.trials.values()
    assert trials.responses == pytest.approx(np.concatenate([values, others]), rel=1e-5)
    assert trials.table["stimulus_id"].tolist() == list("abac") * 2
    assert trials.table["session"].tolist() == ["1"] * 4 + ["2"] * 4
    assert trials.table["repeat"].tolist() == [0, 0, 1, 0, 2, 1, 3, 1]
    assert isinstance(trials.space, SensorSpace) and trials.times[0] == pytest.approx(-0.1)
    assert NeuralDataset.from_fif(first).stimulus_ids == ("x", "y")


@pytest.mark.parametrize("column", ["picture", "run"])
def test_epochs_without_a_name_are_refused(fif, tmp_path, column):
    import mne

    path, _ = fif("one-epo.fif")
    epochs = mne.read_epochs(path, verbose="error")
    epochs.metadata.loc[2, column] = None
    epochs.save(tmp_path / "lacks-epo.fif", verbose="error")
    with pytest.raises(ValueError, match=rf"{column}.*1 of 4 places, first 2 .*metadata\['{column}'\].notna"):
        NeuralDataset.from_fif(tmp_path / "lacks-epo.fif", stimulus_column="picture")


@pytest.fixture
def classes(tmp_path, rng):
    """A file of epochs whose events name classes, without metadata."""
    import mne

    def write(name):
        info = mne.create_info(["Oz", "Pz"], 100.0, "eeg")
        values = rng.standard_normal((4, 2, 20)) * 1e-6
        events = np.stack([np.arange(4) * 100, np.zeros(4), [1, 2, 1, 2]], axis=1).astype(int)
        made = mne.EpochsArray(values, info, events, -0.1, {"face": 1, "house": 2}, verbose="error")
        made.save(tmp_path / name, verbose="error")
        return tmp_path / name

    return write


def test_files_become_runs_where_that_is_told(classes):
    files = [classes(f"{n}-epo.fif") for n in range(4)]
    one_run = NeuralDataset.from_fif(files)
    with pytest.raises(checks.ConfigError, match=r"from_fif\(\.\.\., runs=\[\.\.\.\]\)"):
        splits.leave_one_out(one_run, "run")
    assert one_run.unit_values("session") == tuple("1234")
    told = NeuralDataset.from_fif(files, runs=[1, 2, 3, 4])
    (trials,) = told.trials.values()
    assert told.unit_values("run") == tuple("1234") and told.unit_values("session") == ("1",)
    assert trials.table["exchangeability_block"][4] == "1/2" and trials.table["repeat"].tolist()[-1] == 7
    assert len(splits.leave_one_out(told, "run")) == 4
    both = NeuralDataset.from_fif(files, runs=[1, 2, 1, 2], sessions=["a", "a", "b", "b"])
    assert set(both.trials["sub-01_eeg"].table["exchangeability_block"]) == {"a/1", "a/2", "b/1", "b/2"}
    assert told.unit_labels("stimulus", "stimulus_id") == {"face": "face", "house": "house"}
    with pytest.raises(ValueError, match="epochs has 4 along axis 'file' but runs has 2"):
        NeuralDataset.from_fif(files, runs=[1, 2])


def test_runs_that_the_metadata_name_are_not_overruled(fif):
    with pytest.raises(checks.ConfigError, match=r"name the runs \['1', '2'\] themselves; leave runs out"):
        NeuralDataset.from_fif(fif("one-epo.fif")[0], runs=[5])


def test_whole_files_of_something_else_than_epochs_are_told_apart_from_damaged_ones(tmp_path, fif, rng):
    import mne

    epochs = mne.read_epochs(fif("one-epo.fif")[0], verbose="error")
    epochs.average().save(tmp_path / "one-ave.fif", verbose="error")
    info = mne.create_info(["Oz", "Pz"], 100.0, "eeg")
    raw = mne.io.RawArray(rng.standard_normal((2, 1000)) * 1e-6, info, verbose="error")
    raw.save(tmp_path / "one_raw.fif", verbose="error")
    (tmp_path / "one.csv").write_text("Oz,Pz\n1,2\n")
    for name, said in {
        "one-ave.fif": "averages over trials .*Single trials",
        "one_raw.fif": r"a continuous recording, no epochs\. Cut epochs",
        "one.csv": r"no FIF file of epochs \(\.csv.*from_arrays",
    }.items():
        with pytest.raises(checks.DataFileError, match=said) as error:
            NeuralDataset.from_fif(tmp_path / name)
        assert "damaged" not in str(error.value)
    with pytest.raises(checks.DataFileError, match=r"holds no meg channels, but eeg\. Say modality='eeg'"):
        NeuralDataset.from_fif(tmp_path / "one-epo.fif", modality="meg")
    whole = (tmp_path / "one-epo.fif").read_bytes()
    (tmp_path / "cut-epo.fif").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(checks.DataFileError, match="damaged"):
        NeuralDataset.from_fif(tmp_path / "cut-epo.fif")


def test_epochs_of_other_lengths_are_not_joined(fif):
    with pytest.raises(checks.DataFileError, match="the first file"):
        NeuralDataset.from_fif([fif("one-epo.fif")[0], fif("two-epo.fif", n_times=30)[0]])


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"channels": ("Pz", "Oz")}, r"Pz, Oz.*the first file.*Oz, Pz"),
        ({"tmin": 0.0}, r"from 0 s.*from -0.1 s"),
    ],
)
def test_epochs_of_as_many_but_other_channels_or_times_are_not_joined(fif, other, said):
    with pytest.raises(checks.DataFileError, match=said):
        NeuralDataset.from_fif([fif("one-epo.fif")[0], fif("two-epo.fif", **other)[0]])


def test_what_is_held_out_is_a_share_or_named_and_never_on_both_sides(arrays):
    dataset = NeuralDataset.from_arrays(*arrays, modality="fmri", run=np.arange(12) // 6)
    one, same, other = (dataset.hold_out("stimulus", 0.34, seed=s) for s in (0, 0, 3))
    assert one.split.parts == same.split.parts != other.split.parts
    assert not set(one.part("train").stimulus_ids) & set(one.part("test").stimulus_ids)
    assert dataset.hold_out("run", [1]).split.parts == {"train": ("0",), "test": ("1",)}
    with pytest.raises(ValueError, match="run must be one of"):
        dataset.hold_out("run", ["7"])


def test_bytes_are_the_text_that_they_hold(arrays):
    values, _ = arrays
    names = [f"img-{i}" for i in range(12)]
    for given in (
        np.array(names, "S"),
        [n.encode() for n in names],
        np.array([n.encode() for n in names], object),
    ):
        dataset = NeuralDataset.from_arrays(values, given, modality="fmri")
        assert dataset.trials["sub-01_fmri"].table["stimulus_id"].tolist() == names
        assert Embeddings.from_arrays(given, np.eye(12), "mine").ids == tuple(names)


def test_a_class_that_is_missing_is_no_class_called_none(arrays):
    given = np.array([None, float("nan"), *"ab" * 5], object)
    table = NeuralDataset.from_arrays(*arrays, modality="fmri", category=given).trials["sub-01_fmri"].table
    assert table["category"].tolist() == [
        "nan",
        "nan",
        *"ab" * 5,
    ]  # which is what labels that nobody told are called


def test_embeddings_of_arrays_know_what_they_are_made_of(rng):
    vectors = rng.standard_normal((3, 4))
    made = Embeddings.from_arrays(np.array([5, 6, 7]), vectors, "mine")
    assert made.ids == ("5", "6", "7") and made.info.shape == (1, 4)
    assert made.of(["6"])[0, 0] == pytest.approx(vectors[1], rel=1e-6)
    assert made.provenance != Embeddings.from_arrays([5, 6, 7], -vectors, "mine").provenance
    with pytest.raises(ValueError, match="NaN"):
        Embeddings.from_arrays([1], [[np.nan]], "mine")
    for lacks in (["a", None, "b"], ["a", float("nan"), "b"], np.array([1.0, np.nan, 2.0])):
        with pytest.raises(
            ValueError, match=r"ids has no value in 1 of 3 places, first 1 .*leave that row out"
        ):
            Embeddings.from_arrays(lacks, vectors, "mine")
    with pytest.raises(ValueError, match="stimulus, dim"):
        Embeddings.from_arrays([1], [1.0], "mine")
