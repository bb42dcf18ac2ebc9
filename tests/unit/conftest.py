"""A hub on this machine: it serves and takes repositories as huggingface.co does, and misbehaves where a test asks."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest

LARGE = (".safetensors", ".bin", ".pth", ".ckpt")  # what the hub keeps apart and lists with a sha256


class LoopbackHub:
    """Repositories of one commit each, and those that are pushed to it.

    Attributes
    ----------
    repositories : dict of (kind, name) to (commit, {path: bytes})
    faults : dict of path to list of str
        What goes wrong with the next answers that carry this file: ``flip`` (a bit), ``truncate`` (fewer bytes, as if
        they were all), ``cut`` (the connection ends in the middle), ``500``, ``stall`` (half of it, then silence until
        the client has gone), ``slow`` (in pieces), ``changed`` (half of it; what is asked for after that is another
        file), ``elsewhere`` (another host has it). A fault is used up, ``always ...`` is not. ``commit`` and ``upload``
        are names of faults of a push.
    asked : list of (method, path, Range or "")
    tokens : set of str
        Every Authorization header that came.
    elsewhere : str
        Address of a host that keeps what this hub redirects to.
    """

    def __init__(self):
        self.repositories, self.faults, self.asked, self.tokens = {}, {}, [], set()
        self.answers_commit = None  # another commit than the one that is asked for
        self.large, self.private, self.branches, self.elsewhere = {}, {}, {}, ""
        self.proposed = False  # whether the last commit came as a proposal
        self.gone = threading.Event()  # set at the end: nothing stalls any longer

    def add(self, name, files, *, kind="model", commit="c0ffee" + "0" * 34):
        self.repositories[kind, name] = (commit, dict(files))
        return commit

    def fault(self, path):
        waiting = self.faults.get(path) or [""]
        return waiting[0].removeprefix("always ") if waiting[0].startswith("always") else waiting.pop(0)

    def commit(self, kind, name, lines):
        """Applies the lines of a commit: all of them or none."""
        files = dict(self.repositories[kind, name][1])
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.large[value["oid"]]
        text = json.dumps(
            {path: hashlib.sha256(content).hexdigest() for path, content in sorted(files.items())}
        )
        commit = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        self.repositories[kind, name] = (commit, files)
        return commit


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: LoopbackHub

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def do_POST(self):
        parts, said = self.parts(), self.said()
        if parts[:2] == ["api", "validate-yaml"]:
            return self.json(200, {"errors": [], "warnings": []})
        if parts[:3] == ["api", "repos", "create"]:
            return self.create(json.loads(said))
        if parts[-3:] == ["lfs", "objects", "batch"]:
            return self.json(
                200, {"transfer": "basic", "objects": [self.upload(o) for o in json.loads(said)["objects"]]}
            )
        kind, name, what = parts[1].removesuffix("s"), "/".join(parts[2:4]), parts[4]
        if what == "preupload":
            told = [self.mode(kind, name, file["path"]) for file in json.loads(said)["files"]]
            return self.json(200, {"files": told})
        if what == "branch":
            self.hub.branches.setdefault((kind, name), set()).add("/".join(parts[5:]))
            return self.json(200, {})
        head, *lines = [json.loads(line) for line in said.splitlines()]
        fault = self.hub.fault("commit")
        if fault == "stall":
            return self.fall_silent()
        if fault == "500" or head["value"].get("parentCommit") != self.hub.repositories[kind, name][0]:
            return self.json(500 if fault else 412, {"error": "broken" if fault else "not the newest commit"})
        commit = self.hub.commit(kind, name, lines)
        self.hub.proposed = "create_pr=1" in self.path
        if fault == "flip":
            path = next(line["value"]["path"] for line in lines if line["key"] == "lfsFile")
            self.hub.repositories[kind, name][1][path] = b"something else"
        return self.json(
            200,
            {
                "commitUrl": f"https://huggingface.co/{name}/commit/{commit}",
                "commitOid": commit,
                "pullRequestUrl": f"https://huggingface.co/{name}/discussions/1",
            },
        )

    def do_PUT(self):
        place, content, fault = self.parts()[-1], self.said(), self.hub.fault("upload")
        if fault == "stall":
            return self.fall_silent()
        if fault:
            return self.json(500, {"error": "broken"})
        self.hub.large[place] = content
        return self.json(200, {}, {"ETag": "x"})

    def fall_silent(self):
        self.hub.gone.wait(20)
        self.connection.close()
        self.close_connection = True

    def create(self, said):
        key = said.get("type", "model"), f"{said.get('organization', 'someone')}/{said['name']}"
        if key in self.hub.repositories:
            return self.json(
                409, {"error": "You already created this repo", "url": f"https://huggingface.co/{key[1]}"}
            )
        self.hub.add(key[1], {".gitattributes": b""}, kind=key[0])
        self.hub.private[key] = said.get("visibility") == "private"
        return self.json(200, {"url": f"https://huggingface.co/{key[1]}", "name": key[1]})

    def upload(self, asked):
        told = {"oid": asked["oid"], "size": asked["size"]}
        if asked["oid"] not in self.hub.large:
            host = self.headers["Host"]
            told["actions"] = {"upload": {"href": f"http://{host}/upload/{asked['oid']}"}}
        return told

    def mode(self, kind, name, path):
        content = self.hub.repositories[kind, name][1].get(path)
        known = {} if content is None else listed(path, content)
        mode = "lfs" if path.endswith(LARGE) else "regular"
        return {
            "path": path,
            "shouldIgnore": False,
            "uploadMode": mode,
            "oid": known.get("lfs", known).get("oid"),
        }

    def parts(self):
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        self.hub.asked.append((self.command, "/".join(parts), self.headers.get("Range", "")))
        self.hub.tokens |= {self.headers["Authorization"]} - {None}
        return parts

    def said(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, *, body):
        parts = self.parts()
        if parts[0] == "api" and parts[1] not in ("models", "datasets"):
            return self.json(404, {"error": "Not found"})
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
            about = {
                "id": name,
                "modelId": name,
                "sha": told,
                "siblings": [],
                "tags": [],
                "downloads": 0,
                "likes": 0,
            }
            return self.json(200, about | {"private": self.hub.private.get((kind, name), False)})
        return self.json(200, [listed(path, content) for path, content in files.items()])

    def file(self, kind, name, path, *, body):
        commit, files = self.hub.repositories[kind, name]
        if path not in files:
            return self.json(404, {}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        content, fault = files[path], self.hub.fault(path) if body else (self.hub.faults.get(path) or [""])[0]
        if fault == "500" and body:
            return self.json(500, {"error": "broken"})
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        sent = bytearray(content[start:])
        if fault == "flip":
            sent[len(sent) // 2] ^= 1
        if fault == "truncate" and body:
            del sent[len(sent) // 2 :]
        if fault.endswith("elsewhere"):
            self.send_response(302)
            self.send_header("Location", f"{self.hub.elsewhere}/{name}/resolve/{commit}/{path}")
            self.send_header("X-Linked-ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Linked-Size", str(len(content)))
            sent = bytearray()
        else:
            self.send_response(206 if start else 200)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(sent)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if body:
            self.send(sent, fault, files, path)
        return None

    def send(self, sent, fault, files, path):
        """The bytes, or what a fault leaves of them."""
        half = len(sent) // 2
        if fault in ("cut", "changed", "stall"):
            self.wfile.write(sent[:half])
            self.wfile.flush()
            if fault == "changed":  # as long as before
                files[path] = bytes(byte ^ 1 for byte in files[path])
            if fault == "stall":
                self.hub.gone.wait(5)
            self.connection.close()
            self.close_connection = True
            return
        for start in range(0, len(sent), max(1, len(sent) // 20 if fault == "slow" else len(sent))):
            self.wfile.write(sent[start : start + max(1, len(sent) // 20 if fault == "slow" else len(sent))])
            if fault == "slow":
                self.wfile.flush()
                self.hub.gone.wait(0.01)

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
        if self.command != "HEAD":
            self.wfile.write(body)


def listed(path, content):
    """A file in the listing of a commit."""
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    told = {"type": "file", "oid": blob, "size": len(content), "path": path}
    if path.endswith(LARGE):
        told["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    return told


@contextmanager
def serving():
    """A `LoopbackHub` and the address where it answers."""
    hub = LoopbackHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Answers,), {"hub": hub}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield hub, f"http://127.0.0.1:{server.server_port}"
    hub.gone.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def loopback_hub(monkeypatch, tmp_path):
    """A `LoopbackHub` that the library takes for the hub, with a cache of its own and no waiting between attempts."""
    import time

    from huggingface_hub import constants

    with serving() as (hub, address):
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.delenv("HF_HUB_CACHE", raising=False)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        # what another test's environment said when the client was first imported stays in its constants
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        # Xet is a storage of its own, which no loopback serves
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(time, "sleep", lambda _seconds: None)
        yield hub


@pytest.fixture
def other_host():
    """Another host that keeps files of repositories."""
    with serving() as (hub, address):
        yield hub, address
