"""Names and dates that lie in headers of recordings do not reach what braindec writes."""

from __future__ import annotations

import base64
import datetime
import gzip
import json
import re
import struct

import h5py
import numpy as np
import pytest

from braindec import report, train
from braindec.adapters import linear as adapters_linear
from braindec.backbones import linear
from braindec.data import NeuralDataset, Split, bids_synthetic, catalogue
from braindec.data.preprocessing import Standardise
from braindec.decoder import BrainDecoder, Settings
from braindec.losses import mse
from braindec.types import Embeddings, Report, Score

NAME, BORN = "Zyxwolf", datetime.date(1951, 3, 7)
MEASURED = datetime.datetime(2013, 5, 17, 12, 12, 12, tzinfo=datetime.UTC)
SECONDS = int(MEASURED.timestamp())
TOKENS = {
    "name": rb"(?i)zyxwolf",
    "birth": rb"1951|07-MAR-51|07\.03\.51",
    "day": rb"2013-?05-?17|17-MAY-2013|17\.05\.13|2013, 5, 17",
    "seconds": b"|".join([*(re.escape(struct.pack(f"{o}i", SECONDS)) for o in "<>"), str(SECONDS).encode()]),
}


def said(content: bytes) -> set[str]:
    return {what for what, token in TOKENS.items() if re.search(token, content)}


def everything(path) -> bytes:
    """All that a file holds: its bytes, and what is packed in them."""
    parts = [path.name.encode(), path.read_bytes()]
    if path.suffix == ".gz":
        parts.append(gzip.decompress(parts[1]))
    if path.suffix == ".h5":
        with h5py.File(path) as file:

            def see(name, item):
                parts.extend((name.encode(), str(dict(item.attrs)).encode()))
                if isinstance(item, h5py.Dataset):
                    parts.append(np.asarray(item[()]).tobytes())

            file.visititems(see)
            parts.append(str(dict(file.attrs)).encode())
    if path.suffix == ".html":
        parts += [base64.b64decode(m) for m in re.findall(rb"base64,([A-Za-z0-9+/=]+)", parts[1])]
    return b"\0".join(parts)


def found_in(folder) -> dict[str, set[str]]:
    files = [p for p in folder.rglob("*") if p.is_file()]
    assert files
    return {str(p.relative_to(folder)): told for p in files if (told := said(everything(p)))}


def nifti(path):
    """The free texts of a NIfTI header."""
    import nibabel

    image = nibabel.load(path)
    made = nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header)
    made.header["descrip"] = f"{NAME} 20130517".encode()
    made.header["aux_file"], made.header["db_name"] = f"{NAME} 1951".encode(), NAME.encode()
    made.header["intent_name"] = NAME.encode()
    made.header.extensions.append(
        nibabel.nifti1.Nifti1Extension("comment", f"{NAME} born 1951-03-07".encode())
    )
    nibabel.save(made, path)


def fif(header):
    import mne

    raw = mne.io.read_raw_brainvision(header, preload=True, verbose="error")
    raw.set_meas_date(MEASURED)
    raw.info["subject_info"] = {
        "id": 1,
        "his_id": NAME,
        "last_name": NAME,
        "first_name": NAME,
        "birthday": BORN,
    }
    raw.info["experimenter"], raw.info["description"] = NAME, f"{NAME} 2013-05-17"
    raw.set_annotations(mne.Annotations([1.0], [0.1], [NAME], orig_time=MEASURED))
    _replaced(header, lambda path: raw.save(path.with_suffix(".fif"), verbose="error"))


def edf(header):
    """One second a record, 16 bits; patient and recording say who and when."""
    import mne

    raw = mne.io.read_raw_brainvision(header, preload=True, verbose="error")
    sfreq, n = int(raw.info["sfreq"]), len(raw.ch_names)
    values = np.clip(np.rint(raw.get_data() * 1e6), -3000, 3000)[:, : raw.n_times // sfreq * sfreq]
    records = values.reshape(n, -1, sfreq).transpose(1, 0, 2).astype("<i2")
    head = f"{'0':<8}{f'X M 07-MAR-1951 {NAME}':<80}{f'Startdate 17-MAY-2013 {NAME}':<80}17.05.1312.12.12"
    head += f"{256 * (n + 1):<8}{'':<44}{len(records):<8}{1:<8}{n:<4}"
    fields = [(list(raw.ch_names), 16), ([NAME] * n, 80), (["uV"] * n, 8), (["-3000"] * n, 8), (["3000"] * n, 8),
              (["-3000"] * n, 8), (["3000"] * n, 8), ([NAME] * n, 80), ([str(sfreq)] * n, 8),
              ([""] * n, 32)]  # fmt: skip
    head += "".join(f"{v:<{width}}" for values_, width in fields for v in values_)
    _replaced(header, lambda path: path.with_suffix(".edf").write_bytes(head.encode() + records.tobytes()))


def brainvision(header):
    header.write_text(
        header.read_text(encoding="utf-8") + f"\n[Comment]\n{NAME} 2013-05-17\n", encoding="utf-8"
    )
    marker = header.with_suffix(".vmrk")
    text = marker.read_text(encoding="utf-8").replace(",,1,1,0", ",,1,1,0,20130517121212000000")
    marker.write_text(text + f"Mk2=Comment,{NAME},10,1,0\n", encoding="utf-8")


def _replaced(header, write):
    write(header)
    for suffix in (".vhdr", ".vmrk", ".eeg"):
        header.with_suffix(suffix).unlink()


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A BIDS folder of fMRI and EEG that says in every header whose it is."""
    folder = tmp_path_factory.mktemp("privacy") / f"raw_{NAME}_20130517"
    bids_synthetic.write(folder)
    for path in folder.rglob("*.nii.gz"):
        nifti(path)
    for path, change in zip(
        sorted(folder.rglob("*.vhdr")), (brainvision, fif, edf, brainvision), strict=True
    ):
        change(path)
    for path in folder.rglob("*.json"):
        told = json.loads(path.read_text())
        if isinstance(told, dict) and path.name != "dataset_description.json":
            told |= {
                "PatientName": NAME,
                "PatientBirthDate": "19510307",
                "AcquisitionDateTime": "2013-05-17T12:12:12",
            }
            path.write_text(json.dumps(told))
    participants = (
        "participant_id\tname\tbirth_date\tage\nsub-01\t{0}\t1951-03-07\t62\nsub-02\t{0}\t1951-03-07\t62\n"
    )
    (folder / "participants.tsv").write_text(participants.format(NAME))
    for subject in ("sub-01", "sub-02"):
        lines = f"func/{subject}_task-{bids_synthetic.TASK}_run-1_bold.nii.gz\t2013-05-17T12:12:12\t{NAME}\n"
        (folder / subject / f"{subject}_scans.tsv").write_text("filename\tacq_time\toperator\n" + lines)
    return folder


def test_the_recordings_say_whose_they_are(raw):
    """Or the other tests of this file would show nothing."""
    told = found_in(raw)
    for ending in (".nii.gz", ".fif", ".edf", ".vhdr", "participants.tsv", "_scans.tsv"):
        assert any(name.endswith(ending) and "name" in what for name, what in told.items()), ending
    assert {w for what in told.values() for w in what} == set(TOKENS)


@pytest.fixture(scope="module")
def prepared(raw, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared") / "out"
    catalogue.load("bids")["prepare"](raw, out)
    return out


def test_prepared_files_do_not(prepared):
    assert found_in(prepared) == {}


def test_a_decoder_its_card_and_its_report_do_not(prepared, tmp_path):
    dataset = NeuralDataset.read(prepared, modalities=("fmri",))
    ids = dataset.stimulus_ids
    values = np.random.default_rng(0).standard_normal((len(ids), 1, 6)).astype(np.float32)
    embeddings = Embeddings(ids, values, "planted", {"model": "planted"}, "0" * 64)
    dataset = NeuralDataset.from_trials(
        list(dataset.trials.values()), dataset.stimuli,
        Split("default", "stimulus", {"train": ids[: len(ids) // 2], "test": ids[len(ids) // 2 :]}), name="bids",
    )  # fmt: skip
    settings = Settings(
        adapter=adapters_linear.Config(shared_dim=4), backbone=linear.Config(), loss=mse.Config(),
        preprocessing=(Standardise(),), train=train.Config(n_steps=2, batch_size=8, device="cpu"), calibrate=False,
    )  # fmt: skip
    decoder = BrainDecoder.build(settings, dataset.info, embeddings.info)
    decoder.fit(dataset.part("train"), embeddings, tmp_path / "run", progress=False)
    score = Score("roc_auc", "braindec", "p", 1, "fmri", 0.7, (0.6, 0.8), 0.5, 0.5, 100)
    made = Report((score,), {"title": "Once", "decoder": decoder.provenance})
    decoder.save_pretrained(tmp_path / "run" / "decoder", report=made)
    report.write(made, tmp_path / "run")
    assert found_in(tmp_path / "run") == {}
