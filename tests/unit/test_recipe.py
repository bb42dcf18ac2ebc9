"""Synthetic data of a run are those that it asks for, or it is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from braindec import checks, recipe
from braindec.data import catalogue
from braindec.ranks import Ranks


@pytest.fixture
def made(monkeypatch):
    """What was asked of a dataset that writes nothing but dataset.json."""
    asked = []

    def prepare(raw, out, **settings):
        asked.append(settings)
        out.mkdir(parents=True)
        (out / "dataset.json").write_text("{}")

    synthetic = lambda raw, **settings: asked.append(settings)  # noqa: E731  # one line is enough for a stand-in
    monkeypatch.setattr(catalogue, "load", lambda _name: {"synthetic": synthetic, "prepare": prepare})
    return asked


def of(**settings):
    return replace(recipe.load("demo").recipe, settings=settings)


def test_data_are_made_once_for_runs_that_ask_for_the_same(made, tmp_path):
    places = {
        recipe._synthesised(of(world="demo", prepared={"a": (1, 2)}, n=n), tmp_path, True, Ranks.here())
        for n in (3, 4)
    }
    assert places == {tmp_path / "prepared-smoke"} and made == [{"world": "demo"}, {"a": (1, 2)}]


@pytest.mark.parametrize(
    "other", [{"world": "modalities"}, {"synthetic": {"noise": 2.0}}, {"prepared": {"a": 2}}]
)
def test_data_that_were_made_otherwise_are_not_taken_for_those_of_a_run(made, tmp_path, other):
    recipe._synthesised(of(world="demo"), tmp_path, True, Ranks.here())
    asked = {"world": "demo"} | other
    with pytest.raises(checks.ConfigError, match=r"holds synthetic data of .*'demo'.* --out, or delete"):
        recipe._synthesised(of(**asked), tmp_path, True, Ranks.here())
    assert len(made) == 2


def test_data_of_an_interrupted_run_are_made_again(made, tmp_path):
    recipe._synthesised(of(world="demo"), tmp_path, True, Ranks.here())
    (tmp_path / "prepared-smoke" / "dataset.json").unlink()
    (tmp_path / "prepared-smoke").rmdir()
    recipe._synthesised(of(world="modalities"), tmp_path, True, Ranks.here())
    assert json.loads((tmp_path / "made_of-smoke.json").read_text())["synthetic"] == {"world": "modalities"}
