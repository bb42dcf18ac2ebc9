"""NSD's layout is read as a loop over its files would read it, in bounded memory; contradictions are refused."""

from __future__ import annotations

import tracemalloc

import h5py
import nibabel
import numpy as np
import pytest
from scipy.io import loadmat, savemat

from braindec import checks
from braindec.data import fmri, nsd

GRID = (7, 6, 5)  # x, y, z
N_SESSIONS, PER_SESSION, N_IMAGES = 3, 12, 18
BETAS = "nsddata_betas/ppdata/subj02/func1pt8mm/betas_fithrf_GLMdenoise_RR"
ROI = "nsddata/ppdata/subj02/func1pt8mm/roi"
RESPONSES = "nsddata/ppdata/subj02/behav/responses.tsv"
DESIGN = "nsddata/experiments/nsd/nsd_expdesign.mat"


def save(path, data, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(data, np.diag([1.8, 1.8, 1.8, 1]) if affine is None else affine), path)


@pytest.fixture
def raw(tmp_path, rng):
    """Betas of every voxel, the masks, the design and the responses of one subject."""
    general = np.where(rng.random(GRID) < 0.4, 1, rng.integers(-1, 1, GRID)).astype(np.int16)
    save(tmp_path / ROI / "nsdgeneral.nii.gz", general)
    save(tmp_path / ROI / "streams.nii.gz", rng.integers(-1, 3, GRID).astype(np.int16))
    save(tmp_path / ROI / "V1.nii.gz", rng.integers(0, 2, GRID).astype(np.int16))
    save(tmp_path / ROI / "lh.V1.nii.gz", rng.integers(0, 2, GRID).astype(np.int16))
    (tmp_path / BETAS).mkdir(parents=True)
    for session in range(1, N_SESSIONS + 1):
        with h5py.File(tmp_path / BETAS / f"betas_session{session:02d}.hdf5", "w") as file:
            file["betas"] = rng.integers(-32768, 32767, (PER_SESSION, *GRID[::-1])).astype(np.int16)
    n = N_SESSIONS * PER_SESSION
    order = rng.permutation(np.repeat(np.arange(1, N_IMAGES + 1), 2))
    order[order == N_IMAGES] = 2000  # one image that is not shared
    images = np.stack([rng.permutation(np.arange(1, 73_001))[:10_000] for _ in range(8)])
    (tmp_path / DESIGN).parent.mkdir(parents=True)
    savemat(
        tmp_path / DESIGN, {"masterordering": order[None], "subjectim": images, "sharedix": images[:1, :1000]}
    )
    rows = ["SUBJECT\tSESSION\tRUN\tTRIAL\t73KID\tTIME"]
    for t in range(n):
        session, within = divmod(t, PER_SESSION)
        time = 700_000 + session + within * 4 / 86_400
        rows.append(
            f"2\t{session + 1}\t{within // 6 + 1}\t{within % 6 + 1}\t{images[1, order[t] - 1]}\t{time:.9f}"
        )
    (tmp_path / RESPONSES).parent.mkdir(parents=True)
    (tmp_path / RESPONSES).write_text("\n".join(rows) + "\n")
    return tmp_path


def by_hand(raw, trial):
    """One trial's betas, a voxel at a time in the order of the mask image."""
    session, within = divmod(trial, PER_SESSION)
    with h5py.File(raw / BETAS / f"betas_session{session + 1:02d}.hdf5", locking=False) as file:
        volume = file["betas"][within]
    mask = np.asarray(nibabel.load(raw / ROI / "nsdgeneral.nii.gz").dataobj)
    return [volume[z, y, x] / 300 for x, y, z in np.argwhere(mask > 0)]


def test_every_trial_is_what_a_loop_over_the_files_reads(raw):
    trials = fmri.read_nsd(raw, 2)
    wanted = np.array([30, 5, 2, 2, 17, 35])
    expected = np.array([by_hand(raw, t) for t in wanted])
    assert trials.responses[wanted] == pytest.approx(expected, rel=1e-6)
    assert trials.responses[2:4] == pytest.approx(np.array([by_hand(raw, 2), by_hand(raw, 3)]), rel=1e-6)
    assert trials.n_trials == 36 and trials.units == "percent signal change"


def test_the_table_names_images_from_zero_and_counts_repeats(raw):
    table = fmri.read_nsd(raw, 2).table
    design = loadmat(raw / DESIGN)
    ids = design["subjectim"][1][design["masterordering"].ravel() - 1] - 1
    assert table["stimulus_id"].tolist() == [f"nsd-{i:05d}" for i in ids]
    assert table["shared"].tolist() == (design["masterordering"].ravel() <= 1000).tolist()
    assert all(
        sorted(table["repeat"][table["stimulus_id"] == i]) == [0, 1] for i in np.unique(table["stimulus_id"])
    )
    assert table["run"][[0, 7, 35]].tolist() == ["1-1", "1-2", "3-2"]
    assert table["onset_s"][:7] == pytest.approx([0, 4, 8, 12, 16, 20, 0], abs=0.01)


def test_some_sessions_keep_their_place_in_the_whole(raw):
    whole, part = fmri.read_nsd(raw, 2), fmri.read_nsd(raw, 2, sessions=[3, 1])
    rows = np.flatnonzero(np.isin(whole.table["session"], ["1", "3"]))
    assert np.array_equal(part.responses[:], whole.responses[rows])
    for column in whole.table:
        assert np.array_equal(part.table[column], whole.table[column][rows])


def test_regions_are_named_by_file_and_label(raw):
    space = fmri.read_nsd(raw, 2).space
    assert set(space.regions) == {"V1", "streams-1", "streams-2"}
    streams = np.asarray(nibabel.load(raw / ROI / "streams.nii.gz").dataobj)
    assert np.array_equal(space.regions["streams-2"], streams[space.mask] == 2)


def test_memory_is_bounded_by_the_block_not_by_the_session(raw, monkeypatch):
    big = 4000
    with h5py.File(raw / BETAS / "betas_session01.hdf5", "w") as file:
        file.create_dataset("betas", (big, *GRID[::-1]), dtype=np.int16, fillvalue=3)
    mask = np.asarray(nibabel.load(raw / ROI / "nsdgeneral.nii.gz").dataobj) > 0
    betas = nsd.NsdBetas([raw / BETAS / "betas_session01.hdf5"], [big], mask)
    monkeypatch.setattr(nsd, "BLOCK_BYTES", 100 * 2 * mask.size)
    tracemalloc.start()
    values = betas[np.arange(big)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert values == pytest.approx(0.01) and values.shape == (big, mask.sum())
    assert peak < values.nbytes + 4 * 100 * 4 * mask.size + 200_000


@pytest.mark.parametrize("fault", ["images", "count", "grid", "dtype", "session"])
def test_files_that_contradict_each_other_are_refused(raw, fault):
    first = raw / BETAS / "betas_session01.hdf5"
    text = (raw / RESPONSES).read_text()
    if fault == "images":
        lines = text.splitlines()
        lines[4], lines[5] = lines[5], lines[4]
        (raw / RESPONSES).write_text("\n".join(lines) + "\n")
    elif fault == "session":
        (raw / RESPONSES).write_text("\n".join(text.splitlines()[:-PER_SESSION]) + "\n")
    else:
        shapes = {
            "count": (PER_SESSION - 1, *GRID[::-1]),
            "grid": (PER_SESSION, *GRID),
            "dtype": (PER_SESSION, *GRID[::-1]),
        }
        with h5py.File(first, "w") as file:
            file["betas"] = np.zeros(shapes[fault], dtype=np.float32 if fault == "dtype" else np.int16)
    with pytest.raises(checks.DataFileError):
        fmri.read_nsd(raw, 2)


def test_betas_of_another_subject_are_asked_for(raw):
    with pytest.raises(FileNotFoundError, match="subj05"):
        fmri.read_nsd(raw, 5)
