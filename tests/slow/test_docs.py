"""The pages of docs/: their code runs and prints what they show, and the site that is made of them stands alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
FENCED = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")
SAID = re.compile(r"^print\(.*\)\s*# (-?[0-9.]+)$", re.MULTILINE)
BY_ITSELF = {"bring-your-own-data.md": "tests/datasets/test_bids_docs.py"}  # whose test runs its commands too


def blocks(text):
    """(language, code, whether nothing but blank lines stands between it and the block before) of each fenced block."""
    found, end = [], 0
    for match in FENCED.finditer(text):
        found.append((match[1], match[2], not text[end : match.start()].strip()))
        end = match.end()
    return found


def pages_with_code():
    """The pages whose Python runs here."""
    every = sorted((REPOSITORY / "docs").glob("*.md"))
    return [p.name for p in every if p.name not in BY_ITSELF and "\n```python\n" in p.read_text()]


def same(shown, printed):
    """Whether the words agree and the numbers nearly; a shown line ``...`` stands for any lines."""
    for part in re.split(r"^\.\.\.$", shown, flags=re.MULTILINE):
        words = NUMBER.sub("#", part).split()
        numbers = [float(n) for n in NUMBER.findall(part)]
        rest = NUMBER.sub("#", printed).split()
        starts = [i for i in range(len(rest) - len(words) + 1) if rest[i : i + len(words)] == words]
        said = [float(n) for n in NUMBER.findall(printed)]
        if not any(_near(numbers, said[_count(rest[:i]) :]) for i in starts):
            return False
    return True


def _count(words):
    return sum(word.count("#") for word in words)


def _near(numbers, said):
    return said[: len(numbers)] == pytest.approx(numbers, abs=0.06, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("name", pages_with_code())
def test_the_python_of_a_page_runs_from_top_to_bottom_and_prints_what_is_shown(
    name, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    namespace, printed = {"__name__": "tests.page"}, ""
    for language, code, follows in blocks((REPOSITORY / "docs" / name).read_text()):
        if language == "python":
            exec(compile(code, f"docs/{name}", "exec", dont_inherit=True), namespace)
            printed = capsys.readouterr().out
            said = [float(n) for n in NUMBER.findall(printed)]
            for number in SAID.findall(code):
                assert any(one == pytest.approx(float(number), abs=0.05) for one in said), (number, printed)
        elif language in ("text", "console") and follows:
            assert same(code, printed), f"shown:\n{code}\nprinted:\n{printed}"


def test_a_page_that_is_run_elsewhere_is_run_there():
    for name, test in BY_ITSELF.items():
        assert name in (REPOSITORY / test).read_text()


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The site, built as `make docs` does, and what was said meanwhile."""
    folder = tmp_path_factory.mktemp("site")
    made = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        capture_output=True, text=True, check=False, cwd=REPOSITORY, timeout=300,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    return folder, made


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(site):
    _, made = site
    assert made.returncode == 0, made.stderr[-3000:]
    assert [line for line in made.stderr.splitlines() if "WARNING" in line] == []


class _Asked(HTMLParser):
    """What a browser fetches to show a page, and text of paragraphs that looks like a table or list gone wrong."""

    def __init__(self):
        super().__init__()
        self.fetched, self.paragraph, self.odd = [], False, []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "video", "audio"):
            self.fetched.append(given.get("src"))
        if tag == "link" and given.get("rel") in ("stylesheet", "icon", "preload", "preconnect", "manifest"):
            self.fetched.append(given.get("href"))
        self.paragraph = tag == "p" or (self.paragraph and tag not in ("pre", "table"))

    def handle_endtag(self, tag):
        self.paragraph = self.paragraph and tag != "p"

    def handle_data(self, data):
        if self.paragraph and re.search(r"^(\| |- |\d\. |```)", data, re.MULTILINE):
            self.odd.append(data)


@pytest.mark.slow
def test_no_page_of_the_site_asks_another_machine_for_anything(site):
    folder, _ = site
    found = [p for p in folder.rglob("*.html") if p.name != "404.html"]  # that one is for servers
    assert len(found) > 100
    for path in found:
        parser = _Asked()
        parser.feed(path.read_text())
        asked = [address for address in parser.fetched if address]
        assert [a for a in asked if re.match(r"(?:[a-z]+:)?//", a)] == [], path
        assert [a for a in asked if not (path.parent / a.partition("?")[0]).exists()] == [], path
        assert parser.odd == [], path
    for path in folder.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import )[\"']?(?:https?:)?//", path.read_text()), path


@pytest.mark.slow
def test_a_browser_that_opens_a_page_asks_nobody_and_has_nothing_to_complain_of(site, browse):
    opened = browse(site[0] / "systems.html")
    assert opened.said == []
    assert [address for address in opened.asked if not address.startswith(("file://", "data:"))] == []


def test_what_looks_like_a_table_gone_wrong_is_seen():
    parser = _Asked()
    parser.feed("<p>so:\n- one\n- two</p><p>fine - as it is</p><pre>| a |</pre><p>| a | b |</p>")
    assert len(parser.odd) == 2


@pytest.mark.slow
def test_every_page_has_a_place_in_the_navigation(site):
    listed = set(re.findall(r"[\w-]+\.md", (REPOSITORY / "mkdocs.yml").read_text()))
    there = {p.name for p in (REPOSITORY / "docs").glob("*.md")}
    assert there - listed == set()
