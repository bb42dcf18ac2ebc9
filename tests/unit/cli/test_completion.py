"""Shells complete verbs, options and names without starting Python."""

from __future__ import annotations

import shutil
import subprocess
import time

import pytest

from braindec import cli, headers
from braindec.cli import _completion, _parser
from braindec.data import catalogue

ASK = """source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _braindec; printf '%s\\n' "${COMPREPLY[@]}" """


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("completion")
    for shell in _completion.SHELLS:
        (folder / shell).write_text(_completion.script(shell))
    return folder


def completed(scripts, *words):
    """What bash offers for the last of these words."""
    command = ["bash", "--norc", "-c", ASK, "ask", str(scripts / "bash"), *words]
    told = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    assert told.stderr == ""
    return set(told.stdout.split())


def test_every_verb_is_offered(scripts):
    assert completed(scripts, "braindec", "") == {*cli.VERBS, "--help", "--version"}
    assert completed(scripts, "braindec", "pre") == {"prepare"}


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_option_of_a_verb_is_offered(scripts, verb):
    there = {n for a in _parser.built(verb)._actions for n in a.option_strings if n.startswith("--")}
    assert completed(scripts, "braindec", verb, "x", "--") == {*there, "--debug"}


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("run", "mindeye"), {"mindeye1", "mindeye2"}),
        (("prepare", "bid"), {"bids"}),
        (("info", "backbones/lin"), {"backbones/linear"}),
        (("list", "back"), {"backbones"}),
        (("convert", "minde"), {"mindeye2"}),
        (("pull", "siglip"), {"siglip-so400m-patch14-384"}),
        (("completion", ""), {"bash", "zsh", "fish"}),
        (("new", "bac"), {"backbone"}),
        (("run", "demo", "--sm"), {"--smoke"}),
        (("decode", "some/fol"), set()),  # left to the shell's own completion of files
        (("run", "demo", "m"), set()),
    ],
)
def test_names_are_offered_where_they_stand(scripts, words, offered):
    assert completed(scripts, "braindec", *words) == offered


def test_all_recipes_and_datasets_are_known(scripts):
    assert completed(scripts, "braindec", "run", "") == set(headers.names())
    assert completed(scripts, "braindec", "prepare", "") == set(catalogue.names())


def test_completing_takes_no_python_and_no_time(scripts):
    assert "python" not in (scripts / "bash").read_text().lower().replace("braindec completion", "")
    best = min(_timed(scripts) for _ in range(5))
    assert best < 0.5  # starting bash included


def _timed(scripts):
    start = time.perf_counter()
    completed(scripts, "braindec", "run", "mind")
    return time.perf_counter() - start


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_take_their_script(scripts, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not here: apt install {shell}")
    told = subprocess.run([shell, "-n", str(scripts / shell)], capture_output=True, text=True, check=False)
    assert told.returncode == 0 and told.stderr == ""


def test_fish_offers_recipes(scripts):
    if shutil.which("fish") is None:
        pytest.skip("fish is not here: apt install fish")
    command = ["fish", "--no-config", "-c", f"source {scripts / 'fish'}; complete -C 'braindec run mindeye'"]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert {line.split("\t")[0] for line in told.stdout.splitlines()} >= {"mindeye1", "mindeye2"}


def test_an_unknown_shell_is_refused_with_those_known(capsys):
    assert cli.main(["completion", "bsh"]) == cli.FAILED
    assert "['bash', 'zsh', 'fish'], got 'bsh'. Did you mean 'bash'?" in capsys.readouterr().err
