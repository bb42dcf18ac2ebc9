"""The page on reliability says what the results say, of tests that there are."""

from __future__ import annotations

import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from importlib import util

import pytest

CASES = """<testsuites><testsuite>
<testcase name="a"><properties><property name="R1" value="19/20 equal (31 kills)"/></properties></testcase>
<testcase name="b"><properties><property name="R1" value="20/20 equal (40 kills)"/></properties><failure/></testcase>
<testcase name="c"><skipped/></testcase>
</testsuite></testsuites>"""


@pytest.fixture
def script(repository):
    spec = util.spec_from_file_location("reliability_script", repository / "benchmarks" / "reliability.py")
    module = util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_the_page_shows_the_results(script, repository):
    record = json.loads((repository / "benchmarks" / "results" / "reliability.json").read_text())
    page = (repository / "docs" / "reliability.md").read_text()
    assert script.table(record) in page
    assert [row["line"] for row in record["values"] if row["failed"]] == []


def test_every_line_names_tests_that_there_are(script, repository):
    for line in script.LINES:
        for test in line.tests:
            path, _, name = test.partition("::")
            assert (repository / path).exists(), test
            assert not name or re.search(rf"^def {name}\(", (repository / path).read_text(), re.MULTILINE), (
                test
            )


def test_what_failed_or_was_skipped_is_not_counted_as_passed(script):
    row = script.row_of(script.LINES[0], list(ElementTree.fromstring(CASES).iter("testcase")), 1.0)
    assert (row["passed"], row["failed"], row["skipped"]) == (1, ["b"], 1)
    assert row["measured"] == "39/40 equal (71 kills); 1 of 3 tests, 1 skipped"
    assert "**1 failed**" in script.table({"values": [row]})
