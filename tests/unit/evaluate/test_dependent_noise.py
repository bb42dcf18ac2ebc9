"""Clips of several shared noises: what is said to be steady and like, and when a gain is told."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from braindec.decoder import Prediction
from braindec.evaluate import dependent_noise
from braindec.evaluate.dependent_noise import STEADINESS, noises_compared, panels, record, verdicts
from braindec.evaluate.video import Clips, Settings, Watched, drawing
from braindec.evaluate.video_apart import Apart
from braindec.generators import Generator
from braindec.types import Table

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


class Told(Nothing):
    """Pictures of the noise that it is told, or of what it draws itself."""

    def noise(self, n, generator):
        return torch.randn(n, 4, 8, 8, generator=generator)

    def generate(self, image_embeddings, *, generator, guides=None, n_steps=None, progress=False, noise=None):
        noise = self.noise(len(image_embeddings), generator) if noise is None else noise
        return flat(128 + 40 * noise[:, :3].permute(0, 2, 3, 1).numpy())


@pytest.mark.parametrize(("shared", "least", "most"), [(0.0, -0.2, 0.2), (0.5, 0.3, 0.7), (1.0, 1.0, 1.0)])
def test_frames_of_one_embedding_are_as_like_as_the_noise_that_settings_let_them_share(shared, least, most):
    ids = tuple("abcd")
    seen = Prediction(ids, np.zeros((4, 2, 3), np.float32), Table({"run": np.zeros(4)}), np.ones(4, int))
    main = SimpleNamespace(
        predict=lambda trials, repeats: seen, image_embedding=lambda prediction, seed: prediction.values
    )
    recipe, test = (
        SimpleNamespace(protocol="heldout_clips", seed=0),
        SimpleNamespace(trials={"sub-01_fmri": None}),
    )
    draw = drawing(Told(), recipe, test, Settings(shared_noise=shared))
    clips = draw("sub-01_fmri", ids, np.zeros((4, 2, 8, 8, 3), np.uint8))(Apart(main)).astype(float)
    assert clips.shape == (4, 2, 8, 8, 3)
    assert least - 1e-9 <= np.corrcoef(clips[:, 0].ravel(), clips[:, 1].ravel())[0, 1] <= most + 1e-9
