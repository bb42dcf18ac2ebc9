"""EEG files become trials: values, times and labels as a person with the file would read them."""

from __future__ import annotations

import os
import pickle
import warnings
from dataclasses import replace

import mne
import numpy as np
import pandas as pd
import pytest

from braindec import checks
from braindec.data import meeg, safe_npy

CODES = {1: "house", 2: "face"}


def write_csv(path, n=1000, markers=((100, 1), (300, 2), (500, 1))):
    t = np.arange(n)
    marks = np.zeros(n, dtype=int)
    for at, code in markers:
        marks[at] = code
    frame = pd.DataFrame(
        {"timestamps": t / 256, "Oz": t * 1.0, "Fp1": -t * 1.0, "AUX": t * 0.0, "Marker0": marks}
    )
    frame.to_csv(path, index=False)
    return path


def read(path, run="1"):
    return meeg.read_csv(
        path,
        channels=("Oz", "Fp1"),
        marker="Marker0",
        codes=CODES,
        sfreq=256.0,
        subject=1,
        run=run,
        scale=1e-6,
    )


def test_epochs_of_a_csv_are_the_samples_around_each_marker(tmp_path):
    recording = read(write_csv(tmp_path / "a.csv"))
    assert recording.events["trial_type"].tolist() == ["house", "face", "house"]
    trials = meeg.cut_epochs([recording, read(write_csv(tmp_path / "b.csv"), "2")], -0.1, 0.2)
    for trial, at in zip(trials.responses, [100, 300, 500] * 2, strict=True):
        assert trial[0] == pytest.approx(1e-6 * np.arange(at - 26, at + 52), rel=1e-6)
    assert trials.times[26] == 0.0 and trials.times[-1] == pytest.approx(0.2, abs=1 / 256)
    assert trials.table["run"].tolist() == ["1"] * 3 + ["2"] * 3
    assert trials.table["since_previous_s"].tolist() == [0.0, 200 / 256, 200 / 256] * 2
    assert trials.table["stimulus_id"].tolist() == ["unknown"] * 6


def test_a_window_beyond_the_recording_is_refused_not_shortened(tmp_path):
    recording = read(write_csv(tmp_path / "a.csv", markers=((10, 1), (500, 2))))
    with pytest.raises(ValueError, match="reaches beyond run '1'"):
        meeg.cut_epochs([recording], -0.1, 0.2)


def test_runs_of_other_channels_or_without_events_are_refused_and_shared_columns_kept(tmp_path):
    first, second = read(write_csv(tmp_path / "a.csv")), read(write_csv(tmp_path / "b.csv"), "2")
    turned = replace(second, space=meeg.sensor_space(("Fp1", "Oz")))
    with pytest.raises(ValueError, match="run '2' has other channels"):
        meeg.cut_epochs([first, turned], -0.1, 0.2)
    with pytest.raises(ValueError, match="run '2' has no events"):
        meeg.cut_epochs([first, read(write_csv(tmp_path / "c.csv", markers=()), "2")], -0.1, 0.2)
    asked = replace(first, events=first.events.replace(answer=np.array(["a", "b", "a"])))
    assert "answer" in meeg.cut_epochs([asked], -0.1, 0.2).table
    for runs in ([asked, second], [second, asked]):
        assert "answer" not in meeg.cut_epochs(runs, -0.1, 0.2).table


def test_unknown_markers_and_missing_columns_are_refused(tmp_path):
    with pytest.raises(checks.DataFileError, match="markers"):
        read(write_csv(tmp_path / "a.csv", markers=((100, 3),)))
    (tmp_path / "b.csv").write_text("timestamps,Oz,Marker0\n0,1,0\n")
    with pytest.raises(checks.DataFileError, match="Fp1"):
        read(tmp_path / "b.csv")


def test_a_csv_cut_within_a_line_is_refused(tmp_path):
    path = write_csv(tmp_path / "a.csv")
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(checks.DataFileError, match="ends within a line"):
        read(path)


def test_filters_keep_the_pass_band_and_remove_drift_and_hum(tmp_path):
    recording = read(write_csv(tmp_path / "a.csv", n=5120, markers=((2000, 1),)))
    t = np.arange(5120) / 256
    signal = np.stack(
        [np.sin(2 * np.pi * 10 * t), np.sin(2 * np.pi * 50 * t) + 3 * np.sin(2 * np.pi * 0.1 * t)]
    )
    from dataclasses import replace

    out = meeg.filtered(replace(recording, signal=signal.astype(np.float32)), 1.0, 30.0).signal[:, 1024:-1024]
    assert out[0] == pytest.approx(signal[0, 1024:-1024], abs=0.02)
    assert np.abs(out[1]).max() < 0.08  # of 4 before


def test_sensor_positions_are_metres_in_the_head_frame_and_nan_where_unknown():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        space = meeg.sensor_space(("Oz", "FPZ", "nowhere"), "eeg", "standard_1005")
    assert np.isnan(space.positions[2]).all()
    radius = np.linalg.norm(space.positions[:2], axis=1)
    assert ((radius > 0.05) & (radius < 0.15)).all()
    assert space.positions[0, 1] < -0.05 < 0.05 < space.positions[1, 1]  # Oz behind, Fpz in front


@pytest.fixture
def fif(tmp_path, rng):
    info = mne.create_info(["O1", "Oz", "MEG 1", "EOG"], 100.0, ["eeg", "eeg", "mag", "eog"])
    events = np.c_[np.arange(6) * 50 + 7, np.zeros(6, int), [1, 2, 1, 2, 1, 2]]
    metadata = pd.DataFrame(
        {"stimulus_id": list("abcabc"), "run": list("112233"), "contrast": np.arange(6) / 10}
    )
    data = 1e-6 * rng.standard_normal((6, 4, 30))
    epochs = mne.EpochsArray(
        data, info, events, -0.1, {"face": 1, "house": 2}, metadata=metadata, baseline=None, verbose="error"
    )
    epochs.info["bads"] = ["O1"]
    epochs.save(tmp_path / "x-epo.fif", verbose="error")
    return tmp_path / "x-epo.fif", data


def test_fif_epochs_keep_values_metadata_and_clock(fif):
    path, data = fif
    trials = meeg.read_epochs_fif(path, subject=4)
    assert trials.space.names == ("Oz",) and trials.units == "V"
    assert trials.responses[:, 0] == pytest.approx(data[:, 1], rel=1e-6)
    assert trials.table["stimulus_id"].tolist() == list("abcabc") and trials.table["repeat"].tolist() == [
        0,
        0,
        0,
        1,
        1,
        1,
    ]
    assert trials.table["contrast"].tolist() == pytest.approx(np.arange(6) / 10)
    assert trials.table["exchangeability_block"].tolist() == ["1/1"] * 2 + ["1/2"] * 2 + ["1/3"] * 2
    assert (trials.sfreq, trials.tmin) == (100.0, pytest.approx(-0.1))
    assert meeg.read_epochs_fif(path, subject=4, modality="meg").space.kinds == ("mag",)


def test_fif_epochs_without_metadata_take_the_events_name(fif, rng):
    path, _ = fif
    epochs = mne.read_epochs(path, verbose="error")
    epochs.metadata = None
    epochs.save(path, overwrite=True, verbose="error")
    assert meeg.read_epochs_fif(path, subject=4).table["stimulus_id"].tolist() == ["face", "house"] * 3


def test_a_cut_fif_is_refused(fif):
    path, _ = fif
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(checks.DataFileError):
        meeg.read_epochs_fif(path, subject=4)


def things(rng):
    data = rng.standard_normal((5, 4, 3, 20))
    return {"preprocessed_eeg_data": data, "ch_names": ["O1", "Oz", "O2"], "times": np.arange(-10, 20) / 100}


@pytest.mark.parametrize("flavour", ["npy", "pickle-2", "pickle-4", "pickle-5"])
def test_things_eeg2_is_read_in_every_flavour(tmp_path, rng, flavour):
    held, path = things(rng), tmp_path / "preprocessed_eeg_test.npy"
    if flavour == "npy":
        np.save(path, held, allow_pickle=True)
    else:
        path.write_bytes(pickle.dumps(held, protocol=int(flavour[-1])))
    trials = meeg.read_things_eeg2(path, list("vwxyz"), subject=1, extra={"concept": list("VWXYZ")})
    assert trials.responses.shape == (20, 3, 20) and trials.tmin == 0.0 and trials.sfreq == 100.0
    assert np.array_equal(trials.responses[4 * 2 + 3], held["preprocessed_eeg_data"][2, 3].astype(np.float32))
    assert trials.table["stimulus_id"][8:12].tolist() == ["x"] * 4
    assert trials.table["concept"][-1] == "Z" and trials.table["acquisition_order"].tolist() == [-1] * 20


def test_raw_things_eeg2_gives_events_from_the_stimulus_channel(tmp_path, rng):
    data = np.concatenate([1e-5 * rng.standard_normal((2, 500)), np.zeros((1, 500))])
    data[2, [50, 51, 52]], data[2, 200], data[2, 350] = 2, 99_999, 1
    held = {
        "raw_eeg_data": data,
        "ch_names": ["O1", "Oz", "stim"],
        "ch_types": ["eeg", "eeg", "stim"],
        "sfreq": 100,
    }
    np.save(tmp_path / "raw.npy", held, allow_pickle=True)
    recording = meeg.read_things_eeg2_raw(
        tmp_path / "raw.npy", subject=1, session="2", conditions=["first", "second"]
    )
    assert recording.events["stimulus_id"].tolist() == ["second", "first"]
    assert recording.events["onset_s"].tolist() == [0.5, 3.5]
    trials = meeg.cut_epochs([recording], -0.1, 0.3)
    assert trials.responses[0] == pytest.approx(data[:2, 40:81], rel=1e-5)


class Evil:
    """Runs a command when unpickled."""

    def __reduce__(self):
        return os.mkdir, (os.environ["BRAINDEC_EVIL_TARGET"],)


@pytest.mark.parametrize("flavour", ["npy", "pickle"])
def test_a_file_that_would_run_code_is_refused_before_it_does(tmp_path, flavour, monkeypatch):
    target = tmp_path / "made-by-evil"
    monkeypatch.setenv("BRAINDEC_EVIL_TARGET", str(target))
    path = tmp_path / "evil.npy"
    if flavour == "npy":
        np.save(path, {"preprocessed_eeg_data": Evil()}, allow_pickle=True)
    else:
        path.write_bytes(pickle.dumps({"preprocessed_eeg_data": Evil()}))
    with pytest.raises(checks.DataFileError, match=r"asks to run posix\.mkdir"):
        meeg.read_things_eeg2(path, [], subject=1)
    assert not target.exists()
    pickle.loads(pickle.dumps(Evil()))
    assert target.exists(), "the file was harmless, so the test above shows nothing"


def test_a_plain_array_is_read_without_pickle(tmp_path, rng):
    values = rng.standard_normal((4, 3))
    np.save(tmp_path / "plain.npy", values)
    assert np.array_equal(safe_npy.load(tmp_path / "plain.npy"), values)
    content = (tmp_path / "plain.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(content[:-8])
    with pytest.raises(checks.DataFileError, match="bytes"):
        safe_npy.load(tmp_path / "cut.npy")
