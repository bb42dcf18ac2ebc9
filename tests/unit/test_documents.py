"""What the documents tell a reader to type does what they say."""

from __future__ import annotations

import re
import shlex

from braindec import headers
from braindec.checks import ConfigError
from braindec.cli import _parser
from braindec.data import catalogue

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs", "datasets", "recipes")


def documents(repository):
    for name in DOCUMENTS:
        path = repository / name
        yield from sorted(path.rglob("*.md")) if path.is_dir() else [path]


def commands(text):
    """The words of each braindec command in a fenced block, an indented one, or a recipe's header."""
    found = re.findall(
        r"^(?:    |Run +|Smoke +|        )?(?:\.venv/bin/)?braindec ([a-z][^#\n]*)", text, re.MULTILINE
    )
    return [shlex.split(line) for line in found]


def test_every_command_is_one_that_the_command_line_takes(repository):
    texts = {p: p.read_text() for p in documents(repository)}
    texts |= {one.path: "\n".join([*one.run, one.smoke]) for one in headers.read_all()}
    found = [(path.name, words) for path, text in texts.items() for words in commands(text)]
    assert len(found) > 15
    for where, (verb, *words) in found:
        options = _parser.parse(verb, words)
        if verb == "prepare":
            assert options.name in catalogue.names(), where
        if verb == "run":
            assert options.recipe in headers.names() or options.recipe.endswith(".py"), where


def test_a_command_in_running_text_says_nothing_that_the_command_line_does_not_take(repository):
    found = 0
    for path in documents(repository):
        for line in re.findall(r"`braindec ([a-z][^`]*)`", BLOCK.sub("", path.read_text())):
            verb, *words = (word for word in shlex.split(line) if word not in ("...", "--help"))
            found += 1
            try:
                _parser.parse(verb, words)
            except ConfigError as error:  # what is left out of a sentence is no fault
                assert "required" in str(error), f"{path.name}: braindec {line}: {error}"
    assert found > 100


def test_every_make_target_that_is_named_is_there(repository):
    targets = set(re.findall(r"^([a-z-]+):", (repository / "Makefile").read_text(), re.MULTILINE))
    said = re.compile(r"(?:^|`)make ([a-z-]+)", re.MULTILINE)
    named = {name for path in documents(repository) for name in said.findall(path.read_text())}
    assert {"demo", "test", "check"} <= named <= targets


def test_every_link_to_a_file_leads_to_one(repository):
    for path in documents(repository):
        text = re.sub(
            r"\A---\n.*?^---$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL
        )  # a card's facts
        prose = re.sub(r"`[^`\n]*`|^    .*$", "", BLOCK.sub("", text), flags=re.MULTILINE)
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", prose):
            assert (path.parent / target).exists(), f"{path.name}: {target}"
