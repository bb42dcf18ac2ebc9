"""Miniatures of THINGS-MEG: drawn pictures, epochs with planted responses in several FIF files, and their table."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from braindec import seeding
from braindec.data import miniature
from braindec.data.catalogue import Truth
from braindec.types import Table

N_IMAGES, N_REPEATS, N_CATCH, N_SESSIONS, N_RUNS = 3, 12, 10, 2, 3
SFREQ, TMIN, N_TIMES = 200.0, -0.1, 281
RUN_SFREQ, LEAD_S = (
    1200.0,
    20.0,
)  # of continuous runs: Hz, and seconds before the first picture and after the last


def synthetic(
    raw: str | Path,
    *,
    seed: int,
    subjects: Iterable[int],
    n_concepts: tuple[int, int],
    n_channels: int,
    noise: float,
    runs: bool,
) -> Truth:
    """See prepare.py."""
    raw = Path(raw)
    generator = seeding.numpy_generator(seed, "things_meg", "pictures")
    names = miniature.concept_names(n_concepts[0])
    tested = sorted(generator.permutation(names)[: n_concepts[1]].tolist())
    shown = miniature.draw(names, N_IMAGES, generator)
    probes = miniature.draw(tested, 1, generator, first=14)  # the pictures after those of the experiment
    for picture in [*shown, *probes]:
        miniature.save(picture, raw / "images" / picture.concept)
    responses, tables = {}, {}
    for subject in subjects:
        own = seeding.numpy_generator(seed, "things_meg", subject)
        key = f"sub-{subject:02d}_meg"
        responses[key], tables[key] = _write_subject(
            raw, subject, shown, probes, n_channels, noise, runs, own
        )
    return Truth(responses, tables, {"pictures": [*shown, *probes]})


def _write_subject(
    raw: Path,
    subject: int,
    shown: list[miniature.Picture],
    probes: list[miniature.Picture],
    n_channels: int,
    noise: float,
    runs: bool,
    generator: np.random.Generator,
) -> tuple[np.ndarray, Table]:
    pictures = [*shown, *probes]
    kinds = ["exp"] * len(shown) + ["test"] * len(probes)
    rows = np.concatenate(
        [np.arange(len(shown)), np.repeat(len(shown) + np.arange(len(probes)), N_REPEATS), [-1] * N_CATCH]
    )
    rows = generator.permutation(rows)  # -1: a catch trial
    times = TMIN + np.arange(N_TIMES) / SFREQ
    latency = np.linspace(0.1, 0.3, miniature.N_FEATURES)
    course = np.exp(-(((times - latency[:, None]) / 0.04) ** 2))
    map_ = generator.standard_normal((n_channels, miniature.N_FEATURES))
    planted = np.einsum("nf,cf,ft->nct", miniature.features(pictures), map_, course)
    data = planted[rows] / planted.std() + noise * generator.standard_normal((len(rows), n_channels, N_TIMES))
    table = _attributes(rows, pictures, kinds)
    folder = raw / "derivatives" / "preprocessed"
    folder.mkdir(parents=True, exist_ok=True)
    (raw / "sourcedata").mkdir(parents=True, exist_ok=True)
    table.to_csv(raw / "sourcedata" / f"sample_attributes_P{subject}.csv", index=False)
    codes = np.where(rows < 0, 999_999, rows + 1)
    _save_epochs(folder / f"preprocessed_P{subject}-epo.fif", data, codes, table)
    if runs:
        signal = np.where(rows[:, None, None] < 0, 0.0, planted[rows] / planted.std())
        _save_runs(raw, subject, signal, table, noise, generator)
    kept = rows >= 0
    stems = np.array([pictures[i].stem for i in rows[kept]])
    columns = {
        "stimulus_id": stems,
        "trial_type": np.array([kinds[i] for i in rows[kept]]),
        "event": codes[kept],
    }
    return data[kept].astype(np.float32), Table(columns | {"acquisition_order": np.flatnonzero(kept)})


def _attributes(rows: np.ndarray, pictures: list[miniature.Picture], kinds: list[str]) -> Any:
    """A row an epoch; catch trials show pictures that are no objects."""
    import pandas as pd

    n = len(rows)
    part = np.arange(n) * N_SESSIONS * N_RUNS // n
    within = np.arange(n) - np.searchsorted(part, part)
    path = {"exp": "images_meg/{0}/{1}.jpg", "test": "images_test_meg/{1}.jpg"}
    paths = [
        "images_catch_meg/catch_01.jpg"
        if i < 0
        else path[kinds[i]].format(pictures[i].concept, pictures[i].stem)
        for i in rows.tolist()
    ]
    return pd.DataFrame(
        {
            "trial_type": ["catch" if i < 0 else kinds[i] for i in rows.tolist()],
            "session_nr": part // N_RUNS + 1,
            "run_nr": part % N_RUNS + 1,
            "image_nr": np.where(rows < 0, 999_999, rows + 1),
            "things_image_nr": np.where(rows < 0, 999_999, rows + 1),
            "image_path": paths,
            "image_on": 10.0 + 1.5 * within,
            "image_off": 10.5 + 1.5 * within,
        }
    )


def _save_epochs(path: Path, data: np.ndarray, codes: np.ndarray, table: Any) -> None:
    """FIF in files of at most two megabytes: the second one is named -epo-1.fif."""
    import mne

    n_channels = data.shape[1]
    info = mne.create_info([f"MLC{i // 8 + 1}{i % 8 + 1}-1609" for i in range(n_channels)], SFREQ, "mag")
    angle = np.linspace(0, 6 * np.pi, n_channels)
    height = np.linspace(0.1, 0.95, n_channels)
    for channel, a, h in zip(info["chs"], angle, height, strict=True):
        ring = np.sqrt(1 - h**2)
        normal = np.array([ring * np.cos(a), ring * np.sin(a), h])
        channel["loc"] = np.concatenate([0.11 * normal, np.eye(3).ravel()])
        channel["coil_type"] = mne.io.constants.FIFF.FIFFV_COIL_POINT_MAGNETOMETER
    info["dev_head_t"] = mne.transforms.Transform("meg", "head", np.eye(4))
    events = np.stack([1200 * (1 + 2 * np.arange(len(codes))), np.zeros(len(codes), int), codes], 1)
    epochs = mne.EpochsArray(data, info, events, TMIN, metadata=table, verbose="error")
    for old in path.parent.glob(path.name.replace("-epo.fif", "-epo*.fif")):
        old.unlink()
    epochs.save(path, split_size="2MB", fmt="single", overwrite=True, verbose="error")


def _save_runs(
    raw: Path, subject: int, signal: np.ndarray, table: Any, noise: float, generator: np.random.Generator
) -> None:
    """Continuous runs of 1200 Hz: trigger 64 at each picture, 32 at the end; a broken and a reference sensor."""
    import mne

    n_channels = signal.shape[1]
    names = [f"MLC{i // 8 + 1}{i % 8 + 1}-1609" for i in range(n_channels)]
    names += ["MRO11-1609", "BG1-1609", "UPPT001"]
    info = mne.create_info(names, RUN_SFREQ, ["mag"] * (n_channels + 1) + ["ref_meg", "stim"])
    fine = np.arange(round(TMIN * RUN_SFREQ), round((N_TIMES / SFREQ + TMIN) * RUN_SFREQ))
    coarse = TMIN + np.arange(N_TIMES) / SFREQ
    for (session, run), own in table.groupby(["session_nr", "run_nr"]):
        onsets = round(LEAD_S * RUN_SFREQ) + np.arange(len(own)) * round(1.5 * RUN_SFREQ)
        data = noise * generator.standard_normal((len(names), onsets[-1] + round(LEAD_S * RUN_SFREQ)))
        data[-1] = 0.0
        for onset, epoch in zip(onsets, signal[own.index], strict=True):
            for channel, values in enumerate(epoch):
                data[channel, onset + fine] += np.interp(fine / RUN_SFREQ, coarse, values)
            data[-1, onset : onset + 60] = 64
        data[-1, -100:-40] = 32
        data[:-1] *= 1e-13
        folder = raw / f"sub-BIGMEG{subject}" / f"ses-{session:02d}" / "meg"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"sub-BIGMEG{subject}_ses-{session:02d}_task-main_run-{run:02d}_meg.fif"
        recording = mne.io.RawArray(data, info, verbose="error")
        recording.save(path, fmt="double", overwrite=True, verbose="error")
