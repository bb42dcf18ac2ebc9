"""Every dataset's folder holds a complete card and a prepare.py with the three functions."""

from __future__ import annotations

import inspect

import pytest

from braindec.data import catalogue, download

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
