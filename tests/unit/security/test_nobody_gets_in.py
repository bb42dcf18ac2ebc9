"""Malicious files through every way in: one clear error that names the file, and the canary is never made."""

from __future__ import annotations

import json
import re
import resource
import runpy
import tarfile
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from braindec import checks, cli, config, convert, hub, registry, store, train
from braindec.adapters import linear as adapters_linear
from braindec.backbones import linear
from braindec.data import (
    archives,
    card,
    cifti,
    hdf5,
    image_files,
    mat5,
    plain_arrays,
    safe_npy,
    safe_pt,
)
from braindec.data.preprocessing import Standardise
from braindec.decoder import BrainDecoder, Settings
from braindec.losses import clip
from braindec.targets import _layers

made = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("payloads.py"))))


def unpacked(path):
    archives.unpack(path, path.parent / "out")


def prepared(path):
    """As `braindec prepare bids` reads a folder of plain arrays."""
    (path.parent / "events.csv").write_text("stimulus_id,run,onset_s\na,1,0\n")
    words = ["prepare", "bids", "--raw", str(path.parent), "--out", str(path.parent / "out")]
    return words


def converted(path):
    return ["convert", "mindeye2", str(path), "--out", str(path.parent / "out")]


def unpacked_by_command(path):
    return ["unpack", str(path), "--out", str(path.parent / "out")]


PICKLED = (safe_npy.load, lambda p: plain_arrays.load(p.parent), prepared)
WEIGHTS = (
    convert.open_checkpoint,
    lambda p: convert.as_safetensors(p, p.with_suffix(".st")),
    _layers.state,
    converted,
)
PACKED = (unpacked, unpacked_by_command)
HDF5 = (store.open_readonly, store.Stored, lambda p: hdf5.require(p, "x"))
XML = (plain_arrays.read_surface,)

# payload -> the ways in that take such a file
PAYLOADS = {
    made.bare_pickle: PICKLED,
    made.object_npy: PICKLED,
    made.nested_pickle: PICKLED,
    made.lookalike_pickle: PICKLED,
    made.gadget_pickle: PICKLED,
    made.object_npz: (plain_arrays.read_npz, prepared),
    made.torch_zip: (*WEIGHTS, safe_pt.load),
    made.torch_old: (*WEIGHTS, safe_pt.load),
    made.torch_script: (*WEIGHTS, safe_pt.load),
    made.plain_bin: WEIGHTS,
    made.pickle_as_safetensors: WEIGHTS,
    made.joblib_pickle: (store.Stored, convert.open_checkpoint),
    made.tar_upwards: PACKED,
    made.tar_sibling: PACKED,
    made.tar_absolute: PACKED,
    made.tar_backslash: PACKED,
    made.tar_symlink: PACKED,
    made.tar_hardlink: PACKED,
    made.tar_device: PACKED,
    made.tar_pipe: PACKED,
    made.tar_sparse: PACKED,
    made.tar_case: PACKED,
    made.tar_accents: PACKED,
    made.tar_twice: PACKED,
    made.tar_below_a_file: PACKED,
    made.tar_long_header: PACKED,
    made.tar_gz_bomb: (unpacked,),
    made.zip_upwards: PACKED,
    made.zip_symlink: PACKED,
    made.zip_bomb: (unpacked,),
    made.zip_encrypted: PACKED,
    made.hdf5_external_link: HDF5,
    made.hdf5_external_storage: HDF5,
    made.hdf5_view: HDF5,
    made.hdf5_filter: HDF5,
    made.gifti_entities: XML,
    made.gifti_hidden_entities: XML,
    made.gifti_elsewhere: XML,
    made.cifti_entities: (cifti.DenseSeries,),
    made.picture_bomb: (lambda p: image_files.read_square(p, 8),),
    made.postscript_picture: (lambda p: image_files.read_square(p, 8),),
    made.matlab_opaque: (lambda p: mat5.load(p, ["evil"]),),
    made.yaml_object: (card.read_card,),
    made.yaml_bomb: (card.read_card,),
    made.deep_json: (store.read_json,),
    made.long_number: (store.read_json,),
}
CASES = [(payload, way) for payload, ways in PAYLOADS.items() for way in ways]


@pytest.mark.parametrize("payload, way", CASES, ids=lambda x: x.__name__)
def test_a_malicious_file_is_refused_by_every_way_in(payload, way, tmp_path, canary, capsys):
    raw = tmp_path / "raw"
    raw.mkdir()
    path = payload(raw, canary)
    before = sorted(p for p in tmp_path.iterdir())
    if way in (prepared, converted, unpacked_by_command):
        assert cli.main(way(path)) == cli.FAILED
        said = capsys.readouterr().err
        assert "Traceback" not in said and said.count("\n") == 1
    else:
        with pytest.raises(checks.DataFileError) as caught:
            way(path)
        said = str(caught.value)
    assert str(path) in said, f"the error names no file: {said}"
    assert not canary.exists() and sorted(p for p in tmp_path.iterdir()) == before
    assert not (raw / "out").exists(), "what was refused left something behind"
    assert not list(raw.glob(".out*")), "what was refused left something behind"


def test_there_are_as_many_payloads_as_promised():
    assert len(PAYLOADS) >= 30


@pytest.mark.parametrize(
    "payload", [made.bare_pickle, made.nested_pickle, made.object_npy], ids=lambda x: x.__name__
)
def test_a_reader_of_arrays_without_care_is_caught_by_the_canary(payload, tmp_path, canary):
    np.load(payload(tmp_path, canary), allow_pickle=True)
    assert canary.exists(), "the canary is harmless, so the tests above show nothing"


@pytest.mark.parametrize(
    "payload", [made.tar_upwards, made.tar_absolute, made.tar_symlink], ids=lambda x: x.__name__
)
def test_an_unpacker_without_care_is_caught_by_the_canary(payload, tmp_path, canary):
    (tmp_path / "out").mkdir()
    with tarfile.open(payload(tmp_path, canary)) as tar:
        tar.extractall(tmp_path / "out", filter="fully_trusted")
    assert canary.exists()


@pytest.mark.parametrize("payload", [made.hdf5_external_link, made.hdf5_view], ids=lambda x: x.__name__)
def test_a_reader_of_hdf5_without_care_reads_another_file(payload, tmp_path, canary):
    with h5py.File(payload(tmp_path, canary)) as file:
        found = file["a/x" if "a" in file else "x"]
        assert found[:].tolist() == [0.0, 1.0, 2.0, 3.0]


# --------------------------------------------------------------------------------------- names that come from elsewhere

NAMES = ["os.system", "os", "../adapters/linear", "../../etc/passwd", "_helpers", "__init__", "l\u0456near", "linear\0",
         "linear.py", "LINEAR", "", " linear", "linear/../mlp", "braindec.backbones.linear"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=ascii)
@pytest.mark.parametrize("kind", ["backbones", "targets", "losses"])
def test_a_member_is_named_as_it_is_called_or_not_at_all(kind, name):
    with pytest.raises(checks.ConfigError, match="member must be one of"):
        registry.load(kind, name)


@pytest.mark.parametrize(
    "kind", ["os", "..", "data", "backbones.linear", "", "cli", "b\u0430ckbones"], ids=ascii
)
def test_a_kind_is_one_of_ours(kind):
    with pytest.raises(checks.ConfigError, match="kind must be one of"):
        config.component_from_json({"kind": kind, "name": "linear"}, registry.load)


@pytest.fixture(scope="module")
def decoder(planted):
    settings = Settings(
        adapter=adapters_linear.Config(shared_dim=8), backbone=linear.Config(), loss=clip.Config(),
        preprocessing=(Standardise(),), train=train.Config(n_steps=2, batch_size=64, device="cpu"),
    )  # fmt: skip
    made = BrainDecoder.build(settings, planted.dataset.info, planted.embeddings.info)
    return made.fit(planted.dataset.part("train"), planted.embeddings, progress=False)


def component(where, key, value):
    def change(data):
        data["settings"][where][key] = value

    return change


def step(data):
    data["settings"]["preprocessing"][0]["step"] = "os.system"


def nested(data):
    data["settings"]["adapter"] = {
        "kind": "adapters",
        "name": "linear",
        "shared_dim": {"kind": "os", "name": "system"},
    }


CHANGES = {
    "an import": component("backbone", "name", "os.system"),
    "a path": component("backbone", "name", "../../../../tmp/evil"),
    "a lookalike": component("backbone", "name", "l\u0456near"),
    "a room that is no kind": component("backbone", "kind", "cli"),
    "a package": component("loss", "kind", "os"),
    "a helper": component("loss", "name", "_info_nce"),
    "a list": component("loss", "name", ["clip"]),
    "a step": step,
    "one inside another": nested,
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_saved_decoder_cannot_name_an_import(decoder, tmp_path, what, capsys):
    """Its manifest is in order: whoever wrote the config wrote the hashes too."""
    folder = decoder.save_pretrained(tmp_path / "decoder")
    data = json.loads((folder / "config.json").read_text())
    CHANGES[what](data)
    (folder / "config.json").write_text(json.dumps(data))
    hub.write_manifest(folder)
    with pytest.raises(checks.BraindecError):
        BrainDecoder.from_pretrained(folder)
    assert cli.main(["decode", str(folder), str(tmp_path / "sub-01_fmri.h5")]) == cli.FAILED
    assert "Traceback" not in capsys.readouterr().err


def mlp(**said):
    def change(data):
        data["settings"]["backbone"] = {
            "kind": "backbones",
            "name": "mlp",
            "dropout": 0.0,
            "skip_linear": True,
        } | said

    return change


def placed(*where, value):
    def change(data):
        for key in where[:-1]:
            data = data[key]
        data[where[-1]] = value

    return change


HUGE = {
    "a width": component("adapter", "shared_dim", 10**8),
    "widths that multiply": mlp(width=50_000, n_blocks=1),
    "a depth": mlp(width=8, n_blocks=10**9),
    "a map": placed("shared_map", value=[10**6, 10**4]),
    "a readout": placed("readouts", value={"sub-01_fmri": [10**5, 10**5]}),
    "known weights": placed("populations", value={"fmri": 10**10}),
    "an output": placed("outputs", "main", "shape", value=[1, 10**9]),
    "many subjects": placed("calibrated", value=[f"sub-{i:06d}_fmri" for i in range(3_000)]),
}


@pytest.mark.parametrize("what", HUGE)
def test_a_saved_decoder_takes_no_more_memory_than_its_weights_call_for(decoder, tmp_path, what, capsys):
    folder = decoder.save_pretrained(tmp_path / "decoder")
    data = json.loads((folder / "config.json").read_text())
    HUGE[what](data)
    (folder / "config.json").write_text(json.dumps(data))
    hub.write_manifest(folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert cli.main(["decode", str(folder), str(tmp_path / "sub-01_fmri.h5")]) == cli.FAILED
    said = capsys.readouterr().err
    assert "config.json: describes a decoder of more than" in said and "Traceback" not in said
    taken = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert taken < 400, f"{taken:.0f} MB were taken before the config was refused"


REACHING = (made.hdf5_external_link, made.hdf5_external_storage, made.hdf5_view, made.hdf5_filter)


@pytest.mark.parametrize("payload", REACHING, ids=lambda x: x.__name__)
def test_a_saved_decoder_and_what_it_is_given_reach_into_no_other_file(
    decoder, payload, tmp_path, canary, capsys
):
    folder, evil = decoder.save_pretrained(tmp_path / "decoder"), payload(tmp_path, canary)
    assert cli.main(["decode", str(folder), str(evil)]) == cli.FAILED
    assert str(evil) in capsys.readouterr().err
    (folder / "preprocessing.h5").write_bytes(evil.read_bytes())
    hub.write_manifest(folder)
    with pytest.raises(checks.DataFileError, match=r"preprocessing\.h5"):
        BrainDecoder.from_pretrained(folder)


@pytest.mark.parametrize("name", ["../weights", "/etc/hostname", "a/../../x", "..\\x"])
def test_a_manifest_stays_within_its_folder(decoder, tmp_path, name):
    folder = decoder.save_pretrained(tmp_path / "decoder")
    content = json.loads((folder / hub.MANIFEST).read_text())
    content["files"][name] = next(iter(content["files"].values()))
    (folder / hub.MANIFEST).write_text(json.dumps(content))
    with pytest.raises(checks.DataFileError, match="outside its folder"):
        BrainDecoder.from_pretrained(folder)


def test_a_model_folder_that_brings_its_own_code_is_not_listened_to(tmp_path, canary):
    pytest.importorskip("transformers")
    from braindec.targets import _pretrained

    code = f"import os\nos.mkdir({str(canary)!r})\nclass Model: pass\nclass Config: pass\n"
    (tmp_path / "evil.py").write_text(code)
    described = {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}}
    (tmp_path / "config.json").write_text(json.dumps(described))
    with pytest.raises(checks.DataFileError, match=re.escape(str(tmp_path))):
        _pretrained.opened(str(tmp_path), "transformers_vision", pooler=False)
    assert not canary.exists()


@pytest.mark.parametrize("content", [b"pickle", b""])
def test_a_repository_of_pickles_is_refused_before_one_is_fetched(loopback_hub, content):
    commit = loopback_hub.add("someone/evil", {"config.json": b"{}", "pytorch_model.bin": content})
    for name in (lambda: BrainDecoder.from_pretrained("someone/evil", revision=commit),
                 lambda: hub.pull("someone/evil", revision=commit)):  # fmt: skip
        with pytest.raises(checks.DownloadError, match=r"someone/evil.*pytorch_model\.bin"):
            name()
    assert not any("pytorch_model" in path for _, path, _ in loopback_hub.asked if "resolve" in path)
