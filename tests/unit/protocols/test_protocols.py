"""What a protocol refuses, and how it names a list."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest

from braindec import checks
from braindec.evaluate.measures import protocol_named
from braindec.protocols import Departure, Pool, Protocol, ids_sha256


def small(**changed) -> Protocol:
    made = Protocol(
        "small", 1, "stimulus", "test_stimuli", "before", (), "nowhere", pool=Pool("any three", 3)
    )
    return dataclasses.replace(made, **changed)


def test_another_number_of_test_stimuli_is_refused_with_a_way_out():
    small().check_pool(["a", "b", "c"])
    with pytest.raises(checks.ConfigError, match=r"judged on 3 test stimuli.*got 2.*heldout_stimuli"):
        small().check_pool(["a", "b"])


def test_other_stimuli_than_the_hashed_list_are_refused_whatever_their_order():
    listed = small(pool=Pool("those three", 3, sha256=ids_sha256(["a", "b", "c"])))
    listed.check_pool(["c", "a", "b"])
    with pytest.raises(checks.ConfigError, match="by sha256"):
        listed.check_pool(["a", "b", "d"])


def test_a_list_of_concepts_is_checked_by_its_concepts():
    listed = small(pool=Pool("two concepts", 3, ids="concept", sha256=ids_sha256(["cat", "dog"])))
    listed.check_pool(["a", "b", "c"], ["dog", "cat", "cat"])
    with pytest.raises(checks.ConfigError, match="concepts by sha256"):
        listed.check_pool(["a", "b", "c"], ["dog", "cow", "cat"])


def test_ids_are_hashed_sorted_distinct_and_one_a_line():
    assert ids_sha256(["b", "a", "b"]) == hashlib.sha256(b"a\nb").hexdigest()


def test_other_numbers_of_repeats_are_refused_by_name():
    protocol = small(n_repeats=3)
    protocol.check_repeats({"a": 3, "b": 3})
    with pytest.raises(checks.ConfigError, match=r"3 repeats.*1 of 2.*'b' has 2"):
        protocol.check_repeats({"a": 3, "b": 2})


def test_every_change_but_the_version_changes_the_content():
    base = small()
    assert dataclasses.replace(base, version=2).content_hash == base.content_hash
    for changed in (
        {"seed": 1},
        {"ties": "lost"},
        {"pool": Pool("any three", 3, drawn=2)},
        {"repeats": "after"},
    ):
        assert small(**changed).content_hash != base.content_hash


def test_half_a_mark_of_publication_is_refused():
    with pytest.raises(ValueError, match="come together"):
        small(published_by="someone")
    with pytest.raises(ValueError, match="marked as published"):
        small(pool=Pool("any", 3, drawn=2, n_draws=30))
    with pytest.raises(checks.ConfigError, match="how must be one of"):
        Departure("Something.", "by magic")


def test_an_unknown_name_is_refused_with_the_closest_one():
    with pytest.raises(ValueError, match="nsd_982"):
        protocol_named("nsd_983")
