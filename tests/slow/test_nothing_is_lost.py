"""Fits that are killed, stopped or run in another process end with the same bytes as one that nobody disturbs."""

from __future__ import annotations

import random
import runpy
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.slow

forked = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "forked_runs.py")))
CODES = {signal.SIGTERM: 143, signal.SIGUSR1: 75, signal.SIGINT: 130}


@pytest.fixture(scope="module")
def runs():
    with forked.Runs() as found:
        yield found


@pytest.fixture(scope="module")
def whole(runs, tmp_path_factory):
    """What a fit leaves that nobody disturbs, and how long it takes."""
    folder = tmp_path_factory.mktemp("whole")
    end = runs.fit(folder)
    assert end["codes"] == [0], end
    return SimpleNamespace(digests=forked.digests(folder), seconds=end["seconds"])


def test_twenty_runs_killed_at_random_or_inside_a_save_end_with_the_same_bytes(
    runs, tmp_path, record_property
):
    equal, kills, different = forked.equal_after_kills(runs, tmp_path, 20, most=1)
    assert sum(kills.values()) == 20 and kills["at a random moment"] >= 3, kills
    assert min(kills.values()) >= 1, kills
    record_property("R1", f"{equal}/20 equal ({sum(kills.values())} kills: {words(kills)})")
    assert equal == 20, different


def words(kills):
    return ", ".join(f"{n} {what}" for what, n in kills.items())


def test_ten_signals_to_stop_save_within_ten_seconds_and_lose_no_step(runs, whole, tmp_path, record_property):
    draw, done, slowest, lost = random.Random(1), 0, 0.0, 0
    for i, number in enumerate([*CODES] * 3 + [signal.SIGTERM]):
        place, end = tmp_path / f"run-{i}", {"codes": [0], "after_signal": None}
        while end["codes"] == [0]:  # it came too late, or before there was anything to stop
            end = runs.fit(place, after=draw.uniform(0.2, 0.9) * whole.seconds, number=number)
        assert end["codes"] == [CODES[number]], (number, end)
        slowest = max(slowest, end["after_signal"])
        saved = sorted((place / "checkpoints").glob(f"{end['part']}-[0-9]*.pt"))
        steps = [int(p.stem.rpartition("-")[2]) for p in saved]
        if steps and end["step"] not in steps and end["step"] < forked.N_STEPS:
            lost = max(lost, end["step"] - max(steps))
        assert not [*place.rglob(".*.part")]
        assert runs.fit(place)["codes"] == [0]
        done += forked.digests(place) == whole.digests
    record_property("R3", f"{done}/10 equal afterwards; slowest end {slowest:.1f} s; {lost} steps lost")
    assert (done, lost) == (10, 0) and slowest <= 10


def test_two_ranks_killed_one_or_both_end_with_the_same_bytes(runs, tmp_path, record_property):
    end = runs.fit(tmp_path / "whole", ranks=2)
    assert end["codes"] == [0, 0], end
    expected, draw, equal, slowest = forked.digests(tmp_path / "whole"), random.Random(2), 0, 0.0
    for i, victims in enumerate([[0], [1], [0, 1], [1], [0]]):
        place, killed = tmp_path / f"run-{i}", {"codes": [0, 0]}
        while killed["codes"] == [0, 0]:
            after = draw.uniform(0.2, 0.9) * end["seconds"]
            killed = runs.fit(place, after=after, ranks=2, victims=victims)
        assert all(code != 0 for code in killed["codes"]), killed
        slowest = max(slowest, killed["after_signal"])
        assert runs.fit(place, ranks=2)["codes"] == [0, 0]
        equal += forked.digests(place) == expected
    record_property("R2", f"{equal}/5 equal; survivors ended after {slowest:.1f} s at most")
    assert equal == 5 and slowest <= 30


@pytest.mark.parametrize("hash_seed", ["4711"])
def test_another_process_with_another_hash_seed_writes_the_same_bytes(
    hash_seed, whole, tmp_path, record_property
):
    with forked.Runs(PYTHONHASHSEED=hash_seed) as other:
        assert other.fit(tmp_path)["codes"] == [0]
    found = forked.digests(tmp_path)
    different = [name for name in whole.digests if found.get(name) != whole.digests[name]]
    record_property(f"R12 PYTHONHASHSEED={hash_seed}", "different" if different else "equal")
    assert different == []


def test_another_seed_writes_other_bytes(runs, whole, tmp_path):
    assert runs.fit(tmp_path, seed=1)["codes"] == [0]
    other = forked.digests(tmp_path)
    assert other.keys() == whole.digests.keys()
    assert other["decoder/model.safetensors"] != whole.digests["decoder/model.safetensors"]


def test_a_preparation_that_is_killed_and_started_again_writes_the_same_bytes(
    runs, tmp_path, record_property
):
    runs.fit(tmp_path / "whole", work="prepare")
    end = runs.fit(tmp_path / "whole", work="prepare")
    expected, draw, equal = forked.digests(tmp_path / "whole", "prepared"), random.Random(3), 0
    assert end["codes"] == [0] and len(expected) >= 3, end
    for i in range(3):
        place, killed = tmp_path / f"run-{i}", {"codes": [0]}
        while killed["codes"] == [0]:
            killed = runs.fit(place, work="prepare", after=draw.uniform(0.1, 0.9) * end["seconds"])
            if killed["codes"] == [0]:
                (place / "prepared").rename(tmp_path / f"late-{draw.random()}")
        assert runs.fit(place, work="prepare")["codes"] == [0]
        equal += forked.digests(place, "prepared") == expected
    record_property("prepare, killed", f"{equal}/3 equal")
    assert equal == 3
