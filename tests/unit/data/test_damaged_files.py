"""Cut, flipped and overwritten files of every format are refused with one error, or read; nothing else is raised."""

from __future__ import annotations

import pickle
import warnings

import h5py
import mne
import nibabel
import numpy as np
import pytest
from scipy.io import savemat

from braindec import checks
from braindec.data import card, catalogue, fmri, layout, meeg, nifti, nsd, safe_npy

N_MUTANTS = 40
MASK = np.ones((4, 4, 3), dtype=bool)


def mutants(content: bytes, rng: np.random.Generator):
    """Truncations, flipped bits, overwritten blocks and damage to the first bytes."""
    for i in range(N_MUTANTS):
        damaged, at = bytearray(content), int(rng.integers(len(content)))
        if i % 4 == 0:
            damaged = damaged[:at]
        elif i % 4 == 1:
            damaged[at] ^= 1 << int(rng.integers(8))
        elif i % 4 == 2:
            damaged[at : at + 16] = rng.bytes(len(damaged[at : at + 16]))
        else:
            damaged[int(rng.integers(min(64, len(damaged))))] = int(rng.integers(256))
        yield bytes(damaged)


def write_nifti(path, rng):
    nibabel.save(nibabel.Nifti1Image(rng.integers(0, 999, (4, 4, 3, 6)).astype(np.int16), np.eye(4)), path)


def write_fif(path, rng):
    info = mne.create_info(["O1", "Oz"], 100.0, "eeg")
    mne.EpochsArray(1e-6 * rng.standard_normal((5, 2, 30)), info, verbose="error").save(path, verbose="error")


def write_h5(path, rng):
    with h5py.File(path, "w") as file:
        file["betas"] = rng.integers(-99, 99, (6, 3, 4, 4)).astype(np.int16)


def write_csv(path, rng):
    rows = [f"{i / 256:.3f},{v:.3f},{int(i == 30)}" for i, v in enumerate(rng.standard_normal(60))]
    path.write_text("\n".join(["timestamps,Oz,Marker0", *rows]) + "\n")


def write_events(path, rng):
    path.write_text("onset\tduration\ttrial_type\n" + "".join(f"{i}\t1.5\tcat\n" for i in range(20)))


def things(rng):
    data = rng.standard_normal((3, 2, 2, 8))
    return {"preprocessed_eeg_data": data, "ch_names": ["O1", "Oz"], "times": np.arange(8) / 100}


def write_npy(path, rng):
    np.save(path, things(rng), allow_pickle=True)


def write_pickle(path, rng):
    path.write_bytes(pickle.dumps(things(rng), protocol=4))


def write_card(path, rng):
    path.write_bytes((catalogue.folder("haxby2001") / "README.md").read_bytes())


def write_digits(path, rng):
    part = {"fmri": rng.standard_normal, "stim": lambda s: rng.integers(0, 256, s, dtype=np.uint8)}
    held = {
        f"{k}{p}": part[k]((n, w))
        for k, w in (("fmri", 9), ("stim", 784))
        for p, n in (("Trn", 4), ("Test", 2))
    }
    held |= {f"label{p}": np.ones((n, 1), dtype=np.uint8) for p, n in (("Trn", 4), ("Test", 2))}
    savemat(path, held)


def read_nifti(path):
    return nifti.values(nifti.load(path), path)


def read_h5(path):
    return nsd.NsdBetas([path], [6], MASK)[:]


def read_csv(path):
    recording = meeg.read_csv(
        path,
        channels=("Oz",),
        marker="Marker0",
        codes={1: "face"},
        sfreq=256.0,
        subject=1,
        run="1",
        montage=None,
    )
    return recording.signal


def read_things(path):
    return meeg.read_things_eeg2(path, ["a", "b", "c"], subject=1, montage=None).responses


def read_digits(path):
    return catalogue.load("digits69")["prepare"](path.parent, path.parent / "out", dry_run=True).n_stimuli


FORMATS = {
    "bold.nii.gz": (write_nifti, read_nifti),
    "bold.nii": (write_nifti, read_nifti),
    "x-epo.fif": (write_fif, lambda path: meeg.read_epochs_fif(path, subject=1).responses),
    "betas.hdf5": (write_h5, read_h5),
    "eeg.csv": (write_csv, read_csv),
    "events.tsv": (write_events, lambda path: fmri.read_events(path)["onset_s"]),
    "numpy.npy": (write_npy, read_things),
    "pickle.npy": (write_pickle, read_things),
    "digit69_28x28.mat": (write_digits, read_digits),
    "haxby2001/README.md": (write_card, lambda path: card.read_card(path).facts["subjects"]),
}
VERIFIED = {"bold.nii.gz"}  # formats with a checksum that covers everything


@pytest.mark.parametrize("name", FORMATS)
def test_damage_is_a_data_file_error_or_nothing(name, tmp_path, rng):
    write, read = FORMATS[name]
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    write(path, rng)
    original, expected = path.read_bytes(), read(path)
    refused = 0
    for content in mutants(original, rng):
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = read(path)
            except checks.DataFileError as error:
                refused += 1
                assert str(path) in str(error)
                continue
        if name in VERIFIED:
            assert np.array_equal(found, expected)
    assert refused > 0


@pytest.mark.parametrize("name", ["sub-01_fmri.h5", "stimuli.h5"])
def test_what_braindec_wrote_is_read_equal_or_refused(name, template, tmp_path, rng):
    original = (template / name).read_bytes()
    path = tmp_path / name

    def read():
        if name == "stimuli.h5":
            stimuli = layout.read_stimuli(path)
            return stimuli.images(stimuli.ids), np.array(stimuli.ids), stimuli.table["category"]
        trials = layout.read_trials(path)
        return trials.responses[:], trials.table["stimulus_id"], trials.space.mask

    path.write_bytes(original)
    expected = read()
    for content in mutants(original, rng):
        path.write_bytes(content)
        try:
            found = read()
        except checks.DataFileError:
            continue
        for a, b in zip(found, expected, strict=True):
            assert np.array_equal(a, b)


def test_a_pickle_that_announces_a_huge_length_takes_no_memory(tmp_path):
    path = tmp_path / "huge.npy"
    path.write_bytes(b"\x80\x04\x8e" + (1 << 62).to_bytes(8, "little") + b"abc")
    with pytest.raises(checks.DataFileError, match="cut"):
        safe_npy.load(path)
