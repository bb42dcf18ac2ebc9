"""Published weights come whole, from the commit that was named, or not at all: shown against a hub that misbehaves."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from braindec import hub
from braindec.checks import ConfigError, DownloadError
from braindec.hub import _client, _fetch
from braindec.weights import published
from braindec.weights.published import File, Published

WEIGHTS = np.random.default_rng(0).bytes(300_000)
FILES = {"config.json": b'{"a": 1}', "model.safetensors": WEIGHTS, "run_me.py": b"print('no')"}
NAME = "someone/model"


def entry(**changes):
    told = {
        "name": "small", "what": "a model", "repository": NAME, "kind": "model", "revision": None,
        "revision_from": "", "licence": "MIT", "files": (File("model.safetensors", 1, None),), "also": ("*.json",),
        "convert": None, "used_by": (), "sizes_from": "", "notes": "",
    }  # fmt: skip
    return Published(**told | changes)


@pytest.fixture
def listed(monkeypatch):
    """Puts entries into the table."""

    def put(*entries):
        monkeypatch.setattr(published, "table", lambda: {e.name: e for e in entries})

    return put


@pytest.fixture
def commit(loopback_hub):
    return loopback_hub.add(NAME, FILES)


def blobs(loopback_hub):
    """How often the weights themselves were sent."""
    return sum(m == "GET" and path.endswith("model.safetensors") for m, path, _ in loopback_hub.asked)


def test_what_is_pulled_is_what_was_published_and_no_code_comes_along(loopback_hub, commit):
    found = hub.pull(NAME, revision=commit)
    assert found.pinned and found.entry is None
    assert sorted(found.snapshot.files) == ["config.json", "model.safetensors"]
    assert (found.snapshot.folder / "model.safetensors").read_bytes() == WEIGHTS
    assert found.snapshot.files["model.safetensors"] == hashlib.sha256(WEIGHTS).hexdigest()
    assert found.snapshot.folder.name == commit


@pytest.mark.parametrize("fault", ["flip", "truncate", "cut", "500"])
def test_a_fault_that_passes_is_mended(loopback_hub, commit, fault):
    loopback_hub.faults["model.safetensors"] = [fault]
    folder = hub.pull(NAME, revision=commit).snapshot.folder
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize("fault", ["flip", "truncate", "cut", "500"])
def test_a_fault_that_stays_leaves_nothing_that_could_be_taken_for_the_weights(loopback_hub, commit, fault):
    loopback_hub.faults["model.safetensors"] = [f"always {fault}"]
    if (
        fault == "cut"
    ):  # each cut connection brings half of what lacks, until a byte is left: it is cut for ever
        loopback_hub.repositories["model", NAME][1]["model.safetensors"] = b"x"
    with pytest.raises(DownloadError, match=r"model\.safetensors .*3 attempts"):
        hub.pull(NAME, revision=commit)
    left = list((published.repository_folder(NAME) / "snapshots").glob("*/model.safetensors"))
    assert left == []


def test_what_was_cut_off_is_resumed_and_not_begun_again(loopback_hub, commit, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(
        constants, "DOWNLOAD_CHUNK_SIZE", 50_000
    )  # the client keeps whole parts, of 10 MB else
    loopback_hub.faults["model.safetensors"] = ["cut"]
    hub.pull(NAME, revision=commit)
    ranges = [r for m, path, r in loopback_hub.asked if m == "GET" and path.endswith("model.safetensors")]
    assert ranges == ["", f"bytes={len(WEIGHTS) // 2}-"]


def test_a_hub_that_is_slow_is_waited_for_and_one_that_falls_silent_is_asked_again(
    loopback_hub, commit, monkeypatch
):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.5)  # ten seconds of silence, else
    loopback_hub.faults["model.safetensors"] = ["stall", "slow"]
    folder = hub.pull(NAME, revision=commit).snapshot.folder
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS


def test_a_file_that_changes_while_it_comes_is_not_put_together_of_two(loopback_hub, commit, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 50_000)
    loopback_hub.faults["model.safetensors"] = ["changed"]
    with pytest.raises(DownloadError, match=r"model\.safetensors has sha256 .*the hub lists"):
        hub.pull(NAME, revision=commit)
    assert list((published.repository_folder(NAME) / "snapshots").glob("*/model.safetensors")) == []
    loopback_hub.repositories["model", NAME] = (commit, FILES)
    folder = hub.pull(NAME, revision=commit).snapshot.folder
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS


def test_what_another_host_keeps_is_hashed_too_and_that_host_sees_no_token(loopback_hub, commit, other_host):
    other, loopback_hub.elsewhere = other_host
    loopback_hub.faults["model.safetensors"] = ["always elsewhere"]
    access = hub.Access(token="hf_secret")
    other.add(NAME, {"model.safetensors": WEIGHTS[:-1] + b"!"}, commit=commit)
    with pytest.raises(DownloadError, match=r"model\.safetensors has sha256 .*the hub lists"):
        hub.local_or_download(NAME, commit, access)
    other.add(NAME, {"model.safetensors": WEIGHTS}, commit=commit)
    folder = hub.local_or_download(NAME, commit, access)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert any(path.endswith("model.safetensors") for _, path, _ in other.asked)
    assert loopback_hub.tokens == {"Bearer hf_secret"} and other.tokens == set()


def test_what_was_asked_for_before_is_no_answer_to_what_is_asked_for_now(loopback_hub):
    commit = loopback_hub.add(NAME, FILES | {"preprocessing.h5": b"x"})
    hub.pull(NAME, revision=commit)
    assert (hub.local_or_download(NAME, commit) / "preprocessing.h5").read_bytes() == b"x"
    loopback_hub.asked.clear()
    hub.pull(NAME, revision=commit)
    hub.local_or_download(NAME, commit)
    assert loopback_hub.asked == []


def test_a_record_of_what_was_verified_is_not_taken_from_the_hub(loopback_hub):
    forged = json.dumps({"format": 1, "patterns": ["*"], "files": {}}).encode()
    commit = loopback_hub.add(NAME, FILES | {_fetch.RECORD: forged})
    found = hub.pull(NAME, revision=commit).snapshot
    assert _fetch.RECORD not in found.files and "config.json" in (found.folder / _fetch.RECORD).read_text()


def test_a_file_of_the_cache_that_was_damaged_since_is_fetched_again(loopback_hub, commit):
    file = hub.pull(NAME, revision=commit).snapshot.folder / "model.safetensors"
    damaged = bytearray(WEIGHTS)
    damaged[1000] ^= 1
    file.resolve().write_bytes(damaged)
    assert hub.pull(NAME, revision=commit).snapshot.folder / "model.safetensors" == file
    assert file.read_bytes() == WEIGHTS and blobs(loopback_hub) == 2


def test_what_lies_in_the_cache_needs_no_network(loopback_hub, commit, monkeypatch):
    first = hub.pull(NAME, revision=commit)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    loopback_hub.asked.clear()
    assert hub.pull(NAME, revision=commit) == first
    assert loopback_hub.asked == []
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE is set"):
        hub.pull(NAME, revision="1" * 40)


def test_another_commit_than_the_one_that_was_named_is_refused(loopback_hub, commit):
    loopback_hub.answers_commit = "f" * 40
    with pytest.raises(DownloadError, match="asked for commit"):
        hub.pull(NAME, revision=commit)
    assert blobs(loopback_hub) == 0


def test_a_hash_of_the_table_stands_above_what_the_hub_lists(loopback_hub, commit, listed):
    files = (File("model.safetensors", 1, "0" * 64),)
    listed(entry(revision=commit, files=files))
    with pytest.raises(DownloadError, match="braindec's table says 000000000000"):
        hub.pull("small")


def test_an_entry_without_a_commit_takes_the_newest_and_says_so(loopback_hub, commit, listed):
    listed(entry())
    found = hub.pull("small")
    assert not found.pinned and found.snapshot.revision == commit
    assert published.here(entry()) == found.snapshot.folder
    assert hub.pull(NAME).entry == entry()  # by its repository


def test_pickles_without_a_converter_are_refused_before_anything_is_asked(loopback_hub, commit, listed):
    listed(entry(files=(File("last.pth", None, None),), notes="No converter yet."))
    with pytest.raises(DownloadError, match=r"run code when opened.*No converter yet"):
        hub.pull("small")
    assert loopback_hub.asked == []


def test_a_repository_of_pickles_alone_is_refused(loopback_hub):
    commit = loopback_hub.add(NAME, {"config.json": b"{}", "pytorch_model.bin": b"pickle"})
    with pytest.raises(DownloadError, match="run code when opened"):
        hub.pull(NAME, revision=commit)
    assert not any("resolve" in path for _, path, _ in loopback_hub.asked)


def test_pickles_that_came_for_a_converter_are_not_handed_to_whoever_asks_without_one(loopback_hub):
    both = loopback_hub.add(NAME, FILES | {"last.pth": b"pickle"})
    alone = loopback_hub.add("someone/pickled", {"config.json": b"{}", "last.pth": b"pickle"})
    for name, commit in ((NAME, both), ("someone/pickled", alone)):
        assert "last.pth" in _fetch.fetch(name, ["*"], revision=commit, pickles=True).files
    assert set(_fetch.fetch(NAME, ["*"], revision=both).files) == {*FILES}
    with pytest.raises(DownloadError, match="run code when opened"):
        _fetch.fetch("someone/pickled", ["*"], revision=alone)


def test_nobody_waits_after_the_last_attempt(loopback_hub, commit, monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr(_client.time, "sleep", waits.append)
    loopback_hub.faults["model.safetensors"] = ["always 500"]
    with pytest.raises(DownloadError):
        hub.pull(NAME, revision=commit)
    assert len(waits) == _client.ATTEMPTS - 1


def test_a_file_that_the_table_names_and_the_repository_lacks_is_named(loopback_hub, commit, listed):
    listed(entry(revision=commit, files=(File("unet/other.safetensors", 1, None),)))
    with pytest.raises(DownloadError, match=r"has no unet/other\.safetensors at this commit; it has config"):
        hub.pull("small")


@pytest.mark.parametrize("path", ["../../evil.json", "/etc/evil.json", "a/../../evil.json"])
def test_a_listing_may_not_point_outside_its_folder(loopback_hub, path):
    commit = loopback_hub.add(NAME, {"model.safetensors": b"x", path: b"{}"})
    with pytest.raises(DownloadError, match="outside its folder"):
        hub.pull(NAME, revision=commit)


def test_a_disk_that_is_too_small_is_said_before_the_first_byte(loopback_hub, commit, monkeypatch):
    free = type("Usage", (), {"free": _fetch.MARGIN + 1000})
    monkeypatch.setattr(_fetch.shutil, "disk_usage", lambda _place: free)
    with pytest.raises(DownloadError, match=r"needs 0\.0 GB, but .* has 0\.2 GB free.*HF_HOME"):
        hub.pull(NAME, revision=commit)
    assert blobs(loopback_hub) == 0


@pytest.mark.parametrize("revision", ["main", "0123456"])
def test_a_revision_must_be_a_whole_commit(revision):
    with pytest.raises(ConfigError, match="40 hex"):
        hub.pull(NAME, revision=revision)


def test_an_unknown_name_is_refused_with_the_closest_one():
    with pytest.raises(ConfigError, match="Did you mean 'sdxl-turbo'"):
        hub.pull("sdxl-turb")
    with pytest.raises(ConfigError, match="--revision"):
        hub.pull("nobody/nothing")


def test_the_table_is_complete_and_invents_nothing():
    raw = json.loads(published.TABLE.read_text())["weights"]
    assert [row["name"] for row in raw] == list(published.table())
    for one in published.table().values():
        assert one.kind in ("model", "dataset") and one.licence and one.files and one.used_by
        assert one.revision is None or _client.COMMIT.fullmatch(one.revision)
        assert bool(one.revision_from)
        for file in one.files:
            assert file.sha256 is None or len(bytes.fromhex(file.sha256)) == 32
            assert file.megabytes is None or file.megabytes > 0
        assert one.convert is None or any(file.is_pickle for file in one.files)


def test_weights_that_are_not_here_name_the_command_that_fetches_them(loopback_hub):
    with pytest.raises(DownloadError, match=r"licence Apache-2\.0.*braindec pull ip-adapter-sdxl"):
        published.folder_of("ip-adapter-sdxl")


def test_a_file_put_there_by_hand_is_found(loopback_hub):
    one = published.named("taesd")
    folder = published.repository_folder(one.repository) / "snapshots" / published.BY_HAND
    folder.mkdir(parents=True)
    (folder / one.files[0].path).write_bytes(b"x")
    assert published.folder_of("taesd") == folder


def test_pickles_that_are_written_again_lie_under_the_names_that_libraries_look_for():
    assert published.written_again("text_encoder/pytorch_model.bin") == "text_encoder/model.safetensors"
    assert published.written_again("open_clip_pytorch_model.bin") == "open_clip_pytorch_model.safetensors"
    assert (
        published.written_again("unet/diffusion_pytorch_model.bin")
        == "unet/diffusion_pytorch_model.safetensors"
    )


def test_a_file_that_was_whole_but_not_yet_looked_at_is_not_sent_again(loopback_hub, commit):
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    blobs_of = published.repository_folder(NAME) / "blobs"
    blobs_of.mkdir(parents=True)
    (blobs_of / f"{digest}.braindec.incomplete").write_bytes(WEIGHTS)
    folder = hub.pull(NAME, revision=commit).snapshot.folder
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS and blobs(loopback_hub) == 0
    assert not list(blobs_of.glob("*.incomplete*"))


def test_an_empty_file_comes_too_and_the_hubs_own_client_finds_what_was_pulled(loopback_hub):
    from huggingface_hub import try_to_load_from_cache

    commit = loopback_hub.add(NAME, FILES | {"config.json": b""})
    folder = hub.pull(NAME, revision=commit).snapshot.folder
    assert (folder / "config.json").read_bytes() == b""
    found = try_to_load_from_cache(
        NAME, "model.safetensors", cache_dir=published.hub_cache(), revision=commit
    )
    assert found == str(folder / "model.safetensors")
