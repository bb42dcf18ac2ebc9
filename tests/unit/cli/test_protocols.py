"""Protocols on the command line: each on one line, and each of its fields with its meaning."""

from __future__ import annotations

import dataclasses

import pytest

from braindec.cli import _protocols, _show
from braindec.protocols import Departure, Pictures, Pool, Protocol, Windows

NAMES = sorted(_protocols.protocols())


@pytest.mark.parametrize("terminal", [True, False])
def test_every_protocol_is_listed_on_a_line_of_its_own_and_not_shortened(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    lines = _show.listing("protocols", terminal=terminal).splitlines()
    assert [line.split()[0] for line in lines] == NAMES
    assert not any("…" in line for line in lines)
    assert all(_protocols.sentence(name) in line for name, line in zip(NAMES, lines) if terminal)


@pytest.mark.parametrize("name", NAMES)
def test_every_field_is_printed(name):
    text = _show.info(name)
    protocol = _protocols.protocols()[name]
    for field in dataclasses.fields(protocol):
        assert field.name in text
    for departure in protocol.departures:
        assert departure.what.split()[-1] in text
    assert protocol.content_hash[:16] in text


@pytest.mark.parametrize("kind", [Protocol, Pool, Pictures, Windows, Departure])
def test_every_field_has_a_meaning(kind):
    assert [f.name for f in dataclasses.fields(kind) if not _protocols.meaning(kind, f.name)] == []


def test_a_protocol_is_found_without_its_kind_and_a_typo_is_answered():
    assert _show.info("nsd_982") == _show.info("protocols/nsd_982")
    assert "as_published_by_brain_diffuser" in _show.info("nsd_982")
    with pytest.raises(ValueError, match="nsd_982"):
        _show.info("nsd_983")
