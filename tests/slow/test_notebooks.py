"""Every notebook runs from an empty folder, and what is stored in it is what comes out."""

from __future__ import annotations

import importlib.util
import re

import nbformat
import pytest

N_NOTEBOOKS, MAX_BYTES = 8, 4_000_000


@pytest.fixture
def runner(repository):
    spec = importlib.util.spec_from_file_location("notebooks_run", repository / "notebooks" / "_run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


NUMBERS = [f"{n:02d}" for n in range(1, N_NOTEBOOKS + 1)]


@pytest.mark.slow
@pytest.mark.parametrize("number", NUMBERS)
def test_a_notebook_runs_and_stores_what_comes_out(runner, number):
    (path,) = runner.names([number])
    stored = runner.shape(nbformat.read(path, as_version=4))
    assert stored == runner.shape(runner.execute(path)), f"{path.name} is stale: run `make notebooks`."


def test_stored_notebooks_are_small_and_name_no_machine(runner):
    paths = runner.names()
    assert [p.name[:2] for p in paths] == NUMBERS
    assert sum(p.stat().st_size for p in paths) <= MAX_BYTES
    for path in paths:
        text = path.read_text()
        assert not runner.MACHINE.search(re.sub(r'"image/png": "[^"]*"', "", text)), path.name
        assert '"ename"' not in text, path.name


def test_every_code_cell_has_been_run_in_order_and_every_notebook_says_what_it_does_not_show(runner):
    for path in runner.names():
        book = nbformat.read(path, as_version=4)
        counts = [c.execution_count for c in book.cells if c.cell_type == "code"]
        assert counts == list(range(1, len(counts) + 1)), path.name
        prose = "\n".join(c.source for c in book.cells if c.cell_type == "markdown")
        assert "chance" in prose.lower() and ("does not show" in prose or "cannot find" in prose), path.name
