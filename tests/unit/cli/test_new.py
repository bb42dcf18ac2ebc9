"""`braindec new`: what it writes works as it stands, and it writes nothing over anything."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from braindec import cli
from braindec.cli import _new

NAME = "brand_new"


@pytest.fixture
def checkout(tmp_path):
    """As little as `new` takes for a checkout."""
    for folder in ("braindec", "tests/conformity"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "braindec" / "registry.py").write_text("")
    return tmp_path


@pytest.mark.parametrize("kind", _new.KINDS)
def test_a_member_and_its_test_are_written_once(kind, checkout, capsys):
    words = ["new", kind, NAME, "--into", str(checkout)]
    assert cli.main(words) == 0
    told = capsys.readouterr().out
    written = [p for p in checkout.rglob("*") if p.is_file() and NAME in str(p)]
    assert len(written) == len(_new.KINDS[kind]) and all(str(p) in told for p in written)
    for path in written:
        text = path.read_text()
        assert "@NAME@" not in text and NAME in text
        assert "NotImplementedError" not in text and "TODO" not in text
    before = {p: p.read_bytes() for p in written}
    assert cli.main(words) == cli.FAILED
    assert f"{kind} {NAME!r} is there already" in capsys.readouterr().err
    assert {p: p.read_bytes() for p in written} == before


@pytest.mark.parametrize(
    ("name", "said"),
    [("Brand-New", "Did you mean 'brand_new'?"), ("2layers", "'x2layers'"), ("class", "got 'class'"), ("", "got ''"),
     ("../evil", "Did you mean 'evil'?"), ("_hidden", "'hidden'"), ("a.b", "'a_b'"), ("a" * 41, "got 'aaa")],
)  # fmt: skip
def test_a_name_that_is_none_is_refused(name, said, checkout, capsys):
    assert cli.main(["new", "backbone", name, "--into", str(checkout)]) == cli.FAILED
    assert said in capsys.readouterr().err
    assert [p.name for p in checkout.rglob("*.py")] == ["registry.py"]


def test_an_unknown_kind_and_a_folder_that_is_no_checkout_are_refused(tmp_path, capsys):
    assert cli.main(["new", "bakbone", NAME]) == cli.FAILED
    assert "Did you mean 'backbone'?" in capsys.readouterr().err
    assert cli.main(["new", "backbone", NAME, "--into", str(tmp_path)]) == cli.FAILED
    said = capsys.readouterr().err
    assert (
        "is no checkout of braindec" in said
        and "installed package" in said
        and "braindec run ./mine.py" in said
    )


def test_the_checkout_is_named_whatever_folder_one_is_in(checkout, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path.parent)
    assert cli.main(["new", "backbone", NAME, "--into", os.path.relpath(checkout)]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"written into the checkout {checkout}") and f"cd {checkout}" in said
    assert f"    {checkout / 'braindec' / 'backbones' / NAME}.py" in said


@pytest.mark.slow
def test_what_is_written_passes_ruff_mypy_its_own_tests_and_those_of_its_kind(repository, tmp_path):
    for name in ("braindec", "datasets", "recipes", "tests"):
        shutil.copytree(repository / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(repository / "pyproject.toml", tmp_path)
    written = [path for kind in _new.KINDS for path in _new.write(kind, f"{NAME}_{kind}", tmp_path)]
    longest = [path for kind in _new.KINDS for path in _new.write(kind, f"{kind}_".ljust(40, "x"), tmp_path)]
    _passes(
        tmp_path, ["ruff", "check", *map(str, longest)], ["ruff", "format", "--check", *map(str, longest)]
    )
    for path in longest:
        path.unlink()
    python = [str(p) for p in written if p.suffix == ".py"]
    sources = [p for p in python if "/tests/" not in p and "/recipes/" not in p]
    suites = [
        f"tests/conformity/test_{k}.py"
        for k in ("backbones", "targets", "adapters", "losses", "metrics", "configs")
    ]
    suites += ["tests/datasets/test_cards.py", "tests/recipes/test_smoke.py"]
    told = _passes(
        tmp_path, ["ruff", "check", *python], ["ruff", "format", "--check", *python], ["mypy", *sources],
        ["pytest", "-q", "-p", "no:cacheprovider", *[p for p in python if "/tests/" in p], *suites, "-k", NAME],
    )  # fmt: skip
    assert "passed" in told and "no tests ran" not in told
    assert not list(Path(repository).glob(f"**/{NAME}*")), "something was written into the real checkout"


def _passes(root: Path, *commands: list[str]) -> str:
    """What the last of some commands said, if all went well."""
    environment = os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    for command in commands:
        words = [sys.executable, "-m", *[w for w in command if not w.endswith(".md")]]
        ran = subprocess.run(words, cwd=root, env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, f"{command[0]}: {ran.stdout[-3000:]}{ran.stderr[-1000:]}"
    return ran.stdout
