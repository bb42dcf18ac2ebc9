"""A recipe's seed reaches what is fitted: no study keeps the seed of its own settings instead."""

from __future__ import annotations

import ast
import dataclasses
from typing import Any

import pytest

from braindec import recipe


def seeded(value: Any) -> list[str]:
    """Settings that have a seed, wherever they lie in a recipe's settings."""
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        own = [type(value).__qualname__] if "seed" in {f.name for f in fields} else []
        return own + [name for f in fields for name in seeded(getattr(value, f.name))]
    if isinstance(value, dict):
        value = list(value.values())
    return [name for one in value for name in seeded(one)] if isinstance(value, list | tuple) else []


def handed_on(source: str) -> tuple[bool, bool]:
    """Whether a recipe's functions read ``recipe.seed``, and whether they give a call the recipe itself."""
    nodes = list(ast.walk(ast.parse(source)))
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    given = [one for call in calls for one in (*call.args, *(k.value for k in call.keywords))]
    reads = any(isinstance(node, ast.Attribute) and ast.unparse(node) == "recipe.seed" for node in nodes)
    return reads, any(isinstance(one, ast.Name) and one.id == "recipe" for one in given)


@pytest.mark.parametrize("name", recipe.names())
def test_settings_with_a_seed_take_the_recipes_and_all_others_get_the_recipe(name):
    loaded = recipe.load(name)
    reads, gives = handed_on(loaded.path.read_text(encoding="utf-8"))
    assert reads or (gives and not seeded(loaded.recipe.settings))


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def main(recipe): return study(replace(told, seed=recipe.seed))", (True, False)),
        ("def main(recipe): return study(recipe, told)", (False, True)),
        ("def main(recipe): return study(recipe=recipe)", (False, True)),
        ("def main(recipe): return study(recipe.data.read(x), recipe.settings['study'])", (False, False)),
    ],
)
def test_the_rule_tells_a_seed_that_is_handed_on_from_one_that_is_not(source, found):
    assert handed_on(source) == found


def test_seeds_are_found_however_deep_they_lie():
    @dataclasses.dataclass
    class Inner:
        seed: int = 0

    @dataclasses.dataclass
    class Outer:
        inner: Inner = dataclasses.field(default_factory=Inner)

    assert len(seeded({"a": [Outer()]})) == 1
    assert seeded({"a": 1, "b": "seed", "c": {"d": (2.0,)}}) == []
