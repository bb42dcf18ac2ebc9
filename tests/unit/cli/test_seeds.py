"""`braindec run RECIPE --seeds N`: one run a seed, in folders that `report --compare` reads as one system."""

from __future__ import annotations

import pytest

from braindec import cli, recipe
from braindec.types import Report


def test_seeds_run_in_folders_of_their_own_on_the_same_data(monkeypatch, tmp_path, capsys):
    calls = []
    monkeypatch.setattr(recipe, "run", lambda *given, **said: calls.append((given, said)) or Report((), {}))
    assert (
        cli.main(["run", "demo", "--smoke", "--out", str(tmp_path), "--seeds", "3", "--set", "n_folds=2"])
        == 0
    )
    assert [given for given, _ in calls] == [("demo", None, tmp_path / f"seed-{seed}") for seed in range(3)]
    assert [said["sets"] for _, said in calls] == [["n_folds=2", f"seed={seed}"] for seed in range(3)]
    assert {said["made_in"] for _, said in calls} == {tmp_path}
    assert capsys.readouterr().err.count("report: ") == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seeds", "2"], "out must name a folder"),
        (["--seeds", "0", "--out", "x"], "seeds must be at least 1"),
        (["--seeds", "2", "--out", "x", "--set", "seed=4"], "leave out --set seed"),
    ],
)
def test_seeds_that_cannot_be_run_are_told_before_anything_runs(monkeypatch, capsys, words, said):
    monkeypatch.setattr(recipe, "run", lambda *_, **__: pytest.fail("it ran"))
    assert cli.main(["run", "demo", "--smoke", *words]) == cli.FAILED
    assert said in capsys.readouterr().err
