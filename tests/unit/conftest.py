"""A hub on this machine: it serves repositories as huggingface.co does, and misbehaves where a test asks for it."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest

LARGE = (".safetensors", ".bin", ".pth", ".ckpt")  # what the hub keeps apart and lists with a sha256


class LoopbackHub:
    """Repositories of one commit each.

    Attributes
    ----------
    repositories : dict of (kind, name) to (commit, {path: bytes})
    faults : dict of path to list of str
        What goes wrong with the next answers that carry this file: ``flip`` (a bit), ``truncate`` (fewer bytes, as if
        they were all), ``cut`` (the connection ends in the middle), ``500``. A fault is used up, ``always ...`` is not.
    asked : list of (method, path, Range or "")
    """

    def __init__(self):
        self.repositories, self.faults, self.asked = {}, {}, []
        self.answers_commit = None  # another commit than the one that is asked for

    def add(self, name, files, *, kind="model", commit="c0ffee" + "0" * 34):
        self.repositories[kind, name] = (commit, dict(files))
        return commit

    def fault(self, path):
        waiting = self.faults.get(path) or [""]
        return waiting[0].removeprefix("always ") if waiting[0].startswith("always") else waiting.pop(0)


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: LoopbackHub

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, *, body):
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        self.hub.asked.append((self.command, "/".join(parts), self.headers.get("Range", "")))
        if parts[0] == "api":
            kind = {"models": "model", "datasets": "dataset"}[parts[1]]
            return self.about(kind, "/".join(parts[2:4]), parts[4] if len(parts) > 4 else "")
        kind = "dataset" if parts[0] == "datasets" else "model"
        owner = parts[1:] if kind == "dataset" else parts
        return self.file(kind, "/".join(owner[:2]), "/".join(owner[4:]), body=body)

    def about(self, kind, name, what):
        if (kind, name) not in self.hub.repositories:
            return self.json(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        commit, files = self.hub.repositories[kind, name]
        if what != "tree":
            told = self.hub.answers_commit or commit
            return self.json(200, {"id": name, "modelId": name, "sha": told, "siblings": [], "tags": [],
                                   "private": False, "downloads": 0, "likes": 0})  # fmt: skip
        return self.json(200, [listed(path, content) for path, content in files.items()])

    def file(self, kind, name, path, *, body):
        commit, files = self.hub.repositories[kind, name]
        if path not in files:
            return self.json(404, {}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        content, fault = files[path], self.hub.fault(path) if body else ""
        if fault == "500":
            return self.json(500, {"error": "broken"})
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        sent = bytearray(content[start:])
        if fault == "flip":
            sent[len(sent) // 2] ^= 1
        if fault == "truncate":
            del sent[len(sent) // 2 :]
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(sent)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if body and fault == "cut":
            self.wfile.write(sent[: len(sent) // 2])
            self.wfile.flush()
            self.connection.close()
            self.close_connection = True
        elif body:
            self.wfile.write(sent)
        return None

    def json(self, status, value, headers=None):
        body = json.dumps(value).encode()
        self.send_response(status)
        for key, text in {
            "Content-Type": "application/json",
            "Content-Length": len(body),
            **(headers or {}),
        }.items():
            self.send_header(key, str(text))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def listed(path, content):
    """A file in the listing of a commit."""
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    told = {"type": "file", "oid": blob, "size": len(content), "path": path}
    if path.endswith(LARGE):
        told["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    return told


@pytest.fixture
def loopback_hub(monkeypatch, tmp_path):
    """A `LoopbackHub` that the library takes for the hub, with a cache of its own and no waiting between attempts."""
    import time

    hub = LoopbackHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Answers,), {"hub": hub}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    yield hub
    server.shutdown()
    server.server_close()
    thread.join()
