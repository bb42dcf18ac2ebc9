"""Every recipe runs on synthetic data of its own dataset, and finds what was planted there."""

from __future__ import annotations

import ast
import re

import numpy as np
import pytest

from braindec import recipe

# A dozen seconds of one core and more: with the slow tests.
HEAVY = (
    "atm",
    "latents_in_the_brain",
    "mind_video",
    "mindeye2",
    "neuro_language",
    "neurocine",
    "realtime_meg",
    "video_mind_animator",
)
NAMES = recipe.names()
# What is made of a brain, beside what is made of shuffled pairs: whether more of it is better, or less.
MADE = {
    "two_way_identification": 1, "pixel_correlation": 1, "frame_pixel_correlation": 1, "motion_error": -1, "rouge_l": 1,
    "depth_correlation": 1, "odd_one_out_from_brain": 1,
}  # fmt: skip
# Not above shuffled pairs in the smoke run, or by luck, and the recipe says so: how frames drawn from meaning alone
# move, and how the dozen clips look that neurocine draws in two steps.
UNLIKE = {"mind_video": ("motion_error",), "neurocine": ("frame_pixel_correlation", "motion_error")}
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


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in HEAVY else name for name in NAMES]
)
def test_it_decodes_what_was_planted_better_than_its_null_and_its_shuffled_twin(name, tmp_path, made_in):
    report = recipe.run(name, None, tmp_path, smoke=True, made_in=made_in(name))
    ours, twin = means(report, report.scores[0].name)
    null = np.mean([s.null for s in report.scores if s.name == report.scores[0].name and is_ours(s)])
    assert report.run["smoke"] is True
    assert report.run["command"] in recipe.load(name).header
    assert ours > null
    assert ours > twin
    for metric in sorted({s.name for s in report.scores} & set(MADE) - set(UNLIKE.get(name, ()))):
        ours, twin = means(report, metric)
        assert MADE[metric] * ours > MADE[metric] * twin, f"{metric} {ours:.3f}, shuffled {twin:.3f}"
    for address in report.run.get("pages", {}).values():  # pages that belong to the report lead back to it
        other = tmp_path / address
        back = re.findall(r'<a class="page" href="([^"]+)"', other.read_text())
        assert [(other.parent / one).resolve() for one in back] == [(tmp_path / "report.html").resolve()]


def is_ours(score) -> bool:
    return score.system == "braindec" and score.subject != "group"


def means(report, metric: str) -> tuple[float, float]:
    """A metric's mean over subjects: the decoder's, and that of the decoder of shuffled pairs."""
    scores = [s for s in report.scores if s.name == metric and s.subject != "group"]
    return tuple(
        np.mean([s.value for s in scores if s.system == system]) for system in ("braindec", "shuffled")
    )


@pytest.mark.parametrize("name", NAMES)
def test_its_main_has_no_loop_and_no_branch(name):
    tree = ast.parse(recipe.load(name).path.read_text())
    (main,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main")
    found = [type(node).__name__ for node in ast.walk(main) if isinstance(node, BRANCHES)]
    assert found == []
