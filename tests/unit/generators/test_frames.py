"""Frames of a clip are drawn from one noise, and pictures move as they are told."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec import checks
from braindec.generators import Generator, accepted
from braindec.generators._frames import drawn_frames, moved
from braindec.maths.motion import block_motion


class Noisy(Generator):
    """A picture of noise around the embedding's own grey."""

    name, space, takes = "noisy", "test", frozenset({"low_level"})

    def identity(self):
        return {}

    def generate(self, image_embeddings, *, generator, guides=None, n_steps=None, progress=False):
        if guides is not None:
            accepted(self, guides, len(image_embeddings))
        noise = torch.randint(0, 50, (len(image_embeddings), 8, 8, 3), generator=generator).numpy()
        told = 0 if guides is None or guides.low_level is None else guides.low_level
        return (noise + image_embeddings[:, :1, :1, None] + told).astype(np.uint8)


def seeded():
    return torch.Generator().manual_seed(3)


def test_frames_of_a_clip_share_their_noise_and_clips_do_not():
    embeddings = np.zeros((2, 3, 1, 4))
    embeddings[:, 1] = 100
    clips = drawn_frames(Noisy(), embeddings, generator=seeded())
    assert clips.shape == (2, 3, 8, 8, 3)
    assert np.array_equal(clips[:, 0], clips[:, 2])
    assert np.array_equal(clips[:, 1] - clips[:, 0], np.full((2, 8, 8, 3), 100))
    assert not np.array_equal(clips[0], clips[1])


def test_the_source_of_noise_goes_on_as_after_one_picture():
    one, several = seeded(), seeded()
    Noisy().generate(np.zeros((2, 1, 4)), generator=one)
    drawn_frames(Noisy(), np.zeros((2, 5, 1, 4)), generator=several)
    assert torch.equal(torch.rand(3, generator=one), torch.rand(3, generator=several))


def test_a_generator_is_told_each_frame_s_structure_or_refuses_it():
    structure = np.arange(3, dtype=np.uint8)[None, :, None, None, None] * np.ones((2, 3, 8, 8, 3), np.uint8)
    clips = drawn_frames(Noisy(), np.zeros((2, 3, 1, 4)), generator=seeded(), structure=structure)
    assert np.array_equal(clips - clips[:, :1], structure)
    deaf = Noisy()
    deaf.takes = frozenset()
    with pytest.raises(checks.ConfigError, match="takes no guides"):
        drawn_frames(deaf, np.zeros((2, 3, 1, 4)), generator=seeded(), structure=structure)


def texture(rng, n):
    """Smooth random pictures, (n, 64, 64, 3)."""
    coarse = torch.from_numpy(rng.uniform(0, 255, (n, 3, 16, 16)))
    fine = torch.nn.functional.interpolate(coarse, (64, 64), mode="bicubic")
    return fine.clamp(0, 255).permute(0, 2, 3, 1).numpy().astype(np.uint8)


@pytest.mark.parametrize("speed", [(0, 0), (2, 0), (-1, 3)])
def test_pictures_move_by_what_they_are_told_and_the_middle_frame_stays(speed, rng):
    pictures = texture(rng, 2)
    motion = np.broadcast_to(np.array(speed, float)[None, :, None, None] / 64, (2, 2, 3, 3))
    clips = moved(pictures, motion, 4)
    assert np.abs(clips[:, 2].astype(int) - pictures).max() <= 1
    found = block_motion(torch.from_numpy(clips).float().mean(4) / 255)[..., 2:-2, 2:-2]
    expected = torch.tensor(speed, dtype=torch.float32)[None, None, :, None, None]
    assert (found == expected).float().mean() > 0.95


def test_parts_of_a_picture_move_by_themselves(rng):
    motion = np.zeros((1, 2, 2, 2))
    motion[0, 1, :, 1] = 3 / 64  # the right half goes right
    clips = moved(texture(rng, 1), motion, 3)
    found = block_motion(torch.from_numpy(clips).float().mean(4) / 255)[0, :, 1]
    assert found[..., :2].abs().max() == 0 and (found[..., 6:7] == 3).float().mean() > 0.8
