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
    listed = small(pool=Pool("those three", 3, sha256=ids_sha256("abc"), list="in the paper"))
    listed.check_pool(["c", "a", "b"])
    with pytest.raises(checks.ConfigError, match="small_miniature") as refused:
        listed.check_pool(["a", "b", "d"])
    for part in (ids_sha256("abc"), ids_sha256("abd"), "The list: in the paper", "heldout_stimuli"):
        assert part in str(refused.value)


def test_a_list_of_concepts_is_checked_by_its_concepts():
    listed = small(pool=Pool("two concepts", 3, ids="concept", sha256=ids_sha256(["cat", "dog"])))
    listed.check_pool(["a", "b", "c"], ["dog", "cat", "cat"])
    with pytest.raises(checks.ConfigError, match="fixed list of concepts with sha256"):
        listed.check_pool(["a", "b", "c"], ["dog", "cow", "cat"])


def test_ids_are_hashed_sorted_distinct_and_one_a_line():
    assert ids_sha256(["b", "a", "b"]) == hashlib.sha256(b"a\nb").hexdigest()


def test_a_miniature_takes_other_stimuli_and_says_so_in_its_name():
    listed = small(pool=Pool("those three", 3, sha256=ids_sha256("abc")), n_repeats=4)
    tiny = listed.miniature()
    tiny.check_pool(["x", "y"])
    tiny.check_repeats({"x": 2})
    assert tiny.name == "small_miniature" and tiny.pool.rule.startswith("a miniature's own stimuli")
    found = protocol_named("things_eeg2_200_miniature")
    assert found == protocol_named("things_eeg2_200").miniature() and found.unit == "concept"
    with pytest.raises(ValueError, match="things_eeg2_200"):
        protocol_named("things_eeg2_201_miniature")


def test_where_a_list_stands_is_no_part_of_what_a_version_stands_for():
    told = small(pool=Pool("any three", 3, list="in the paper"))
    assert told.content_hash == small().content_hash


def test_public_lists_are_named_by_their_hash_and_the_others_say_why_not():
    listed = ("things_eeg2_200", "things_meg_200", "things_fmri_100", "god_50", "bold5000_113", "cc2017_test")
    for name in listed:
        assert len(protocol_named(name).pool.sha256) == 64
    for name in ("nsd_mindeye2_1000", "nsd_retrieval_300x30", "nsd_982", "brainhub_captions", "nsd_imagery"):
        pool = protocol_named(name).pool
        assert pool.sha256 is None and pool.list.startswith("not hashed: ")


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
