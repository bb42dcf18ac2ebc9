"""EEG, MEG and iEEG of a BIDS folder: planted waves come back, and filters put nothing before its cause by default."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from scipy import stats

from braindec import checks
from braindec.data import NeuralDataset, bids, bids_meeg, bids_synthetic, catalogue, layout, meeg
from braindec.data.bids_settings import BidsSettings, MeegSettings
from braindec.data.preprocessing import Preprocessing, Whiten
from braindec.data.sensors import sensor_space
from braindec.types import ArraySpace, Recording, SensorSpace, Table, Trials

SFREQ, N_RUNS, N_TRIALS, N_CHANNELS = 100.0, 5, 120, 8
SENSORS = sensor_space([f"E{i}" for i in range(N_CHANNELS)])
ONLY_EEG = {"fmri": False, "eeg": True}


@pytest.fixture(scope="module")
def functions():
    return catalogue.load("bids")


def recordings(rng):
    """Runs in which two kinds of events have opposite responses from 0.15 s on, in noise with slow drift."""
    pattern = rng.standard_normal(N_CHANNELS)
    found = []
    for run in range(N_RUNS):
        samples = 300 + np.cumsum(rng.integers(90, 130, N_TRIALS))
        kind = rng.permutation(np.repeat([0, 1], N_TRIALS // 2))
        n_times = int(samples[-1]) + 400
        signal = np.zeros((N_CHANNELS, n_times))
        after = np.arange(60)
        for s, k in zip(samples, kind, strict=True):
            signal[:, s + after] += (2 * k - 1) * pattern[:, None] * bids_synthetic.wave(after / SFREQ)
        signal += 0.7 * rng.standard_normal(signal.shape) + 3.0 * np.linspace(-1, 1, n_times)
        events = Table(
            {
                "onset_s": samples / SFREQ,
                "duration_s": np.zeros(N_TRIALS),
                "stimulus_id": np.array(["a", "b"])[kind],
            }
        )
        found.append(Recording(signal, SFREQ, "V", events, SENSORS, 1, "1", str(run), "eeg"))
    return found


def decoded(runs, settings, low, high):
    """(p, accuracy) of the kind of event told by the mean signal of a window, each run predicted from the others."""
    trials = meeg.cut_epochs([bids_meeg.filtered(r, settings) for r in runs], -0.3, 0.5)
    times = trials.times
    x = trials.responses[:, :, (times >= low - 1e-9) & (times < high - 1e-9)].mean(2)
    y, run = trials.table["stimulus_id"] == "b", trials.table["run"]
    hits = 0
    for held_out in np.unique(run):
        train = run != held_out
        covariance = np.cov(
            np.concatenate([x[train & (y == k)] - x[train & (y == k)].mean(0) for k in (0, 1)]).T
        )
        means = [x[train & (y == k)].mean(0) for k in (0, 1)]
        weights = np.linalg.solve(covariance, means[1] - means[0])
        hits += int((((x[~train] - (means[0] + means[1]) / 2) @ weights > 0) == y[~train]).sum())
    return stats.binomtest(hits, len(y), 0.5, alternative="greater").pvalue, hits / len(y)


def test_a_response_at_150_ms_is_decoded_before_the_onset_with_a_1_hz_high_pass_and_not_by_default(rng):
    runs = recordings(rng)
    before, after = (-0.1, 0.1), (0.2, 0.45)
    known_artefact = MeegSettings(high_pass_hz=1.0, allow_high_pass=True)
    assert decoded(runs, known_artefact, *before)[0] < 1e-4
    for settings in (MeegSettings(), MeegSettings(high_pass_hz=1.0, causal=True)):
        assert decoded(runs, settings, *after)[1] > 0.7
        assert decoded(runs, settings, *before)[0] > 0.05, settings


def test_what_a_high_pass_carries_back_grows_with_its_edge():
    signal = np.zeros((1, 20_000))
    signal[0, 10_000:10_060] = bids_synthetic.wave(np.arange(60) / SFREQ)
    space = SensorSpace(("E",), np.full((1, 3), np.nan), ("eeg",))
    events = Table({"onset_s": [100.0], "duration_s": [0.0], "stimulus_id": ["a"]})
    recording = Recording(signal, SFREQ, "V", events, space, 1, "1", "1", "eeg")
    settings = (
        MeegSettings(),
        MeegSettings(high_pass_hz=0.1),
        MeegSettings(high_pass_hz=1.0, allow_high_pass=True),
    )
    none, slow, fast = (
        np.abs(bids_meeg.filtered(recording, s).signal[0, 9_990:10_015]).mean() for s in settings
    )
    assert none < 2e-3
    assert slow < 0.03 < 0.1 < fast


def test_a_high_pass_that_carries_responses_back_is_refused_by_name():
    with pytest.raises(checks.ConfigError, match="begin before their cause"):
        MeegSettings(high_pass_hz=0.5)


@pytest.mark.parametrize(
    "settings",
    [
        MeegSettings(high_pass_hz=0.5, low_pass_hz=20.0, causal=True, detrend=False),
        MeegSettings(low_pass_hz=20.0),
    ],
)
def test_only_a_causal_filter_leaves_the_past_alone(settings):
    signal = np.zeros((1, 4000))
    signal[0, 2000] = 1.0
    space = SensorSpace(("E",), np.full((1, 3), np.nan), ("eeg",))
    events = Table({"onset_s": [1.0], "duration_s": [0.0], "stimulus_id": ["a"]})
    recording = Recording(signal, SFREQ, "V", events, space, 1, "1", "1", "eeg")
    out = bids_meeg.filtered(recording, settings).signal[0]
    assert (np.abs(out[:2000]).max() == 0) == settings.causal
    assert np.abs(out[2000:]).max() > 0.01


def test_epochs_without_noise_are_the_planted_waves_trial_by_trial(functions, tmp_path):
    truth = functions["synthetic"](tmp_path / "raw", noise=0.0, **ONLY_EEG)
    functions["prepare"](tmp_path / "raw", tmp_path / "out", sets=("meeg.detrend=false",))
    trials = NeuralDataset.read(tmp_path / "out").trials["sub-01_eeg"]
    assert trials.responses[:] == pytest.approx(truth.responses["sub-01_eeg"], abs=1e-10)
    assert np.array_equal(trials.table["stimulus_id"], truth.tables["sub-01_eeg"]["stimulus_id"])
    assert trials.space.names == bids_synthetic.CHANNELS  # neither the bad channel nor the eye's
    assert np.isfinite(trials.space.positions).all()
    said = layout.read_manifest(tmp_path / "out")["processing"]["sub-01_eeg"]
    assert said["bad_channels"] == ["T7"] and said["filter"] == "none"


def test_neither_dates_nor_names_of_a_header_are_written(functions, tmp_path):
    functions["synthetic"](tmp_path / "raw", **ONLY_EEG)
    for path in (tmp_path / "raw/sub-01/eeg").glob("*.vmrk"):
        path.write_text(path.read_text().replace(",1,1,0\n", ",1,1,0,20260317101112131415\n"))
        header = path.with_suffix(".vhdr")
        header.write_text(header.read_text() + "\n[Comment]\nSubject: Ada Lovelace\n")
    recording = next((tmp_path / "raw/sub-01/eeg").glob("*.vhdr"))
    assert bids_meeg.open_raw(recording).info["meas_date"].year == 2026  # the reader sees it
    functions["prepare"](tmp_path / "raw", tmp_path / "out")
    content = b"".join(p.read_bytes() for p in (tmp_path / "out").iterdir())
    for private in (b"20260317", b"2026-03-17", b"Lovelace", str(tmp_path).encode()):
        assert private not in content


def test_with_noise_categories_are_decoded_from_the_planted_window_and_not_before(functions, tmp_path):
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    functions["synthetic"](tmp_path / "raw", **ONLY_EEG)
    functions["prepare"](tmp_path / "raw", tmp_path / "out")
    trials = NeuralDataset.read(tmp_path / "out").trials["sub-01_eeg"]
    train = trials.table["run"] != "4"
    y = trials.table["trial_type"]
    hits = {}
    for name, (low, high) in {"before": (-0.2, 0.0), "after": (0.2, 0.45)}.items():
        x = trials.responses[:][:, :, (trials.times >= low) & (trials.times < high)].mean(2)
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(x[train] * 1e6, y[train])
        hits[name] = int((model.predict(x[~train] * 1e6) == y[~train]).sum())
    assert stats.binomtest(hits["after"], 48, 0.25, alternative="greater").pvalue < 1e-4
    assert stats.binomtest(hits["before"], 48, 0.25, alternative="greater").pvalue > 0.01


def trials_of_rank(rng, rank, n_channels=30, n_trials=200, n_times=20):
    mixing = np.linalg.qr(rng.standard_normal((n_channels, rank)))[0] * np.geomspace(1, 0.1, rank)
    x = 1e-5 * np.einsum("cr,nrt->nct", mixing, rng.standard_normal((n_trials, rank, n_times)))
    n = np.arange(n_trials)
    columns = {
        name: np.zeros(n_trials, int) for name in ("session", "run", "repeat", "exchangeability_block")
    }
    table = Table(columns | {"stimulus_id": n.astype(str), "onset_s": 1.0 * n, "acquisition_order": n})
    missing = np.linalg.svd(mixing)[0][:, rank:]
    return Trials(x.astype(np.float32), table, ArraySpace(n_channels), "V", 1, "eeg", 100.0, 0.0), missing


@pytest.mark.parametrize("shrinkage", [None, 0.0])
@pytest.mark.parametrize("rank", [29, 12])
def test_whitening_respects_the_rank_of_referenced_and_maxwell_filtered_data(rank, shrinkage, rng):
    trials, missing = trials_of_rank(rng, rank)
    white = Preprocessing((Whiten(shrinkage=shrinkage),)).fit(trials).apply(trials)
    rows = np.moveaxis(white, 1, 2).reshape(-1, 30)
    values = np.linalg.eigvalsh(np.cov(rows.T))[::-1]
    assert values[:rank] == pytest.approx(1.0, abs=0.15)
    assert values[rank:].max() < 1e-3  # what the reference took away is not blown up to noise
    assert np.abs(rows @ missing).max() < 0.1


def test_average_reference_is_of_good_channels_and_takes_one_dimension(functions, tmp_path):
    functions["synthetic"](tmp_path / "raw", **ONLY_EEG)
    functions["prepare"](tmp_path / "raw", tmp_path / "out", sets=("meeg.reference=average",))
    trials = NeuralDataset.read(tmp_path / "out").trials["sub-01_eeg"]
    x = trials.responses[:]
    assert np.abs(x.mean(1)).max() < 1e-4 * np.abs(x).max()
    white = Preprocessing((Whiten(),)).fit(trials).apply(trials)
    values = np.linalg.eigvalsh(np.cov(np.moveaxis(white, 1, 2).reshape(-1, 12).T))
    assert values[0] < 1e-3 < 0.5 < values[1]


def test_decimation_needs_a_low_pass_and_keeps_every_nth_sample(functions, tmp_path):
    functions["synthetic"](tmp_path / "raw", **ONLY_EEG)
    sets = ("meeg.low_pass_hz=30", "meeg.decimate=2")
    functions["prepare"](tmp_path / "raw", tmp_path / "out", sets=sets)
    trials = NeuralDataset.read(tmp_path / "out").trials["sub-01_eeg"]
    assert trials.sfreq == 100.0 and trials.responses.shape == (192, 12, 101)
    with pytest.raises(checks.ConfigError, match=r"low_pass_hz of at most 33\.3"):
        functions["prepare"](tmp_path / "raw", tmp_path / "x", sets=("meeg.decimate=2",))


def test_electrodes_give_positions_in_metres(functions, tmp_path):
    from braindec import store

    functions["synthetic"](tmp_path / "raw", **ONLY_EEG)
    folder = tmp_path / "raw/sub-01/eeg"
    rows = [f"{c}\t{i}\t{10 * i}\t-20" for i, c in enumerate(bids_synthetic.CHANNELS[:-1])]
    (folder / "sub-01_electrodes.tsv").write_text(
        "name\tx\ty\tz\n" + "\n".join(rows) + "\nF4\tn/a\tn/a\tn/a\n"
    )
    store.write_json(folder / "sub-01_coordsystem.json", {"EEGCoordinateUnits": "mm"})
    functions["prepare"](tmp_path / "raw", tmp_path / "out")
    at = NeuralDataset.read(tmp_path / "out").trials["sub-01_eeg"].space.positions
    assert at[2] == pytest.approx([0.002, 0.02, -0.02])
    assert np.isnan(at[-1]).all() and np.isfinite(at[:-1]).all()


def no_events(folder):
    (folder / "sub-01_task-pictures_run-3_events.tsv").unlink()


def unknown_channel(folder):
    edit(folder / "sub-01_task-pictures_run-3_channels.tsv", "Oz", "Iz")


def late_event(folder):
    with (folder / "sub-01_task-pictures_run-3_events.tsv").open("a") as file:
        file.write("999\t0\tface\tface/00.png\n")


def no_samples(folder):
    (folder / "sub-01_task-pictures_run-3_eeg.eeg").unlink()


def ragged_events(folder):
    with (folder / "sub-01_task-pictures_run-3_events.tsv").open("a") as file:
        file.write("20\tface\n")


def edit(path, old, new):
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (no_events, "has no events file"),
        (unknown_channel, "names 1 channels that sub-01_task-pictures_run-3_eeg.vhdr lacks, first 'Iz'"),
        (late_event, r"1 of 49 onsets that do not fit into windows of -0.2 to 0.8 s"),
        (no_samples, "belongs with .*run-3_eeg.eeg, which is not there"),
        (ragged_events, "has 2 cells in line 50 but 4 columns"),
    ],
)
def test_damage_is_one_error_and_nothing_is_written(damage, found, functions, tmp_path):
    functions["synthetic"](tmp_path / "raw", **ONLY_EEG)
    damage(tmp_path / "raw/sub-01/eeg")
    with pytest.raises(checks.DataFileError, match=found):
        functions["prepare"](tmp_path / "raw", tmp_path / "out")
    assert {p.name for p in tmp_path.iterdir()} == {"raw"}


CONTAINERS = {
    "test.vhdr": ("eeg", "eeg"), "test.edf": ("eeg", "eeg"), "test.bdf": ("eeg", "eeg"), "test.sqd": ("meg", "mag"),
    "test_ctf_comp_raw.fif": ("meg", "mag"),
}  # fmt: skip


def real_bids(recordings_folder, name, root):
    """A BIDS folder around a real recording; returns the path of the recording inside it, and its modality."""
    modality, kind = CONTAINERS[name]
    folder = root / "sub-01" / modality
    folder.mkdir(parents=True)
    source = recordings_folder / name
    target = folder / f"sub-01_task-x_{modality}{source.suffix}"
    shutil.copyfile(source, target)
    if source.suffix == ".vhdr":
        for ending in (".eeg", ".vmrk"):
            shutil.copyfile(source.with_suffix(ending), folder / source.with_suffix(ending).name)
    raw = bids_meeg.open_raw(target, truncated=True)
    picked = [n for n, t in zip(raw.ch_names, raw.get_channel_types(), strict=True) if t == kind]
    flat = np.ptp(raw.get_data(picks=picked), axis=1) == 0
    types = {"eeg": "EEG", "mag": "MEGGRADAXIAL"}
    rows = [f"{n}\t{types[kind]}\tn/a\t{'bad' if f else 'good'}" for n, f in zip(picked, flat, strict=True)]
    (folder / f"sub-01_task-x_{'channels'}.tsv").write_text(
        "name\ttype\tunits\tstatus\n" + "\n".join(rows) + "\n"
    )
    (folder / "sub-01_task-x_events.tsv").write_text(
        "onset\tduration\ttrial_type\n0.3\t0\ta\n0.35\t0\tb\n0.4\t0\ta\n"
    )
    return target, modality, [n for n, f in zip(picked, flat, strict=True) if not f]


@pytest.mark.parametrize("name", CONTAINERS)
def test_real_recordings_of_each_container_are_read_sample_by_sample(name, real_data, functions, tmp_path):
    target, modality, channels = real_bids(real_data / "recordings", name, tmp_path / "raw")
    sets = ("meeg.tmin=-0.05", "meeg.tmax=0.05", "meeg.detrend=false", "meeg.truncated=true")
    functions["prepare"](tmp_path / "raw", tmp_path / "out", sets=sets)
    trials = NeuralDataset.read(tmp_path / "out").trials[f"sub-01_{modality}"]
    raw = bids_meeg.open_raw(target, truncated=True)
    whole = raw.get_data(picks=channels)
    at = round(0.35 * raw.info["sfreq"]) + round(-0.05 * raw.info["sfreq"])
    expected = whole[:, at : at + trials.responses.shape[2]]
    assert trials.space.names == tuple(channels)
    assert trials.responses[1] == pytest.approx(expected.astype(np.float32), rel=1e-6)
    content = b"".join(p.read_bytes() for p in (tmp_path / "out").iterdir())
    assert str(raw.info["meas_date"])[:10].encode() not in content


@pytest.mark.parametrize("name", ["test.edf", "test.bdf"])
def test_a_truncated_edf_is_refused_unless_asked_for(name, real_data, tmp_path):
    path = tmp_path / name
    content = (real_data / "recordings" / name).read_bytes()
    bids_meeg.open_raw(real_data / "recordings" / name)
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(checks.DataFileError, match="bytes but its header asks for"):
        bids_meeg.open_raw(path)


def test_settings_of_whole_numbers_and_windows_are_checked():
    with pytest.raises(checks.ConfigError, match="tmax"):
        MeegSettings(tmin=0.5, tmax=0.1)
    with pytest.raises(checks.ConfigError, match="modalities"):
        BidsSettings(modalities=("nirs",))


def test_columns_that_not_every_run_has_are_left_out(functions, tmp_path):
    functions["synthetic"](tmp_path / "raw", **ONLY_EEG)
    edit(tmp_path / "raw/sub-01/eeg/sub-01_task-pictures_run-1_events.tsv", "trial_type", "kind")
    functions["prepare"](tmp_path / "raw", tmp_path / "out")
    table = NeuralDataset.read(tmp_path / "out").trials["sub-01_eeg"].table
    assert "trial_type" not in table and "kind" not in table and "stim_file" in table


def test_a_sidecar_that_says_no_number_is_refused(functions, tmp_path):
    functions["synthetic"](tmp_path / "raw", eeg=False)
    edit(next((tmp_path / "raw").rglob("*run-2*desc-preproc_bold.json")), "0.75", '"soon"')
    with pytest.raises(checks.DataFileError, match="says StartTime 'soon', expected seconds"):
        functions["prepare"](tmp_path / "raw", tmp_path / "out")


def test_a_recording_that_is_a_folder_is_all_of_its_files(tmp_path):
    folder = tmp_path / "sub-01_task-x_meg.ds"
    (folder / "hz.ds").mkdir(parents=True)
    for name in ("x.meg4", "x.res4", "hz.ds/hz.meg4"):
        (folder / name).write_bytes(b"1")
    (tmp_path / "sub-01_task-x_meg.json").write_text("{}")
    file = bids.parsed(folder)
    found = {str(p.relative_to(tmp_path)) for p in bids_meeg.parts(file)}
    inside = {f"{folder.name}/{n}" for n in ("x.meg4", "x.res4", "hz.ds/hz.meg4")}
    assert found == {"sub-01_task-x_meg.json"} | inside


@pytest.mark.parametrize(
    ("settings", "last", "beyond"),
    [
        (MeegSettings(), 9.19, 9.2),  # 999 samples after the first: the window ends with the last one
        (MeegSettings(decimate=4, low_pass_hz=8.0), 9.17, 9.18),  # of 250 kept samples
        (MeegSettings(whole_runs=True), 9.99, 10.0),
    ],
)
def test_an_event_whose_window_ends_with_the_recording_is_kept(tmp_path, rng, settings, last, beyond):
    folder = tmp_path / "sub-01" / "eeg"
    signal = 1e-6 * rng.standard_normal((2, 1000))
    bids_synthetic.write_brainvision(folder / "sub-01_task-a_eeg", signal, ("Cz", "Pz"), SFREQ)
    chosen = BidsSettings(meeg=settings, bad_events="drop")
    (file,) = bids_meeg.recordings(tmp_path, "01", "eeg", chosen)
    for onset, dropped in ((last, 0), (beyond, 1)):
        rows = f"onset\tduration\ttrial_type\n2.0\t0\tx\n{onset}\t0\ty\n"
        (folder / "sub-01_task-a_events.tsv").write_text(rows)
        assert bids_meeg.read_trials(tmp_path, [file], "eeg", 1, [], chosen)[1] == [dropped]
