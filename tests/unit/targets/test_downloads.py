"""Weights that are not there: said at once, with where to get them and where to put them; found when put there."""

from __future__ import annotations

import socket
import time

import pytest

from braindec import checks
from braindec.targets import _downloads, clip_vit_l14, openclip


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No host answers, and no cache holds anything; every try to connect is counted."""
    tried = []

    def nothing(address, timeout=None):
        tried.append((address, timeout))
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", nothing)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tried


def test_the_clip_judge_gives_up_at_once_and_says_what_to_put_where(offline, tmp_path):
    clip_vit_l14.openclip._compat.ensure_torchvision()
    import open_clip  # noqa: F401  its import is not what is timed

    start = time.perf_counter()
    with pytest.raises(checks.DownloadError) as said:
        clip_vit_l14.build(clip_vit_l14.Config())
    assert time.perf_counter() - start < 2
    assert len(offline) == 1 and offline[0] == (("huggingface.co", 443), _downloads.SECONDS)
    place = tmp_path / "hub/models--timm--vit_large_patch14_clip_224.openai/snapshots/by-hand"
    assert f"put {openclip.FILES[0]} from there at {place / openclip.FILES[0]}" in str(said.value)
    assert "https://huggingface.co/timm/vit_large_patch14_clip_224.openai" in str(said.value)


def test_a_file_that_was_put_there_is_found_without_asking_the_network(offline):
    place = _downloads.repository_folder("timm/vit_large_patch14_clip_224.openai") / "snapshots/by-hand"
    place.mkdir(parents=True)
    (place / openclip.FILES[0]).write_bytes(b"weights")
    found, label = openclip._library_weights(openclip.Config())
    assert found == place / openclip.FILES[0] and label == "openai" and offline == []


def test_what_stands_between_this_machine_and_a_host_is_said(offline, monkeypatch):
    assert "Name or service" in _downloads.why_unreachable("https://download.pytorch.org/x.pth")
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    assert _downloads.why_unreachable("https://download.pytorch.org/x.pth").startswith("proxy.example")
    assert offline[-1][0] == ("proxy.example", 3128)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    before = len(offline)
    assert (
        _downloads.why_unreachable("https://huggingface.co") == "HF_HUB_OFFLINE is set"
        and len(offline) == before
    )


def test_a_host_that_answers_stands_in_no_way(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        for name in ("http_proxy", "HTTP_PROXY", "HF_HUB_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        assert _downloads.why_unreachable(f"http://127.0.0.1:{server.getsockname()[1]}/file") == ""


def test_a_host_that_no_proxy_names_is_asked_itself(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "127.0.0.2,elsewhere.example")
    with socket.create_server(("127.0.0.2", 0)) as server:
        assert _downloads.why_unreachable(f"http://127.0.0.2:{server.getsockname()[1]}/file") == ""
