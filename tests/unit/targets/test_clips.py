"""Clips as targets: how blocks move, and frame by frame."""

from __future__ import annotations

import numpy as np
import pytest

from braindec import checks
from braindec.targets import block_motion, framewise, tiny_openclip


def panning(rng, speed, n_frames=4, side=64):
    """A clip of random blocks that moves by whole pixels a frame, (frame, side, side, 3)."""
    big = np.kron(rng.integers(0, 256, (40, 40, 1)), np.ones((4, 4, 3))).astype(np.uint8)
    return np.stack([
        big[40 - i * speed[0] : 40 - i * speed[0] + side, 40 - i * speed[1] : 40 - i * speed[1] + side]
        for i in range(n_frames)
    ])  # fmt: skip


def test_motion_is_that_of_the_picture_in_every_block(rng):
    speeds = [(0, 0), (2, 0), (-1, 3)]
    target = block_motion.build(block_motion.Config(side=64))
    found = target.embed_videos([panning(rng, s) for s in speeds], batch_size=2).reshape(3, 2, 8, 8)
    for one, speed in zip(found, speeds, strict=True):
        assert np.array_equal(one[:, 1:-1, 1:-1], np.broadcast_to(np.array(speed)[:, None, None], (2, 6, 6)))


def test_clips_of_other_lengths_and_sizes_are_measured_alike(rng):
    target = block_motion.build(block_motion.Config(side=32))
    clips = [panning(rng, (2, 2), n_frames=n) for n in (3, 5)]
    found = target.embed_videos(clips).reshape(2, 2, 4, 4)
    assert found[:, :, 1:-1, 1:-1] == pytest.approx(1.0, abs=0.2)  # half the size, half the speed


def test_a_still_or_a_picture_is_refused_by_name(rng):
    target = block_motion.build(block_motion.Config())
    with pytest.raises(ValueError, match="frames of a clip"):
        target.embed_videos([np.zeros((1, 64, 64, 3), np.uint8)])
    with pytest.raises(checks.ConfigError, match="multiple of 8"):
        block_motion.Config(side=60)


def test_a_clip_frame_by_frame_is_its_pictures_embeddings(rng):
    clips = rng.integers(0, 256, (3, 5, 64, 64, 3), dtype=np.uint8)
    config = framewise.Config(image=tiny_openclip.Config(), n_frames=3)
    target = framewise.build(config)
    found = target.embed_videos(iter(clips), batch_size=2)
    expected = target.image.embed_images(clips[:, [0, 2, 4]].reshape(-1, 64, 64, 3)).reshape(3, 3, -1)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert target.space.startswith("framewise/3/") and target.shape == found.shape[1:]


def test_frames_of_another_kind_of_target_are_refused():
    with pytest.raises(TypeError, match="ImageTarget"):
        framewise.build(framewise.Config(image=block_motion.Config()))
