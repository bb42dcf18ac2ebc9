"""Cards are complete or refused by key; a dataset's functions are run from its file."""

from __future__ import annotations

import hashlib

import pytest

from braindec import checks
from braindec.data import card, catalogue, download

GOOD = """---
name: mine
title: A test
modality: [fmri]
subjects: 1
licence: CC0
access: open
source: here
full_data: here
citation: none
size: 1 kB
in_a_line: {trials: "3", size: "1 kB", licence: CC0, access: open}
files: [a.txt]
counts: {n_stimuli: 2}
splits: {default: all}
known_issues: []
---

# mine
"""


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "README.md").write_text(GOOD)
    (folder / "prepare.py").write_text(
        "def fetch(): ...\ndef prepare(): ...\ndef synthetic(): return __file__\n"
    )
    return folder


def test_a_complete_card_is_read(folder):
    read = card.read_card(folder / "README.md")
    assert read.facts["counts"] == {"n_stimuli": 2} and read.text == "# mine"


@pytest.mark.parametrize("key", card.REQUIRED)
def test_a_missing_key_is_named(folder, key):
    lines = [line for line in GOOD.splitlines() if not line.startswith(f"{key}:")]
    (folder / "README.md").write_text("\n".join(lines) + "\n")
    with pytest.raises(checks.DataFileError, match=f"{key} is missing"):
        card.read_card(folder / "README.md")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("---\nname", "name"), "no front matter"),
        (("licence: CC0", "licence: ''"), "licence must be str"),
        (("subjects: 1", "subjects: one"), "subjects must be int"),
        (("name: mine", "name: yours"), "the folder is 'mine'"),
        (("counts: {", "counts: {{"), "not YAML"),
    ],
)
def test_a_faulty_card_is_refused(folder, change, problem):
    (folder / "README.md").write_text(GOOD.replace(*change))
    with pytest.raises(checks.DataFileError, match=problem):
        card.read_card(folder / "README.md")


def test_a_dataset_may_be_named_by_its_folder(folder):
    assert catalogue.load(folder)["synthetic"]() == str(folder / "prepare.py")
    assert catalogue.card(str(folder)).facts["name"] == "mine"


def test_a_prepare_file_without_its_functions_is_refused(folder):
    (folder / "prepare.py").write_text("def fetch(): ...\n")
    with pytest.raises(checks.DataFileError, match=r"prepare.*synthetic"):
        catalogue.load(folder)


def test_an_unknown_dataset_is_answered_with_the_closest_name():
    with pytest.raises(checks.ConfigError, match="Did you mean 'haxby2001'"):
        catalogue.folder("haxby2002")


def test_raw_files_are_found_in_the_folder_or_one_below(tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "a.csv").touch()
    assert catalogue.raw_folder(tmp_path, "*.csv", "below") == tmp_path / "below"
    assert catalogue.raw_folder(tmp_path / "below", "*.csv", "below") == tmp_path / "below"
    with pytest.raises(FileNotFoundError, match=r"\*\.mat"):
        catalogue.raw_folder(tmp_path, "*.mat", "below")


def test_a_file_that_is_there_and_right_is_not_fetched_again(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.txt").write_text("content")
    sha256 = hashlib.sha256(b"content").hexdigest()
    files = tmp_path / "files.tsv"
    files.write_text(f"path\turl\tsha256\na.txt\thttp://127.0.0.1:9/a.txt\t{sha256}\n")
    assert download.fetch(files, tmp_path / "raw") == [tmp_path / "raw" / "a.txt"]
    (tmp_path / "raw" / "a.txt").write_text("damaged")
    assert download.fetch(files, tmp_path / "raw", dry_run=True) == [tmp_path / "raw" / "a.txt"]
    with pytest.raises(checks.DownloadError, match="could not be fetched"):
        download.fetch(files, tmp_path / "raw")
