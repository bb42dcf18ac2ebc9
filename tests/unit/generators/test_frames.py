"""Frames of a clip are drawn from one noise, or of noises that share a part; and pictures move as they are told."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from braindec import checks
from braindec.generators import Generator, accepted, embedded_unclip
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


class Told(Noisy):
    """Draws nothing but the noise that it is told, which it keeps."""

    def __init__(self):
        self.told = []

    def noise(self, n, generator):
        return torch.randn(n, 4, 50, 50, generator=generator)

    def generate(self, image_embeddings, *, generator, guides=None, n_steps=None, progress=False, noise=None):
        self.told.append(self.noise(len(image_embeddings), generator) if noise is None else noise)
        return np.zeros((len(image_embeddings), 8, 8, 3), np.uint8)


def noises(shared, n=3, n_frames=4):
    member = Told()
    drawn_frames(member, np.zeros((n, n_frames, 1, 4)), generator=seeded(), shared=shared)
    return torch.stack(member.told, 1).flatten(2)  # (clip, frame, value)


@pytest.mark.parametrize("shared", [0.0, 0.3, 0.8])
def test_each_frame_s_noise_is_standard_normal_and_two_frames_correlate_by_what_they_share(shared):
    found = noises(shared).numpy()
    for clip in found:
        assert all(kstest(frame, "norm").pvalue > 1e-4 for frame in clip)
        between = np.corrcoef(clip)[np.triu_indices(4, 1)]
        assert between == pytest.approx(np.full(6, shared), abs=0.05)  # of 10,000 values: SD 0.01
    across = np.corrcoef(found[:, 0])[np.triu_indices(3, 1)]
    assert across == pytest.approx(np.zeros(3), abs=0.05)


def test_clips_of_all_shares_have_equal_common_and_own_parts():
    none, some, every = noises(0.0), noises(0.36), noises(1.0)
    torch.testing.assert_close(some, 0.6 * every + 0.8 * none)
    assert torch.equal(every[:, 0], every[:, 1])


def test_noises_that_differ_are_not_drawn_again_by_whoever_draws_next():
    source = seeded()
    drawn_frames(Told(), np.zeros((2, 3, 1, 4)), generator=source, shared=0.5)
    other = seeded()
    for _ in range(4):  # common, and each frame's own
        Told().noise(2, other)
    assert torch.equal(torch.rand(3, generator=source), torch.rand(3, generator=other))


def test_what_else_is_drawn_is_the_same_for_all_frames():
    class Besides(Told):
        def generate(
            self, image_embeddings, *, generator, guides=None, n_steps=None, progress=False, noise=None
        ):
            drawn = torch.randint(0, 255, (len(image_embeddings), 8, 8, 3), generator=generator)
            return drawn.numpy().astype(np.uint8)

    clips = drawn_frames(Besides(), np.zeros((2, 3, 1, 4)), generator=seeded(), shared=0.2)
    assert np.array_equal(clips[:, 0], clips[:, 2])
    assert not np.array_equal(clips[0], clips[1])


def test_a_generator_that_is_told_no_noise_draws_frames_of_one_noise_alone():
    with pytest.raises(checks.ConfigError, match="noisy cannot be told its noise"):
        drawn_frames(Noisy(), np.zeros((2, 3, 1, 4)), generator=seeded(), shared=0.5)
    with pytest.raises(ValueError, match="shared"):
        drawn_frames(Told(), np.zeros((2, 3, 1, 4)), generator=seeded(), shared=1.1)


def test_the_shipped_generator_makes_of_its_own_noise_what_it_draws_and_something_else_of_another(rng):
    member = embedded_unclip.build(embedded_unclip.Config(n_steps=1, guidance=1.0))
    embeddings = rng.standard_normal((2, 1, member.decoder.embedding_dim))
    drawn = member.generate(embeddings, generator=seeded())
    noise = member.noise(2, seeded())
    assert np.array_equal(member.generate(embeddings, generator=seeded(), noise=noise), drawn)
    assert not np.array_equal(member.generate(embeddings, generator=seeded(), noise=-noise), drawn)
    with pytest.raises(ValueError, match="noise"):
        member.generate(embeddings, generator=seeded(), noise=noise[:1])
    frames = np.repeat(embeddings[:, None], 2, 1)  # one embedding, so that frames differ by their noise alone
    clips = [drawn_frames(member, frames, generator=seeded(), shared=s).astype(int) for s in (0.0, 0.5, 1.0)]
    none, half, every = (np.abs(clip[:, 0] - clip[:, 1]).mean() for clip in clips)
    assert none > half > every == 0


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
