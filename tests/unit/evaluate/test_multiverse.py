"""Every declared way to analyse is run, or refused where the protocol refuses it; the choice that matters is named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from braindec import cli, recipe
from braindec.checks import ConfigError
from braindec.data import catalogue
from braindec.data.preprocessing import Standardise
from braindec.evaluate import multiverse as rooms

FORKS = {"level": ("removed", "kept", "of all rows"), "penalty": ("told apart", "least error")}


def fork(chosen, level):
    steps = {
        "removed": (Standardise("run", "unit_unlabelled", scale=False),),
        "kept": (),
        "of all rows": (Standardise("run", "unit_unlabelled"),),
    }[level]
    return replace(chosen, preprocessing=steps)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("haxby")
    dataset = catalogue.load("haxby2001")
    dataset["synthetic"](folder / "raw")
    dataset["prepare"](folder / "raw", folder / "prepared")
    return folder / "prepared"


@pytest.fixture(scope="module")
def found(prepared):
    return rooms.multiverse(
        recipe.load("haxby2001_category").recipe, fork, FORKS, prepared, between=False, progress=False
    )


def test_every_combination_is_run_once_and_the_first_options_are_the_recipes_own(found):
    assert len({tuple(u.choices.items()) for u in found.universes}) == len(found.universes) == 6
    assert found.own == {"level": "removed", "penalty": "told apart"}
    row = found.summary()[0]
    assert row["n_universes"] == 6 and row["min"] <= row["median"] <= row["max"]


def test_shared_factors_give_what_a_universe_alone_gives(prepared, found):
    alone = rooms.multiverse(
        recipe.load("haxby2001_category").recipe, fork, {"level": ("kept",), "penalty": ("least error",)}, prepared,
        between=False, progress=False,
    )  # fmt: skip
    wanted = next(u for u in found.universes if u.choices == {"level": "kept", "penalty": "least error"})
    assert alone.universes[0].measured.value == wanted.measured.value


def test_a_universe_that_the_protocol_refuses_is_counted_and_not_scored(prepared):
    strict = replace(recipe.load("haxby2001_category").recipe, protocol="leave_one_run_out_auc")
    with pytest.raises(ConfigError, match="metric"):
        rooms.multiverse(strict, fork, FORKS, prepared, metric="no_such_metric", progress=False)
    refused = rooms.multiverse(strict, fork, {"level": ("removed",)}, prepared, between=False, progress=False)
    assert [u.measured for u in refused.universes] == [None]
    assert "unit_unlabelled" in refused.universes[0].refused


def test_candidates_are_a_fork_for_which_nothing_is_fitted_again(prepared, found, monkeypatch):
    judged = []
    plain = rooms.judge
    monkeypatch.setattr(rooms, "judge", lambda *given: judged.append(given) or plain(*given))
    forks = {
        **FORKS,
        "candidates": ("of the protocol", "pools of 2", "of its class"),
    }  # the last says nothing here
    more = rooms.multiverse(
        recipe.load("haxby2001_category").recipe, fork, forks, prepared, between=False, progress=False
    )
    assert len(judged) == 6 and len(more.universes) == 12
    values = {tuple(u.choices.values()): u.measured for u in more.universes}
    for u in found.universes:
        whole, two = (values[(*u.choices.values(), c)] for c in ("of the protocol", "pools of 2"))
        assert whole.value == u.measured.value
        assert two.value >= whole.value and two.chance == 0.5
    _, _, payload = rooms.panel(more, "ridge", "sub-01_fmri")
    assert sorted(set(payload["chance"].tolist())) == [0.125, 0.5]
    assert payload["options"]["candidates"] == ["of the protocol", "pools of 2"]
    with pytest.raises(ConfigError, match="first of the candidates"):
        rooms.multiverse(
            recipe.load("haxby2001_category").recipe,
            fork,
            {"candidates": ("pools of 2",)},
            prepared,
            progress=False,
        )


def test_the_planted_fork_explains_the_variance_and_an_idle_one_does_not():
    choices = [{"matters": a, "idle": b} for a in "xy" for b in "pqr"]
    values = np.array([0.5 + 0.2 * (c["matters"] == "y") for c in choices])
    shares = rooms.explained(choices, values, {"matters": ("x", "y"), "idle": ("p", "q", "r")})
    assert shares["matters"] == pytest.approx(1.0) and shares["idle"] == pytest.approx(0.0)


def test_the_verb_writes_a_curve_and_a_recipe_without_forks_is_refused(prepared, tmp_path, capsys):
    place = tmp_path / "one.py"
    source = (recipe.folder() / "haxby2001_category.py").read_text()
    start, end = source.index("FORKS = {"), source.index("def fork(")
    forks = {"level of a run": ("removed", "kept"), "scale of a voxel": ("one",), "noise": ("as measured",)}
    quick = source[:start].replace("n_folds=11", "n_folds=2").replace("n_steps=20", "n_steps=5")
    place.write_text(f"{quick}FORKS = {forks!r}\n\n\n{source[end:]}")
    words = ["multiverse", str(place), "--data", str(prepared), "--out", str(tmp_path / "out")]
    assert cli.main(words) == 0
    shown = capsys.readouterr().out
    assert "2 universes" in shown and "between systems, braindec - ridge" in shown
    assert "Specification curve" in (tmp_path / "out" / "report.html").read_text()
    assert (
        cli.main(["multiverse", "demo", "--data", str(prepared), "--out", str(tmp_path / "none")])
        == cli.FAILED
    )
    assert "declares no FORKS" in capsys.readouterr().err
