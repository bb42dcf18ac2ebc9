"""Thousands of damaged files of every container that is read: refused with one error, or read with an equal shape.

Files that braindec wrote are read equal or refused. Everything is read in processes that may crash, hang or be killed
without taking the test with them. A small sample runs with the fast tests.

By hand: python tests/soak/test_mutated_files.py FORMAT SEED N
"""

from __future__ import annotations

import dataclasses
import faulthandler
import io
import json
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from braindec import checks, store
from braindec.data import (
    bids_meeg,
    catalogue,
    cifti,
    fmri,
    layout,
    meeg,
    mindeye1,
    nifti,
    nsd,
    nsd_rows,
    plain_arrays,
    safe_npy,
)
from braindec.data.loader import MappedRows
from braindec.types import ArraySpace, Table, Trials

SOAK_FILES = 5000  # of all formats together
OWN = ("prepared", "stimuli", "decoder weights", "decoder settings", "decoder space")
OWN_FILES = 2000  # of those that braindec writes, none of which may be read as anything but what was written
FEW = 12  # of each format in the fast tests
SECONDS = 15  # of a processor, a file
PATIENCE = (
    120  # seconds of the clock, a file: a hang that waits uses no processor, and a busy machine is no hang
)
MEMORY = 2 << 30
KINDS = ("truncate", "flip", "zero", "nan", "header", "noise", "grow")


def mutant(kind: str, content: bytes, rng: np.random.Generator) -> bytes:
    """The content damaged in one way."""
    damaged, at = bytearray(content), int(rng.integers(len(content)))
    if kind == "truncate":
        return bytes(damaged[:at])
    if kind == "grow":
        return bytes(damaged) + rng.bytes(int(rng.integers(1, 600)))
    if kind == "flip":
        damaged[at] ^= 1 << int(rng.integers(8))
    elif kind == "header":
        damaged[int(rng.integers(min(512, len(damaged))))] = int(rng.integers(256))
    else:
        n = min(int(rng.integers(1, 300)), len(damaged) - at)
        patch = {"zero": bytes(n), "noise": rng.bytes(n), "nan": b"\x00\x00\xc0\x7f"}[kind]
        damaged[at : at + len(patch)] = patch[: len(damaged) - at]
    return bytes(damaged)


# ------------------------------------------------------------------------------------------- files and their readers


def write_nifti(path: Path, rng: np.random.Generator) -> None:
    import nibabel

    nibabel.save(nibabel.Nifti1Image(rng.integers(0, 999, (4, 4, 3, 6)).astype(np.int16), np.eye(4)), path)


def write_mgz(path: Path, rng: np.random.Generator) -> None:
    import nibabel

    nibabel.save(nibabel.MGHImage(rng.standard_normal((60, 1, 1)).astype(np.float32), np.eye(4)), path)


def write_mgh(path: Path, rng: np.random.Generator) -> None:
    import nibabel

    nibabel.save(nibabel.MGHImage(rng.standard_normal((60, 1, 1, 5)).astype(np.float32), np.eye(4)), path)


def write_gifti(path: Path, rng: np.random.Generator) -> None:
    import nibabel

    maps = [
        nibabel.gifti.GiftiDataArray(
            rng.standard_normal(60).astype(np.float32), intent="NIFTI_INTENT_ESTIMATE"
        )
        for _ in range(4)
    ]
    nibabel.save(nibabel.GiftiImage(darrays=maps), path)


def write_npz(path: Path, rng: np.random.Generator) -> None:
    np.savez_compressed(path, rng.standard_normal((7, 5)).astype(np.float32))


def write_tar(path: Path, rng: np.random.Generator) -> None:
    values = {"nsdgeneral.npy": (3, 20), "coco73k.npy": (1,), "num_uniques.npy": (1,), "jpg": (9,)}
    with tarfile.open(path, "w") as tar:
        for i in range(4):
            for kind, shape in values.items():
                content = io.BytesIO()
                np.save(
                    content,
                    np.ones(shape) if shape == (1,) else rng.standard_normal(shape).astype(np.float16),
                )
                member = tarfile.TarInfo(f"sample{i:011d}.{kind}")
                member.size = content.tell()
                content.seek(0)
                tar.addfile(member, content)


def write_cifti(path: Path, rng: np.random.Generator) -> None:
    import nibabel

    n, axes = 32492, []
    for side in ("left", "right"):
        mask = np.zeros(n, dtype=bool)
        mask[: 20 if side == "left" else 15] = True
        axes.append(nibabel.cifti2.BrainModelAxis.from_mask(mask, name=f"cortex_{side}"))
    header = (nibabel.cifti2.SeriesAxis(0, 1.0, 8), axes[0] + axes[1])
    nibabel.Cifti2Image(rng.standard_normal((8, 35)).astype(np.float32), header).to_filename(path)


def write_betas(path: Path, rng: np.random.Generator) -> None:
    with h5py.File(path, "w") as file:
        file["betas"] = rng.integers(-99, 99, (6, 3, 4, 4)).astype(np.int16)


def write_mat(path: Path, rng: np.random.Generator) -> None:
    savemat(path, {"masterordering": rng.integers(1, 9, (1, 30)), "subjectim": rng.integers(1, 99, (8, 10))})


def write_npy(path: Path, rng: np.random.Generator) -> None:
    np.save(path, rng.standard_normal((7, 5)).astype(np.float32))


def write_things(path: Path, rng: np.random.Generator) -> None:
    held = {"preprocessed_eeg_data": rng.standard_normal((3, 2, 2, 8)), "ch_names": ["O1", "Oz"]}
    np.save(path, held | {"times": np.arange(8) / 100}, allow_pickle=True)


def write_fif(path: Path, rng: np.random.Generator) -> None:
    import mne

    info = mne.create_info(["O1", "Oz"], 100.0, "eeg")
    epochs = mne.EpochsArray(1e-6 * rng.standard_normal((5, 2, 30)), info, verbose="error")
    epochs.save(path, verbose="error")


def write_csv(path: Path, rng: np.random.Generator) -> None:
    rows = [f"{i / 256:.3f},{v:.3f},{int(i == 30)}" for i, v in enumerate(rng.standard_normal(60))]
    path.write_text("\n".join(["timestamps,Oz,Marker0", *rows]) + "\n")


def write_events(path: Path, rng: np.random.Generator) -> None:
    path.write_text("onset\tduration\ttrial_type\n" + "".join(f"{i}\t1.5\tcat\n" for i in range(20)))


def write_vhdr(path: Path, rng: np.random.Generator) -> None:
    name = path.stem
    path.write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={name}.eeg\nMarkerFile={name}.vmrk\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\n"
        "NumberOfChannels=2\nDataPoints=200\nSamplingInterval=4000\n\n[Binary Infos]\nBinaryFormat=INT_16\n\n"
        "[Channel Infos]\nCh1=O1,,0.1,µV\nCh2=Oz,,0.1,µV\n",
        encoding="utf-8",
    )
    path.with_suffix(".vmrk").write_text(
        f"Brain Vision Data Exchange Marker File, Version 1.0\n\n[Common Infos]\nDataFile={name}.eeg\n\n"
        "[Marker Infos]\nMk1=New Segment,,1,1,0\nMk2=Stimulus,S  1,20,1,0\n"
    )
    path.with_suffix(".eeg").write_bytes(rng.integers(-999, 999, (200, 2)).astype("<i2").tobytes())


def write_edf(path: Path, rng: np.random.Generator) -> None:
    """Ten records of one second, two channels of 20 samples; 16 bits, or 24 in a BDF."""
    bdf = path.suffix == ".bdf"
    low, high = (-8388608, 8388607) if bdf else (-32768, 32767)
    first = b"\xffBIOSEMI" if bdf else b"0       "
    line = f"{'X':<80}{'X':<80}01.01.2001.01.01{768:<8}{'24BIT' if bdf else '':<44}{10:<8}{1:<8}{2:<4}"
    widths = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)
    texts = ("Oz", "AgCl", "uV", "-400", "400", str(low), str(high), "", "20", "")
    fields = [([f"{t}{i}" if t == "Oz" else t for i in "12"], w) for t, w in zip(texts, widths)]
    head = first + line.encode() + "".join(f"{v:<{w}}" for vs, w in fields for v in vs).encode()
    values = rng.integers(-9999, 9999, (10, 2, 20))
    if bdf:
        data = values.astype("<i4").reshape(-1, 1).view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    else:
        data = values.astype("<i2").tobytes()
    path.write_bytes(head + data)


def write_set(path: Path, rng: np.random.Generator) -> None:
    eeg = {
        "data": rng.standard_normal((2, 200)).astype(np.float32), "nbchan": 2.0, "pnts": 200.0, "trials": 1.0,
        "srate": 100.0, "xmin": 0.0, "xmax": 1.99, "setname": "x", "filename": path.name, "comments": "",
        "chanlocs": np.array([("O1", 0), ("Oz", 0)], dtype=[("labels", "O"), ("theta", "O")]), "ref": "common",
        "event": np.array([("face", 20.0), ("house", 60.0)], dtype=[("type", "O"), ("latency", "O")]), "epoch": [],
    }  # fmt: skip
    savemat(path, {"EEG": eeg}, appendmat=False)


def trials(rng: np.random.Generator) -> Trials:
    n = np.arange(12)
    table = {"stimulus_id": np.array([f"s{i}" for i in n]), "session": n // 6, "run": n // 3, "repeat": 0 * n}
    table |= {"onset_s": n * 2.0, "acquisition_order": n, "exchangeability_block": n // 6}
    values = rng.standard_normal((12, 40)).astype(np.float32)
    return Trials(values, Table(table), ArraySpace(40), "a.u.", 1, "fmri")


def write_trials(path: Path, rng: np.random.Generator) -> None:
    layout.write_trials(path.parent, trials(rng)).rename(path)


def write_stimuli(path: Path, rng: np.random.Generator) -> None:
    images = rng.integers(0, 256, (5, 6, 6, 3), dtype=np.uint8)
    layout.write_stimuli(path.parent, list("abcde"), kind="image", images=images, captions={"a": "é"}).rename(
        path
    )


def read_ours(path: Path) -> list[np.ndarray]:
    found = layout.read_trials(path)
    mapped = MappedRows(store.Stored(path).rows("responses"))
    return [found.responses[:], mapped[:], *found.table.values(), np.array([found.units, found.key])]


def write_decoder(path: Path, rng: np.random.Generator) -> None:
    """Weights, settings, measured space and card of a small decoder, fitted on the planted trials."""
    from braindec import train
    from braindec.adapters import linear as adapters_linear
    from braindec.backbones import linear
    from braindec.data import NeuralDataset, Split
    from braindec.decoder import BrainDecoder, Settings
    from braindec.losses import mse
    from braindec.types import Embeddings, StimulusSet

    ids = tuple(f"s{i}" for i in range(12))
    split = Split("default", "stimulus", {"train": ids[:8], "test": ids[8:]})
    dataset = NeuralDataset.from_trials([trials(rng)], StimulusSet(ids, "none"), split, name="planted")
    values = rng.standard_normal((12, 1, 4)).astype(np.float32)
    embeddings = Embeddings(ids, values, "planted", {"model": "planted"}, "0" * 64)
    settings = Settings(
        adapters_linear.Config(shared_dim=4), linear.Config(), mse.Config(), calibrate=False,
        train=train.Config(n_steps=1, batch_size=8, device="cpu"),
    )  # fmt: skip
    made = BrainDecoder.build(settings, dataset.info, embeddings.info)
    made.fit(dataset.part("train"), embeddings, progress=False).save_pretrained(path.parent)


def read_decoder(path: Path) -> list[np.ndarray]:
    from braindec.decoder import BrainDecoder

    found = BrainDecoder.from_pretrained(path.parent)
    return [
        *(v.numpy() for v in found.state_dict().values()),
        np.array(json.dumps(found.provenance, sort_keys=True)),
    ]


def read_shown(path: Path) -> list[np.ndarray]:
    found = layout.read_stimuli(path)
    return [found.images(found.ids), np.array(found.ids), np.array(sorted(found.captions.items()))]


def read_raw(path: Path) -> np.ndarray:
    raw = bids_meeg.open_raw(path)
    with bids_meeg.reading(path, Exception):
        return raw.get_data(verbose="error")


def read_csv(path: Path) -> np.ndarray:
    about: dict[str, Any] = {"channels": ("Oz",), "marker": "Marker0", "codes": {1: "face"}, "sfreq": 256.0}
    return meeg.read_csv(path, **about, subject=1, run="1", montage=None).signal


def read_things(path: Path) -> np.ndarray:
    return meeg.read_things_eeg2(path, ["a", "b", "c"], subject=1, montage=None).responses[:]


def read_tar(path: Path) -> np.ndarray:
    return mindeye1.Rows(mindeye1.samples_of(path))[:]


def read_series(path: Path) -> np.ndarray:
    return cifti.DenseSeries(path)[:]


@dataclasses.dataclass(frozen=True)
class Format:
    """How a file is written and read; which of its files is damaged; whether damage must never pass unseen; whether
    fewer rows than were written may come back, as the container does not say how many there are."""

    name: str
    write: Callable[[Path, np.random.Generator], None]
    read: Callable[[Path], Any]
    damaged: str = ""
    verified: bool = False
    countless: bool = False


FORMATS = {
    "nifti": Format("a.nii", write_nifti, lambda p: nifti.values(nifti.load(p), p)),
    "nifti.gz": Format("a.nii.gz", write_nifti, lambda p: nifti.values(nifti.load(p), p), verified=True),
    "mgz": Format("lh.a.mgz", write_mgz, nsd_rows.read_mgh),
    "mgh": Format("lh.arrays.mgh", write_mgh, plain_arrays.read_surface),
    "gifti": Format("lh.arrays.func.gii", write_gifti, plain_arrays.read_surface),
    "npz": Format("arrays.npz", write_npz, plain_arrays.read_npz, verified=True),
    "tar": Format("train_subj01_0.tar", write_tar, read_tar),
    "cifti": Format("a.dtseries.nii", write_cifti, read_series),
    "nsd": Format("betas.hdf5", write_betas, lambda p: nsd.NsdBetas([p], [6], np.ones((4, 4, 3), bool))[:]),
    "mat": Format("a.mat", write_mat, lambda p: nsd.read_mat(p, ("masterordering", "subjectim"))["subjectim"]),
    "npy": Format("a.npy", write_npy, safe_npy.load),
    "things": Format("t.npy", write_things, read_things),
    "fif": Format("a-epo.fif", write_fif, lambda p: meeg.read_epochs_fif(p, subject=1).responses),
    "brainvision": Format("a.vhdr", write_vhdr, read_raw),
    "brainvision data": Format("a.vhdr", write_vhdr, read_raw, damaged="a.eeg"),
    "edf": Format("a.edf", write_edf, read_raw),
    "bdf": Format("a.bdf", write_edf, read_raw),
    "eeglab": Format("a.set", write_set, read_raw),
    "csv": Format("a.csv", write_csv, read_csv, countless=True),
    "tsv": Format("events.tsv", write_events, lambda p: fmri.read_events(p)["onset_s"], countless=True),
    "card": Format("haxby2001/README.md", lambda p, _: shutil.copy(catalogue.folder("haxby2001") / "README.md", p),
                   lambda p: np.array(len(catalogue.read_card(p).facts)), countless=True),
    "prepared": Format("sub-01_fmri_.h5", write_trials, read_ours, verified=True),
    "stimuli": Format("stimuli_.h5", write_stimuli, read_shown, verified=True),
    "decoder weights": Format("model.safetensors", write_decoder, read_decoder, verified=True),
    "decoder settings": Format("config.json", write_decoder, read_decoder, verified=True),
    "decoder space": Format("preprocessing.h5", write_decoder, read_decoder, verified=True),
}  # fmt: skip


# ------------------------------------------------------------------------------------------------- reading mutants


def outcomes(name: str, seed: int, n: int, folder: Path) -> Iterator[tuple[str, str]]:
    """(what was done, what came of it) of `n` mutants: "refused", "equal", "other values", or what went wrong."""
    form, rng = FORMATS[name], np.random.default_rng(seed)
    path = folder / form.name
    path.parent.mkdir(exist_ok=True)
    form.write(path, rng)
    target = folder / form.damaged if form.damaged else path
    original, expected = target.read_bytes(), form.read(path)
    copied = [np.array(part) for part in (expected if isinstance(expected, list) else [expected])]
    for number in range(n):
        kind = KINDS[number % len(KINDS)]
        content = mutant(kind, original, rng)
        target.write_bytes(content)
        yield f"{kind} {number}", "unread"
        yield f"{kind} {number}", judged(form, path, content == original, copied)


def judged(form: Format, path: Path, unchanged: bool, expected: list[np.ndarray]) -> str:
    """What came of reading one file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = form.read(path)
    except checks.DataFileError as error:
        return "refused" if str(path.parent) in str(error) else f"the error names no file: {error}"
    except Exception as error:  # noqa: BLE001  # whatever else is raised is what is looked for
        return f"{type(error).__name__}: {error}"
    parts = [np.asarray(part) for part in (found if isinstance(found, list) else [found])]
    shapes, wanted = [p.shape for p in parts], [p.shape for p in expected]
    if len(parts) == len(expected) and all(
        np.array_equal(a, b, equal_nan=a.dtype.kind == "f" == b.dtype.kind) for a, b in zip(parts, expected)
    ):
        return "equal"
    if form.verified or unchanged:
        return f"silently other values, {shapes} for {wanted}"
    if shapes != wanted and not form.countless:
        return f"silently another shape, {shapes} for {wanted}"
    return "other values"


def main(name: str, seed: int, n: int) -> None:
    """Reads mutants of one format and prints a line each; a hang is killed by the alarm, an abyss of memory refused."""
    faulthandler.enable()
    read = Path("/proc/self/statm").read_text().split()[0]
    resource.setrlimit(resource.RLIMIT_AS, (int(read) * resource.getpagesize() + MEMORY,) * 2)
    with tempfile.TemporaryDirectory() as folder:
        for what, came in outcomes(name, seed, n, Path(folder)):
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            signal.alarm(PATIENCE)
            print(json.dumps([what, came]), flush=True)


def in_a_process(name: str, seed: int, n: int) -> list[tuple[str, str]]:
    """`outcomes` of a process of its own, with how it ended where it did not end well."""
    command = [sys.executable, __file__, name, str(seed), str(n)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE * 5 + n)
    lines = [tuple(json.loads(line)) for line in run.stdout.splitlines()]
    if run.returncode:
        last = lines[-1][0] if lines else "the start"
        lines.append((last, f"the process ended with {run.returncode}: {run.stderr[-1500:]}"))
    return [line for line in lines if line[1] != "unread"]


def wrong(found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [line for line in found if line[1] not in ("refused", "equal", "other values")]


@pytest.mark.parametrize("name", FORMATS)
def test_a_few_damaged_files_are_refused_or_read_with_an_equal_shape(name, tmp_path):
    found = [line for line in outcomes(name, 1, FEW, tmp_path) if line[1] != "unread"]
    assert len(found) == FEW and not wrong(found), wrong(found)


def test_fif_tags_that_point_in_a_circle_are_refused(tmp_path, rng):
    """mne would follow them for ever."""
    path = tmp_path / "a-epo.fif"
    write_fif(path, rng)
    content = bytearray(path.read_bytes())
    third = 36 + 16 + int.from_bytes(content[36 + 8 : 36 + 12], "big")  # each tag: kind, type, size, next
    content[third + 12 : third + 16] = (36).to_bytes(4, "big")  # the second's
    path.write_bytes(content)
    with pytest.raises(checks.DataFileError, match="broken tag at byte 36"):
        meeg.read_epochs_fif(path, subject=1)


@pytest.mark.soak
@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_are_refused_or_read_with_an_equal_shape(name):
    n = max(-(-SOAK_FILES // len(FORMATS)), -(-OWN_FILES // len(OWN)) if name in OWN else 0)
    found = in_a_process(name, 0, n)
    print(name, dict(Counter(came for _, came in found if came in ("refused", "equal", "other values"))))
    assert len(found) == n and not wrong(found), wrong(found)[:10]


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
