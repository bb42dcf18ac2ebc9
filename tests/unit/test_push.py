"""What is pushed arrives whole, in one commit, and only where it may be shared: shown against a hub that misbehaves."""

from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import pytest

from braindec import cli, hub
from braindec.checks import ConfigError, DataFileError, DownloadError

NAME = "someone/decoder"
CONFIG = {
    "format": 1,
    "signals": {"sub-01_fmri": {}},
    "outputs": {"main": {"space": "openclip/x", "shape": [1, 4]}},
    "training": {"dataset": {"name": "planted"}},
}
WEIGHTS = np.random.default_rng(0).bytes(30_000)


def saved(folder, config=CONFIG, licence=None, card=None):
    """A folder of files as a decoder's are named."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    (folder / "preprocessing.h5").write_bytes(b"statistics")
    (folder / "README.md").write_text(card or hub.model_card(config, None, licence=licence))
    hub.write_manifest(folder)
    (folder / "scores.h5").write_bytes(b"trial by trial")  # lies beside, is no part of the decoder
    return folder


@pytest.fixture
def folder(tmp_path):
    return saved(tmp_path / "saved")


def sent(loopback_hub, method, ending):
    return sum(m == method and path.endswith(ending) for m, path, _ in loopback_hub.asked)


def test_what_is_pushed_is_what_comes_down_again_and_nothing_else_goes(loopback_hub, folder):
    url = hub.push(folder, NAME, token="hf_secret")
    commit = url.rpartition("/")[2]
    found = hub.local_or_download(NAME, commit)
    hub.verify(found)
    assert (found / "model.safetensors").read_bytes() == WEIGHTS
    there = set(loopback_hub.repositories["model", NAME][1]) - {".gitattributes"}
    assert there == {"README.md", "config.json", "manifest.json", "model.safetensors", "preprocessing.h5"}
    assert loopback_hub.private["model", NAME] is True
    assert loopback_hub.tokens == {"Bearer hf_secret"}
    assert sent(loopback_hub, "POST", "/commit/main") == 1


@pytest.mark.parametrize("name", ["me", "me/", "/decoder", "me/my decoder", "a/b/c", "https://hub/me/x", ""])
def test_a_name_that_is_no_owner_and_name_is_refused_before_anybody_is_asked(
    loopback_hub, folder, name, capsys
):
    with pytest.raises(ConfigError, match="is named OWNER/NAME"):
        hub.push(folder, name)
    with pytest.raises(ConfigError, match="is named OWNER/NAME"):
        hub.push_dataset(folder, name)
    assert cli.main(["push", str(folder), name]) == cli.FAILED
    said = capsys.readouterr().err
    assert "OWNER/me" in said if name == "me" else "OWNER/NAME" in said
    assert not loopback_hub.asked


@pytest.mark.parametrize("fault", ["upload", "commit"])
def test_an_interrupted_push_leaves_nothing_to_be_seen_and_goes_on(loopback_hub, folder, fault):
    loopback_hub.faults[fault] = ["always 500"]
    with pytest.raises(DownloadError, match="pushed to 127"):
        hub.push(folder, NAME)
    assert set(loopback_hub.repositories["model", NAME][1]) == {".gitattributes"}
    loopback_hub.faults.clear()
    loopback_hub.asked.clear()
    hub.push(folder, NAME)
    assert loopback_hub.repositories["model", NAME][1]["model.safetensors"] == WEIGHTS
    again = sent(loopback_hub, "PUT", hashlib.sha256(WEIGHTS).hexdigest())
    assert again == (1 if fault == "upload" else 0)  # what arrived is not sent again


def test_a_push_of_what_is_there_already_makes_no_commit(loopback_hub, folder):
    first = hub.push(folder, NAME)
    loopback_hub.asked.clear()
    assert hub.push(folder, NAME).rpartition("/")[2] == first.rpartition("/")[2]
    assert sent(loopback_hub, "POST", "/commit/main") == 0


def test_what_arrived_as_something_else_is_said(loopback_hub, folder):
    loopback_hub.faults["commit"] = ["flip"]
    with pytest.raises(
        DownloadError, match=r"model\.safetensors has sha256 .* do not use commit [0-9a-f]{40}"
    ):
        hub.push(folder, NAME)


def test_a_commit_of_somebody_else_in_between_is_not_overwritten(loopback_hub, folder):
    hub.push(folder, NAME)
    loopback_hub.answers_commit = "a" * 40  # what was the newest commit a moment ago
    (folder / "model.safetensors").write_bytes(WEIGHTS[::-1])
    hub.write_manifest(folder, ("README.md", "config.json", "model.safetensors", "preprocessing.h5"))
    with pytest.raises(DownloadError, match=r"412|not the newest"):
        hub.push(folder, NAME)
    assert loopback_hub.repositories["model", NAME][1]["model.safetensors"] == WEIGHTS


def test_a_branch_is_made_and_a_proposal_is_asked_for(loopback_hub, folder):
    hub.push(folder, NAME, branch="next", create_pr=True)
    assert loopback_hub.branches["model", NAME] == {"next"} and loopback_hub.proposed
    assert sent(loopback_hub, "POST", "/commit/next") == 1


def test_a_repository_that_everybody_sees_is_not_taken_for_a_private_one(loopback_hub, tmp_path, folder):
    loopback_hub.add(NAME, {"README.md": b"public"})
    with pytest.raises(ConfigError, match="everybody sees"):
        hub.push(folder, NAME)
    with pytest.raises(ConfigError, match="states no licence"):
        hub.push(folder, NAME, private=False)
    hub.push(saved(tmp_path / "licensed", licence="cc-by-4.0"), NAME, private=False)
    assert "model.safetensors" in loopback_hub.repositories["model", NAME][1]


def test_a_repository_that_its_owner_alone_sees_is_not_taken_for_a_public_one(loopback_hub, tmp_path, folder):
    hub.push(folder, NAME)
    with pytest.raises(ConfigError, match="only its owner sees"):
        hub.push(saved(tmp_path / "licensed", licence="cc-by-4.0"), NAME, private=False)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"card": "---\nlibrary_name: braindec\n---\n# No word of it\n"}, "says nothing of privacy"),
        ({"config": CONFIG | {"signals": {"sub-anna_fmri": {}}}}, "must be numbers, not 'sub-anna_fmri'"),
        ({"config": CONFIG | {"training": {"about": "/home/anna/scans"}}}, r"training\.about says '/home/'"),
        ({"config": CONFIG | {"training": {"command": "run --raw=/home/anna"}}}, "tells of a person"),
        ({"config": CONFIG | {"training": {"command": "run '~/scans'"}}}, "tells of a person"),
        ({"config": CONFIG | {"training": {"from": "file:///home/anna"}}}, "tells of a person"),
        ({"config": CONFIG | {"training": {"by": "anna@lab.org"}}}, "anna@lab.org"),
        ({"config": CONFIG | {"training": {"measured": "2019-03-04T10:22:01"}}}, "2019-03-04T10:22"),
        ({"config": {"kind": "braindec converted model"}}, "theirs to publish"),
    ],
)
def test_what_must_not_be_shared_is_refused_before_anything_is_asked(loopback_hub, tmp_path, change, said):
    card = hub.model_card(CONFIG, None)
    with pytest.raises(ConfigError, match=said):
        hub.push(saved(tmp_path / "refused", **{"card": card} | change), NAME)
    assert loopback_hub.asked == []


def test_a_folder_that_was_changed_since_it_was_saved_is_refused(loopback_hub, folder):
    (folder / "model.safetensors").write_bytes(WEIGHTS[::-1])
    with pytest.raises(DataFileError, match="changed or damaged"):
        hub.push(folder, NAME)
    assert loopback_hub.asked == []


def test_a_token_is_in_no_message_and_in_no_file(loopback_hub, folder, tmp_path):
    loopback_hub.faults["commit"] = ["always 500"]
    with pytest.raises(DownloadError) as caught:
        hub.push(folder, NAME, token="hf_secret")
    assert "hf_secret" not in str(caught.value) and "hf_secret" not in repr(hub.Access("hf_secret"))
    loopback_hub.faults.clear()
    commit = hub.push(folder, NAME, token="hf_secret").rpartition("/")[2]
    hub.local_or_download(NAME, commit, hub.Access("hf_secret"))
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert files and not any(b"hf_secret" in p.read_bytes() for p in files)


def test_a_machine_without_network_says_so_and_loads_what_it_has(loopback_hub, folder, monkeypatch, tmp_path):
    commit = hub.push(folder, NAME).rpartition("/")[2]
    place = hub.Access(cache_dir=tmp_path / "cache")
    found = hub.local_or_download(NAME, commit, place)
    assert found.is_relative_to(tmp_path / "cache")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert hub.local_or_download(NAME, commit, place) == found
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE is set"):
        hub.push(folder, NAME)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(DownloadError, match="local_files_only"):
        hub.local_or_download(NAME, commit, hub.Access(cache_dir=tmp_path / "cache", local_files_only=True))


def test_what_is_here_is_fetched_again_where_that_is_asked_for(loopback_hub, folder):
    commit = hub.push(folder, NAME).rpartition("/")[2]
    hub.local_or_download(NAME, commit)
    before = sent(loopback_hub, "GET", "model.safetensors")
    hub.local_or_download(NAME, commit)
    assert sent(loopback_hub, "GET", "model.safetensors") == before
    hub.local_or_download(NAME, commit, hub.Access(force_download=True))
    assert sent(loopback_hub, "GET", "model.safetensors") == before + 1
