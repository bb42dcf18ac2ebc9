"""Questions about scenes: their answers are true of the scene, and the wording of yes and no gives nothing away."""

from __future__ import annotations

import numpy as np
import pytest

from braindec import checks
from braindec.data.simulated import questions, scenes


@pytest.fixture(scope="module")
def asked():
    drawn = scenes.sample_scenes(600, np.random.default_rng(0))
    return drawn, questions.ask(drawn, np.random.default_rng(1))


def test_every_answer_is_true_of_the_caption_s_words(asked):
    """An independent truth: what `scenes.caption` says, searched for words."""
    drawn, found = asked
    for q in found:
        said = scenes.caption(drawn[q.scene])
        objects = said.split(" on a ")[0].split(" and ")
        assert q.answer in questions.ANSWERS[q.kind]
        if q.kind in ("background", "pattern"):
            assert q.answer in said.split(" on a ")[1].split()
        elif q.kind == "count":
            assert questions.COUNTS.index(q.answer) == len(objects) - 1
        elif q.kind == "place":
            (one,) = [o for o in objects if q.text.split()[3] in o.split()]
            assert one.endswith(f"at the {q.answer}")
        elif q.kind.startswith("is there"):
            there = any(q.text.split()[3] in o.split() for o in objects)
            assert q.answer == ("yes" if there else "no")
        else:
            place = q.text.removesuffix(" ?").split(" at the ")[1]
            (one,) = [o for o in objects if o.endswith(f" at the {place}")]
            assert q.answer in one.split()[1:5]


def test_yes_is_as_frequent_as_no_whatever_is_asked_for(asked):
    _, found = asked
    for kind in ("is there a shape", "is there a colour"):
        yes = [q.answer == "yes" for q in found if q.kind == kind]
        assert np.mean(yes) == pytest.approx(0.5, abs=0.07)


def test_equal_generators_ask_the_same_and_an_unknown_kind_is_refused(asked):
    drawn, found = asked
    assert questions.ask(drawn, np.random.default_rng(1)) == found
    assert {q.kind for q in questions.ask(drawn[:9], np.random.default_rng(0), ("count",))} == {"count"}
    with pytest.raises(checks.ConfigError, match="kind"):
        questions.ask(drawn, np.random.default_rng(0), ("why",))
