"""The command line: names, suggestions, one-line errors, and verbs that reach the library."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from tqdm.auto import tqdm

from braindec import cli, config, report
from braindec.cli import _saved, _verbs
from braindec.data import catalogue
from braindec.recipe import load
from braindec.types import Report, Score


def braindec(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "braindec", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",), ("help",)])
def test_help_names_every_verb(capsys, words):
    assert cli.main(words) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {verb} " in shown for verb in cli.VERBS)


@pytest.mark.parametrize("verb", sorted(cli.VERBS))
def test_every_verb_explains_its_options(capsys, verb):
    assert cli.main([verb, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"usage: braindec {verb}" in shown
    for word in re.sub(r"[][|]", " ", cli.VERBS[verb][0]).split():
        assert word.lower() in shown.lower()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lst"], "Did you mean 'list'?"),
        (["list", "datsets"], "Did you mean 'datasets'?"),
        (["prepare", "simulatd", "--raw", "/tmp", "--out", "/tmp/x"], "Did you mean 'simulated'?"),
        (["info", "soft-clip"], "Did you mean 'soft_clip'?"),
        (["info", "losses/soft-clip"], "Did you mean 'soft_clip'?"),
        (["info", "prep"], "no folder prep exists, and nothing is called 'prep'. `braindec list` shows"),
        (["info", "./prep"], "no folder ./prep exists.\n"),
        (["info", "loss/clip"], "no folder loss/clip exists. Nor is 'loss' one of the kinds ['datasets'"),
        (["run", "x", "--smok"], "Did you mean '--smoke'?"),
        (["decode", "/nowhere"], "required: input"),
        (["report", "/nowhere"], "does not exist"),
        (["info", "linear"], "say which: adapters/linear or backbones/linear"),
        (["run", "no_such_recipe", "--smoke"], "recipe must be one of"),
    ],
)
def test_a_slip_is_told_in_one_line_with_the_way_out(capsys, words, said):
    assert cli.main(words) == cli.FAILED
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.err.count("\n") == 1
    assert "Traceback" not in shown.err


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", ["--help", "list recipes"])
def test_a_reader_that_has_gone_is_no_error(words, unbuffered):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "braindec", *words.split()]
    surroundings = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with os.fdopen(writer, "wb") as out:
        ended = subprocess.run(
            command, stdout=out, stderr=subprocess.PIPE, env=surroundings, timeout=120, check=False
        )
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_debug_shows_where_an_error_came_from():
    result = braindec("list", "datsets", "--debug")
    assert result.returncode == 1
    assert "Traceback" in result.stderr and "Did you mean 'datasets'?" in result.stderr


@pytest.mark.parametrize("fault", [lambda: np.zeros(3).reshape(2, 2), lambda: json.loads("{")])
def test_a_fault_inside_another_library_is_not_taken_for_the_users(monkeypatch, fault):
    # The error is raised by a line that is not braindec's, so it is a fault of braindec and shows its traceback.
    monkeypatch.setitem(_verbs._ACTIONS, "list", lambda options: fault())
    with pytest.raises(ValueError):
        cli.main(["list"])


def test_names_are_whole_and_one_a_line_for_a_program():
    from braindec import registry

    result = braindec("list", "metrics")
    assert result.stdout.split("\n") == [*registry.names("metrics"), ""]
    assert "simulated" in [line.split()[0] for line in braindec("list", "datasets").stdout.splitlines()]


def test_a_person_also_sees_what_each_name_is():
    from braindec.cli import _show

    shown = _show.listing("metrics", terminal=True)
    assert re.search(r"^ *retrieval +Retrieval: is the true", shown, re.MULTILINE)


def test_info_shows_the_settings_of_a_part(capsys):
    assert cli.main(["info", "efficientnet_lite0"]) == 0
    shown = capsys.readouterr().out
    assert "targets/efficientnet_lite0" in shown
    assert "size  int = 128" in shown


def test_info_shows_the_settings_of_a_recipe_as_they_are_set(capsys):
    assert cli.main(["info", "MindEye1"]) == 0  # in whichever letters
    shown = capsys.readouterr().out
    assert (
        "recipe mindeye1" in shown and "\n  backbone.n_blocks=4\n" in shown and "\n  backbone=mlp\n" in shown
    )
    recipe = load("mindeye1").recipe
    lines = [line.strip() for line in shown.partition("for --set\n")[2].splitlines() if "plan.n_" in line]
    assert len(lines) == 4 and config.override(recipe, lines) == recipe


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("image_retrieval_top1", ["a metric of metrics/retrieval", "0.01 of 100", "better      higher"]),
        ("image_retrieval_top1_of_300", ["k=1, pool=300"]),
        ("SSIM", ["ssim, a metric of metrics/pixels"]),
        ("NICE", ["recipe things_eeg2_nice"]),
        ("Brain Captioning", ["recipe brain_captioning"]),
        ("a1", ["recipe mindeye1"]),
    ],
)
def test_info_knows_scores_and_published_systems(name, said, capsys):
    assert cli.main(["info", name]) == 0
    shown = capsys.readouterr().out
    assert all(one in shown for one in said)


def test_info_names_the_recipes_of_a_system_that_has_several(capsys):
    assert cli.main(["info", "E10"]) == cli.FAILED
    assert "'E10' is in the recipes ['mental_simulation', 'predictive_learning']" in capsys.readouterr().err


def test_rows_that_would_look_alike_say_their_protocol_and_ridge_stands_beside(capsys):
    def score(value, protocol="heldout_stimuli", system="braindec", name="top1"):
        return Score(name, system, protocol, 1, "eeg", value, (0.0, 1.0), 0.05, 0.05, 20, "higher")

    rows = (score(0.2), score(0.1, "as_published"), score(0.4, system="ridge"), score(0.3, name="top5"))
    _saved.tell(Report(rows, {}), None)
    first, published, other = capsys.readouterr().out.splitlines()
    assert first.endswith("n 20  ridge 0.400  heldout_stimuli") and published.endswith("n 20  as_published")
    assert other.endswith("n 20")


def test_info_of_a_prepared_folder_says_what_is_in_it_and_what_to_do_next(tmp_path, capsys):
    digits = catalogue.load("digits69")
    digits["synthetic"](tmp_path / "raw")
    digits["prepare"](tmp_path / "raw", tmp_path / "prepared")
    assert cli.main(["info", str(tmp_path / "prepared")]) == 0
    shown = capsys.readouterr().out
    assert "sub-01_fmri 100 trials of 120 values" in shown and "digits69" in shown
    assert f"braindec audit {tmp_path / 'prepared'}" in shown


def test_info_of_a_folder_that_is_not_prepared_says_what_it_is(tmp_path, capsys, monkeypatch):
    (tmp_path / "raw").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("raw", "./raw", str(tmp_path / "raw")):
        assert cli.main(["info", name]) == cli.FAILED
        assert "holds no dataset.json, so it is no prepared dataset" in capsys.readouterr().err
    (tmp_path / "cka").mkdir()
    assert cli.main(["info", "similarity/cka"]) == 0  # a name stays one where a folder has it too
    assert "similarity/cka" in capsys.readouterr().out


def test_progress_in_a_log_is_lines_and_all_else_stays_as_it_is(capsys, monkeypatch):
    def run(words):
        print("before", file=sys.stderr)
        for _ in tqdm(range(2), desc="outer", mininterval=0):
            for _ in tqdm(range(2), desc="inner", leave=False, mininterval=0):
                pass
        print("one\n\ntwo", file=sys.stderr)
        raise ValueError("no braindec line says this")

    monkeypatch.setattr(cli, "_run", run)
    before = sys.stderr
    with pytest.raises(ValueError, match="no braindec line"):
        cli.main([])
    assert sys.stderr is before
    said = capsys.readouterr().err
    assert "\r" not in said and max(map(len, said.splitlines())) < 100
    words = [line.split(":")[0] for line in said.splitlines()]
    assert words[:2] == ["before", "outer"] and words[-3:] == ["one", "", "two"]
    assert {"outer", "inner"} == set(words[1:-3]) and "100%" in said.splitlines()[-4]


def test_a_terminal_keeps_its_bars(capsys, monkeypatch):
    monkeypatch.setattr(cli, "_run", lambda words: sys.stderr.write("\rover\rover") * 0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert cli.main([]) == 0
    assert capsys.readouterr().err == "\rover\rover"


def test_a_smoke_run_says_that_it_is_one_and_that_nothing_was_kept(capsys):
    found = Report((), {"title": "Once"})
    _saved.tell(found, None, smoke=True)
    said = capsys.readouterr().err
    assert "smoke run" in said and "--out DIR" in said
    _saved.tell(found, None)
    assert capsys.readouterr().err == ""


def test_report_draws_the_page_again(tmp_path, capsys):
    found = Score("roc_auc", "braindec", "p", 1, "eeg", 0.7, (0.6, 0.8), 0.5, 0.5, 100)
    report.write(Report((found,), {"title": "Once"}), tmp_path)
    (tmp_path / "report.html").unlink()
    assert cli.main(["report", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "report.html")
    assert "Once" in (tmp_path / "report.html").read_text()


def test_set_is_repeatable_and_reaches_the_recipe(monkeypatch, tmp_path):
    recipe = pytest.importorskip("braindec.recipe")
    asked = {}

    def run(name, data, out, *, sets, smoke=False):
        asked.update(name=name, data=data, out=out, sets=list(sets), smoke=smoke)
        return Report((), {})

    monkeypatch.setattr(recipe, "run", run)
    words = [
        "run",
        "x.py",
        "--data",
        "d",
        "--out",
        str(tmp_path),
        "--set",
        "train.n_steps=3",
        "--set",
        "seed=1",
    ]
    assert cli.main(words) == 0
    assert asked["sets"] == ["train.n_steps=3", "seed=1"]
    assert str(asked["data"]) == "d" and asked["name"] == "x.py" and asked["smoke"] is False


def test_prepare_passes_its_options_and_says_what_was_made(monkeypatch, tmp_path, capsys):
    from braindec.data import catalogue

    asked = {}

    def prepare(raw, out, *, subjects, dry_run, n_jobs):
        asked.update(raw=raw, subjects=subjects, dry_run=dry_run, n_jobs=n_jobs)
        return catalogue.Counts({"sub-01_fmri": 12}, 4)

    monkeypatch.setattr(catalogue, "load", lambda name: {"prepare": prepare})
    words = [
        "prepare",
        "any",
        "--raw",
        "r",
        "--out",
        str(tmp_path),
        "--subjects",
        "[1,2]",
        "--dry-run",
        "--jobs",
        "2",
    ]
    assert cli.main(words) == 0
    assert asked["subjects"] == (1, 2) and asked["dry_run"] is True and asked["n_jobs"] == 2
    assert "sub-01_fmri: 12 trials would be prepared" in capsys.readouterr().out


def test_an_interrupt_is_no_traceback(monkeypatch, capsys):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setitem(_verbs._ACTIONS, "list", interrupted)
    assert cli.main(["list"]) == cli.INTERRUPTED
    assert capsys.readouterr().err == "interrupted\n"
