"""Files of a figshare article: found by name, verified by the stated checksum, refused otherwise."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading

import pytest

from braindec import checks
from braindec.data import figshare

CONTENT = b"responses of a subject"


@pytest.fixture
def server(monkeypatch):
    """A stand-in for figshare's interface with one good file and one whose checksum is not that of its content."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            base = f"http://127.0.0.1:{self.server.server_port}"
            md5 = {"good.h5": hashlib.md5(CONTENT).hexdigest(), "bad.h5": "0" * 32}
            listed = [{"name": n, "download_url": f"{base}/{n}", "computed_md5": h} for n, h in md5.items()]
            body = json.dumps(listed).encode() if self.path.startswith("/articles/7/files") else CONTENT
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        monkeypatch.setattr(figshare, "API", f"http://127.0.0.1:{running.server_port}")
        yield
        running.shutdown()


def test_a_named_file_is_downloaded_and_one_that_is_there_is_kept(server, tmp_path):
    (path,) = figshare.fetch(7, ["good.h5"], tmp_path)
    assert path.read_bytes() == CONTENT
    path.write_bytes(b"mine")
    figshare.fetch(7, ["good.h5"], tmp_path)
    assert path.read_bytes() == b"mine"


def test_another_checksum_is_refused_and_leaves_nothing(server, tmp_path):
    with pytest.raises(checks.DownloadError, match=r"bad\.h5"):
        figshare.fetch(7, ["bad.h5"], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_the_article_lacks_is_refused_with_those_it_has(server, tmp_path):
    with pytest.raises(
        checks.DownloadError, match=r"has no file 'none\.h5'; it has \['bad\.h5', 'good\.h5'\]"
    ):
        figshare.fetch(7, ["none.h5"], tmp_path)


def test_a_dry_run_asks_nobody(monkeypatch, tmp_path):
    monkeypatch.setattr(figshare, "API", "http://127.0.0.1:9")
    assert figshare.fetch(7, ["good.h5"], tmp_path / "raw", dry_run=True) == [tmp_path / "raw" / "good.h5"]
    assert list(tmp_path.iterdir()) == []
