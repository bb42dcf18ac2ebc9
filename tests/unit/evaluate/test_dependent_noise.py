"""Clips of several shared noises: what is said to be steady and like, and when a gain is told."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from braindec.evaluate import dependent_noise
from braindec.evaluate.dependent_noise import STEADINESS, noises_compared, panels, record, verdicts
from braindec.evaluate.video import Clips, Settings, Watched
from braindec.generators import Generator

N, N_FRAMES, SIDE = 10, 3, 16
OURS, TWIN = "ours", "twin"


def flat(clips):
    return np.clip(np.round(clips), 0, 255).astype(np.uint8)


@dataclass
class World:
    """Presented clips, and what is drawn of them: their frames with noise, of which a share is common."""

    presented: np.ndarray
    common: np.ndarray
    own: np.ndarray

    def drawn(self, share, who):
        base = self.presented if who == OURS else np.roll(self.presented, 1, 0)
        return flat(base + 90 * (share**0.5 * self.common + (1 - share) ** 0.5 * self.own))


class Nothing(Generator):
    name, space = "nothing", "test"

    def identity(self):
        return {}

    def generate(self, image_embeddings, *, generator, guides=None, n_steps=None, progress=False):
        raise AssertionError


@pytest.fixture
def compared(rng, monkeypatch):
    """Three shares compared in a world of still clips."""
    still = np.repeat(rng.uniform(60, 200, (N, 1, SIDE, SIDE, 3)), N_FRAMES, 1)
    world = World(
        flat(still),
        np.repeat(rng.standard_normal((N, 1, SIDE, SIDE, 3)), N_FRAMES, 1),
        rng.standard_normal((N, N_FRAMES, SIDE, SIDE, 3)),
    )
    drawn = []

    def drawing(member, recipe, test, settings, *, rough=None):
        drawn.append(settings.shared_noise)
        return lambda key, ids, shown: lambda who: world.drawn(settings.shared_noise, who)

    monkeypatch.setattr(dependent_noise, "drawing", drawing)
    ids = tuple(f"clip{i}" for i in range(N))
    made = {"braindec": world.drawn(0.5, OURS), "shuffled": world.drawn(0.5, TWIN)}
    watched = Watched({"sub-01_fmri": Clips(ids, world.presented, made, {}, 0.0, 0.0)}, (), {})
    part = SimpleNamespace(stimuli=SimpleNamespace(clips=lambda ids: world.presented))
    dataset = SimpleNamespace(part=lambda name: part)
    recipe = SimpleNamespace(build_generator=Nothing, seed=0, protocol="heldout_clips")

    def compare(shares):
        return noises_compared(watched, OURS, [TWIN], recipe, dataset, Settings(shared_noise=0.5), shares)

    return compare, drawn


def test_frames_that_share_more_hang_together_more_and_shuffled_ones_are_less_like(compared):
    compare, drawn = compared
    (found,) = compare([0.0, 0.5, 1.0]).values()
    assert drawn == [0.0, 1.0]  # the clips that were watched are not drawn again
    steady = [found.values[share][STEADINESS].mean() for share in (0.0, 0.5, 1.0)]
    assert steady[0] < steady[1] < steady[2] == pytest.approx(1.0)
    assert found.steady == pytest.approx(np.ones(N))  # still clips
    for share in (0.0, 0.5, 1.0):
        assert found.values[share]["frame_ssim"].mean() > found.shuffled[share]["frame_ssim"].mean()
    gain = found.gains[1.0][STEADINESS]
    assert gain.value == pytest.approx(steady[2] - steady[0])
    assert gain.interval.low > 0


def test_a_gain_is_told_where_there_is_one_and_nowhere_else(compared):
    compare, _ = compared
    (found,) = compare([0.0, 1.0]).values()
    said = dict(line.removeprefix("- ").split(":") for line in verdicts(found).splitlines()[1:])
    assert "more (+" in said[dependent_noise.WORDS[STEADINESS]]
    # Each frame has as much noise as before.
    assert "no difference" in said[dependent_noise.WORDS["frame_pixel_correlation"]]
    assert "a gain" in said[dependent_noise.WORDS["motion_error"]]  # what is still no longer seems to move


def test_what_is_written_down_is_json_and_every_share_stands_in_table_and_pictures(compared):
    compare, _ = compared
    found = compare([0.0, 1.0])
    told = json.loads(json.dumps(record(found, 0)))["sub-01_fmri"]
    assert set(told["shares"]) == {"0", "0.5", "1"}
    assert "over_own_noises" not in told["shares"]["0"]["frame_ssim"]
    one = told["shares"]["1"]["frame_pixel_correlation"]
    assert one["interval"][0] < one["value"] < one["interval"][1]
    made = {kind: payload for _, kind, payload in panels(found, 0)}
    assert [row[0] for row in made["table"]["rows"]] == ["0", "0.5", "1"]
    assert len(made["image_grid"]["rows"]) == (1 + 3) * N_FRAMES


def test_shares_without_own_noises_have_nothing_to_be_compared_with(compared):
    with pytest.raises(ValueError, match="share"):
        compared[0]([0.5, 1.0])
