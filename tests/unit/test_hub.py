"""Folders of saved decoders: verified, pinned, and described."""

from __future__ import annotations

import json

import pytest

from braindec import hub
from braindec.checks import ConfigError, DataFileError, DownloadError
from braindec.types import Report, Score

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONFIG = {
    "signals": {"sub-01_fmri": {}, "sub-02_eeg": {}},
    "outputs": {"main": {"space": "openclip/ViT-L-14/openai/pooled", "shape": [1, 768]}},
    "training": {"dataset": {"name": "simulated"}},
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "weights.safetensors").write_bytes(b"12345678")
    hub.write_manifest(tmp_path)
    return tmp_path


def test_what_was_saved_is_verified(folder):
    hub.verify(folder)
    named = json.loads((folder / "manifest.json").read_text())["files"]
    assert sorted(named) == ["config.json", "weights.safetensors"]


def test_a_changed_byte_is_found(folder):
    (folder / "weights.safetensors").write_bytes(b"12345679")
    with pytest.raises(DataFileError, match=r"weights.safetensors: has sha256"):
        hub.verify(folder)


def test_a_missing_file_is_named(folder):
    (folder / "config.json").unlink()
    with pytest.raises(DataFileError, match=r"config.json: is missing"):
        hub.verify(folder)


def test_a_folder_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="save_pretrained"):
        hub.verify(tmp_path)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "..\\secret"])
def test_a_manifest_may_not_point_outside_its_folder(folder, name):
    content = {"format": 1, "files": {name: {"sha256": "0" * 64, "bytes": 1}}}
    (folder / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(DataFileError, match="outside its folder"):
        hub.verify(folder)


@pytest.mark.parametrize("entry", ["0" * 64, {}, None, {"sha256": 7}])
def test_a_manifest_that_says_no_hash_is_refused(folder, entry):
    content = {"format": 1, "files": {"config.json": entry}}
    (folder / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(
        DataFileError, match=r"config\.json: has sha256 44136fa355b3\.\.\., its manifest says"
    ):
        hub.verify(folder)


def test_a_folder_is_itself(folder):
    assert hub.local_or_download(str(folder)) == folder


def test_a_commit_of_a_folder_is_warned_of(folder):
    with pytest.warns(UserWarning, match="is a folder here .* says nothing of it"):
        assert hub.local_or_download(str(folder), "b" * 40) == folder


@pytest.mark.parametrize(
    ("licence", "said"),
    [
        ("my licence!!", "spelt as on the hub, e.g. 'cc-by-4.0'"),
        ("CC BY 4.0", "Did you mean 'cc-by-4.0'"),
        ("", "got ''"),
    ],
)
def test_a_licence_that_the_hub_cannot_read_is_refused(licence, said):
    with pytest.raises(ConfigError, match=said):
        hub.model_card({}, None, licence=licence)
    for known in (None, "other", "cc-by-nc-sa-4.0", "bigscience-bloom-rail-1.0", "llama3.1"):
        hub.check_licence(known)


@pytest.mark.parametrize("revision", [None, "main", "0123456"])
def test_a_download_must_name_a_commit(revision):
    with pytest.raises(ConfigError, match="40 hex"):
        hub.local_or_download("someone/decoder", revision)


def test_a_path_that_does_not_exist_is_no_repository(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        hub.local_or_download(str(tmp_path / "absent" / "decoder"))


def test_a_download_is_pinned_and_takes_no_file_that_could_run_code(loopback_hub, tmp_path):
    files = {
        "config.json": b"{}",
        "weights.safetensors": b"x",
        "code.py": b"",
        "more.pkl": b"",
        "README.md": b"",
    }
    commit = loopback_hub.add("someone/decoder", files)
    folder = hub.local_or_download("someone/decoder", commit)
    assert folder.name == commit
    found = {p.name for p in folder.iterdir() if not p.name.startswith(".")}
    assert found == {"config.json", "weights.safetensors", "README.md"}


def test_a_repository_of_pickles_alone_is_refused(loopback_hub):
    commit = loopback_hub.add("someone/decoder", {"config.json": b"{}", "pytorch_model.bin": b"x"})
    with pytest.raises(DownloadError, match="run code when opened"):
        hub.local_or_download("someone/decoder", commit)


def test_a_hub_that_does_not_answer_is_said_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # discard: nobody listens
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1.*Check the name") as caught:
        hub.local_or_download("someone/decoder", COMMIT)
    assert "\n" not in str(caught.value)


def test_the_card_names_subjects_space_and_every_score_with_its_chance():
    score = Score("image_retrieval_top1", "braindec", "p", 1, "fmri", 0.62, (0.55, 0.69), 0.005, 0.006, 200,
                  ceiling=0.75, ceiling_kind="oracle_linear")  # fmt: skip
    card = hub.model_card(CONFIG, Report((score,), {}))
    front, body = card.removeprefix("---\n").split("\n---\n")
    settings = {key: json.loads(value) for key, value in (line.split(": ", 1) for line in front.splitlines())}
    assert settings["tags"] == ["braindec", "brain-decoding", "eeg", "fmri"]
    assert settings["datasets"] == ["simulated"]
    assert (
        "| image_retrieval_top1 | braindec | 1 | fmri | 0.620 | 0.550 to 0.690 | 0.005 | 0.006 | 0.750 (oracle_linear)"
        in body
    )
    assert "openclip/ViT-L-14/openai/pooled" in body


TRAINING = {
    "dataset": {
        "name": "planted | <b>", "recordings": {"sub-01_fmri": "a" * 64}, "part": "train",
        "split": {"name": "shared", "unit": "stimulus", "hash": "b" * 64},
    },
    "n_trials": {"sub-01_fmri": 480}, "data_licence": "CC0", "best_step": 20,
    "audit": {"verdict": "nothing found: 0 leaks, 1 warning; 9 checks made, 2 not."},
}  # fmt: skip


def test_the_card_says_data_split_audit_licence_privacy_and_how_the_weights_were_made():
    config = CONFIG | {"training": TRAINING, "settings": {"seed": 7, "train": {"ema": 0.999}}}
    card = hub.model_card(config, None, licence="cc-by-4.0", files={"model.safetensors": "c" * 64})
    for said in (
        "| sub-01_fmri | 480 | `" + "a" * 64, "split shared by stimulus, sha256 `" + "b" * 64, "0 leaks, 1 warning",
        "running average of training's (decay 0.999); seed 7", "| model.safetensors | `" + "c" * 64,
        "## Privacy\n\nIt was fitted on recordings of people",
        "The weights: cc-by-4.0. The data it was fitted on: CC0.",
    ):  # fmt: skip
        assert said in card
    assert "planted \\| \\<b\\>" in card  # a name of elsewhere makes no markup
    plain = hub.model_card(config | {"settings": {"train": {"ema": None}}}, None)
    assert "those of the last step" in plain and "Not stated by who made it" in plain


def test_the_hub_reads_the_card_and_its_results():
    from huggingface_hub import ModelCard

    score = Score("top1", "braindec", "p", 1, "fmri", 0.62, (0.55, 0.69), 0.005, 0.006, 200)
    ridge = Score("top1", "ridge", "p", 1, "fmri", 0.5, (0.4, 0.6), 0.005, 0.006, 200)
    report = Report((score, ridge), {"audit": {"verdict": "of the evaluation"}})
    card = hub.model_card(CONFIG | {"training": TRAINING}, report, licence="cc-by-4.0")
    told = ModelCard(card).data
    assert (told.license, told.library_name) == ("cc-by-4.0", "braindec")
    assert told.to_dict()["subjects"] == [1, 2]
    (result,) = told.eval_results
    assert (result.metric_type, result.metric_value) == ("top1", 0.62)
    assert "95 % interval 0.55 to 0.69, chance 0.005, null 0.006, n 200" in result.metric_name
    assert "of the evaluation" in card and "0 leaks" not in card


def test_a_card_without_a_report_says_so():
    assert "Not evaluated yet." in hub.model_card(CONFIG, None)
