"""Every dataset's folder holds a complete card and a prepare.py with the three functions."""

from __future__ import annotations

import inspect

import pytest

from braindec import cli
from braindec.data import card, catalogue, download

NAMES = catalogue.names()
REAL = [name for name in NAMES if (catalogue.folder(name) / "files.tsv").is_file()]


def test_the_datasets_of_this_version_are_there():
    assert {"simulated", "haxby2001", "digits69", "faces_houses_eeg"} <= set(NAMES)


def test_every_folder_with_a_card_has_its_prepare_file():
    folders = {p.parent.name for p in catalogue.root().glob("*/README.md")}
    assert folders == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_card_is_complete(name):
    read = catalogue.card(name)
    assert read.facts["name"] == name
    assert f"braindec prepare {name}" in read.text


def test_the_list_shows_every_dataset_in_an_aligned_line_of_100_columns(capsys):
    assert cli.main(["list", "datasets"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert max(map(len, [head, *lines])) <= 100 and [line.split()[0] for line in lines] == list(NAMES)
    starts = [head.index(word) for word in ("modality", "subjects", "trials", "size", "licence", "access")]
    for name, line in zip(NAMES, lines, strict=True):
        facts = catalogue.card(name).facts
        short = facts["in_a_line"]
        wanted = [" ".join(facts["modality"]), str(facts["subjects"]), short["trials"], short["size"]]
        for start, text in zip(starts, [*wanted, short["licence"], short["access"]], strict=True):
            assert line[start:].startswith(text) and line[start - 1] == " "


@pytest.mark.parametrize("lacking", [*card.IN_A_LINE, "in_a_line", "modality", "subjects"])
def test_a_card_that_lacks_what_the_list_shows_is_incomplete(lacking):
    facts = dict(catalogue.card("haxby2001").facts)
    assert not card.problems(facts, "haxby2001")
    if lacking in card.IN_A_LINE:
        facts["in_a_line"] = {k: v for k, v in facts["in_a_line"].items() if k != lacking}
    else:
        del facts[lacking]
    assert any(lacking in problem for problem in card.problems(facts, "haxby2001"))
    facts = dict(catalogue.card("haxby2001").facts)
    facts["in_a_line"] = facts["in_a_line"] | {"licence": "a text that is too long to be shown"}
    assert any("more than" in problem for problem in card.problems(facts, "haxby2001"))


@pytest.mark.parametrize("name", NAMES)
def test_a_prepare_file_has_the_three_functions_with_their_arguments(name):
    functions = catalogue.load(name)
    expected = {
        "fetch": ("raw", "subjects", "dry_run"),
        "prepare": ("raw", "out", "subjects", "dry_run", "n_jobs"),
        "synthetic": ("raw", "seed"),
    }
    for function, arguments in expected.items():
        parameters = inspect.signature(functions[function]).parameters
        assert tuple(parameters)[: len(arguments)] == arguments
        assert all(
            parameters[a].default is not inspect.Parameter.empty
            for a in parameters
            if a not in ("raw", "out")
        )


@pytest.mark.parametrize("name", NAMES)
def test_no_dataset_folder_is_a_package(name):
    assert not (catalogue.folder(name) / "__init__.py").exists()
    assert not (catalogue.root() / "__init__.py").exists()


@pytest.mark.parametrize("name", REAL)
def test_files_to_fetch_are_listed_with_address_and_hash(name, tmp_path):
    listed = download.listed(catalogue.folder(name) / "files.tsv")
    assert all(url.startswith("https://") and url.endswith(path.split("/")[-1]) for path, url, _ in listed)
    paths = catalogue.load(name)["fetch"](tmp_path, dry_run=True)
    assert [str(p.relative_to(tmp_path)) for p in paths] == [path for path, _, _ in listed]
    assert list(tmp_path.iterdir()) == []
