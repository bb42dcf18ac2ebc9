"""The wheel as installed beside the checkout, its demo, and a browser that tells what a page says and asks for."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass

import pytest

from braindec import recipe

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PIP = (sys.executable, "-m", "pip")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--window-size=1280,900")


def done(command, **settings):
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, **settings)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """Built from the checkout as it lies there, with runs, caches and prepared data in it."""
    folder, checkout = tmp_path_factory.mktemp("wheel"), recipe.folder().parent
    build = (*PIP, "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation")
    done([*build, "--wheel-dir", folder, checkout])
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """Runs a command of the installed wheel in an empty folder, where it shadows the checkout."""
    place, empty = tmp_path_factory.mktemp("installed"), tmp_path_factory.mktemp("empty")
    done([*PIP, "install", "--quiet", "--no-deps", "--no-index", "--target", place, wheel])
    environment = {**os.environ, "PYTHONPATH": str(place)}
    code = "import sys, braindec; sys.exit(not braindec.__file__.startswith(sys.argv[1]))"
    done([sys.executable, "-c", code, str(place)], cwd=empty, env=environment)
    return lambda *words: done([place / "bin" / "braindec", *words], cwd=empty, env=environment)


@pytest.fixture(scope="session")
def demo(installed, tmp_path_factory):
    """What the installed wheel's demo writes on the small world."""
    out = tmp_path_factory.mktemp("demo") / "runs" / "demo"
    installed("run", "demo", "--smoke", "--out", out)
    return out


@dataclass(frozen=True)
class Opened:
    """What a page wrote to the console, which addresses it asked for, and a PNG of all of it."""

    said: list[str]
    asked: list[str]
    picture: bytes


@pytest.fixture
def browse(tmp_path):
    """Opens a file in headless Chromium."""
    if CHROMIUM is None:
        pytest.skip("needs a browser: apt-get install --no-install-recommends chromium")
    return lambda path: _open(path, tmp_path / "profile")


def _open(path, profile):
    with _Pipe(profile) as browser:
        target = browser.ask("Target.createTarget", url="about:blank")["targetId"]
        browser.session = browser.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            browser.ask(f"{domain}.enable")
        browser.ask("Page.navigate", url=f"file://{path}")
        browser.wait("Page.loadEventFired")
        browser.ask(
            "Runtime.evaluate", expression="new Promise(done => setTimeout(done, 500))", awaitPromise=True
        )
        picture = browser.ask("Page.captureScreenshot", captureBeyondViewport=True)["data"]
    kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
    said = [json.dumps(e["params"]) for e in browser.events if e["method"] in kinds]
    asked = [
        e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"
    ]
    return Opened(said, asked, base64.b64decode(picture))


class _Pipe:
    """The DevTools protocol over two pipes: the browser reads file 3 and writes file 4, a NUL ends each message."""

    def __init__(self, profile):
        self.session, self.events, self._last = None, [], 0
        read_there, self._write = os.pipe()
        self._read, write_there = os.pipe()
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{read_there} 4>&{write_there}', "bash", CHROMIUM, *FLAGS,
             f"--user-data-dir={profile}"],
            pass_fds=(read_there, write_there), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(read_there)
        os.close(write_there)
        self._messages = self._incoming()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def ask(self, method, **params):
        """The answer to one command."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        answer = next(m for m in self._messages if m.get("id") == self._last)
        assert "result" in answer, answer
        return answer["result"]

    def wait(self, event):
        """Returns when the event has come."""
        if not any(e["method"] == event for e in self.events):
            next(m for m in self._messages if m.get("method") == event)

    def _incoming(self):
        held = b""
        while piece := os.read(self._read, 1 << 16):
            *whole, held = (held + piece).split(b"\0")
            for text in whole:
                message = json.loads(text)
                if "method" in message:
                    self.events.append(message)
                yield message
