"""Every recipe runs on synthetic data of its own dataset, and finds what was planted there."""

from __future__ import annotations

import ast
import re

import numpy as np
import pytest

from braindec import recipe

NAMES = recipe.names()
BRANCHES = (
    ast.For,
    ast.While,
    ast.If,
    ast.IfExp,
    ast.Try,
    ast.ListComp,
    ast.DictComp,
    ast.SetComp,
    ast.GeneratorExp,
)


@pytest.mark.parametrize("name", NAMES)
def test_it_decodes_what_was_planted_better_than_its_null_and_its_shuffled_twin(name, tmp_path):
    report = recipe.run(name, None, tmp_path, smoke=True)
    metric = report.scores[0].name
    ours, twin = (
        [s for s in report.scores if (s.name, s.system) == (metric, system) and s.subject != "group"]
        for system in ("braindec", "shuffled")
    )
    assert report.run["smoke"] is True
    assert ours
    assert np.mean([s.value for s in ours]) > np.mean([s.null for s in ours])
    assert np.mean([s.value for s in ours]) > np.mean([s.value for s in twin])
    for address in report.run.get("pages", {}).values():  # pages that belong to the report lead back to it
        other = tmp_path / address
        back = re.findall(r'<a class="page" href="([^"]+)"', other.read_text())
        assert [(other.parent / one).resolve() for one in back] == [(tmp_path / "report.html").resolve()]


@pytest.mark.parametrize("name", NAMES)
def test_its_main_has_no_loop_and_no_branch(name):
    tree = ast.parse(recipe.load(name).path.read_text())
    (main,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main")
    found = [type(node).__name__ for node in ast.walk(main) if isinstance(node, BRANCHES)]
    assert found == []
