"""`braindec audit` on prepared data and on the folder of a run: verdict, JSON, exit code."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from braindec import cli, report
from braindec.data import Split, layout
from braindec.data.leakage import KINDS, Audit, Finding
from braindec.types import ArraySpace, Report, Table, Trials

LEAK = Finding(
    "betas", "leak", "Noise regressors were chosen on all trials.", "split 'default'", {"n": 3}, "Do not."
)


def write(folder, *, order: str):
    """64 trials of four classes in four runs, in a random order or in blocks."""
    rng = np.random.default_rng(0)
    n = np.arange(64)
    kind = np.repeat(list("abcd"), 16)
    shown = n if order == "blocks" else rng.permutation(n)
    ids = [f"s{i:02d}" for i in n]
    table = Table(
        {
            "stimulus_id": np.array(ids)[shown], "session": np.ones(64, int), "run": n // 16,
            "repeat": np.zeros(64, int), "onset_s": 20.0 * (n % 16), "acquisition_order": n,
            "exchangeability_block": n // 16,
        }
    )  # fmt: skip
    trials = Trials(rng.standard_normal((64, 6)).astype(np.float32), table, ArraySpace(6), "a.u.", 1, "fmri")
    layout.write_stimuli(folder, ids, kind="none", table=Table({"kind": kind}))
    test = set(ids[::4])
    split = Split(
        "default", "stimulus", {"train": tuple(i for i in ids if i not in test), "test": tuple(sorted(test))}
    )
    layout.write_manifest(
        folder, name="planted", licence="none", source="a test", splits={"default": split},
        recordings=[layout.write_trials(folder, trials)], label="kind", betas={"overlap": "modelled"},
    )  # fmt: skip
    return folder


def test_a_leak_is_told_first_and_ends_with_code_1(tmp_path, capsys):
    assert cli.main(["audit", str(write(tmp_path, order="blocks"))]) == 1
    shown = capsys.readouterr().out
    assert shown.startswith("LEAK: 1 leak")
    assert "block_design" in shown and "-> " in shown and "not checked" in shown


def test_a_clean_split_ends_with_code_0_and_says_what_it_could_not_check(tmp_path, capsys):
    assert cli.main(["audit", str(write(tmp_path, order="random")), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"].startswith("no leak, but read the notes: 0 leaks, 0 warnings, 1 note;")
    assert "hrf_chosen_on" in found["not_checked"]["betas"]
    assert json.loads(json.dumps(Audit.from_json(found).to_json())) == found


def test_a_folder_that_is_neither_and_an_unknown_protocol_are_refused(tmp_path, capsys):
    assert cli.main(["audit", str(tmp_path)]) == 2
    assert "braindec prepare" in capsys.readouterr().err
    folder = write(tmp_path / "data", order="random")
    assert cli.main(["audit", str(folder), "--protocol", "heldout_stimulii"]) == 2
    assert "Did you mean 'heldout_stimuli'" in capsys.readouterr().err


def test_a_run_tells_the_audit_it_recorded_and_its_page_shows_it(tmp_path, capsys):
    audit = Audit((LEAK,), ("betas",), {"repeats": "no reason <given>"})
    report.write(Report((), {"recipe": "demo", "audit": audit.to_json()}), tmp_path)
    assert cli.main(["audit", str(tmp_path)]) == 1
    assert LEAK.what in capsys.readouterr().out
    page = (tmp_path / "report.html").read_text()
    assert LEAK.what in page and "no reason &lt;given&gt;" in page
    report.write(Report((), {"recipe": "demo"}), tmp_path)
    assert cli.main(["audit", str(tmp_path)]) == 2
    assert "--data" in capsys.readouterr().err


def test_the_document_lists_every_kind_with_its_meaning(repository):
    lines = (repository / "docs" / "judging.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| `")]
    told = {row[0].strip("`"): row[1] for row in rows if row[0].strip("`") in KINDS}
    assert told == KINDS


def test_a_verdict_does_not_deny_the_notes_under_it():
    note = replace(LEAK, severity="info")
    assert Audit((), ("betas",)).verdict.startswith("nothing found: 0 leaks, 0 warnings; 1 checks")
    assert Audit((note,), ("betas",)).verdict.startswith(
        "no leak, but read the notes: 0 leaks, 0 warnings, 1 note;"
    )
    assert Audit((LEAK, note), ("betas",)).verdict.startswith("LEAK: 1 leak, 0 warnings, 1 note;")


@pytest.mark.parametrize(("severity", "refused"), [("leak", True), ("warning", False), ("info", False)])
def test_only_leaks_are_refused_and_a_protocol_may_allow_them(severity, refused):
    audit = Audit((replace(LEAK, severity=severity),), ("betas",))
    if refused:
        with pytest.raises(ValueError, match=r"\[betas; split 'default'\] Noise regressors.*Do not\."):
            audit.refuse()
        audit.allowing(("betas",)).refuse()
    else:
        audit.refuse()
