"""The page on one's own data is typed as it stands: its commands print what it says, its code runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from braindec import checks
from braindec.cli import _verbs
from braindec.data import catalogue

PAGE = Path(__file__).resolve().parents[2] / "docs" / "bring-your-own-data.md"


def commands(text):
    """(words after braindec, the lines printed below) of every `$ braindec` of the page."""
    found = []
    for block in re.findall(r"(?:^    .*\n?)+", text.replace("\\\n          ", ""), flags=re.M):
        for part in block.replace("\n    ", "\n").strip().split("$ braindec ")[1:]:
            line, _, printed = part.partition("\n")
            found.append((shlex.split(line), " ".join(printed.split())))
    return found


def test_every_command_of_the_page_prints_what_it_says(tmp_path, monkeypatch, capsys):
    text = PAGE.read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    catalogue.load("bids")["synthetic"]("my_bids")
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    exec(next(b for b in blocks if "arrays.npy" in b), {})
    typed = [c for c in commands(text) if c[0][0] in ("prepare", "audit")]
    assert len(typed) >= 8
    for (verb, *words), expected in typed:
        try:
            _verbs.run(verb, words)
            said = " ".join(capsys.readouterr().out.split())
        except checks.BraindecError as error:
            said = "braindec: " + " ".join(str(error).split())
        assert said.startswith(expected.removesuffix(" ..."))
    monkeypatch.setattr("builtins.print", lambda *a: printed.append(str(a)))
    printed = []
    exec(next(b for b in blocks if "store.Stored" in b), {})
    assert "(64, 172)" in printed[0] and "(4, 172)" in printed[-1]
    means = next(b for b in blocks if "block_means" in b)
    exec(means, {})
    assert printed[-1][1:-2] in means and "64 trials" in printed[-1]


PARTS_OF_ARRAYS = {  # what the page says to write in the recipe, for the arrays of part 3
    'modalities=("fmri",)': 'modalities=("eeg",)',
    'classes=("face", "house", "tool", "word")': 'classes=("face", "house")',
    'nuisance=("run_position", "onset_s", "fd_mm")': 'nuisance=("onset_s",)',
}


@pytest.mark.slow
@pytest.mark.parametrize("raw", ["my_bids", "plain"])
def test_the_recipe_of_the_page_decodes_the_planted_categories(raw, tmp_path, monkeypatch, capsys):
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    recipe = next(b for b in blocks if "RECIPE" in b)
    monkeypatch.chdir(tmp_path)
    functions = catalogue.load("bids")
    if raw == "my_bids":
        functions["synthetic"](raw)
    else:
        exec(next(b for b in blocks if "arrays.npy" in b), {})
        for part, other in PARTS_OF_ARRAYS.items():
            assert part in recipe and other in text
            recipe = recipe.replace(part, other)
    functions["prepare"](raw, "prepared/mine")
    Path("mine.py").write_text(recipe)
    _verbs.run("run", ["./mine.py", "--data", "prepared/mine", "--out", "runs/mine"])
    accuracy = re.search(r"category_accuracy .* (0\.\d+) \[", capsys.readouterr().out)
    assert float(accuracy[1]) > (0.8 if raw == "my_bids" else 0.7)
