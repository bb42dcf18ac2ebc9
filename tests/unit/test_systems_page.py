"""The page of published systems names what is there: every row, recipe, module and command, with its state."""

from __future__ import annotations

import importlib.util
import re
from collections import defaultdict

import pytest

from braindec import cli, headers, registry

ROWS = {"A": 11, "B": 6, "C": 6, "D": 11, "E": 11, "F": 11, "G": 13}
IDS = [f"{letter}{n}" for letter, last in ROWS.items() for n in range(1, last + 1)]
ROW = re.compile(
    r'^\| <a id="(\w+)"></a>(\w+) \| (.+?) \|(.*)\| (recipe|call|part|not yet) \|$', re.MULTILINE
)


@pytest.fixture
def page(repository):
    return (repository / "docs" / "systems.md").read_text()


@pytest.fixture
def rows(page):
    """What a row says and its state, by id."""
    return {row: (said.strip(), state) for _, row, _, said, state in ROW.findall(page)}


def by_row():
    """The recipes that say in their heads that they stand for a row."""
    found = defaultdict(set)
    for one in headers.read_all():
        for system in one.systems:
            found[system.id].add(one.name)
    return found


def test_every_row_is_there_once_in_order_with_an_anchor(page):
    found = [(anchor, row) for anchor, row, *_ in ROW.findall(page)]
    assert found == [(row.lower(), row) for row in IDS]
    assert page.count("<a id=") == len(IDS)


def test_a_row_names_every_recipe_whose_head_names_the_row(rows):
    for row, recipes in by_row().items():
        if row in rows:
            said, state = rows[row]
            assert [name for name in recipes if f"`{name}`" not in said] == [], row
            assert state == "recipe", row


def test_a_row_is_done_by_a_recipe_only_where_a_recipe_says_so(rows):
    by_state = {row: state for row, (_, state) in rows.items()}
    assert {row for row, state in by_state.items() if state == "recipe"} == set(by_row()) & set(by_state)


def test_every_recipe_is_named_and_every_name_is_there(page):
    named = set(re.findall(r"`([a-z0-9_]+)`", page))
    assert set(headers.names()) <= named
    protocols = {p for m in registry.names("protocols") for p in registry.load("protocols", m).PROTOCOLS}
    assert named <= set(headers.names()) | protocols


def test_every_module_and_command_is_there(page):
    modules = set(re.findall(r"`(braindec(?:\.\w+)+)`", page))
    assert len(modules) > 20
    assert [name for name in sorted(modules) if importlib.util.find_spec(name) is None] == []
    for verb in re.findall(r"`braindec (\w+)", page):
        assert verb in cli.VERBS
    for name in re.findall(r"`braindec convert (\w+)`", page):
        assert importlib.util.find_spec(f"braindec.convert.{name}") is not None


def test_a_row_that_nothing_does_names_nothing(rows):
    called = {row for row, (said, state) in rows.items() if state == "call" and "`" not in said}
    assert not called
    assert all("missing" in said or not said for said, state in rows.values() if state == "not yet")
