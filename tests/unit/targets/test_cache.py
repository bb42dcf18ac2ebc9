"""Embeddings are made once: by one process of several, going on where a killed one stopped, and never half."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from braindec import checks, store
from braindec.targets import AudioTarget, TextTarget, _cache, pixels
from braindec.targets._embedding import embed
from braindec.types import StimulusSet, Table

WORKER = """
import sys, time
import numpy as np
from pathlib import Path
from braindec.targets import _cache

folder, n, pause = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
ids = [f"s{i:04d}" for i in range(n)]

def compute(some):
    with open(folder / "log", "a") as log:
        log.write(some[0] + "\\n")
    time.sleep(pause)
    return np.array([[[int(i[1:]), 1.0]] for i in some], np.float32)

about = {"space": "planted", "identity": {}, "provenance": "p"}
found = _cache.kept(folder / "cache" / "e.h5", ids, compute, about, text="", progress=False)
assert np.array_equal(found.rows("values")[:][:, 0, 0], np.arange(n)), "damaged"
"""


def started(folder: Path, n: int, pause: float) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder), str(n), str(pause)], stderr=subprocess.PIPE
    )


def log_of(folder: Path) -> list[str]:
    return (folder / "log").read_text().split() if (folder / "log").is_file() else []


def test_two_processes_that_ask_at_once_make_one_file_between_them(tmp_path):
    both = [started(tmp_path, 600, 0.2) for _ in range(2)]
    for process in both:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said.decode()
    assert sorted(log_of(tmp_path)) == ["s0000", "s0256", "s0512"]  # each block once, by whichever came first
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["e.h5"]


def test_who_comes_after_a_killed_process_goes_on_with_the_block_it_was_at(tmp_path):
    killed = started(tmp_path, 700, 1.0)
    deadline = time.monotonic() + 60
    while len(log_of(tmp_path)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not (tmp_path / "cache" / "e.h5").exists()  # nothing half-written
    after = started(tmp_path, 700, 0.0)
    _, said = after.communicate(timeout=60)
    assert after.returncode == 0, said.decode()
    assert log_of(tmp_path) == ["s0000", "s0256", "s0256", "s0512"]
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["e.h5"]


def made(path: Path, n: int, calls: list, provenance: str = "p", fail_at: int | None = None) -> store.Stored:
    def compute(some):
        if fail_at is not None and len(calls) == fail_at:
            raise KeyboardInterrupt
        calls.append(some[0])
        return np.array([[[float(i)]] for i in some], np.float32)

    about = {"space": "planted", "identity": {}, "provenance": provenance}
    return _cache.kept(path, [str(i) for i in range(n)], compute, about, text="", progress=False)


def test_an_interrupted_embedding_leaves_no_file_and_is_taken_up_again(tmp_path):
    calls: list = []
    with pytest.raises(KeyboardInterrupt):
        made(tmp_path / "e.h5", 600, calls, fail_at=2)
    assert not (tmp_path / "e.h5").exists()
    made(tmp_path / "e.h5", 600, calls)
    assert calls == ["0", "256", "512"]


def test_a_damaged_block_is_made_again_and_a_damaged_file_is_refused(tmp_path):
    calls: list = []
    with pytest.raises(KeyboardInterrupt):
        made(tmp_path / "e.h5", 600, calls, fail_at=2)
    block = sorted((tmp_path / ".e.h5.blocks").iterdir())[0]
    content = bytearray(block.read_bytes())
    content[-2000:] = bytes(2000)
    block.write_bytes(bytes(content))
    found = made(tmp_path / "e.h5", 600, calls)
    assert calls == ["0", "256", "0", "512"]
    np.testing.assert_array_equal(found.rows("values")[:].ravel(), np.arange(600))
    with pytest.raises(checks.DataFileError, match="Delete this file"):
        made(tmp_path / "e.h5", 600, calls, provenance="another")


class Words(TextTarget):
    """A caption's length and its first letter."""

    name, space, shape = "words", "words", (1, 2)

    def identity(self):
        return {"target": "words"}

    def embed_text(self, texts, *, batch_size=256, device="cpu"):
        return np.array([[len(t), ord(t[0])] for t in texts], np.float32)


def scenes(captions: dict[str, str]) -> StimulusSet:
    pictures = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    ids = ("a", "b", "c")
    row = {key: i for i, key in enumerate(ids)}
    return StimulusSet(
        ids, "image", lambda some: pictures[[row[i] for i in some]], captions, Table({"kind": ids})
    )


def test_captions_are_embedded_of_the_stimuli_they_describe_and_belong_to_the_hash(tmp_path):
    first = scenes({"a": "one", "b": "twenty", "c": "x"})
    found = embed(Words(), first, content="same", cache=tmp_path)
    np.testing.assert_array_equal(found.of(["c", "a"])[:, 0], [[1, ord("x")], [3, ord("o")]])
    other = embed(Words(), scenes({"a": "zero", "b": "twenty", "c": "x"}), content="same", cache=tmp_path)
    assert found.provenance != other.provenance
    assert other.of(["a"])[0, 0, 1] == ord("z")
    with pytest.raises(checks.ConfigError, match="1 of 3 have none, first 'b'"):
        embed(Words(), scenes({"a": "one", "c": "x"}), content="same", cache=tmp_path)


def test_the_file_is_shared_by_equal_targets_and_not_by_others(tmp_path):
    stimuli = scenes({})
    small = pixels.Config(height=2, width=2)
    one = embed(pixels.build(small), stimuli, content="c", cache=tmp_path)
    before = [p.stat().st_mtime_ns for p in tmp_path.glob("*.h5")]
    again = embed(pixels.build(pixels.Config(height=2, width=2)), stimuli, content="c", cache=tmp_path)
    assert one.provenance == again.provenance
    assert [p.stat().st_mtime_ns for p in tmp_path.glob("*.h5")] == before
    embed(pixels.build(pixels.Config(height=3, width=2)), stimuli, content="c", cache=tmp_path)
    embed(pixels.build(small), stimuli, content="changed", cache=tmp_path)
    assert len(list(tmp_path.glob("*.h5"))) == 3


def test_sounds_are_embedded_one_by_one_as_they_are_read(tmp_path):
    class Length(AudioTarget):
        name, space, shape = "length", "length", (1, 1)

        def identity(self):
            return {"target": "length"}

        def embed_audio(self, sounds, *, batch_size=8, device="cpu", progress=False):
            return np.array([[[len(samples) / sfreq]] for samples, sfreq in sounds], np.float32)

    stimuli = StimulusSet(("a", "bb"), "audio", lambda some: [(np.zeros(10 * len(i)), 10.0) for i in some])
    found = embed(Length(), stimuli, content="c", cache=tmp_path)
    np.testing.assert_array_equal(found.of(["bb", "a"]).ravel(), [2.0, 1.0])
    with pytest.raises(checks.ConfigError, match="embeds audio"):
        embed(Length(), scenes({}), content="c")


def test_a_stimulus_set_of_another_kind_is_refused_by_name():
    stimuli = StimulusSet(("a",), "none")
    with pytest.raises(ValueError, match="holds no images"):
        embed(pixels.build(pixels.Config()), stimuli, content="c")
