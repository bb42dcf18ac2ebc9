"""Our own parsers meet bytes that nobody wrote: they return, or refuse with one of braindec's own errors.

A few hundred examples run with the fast tests. `make soak` asks many more, and lets a coverage-guided fuzzer (atheris)
look for those that reach new lines, ten minutes for all parsers together.

By hand: python tests/soak/test_parsers.py NAME SECONDS
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import tempfile
from importlib import util
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

HERE = Path(__file__).resolve()
FUZZ_SECONDS = int(os.environ.get("BRAINDEC_FUZZ_SECONDS", "600"))  # of all parsers together
MANY = 3000
WORDS = (
    b"[", b"{", b'"', b"null", b"1e999", b"-1", b"9" * 5000, b"\xff" * 8, bytes(8), b"true", b"&a *a", b"\n---\n",
    b"NaN", b"!!python/object/apply:os.system", b"../", b"PK\x03\x04", b"\x93NUMPY", b"\x80\x04", b"[" * 2000,
)  # fmt: skip


def parsers():
    return runpy.run_path(str(HERE.with_name("parsers.py")))


KNOWN = parsers()
PARSERS = KNOWN["PARSERS"]


@st.composite
def contents(draw, seeds):
    """Good content with a few changes, or anything."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=600))
    content = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(content)))
        kind = draw(st.sampled_from(("word", "byte", "cut", "drop", "repeat")))
        if kind == "word":
            content[at:at] = draw(st.sampled_from(WORDS))
        elif kind == "byte" and content:
            content[at % len(content)] = draw(st.integers(0, 255))
        elif kind == "cut":
            del content[at:]
        elif kind == "drop":
            del content[at : at + draw(st.integers(1, 40))]
        else:
            content[at:at] = content[at // 2 : at // 2 + draw(st.integers(1, 60))]
    return bytes(content)


def asked(name: str, n: int, folder: Path) -> None:
    parser = PARSERS[name]

    @settings(
        max_examples=n,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(contents(parser.seeds))
    def ask(content):
        assert KNOWN["judged"](parser, content, folder) == ""

    ask()


@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.filterwarnings("ignore")
def test_bytes_that_nobody_wrote_are_read_or_refused(name, tmp_path):
    parser = PARSERS[name]
    assert [KNOWN["judged"](parser, seed, tmp_path) for seed in parser.seeds] == [""] * len(parser.seeds)
    asked(name, 20, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.filterwarnings("ignore")
def test_many_bytes_that_nobody_wrote_are_read_or_refused(name, tmp_path):
    asked(name, MANY, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("name", PARSERS)
def test_no_line_of_a_parser_can_be_reached_that_lets_an_error_through(name):
    if util.find_spec("atheris") is None:
        pytest.skip(
            "coverage-guided fuzzing needs atheris: pip install 'braindec[fuzz]' (Linux, Python up to 3.13)"
        )
    seconds = max(2, FUZZ_SECONDS // len(PARSERS))
    command = [sys.executable, str(HERE), name, str(seconds)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 120, check=False)
    done = [
        line
        for line in run.stderr.splitlines()
        if line.startswith(("Done", "stat::number_of_executed_units"))
    ]
    print(name, *done)
    assert run.returncode == 0, run.stderr[-3000:]


def fuzz(name: str, seconds: int) -> None:
    """Atheris, from the good contents on; ends the process with another code than 0 where an error comes through."""
    import warnings

    import atheris

    warnings.simplefilter("ignore")
    with atheris.instrument_imports(
        include=["braindec.data", "braindec.config", "braindec.store", "braindec.seal"]
    ):
        known = parsers()
    parser = known["PARSERS"][name]
    with tempfile.TemporaryDirectory() as temporary:
        corpus, folder = Path(temporary) / "corpus", Path(temporary) / "read"
        corpus.mkdir()
        folder.mkdir()
        for i, seed in enumerate(parser.seeds):
            (corpus / str(i)).write_bytes(seed)

        def one(content: bytes) -> None:
            said = known["judged"](parser, content, folder)
            if said:
                raise AssertionError(f"{name}: {said} on {content[:400]!r}")

        flags = ["-timeout=15", "-rss_limit_mb=4096", "-print_final_stats=1", "-verbosity=0"]
        flags += [f"-max_total_time={seconds}", f"-artifact_prefix={temporary}/"]
        atheris.Setup([sys.argv[0], *flags, str(corpus)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    fuzz(sys.argv[1], int(sys.argv[2]))
