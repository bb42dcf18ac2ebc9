"""The heads of recipes are fields that a program reads, and the page of all recipes is made of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from braindec import headers
from braindec.checks import DataFileError

GOOD = '''"""A title.

Some words, and a line that begins with
Published on the moon, which is no field.

Systems    A1 MindEye; C2 ATM, with
           a longer name
Run        braindec prepare x
           braindec run one --out runs/one
Smoke      braindec run one --smoke: 0.5 of 20 (shuffled 0.1)
Needs      nothing
Published  none: ours
Measured   0.5 [0.4, 0.6]: n 20
Tried      nothing yet
"""
'''


@pytest.fixture
def recipe_file(tmp_path):
    def write(text: str, notes: str | None = None) -> Path:
        path = tmp_path / "one.py"
        path.write_text(text)
        if notes is not None:
            (tmp_path / "notes").mkdir(exist_ok=True)
            (tmp_path / "notes" / "one.md").write_text(notes)
        return path

    return write


def test_fields_are_read_with_their_further_lines(recipe_file):
    found = headers.read(recipe_file(GOOD, "## Measured\n\nA table.\n\n## Tried\n\nThis.\n"))
    assert (found.name, found.title) == ("one", "A title.")
    assert found.about.endswith("which is no field.")
    assert found.systems == (headers.System("A1", "MindEye"), headers.System("C2", "ATM, with a longer name"))
    assert found.run == ("braindec prepare x", "braindec run one --out runs/one")
    assert (found.smoke, found.shows) == ("braindec run one --smoke", "0.5 of 20 (shuffled 0.1)")
    assert (found.measured, found.is_measured) == ("0.5 [0.4, 0.6]: n 20", True)
    assert found.notes == {"Measured": "A table.", "Tried": "This."}


def test_a_recipe_of_no_system_says_why_and_one_that_was_not_run_says_what_it_needs(recipe_file):
    text = GOOD.replace("A1 MindEye; C2 ATM, with\n           a longer name", "none: ours")
    found = headers.read(recipe_file(text.replace("0.5 [0.4, 0.6]: n 20", "not measured: needs NSD")))
    assert found.systems == ()
    assert not found.is_measured


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("Tried      nothing yet\n", "", r"says nothing of \['Tried'\]"),
        ("Needs      nothing\n", "Needs      nothing\nNeeds      nothing\n", "says 'Needs' twice"),
        ("A1 MindEye", "MindEye", "names the systems 'MindEye;"),
        ("run one --smoke:", "run two --smoke:", "says of its smoke run 'braindec run two"),
        ("--smoke: 0.5 of 20 (shuffled 0.1)", "--smoke", "says of its smoke run"),
        ('"""\n', "", "cannot be read"),
    ],
)
def test_what_is_missing_or_wrong_is_said_with_the_file(old, new, says, recipe_file):
    with pytest.raises(DataFileError, match=rf"one\.py: {says}"):
        headers.read(recipe_file(GOOD.replace(old, new)))


def test_an_unknown_section_of_the_notes_is_refused(recipe_file):
    with pytest.raises(DataFileError, match=r"one\.md: holds \['Results'\]"):
        headers.read(recipe_file(GOOD, "## Results\n\nSome.\n"))


def test_every_recipe_has_a_whole_header_and_every_note_a_recipe():
    found = headers.read_all()
    assert [one.name for one in found] == headers.names()
    notes = {p.stem for p in (headers.folder() / "notes").glob("*.md")} - {"_about"}
    assert notes <= set(headers.names())


@pytest.mark.parametrize("one", headers.read_all(), ids=lambda one: one.name)
def test_a_measured_number_stands_beside_its_chance_or_null(one):
    if one.is_measured and one.name != "demo":  # the demo's stand in the project's README
        assert re.search(r"chance|null|shuffled|permuted|random atoms", one.measured)
    assert re.search(r"needs |not run|the published design", one.measured) or one.is_measured


def test_the_page_of_all_recipes_is_as_their_headers_and_notes_say():
    page = (headers.folder() / "README.md").read_text(encoding="utf-8")
    assert page == headers.markdown(), "recipes/README.md is stale; make it again with: make recipes-readme"


def test_a_file_without_any_field_is_refused_by_name(tmp_path):
    (tmp_path / "bare.py").write_text('"""A recipe in the making."""\n')
    with pytest.raises(DataFileError, match=r"bare\.py.*says nothing of"):
        headers.read(tmp_path / "bare.py")
