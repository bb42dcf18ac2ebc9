"""Motion of clips: found where it was planted, and told from motion that any clip has."""

from __future__ import annotations

import pytest
import torch

from braindec.maths.motion import block_motion
from braindec.metrics import video


@pytest.fixture
def moving(generator):
    """Ten textured clips (5 frames of 48 pixels), each moving by its own whole pixels a frame, and those velocities."""
    textures = torch.nn.functional.avg_pool2d(torch.rand(10, 1, 48, 48, generator=generator), 3, 1, 1)
    velocity = torch.stack([torch.arange(10) % 5 - 2, torch.arange(10) // 2 % 4 - 1], 1)
    frames = [
        torch.stack([t.roll((s * int(v[0]), s * int(v[1])), (1, 2)) for s in range(5)])
        for t, v in zip(textures, velocity)
    ]
    return torch.stack(frames), velocity


def test_planted_motion_is_found_in_every_block(moving):
    clips, velocity = moving
    found = block_motion(clips[:, :, 0])[
        ..., 1:-1, 1:-1
    ]  # blocks inside: at the border the texture wraps around
    assert torch.equal(found, velocity[:, None, :, None, None].float().expand_as(found))


def test_a_uniform_clip_is_still():
    assert not block_motion(torch.full((2, 3, 24, 24), 0.5)).any()


def test_motion_error_of_a_still_clip_is_the_mean_speed(moving):
    clips, velocity = moving
    still = clips[:, :1].expand_as(clips)
    torch.testing.assert_close(
        video.motion_error(clips, still), velocity.double().norm(dim=1), atol=0.25, rtol=0.1
    )  # border blocks differ
    assert video.motion_error(clips, clips).tolist() == [0.0] * 10


def test_the_permutation_test_accepts_motion_of_the_item(moving, generator):
    clips, _ = moving
    noisy = (clips + 0.02 * torch.randn(clips.shape, generator=generator)).clamp(0, 1)
    found = video.motion_test(clips, noisy, generator, n_permutations=19)
    assert found.p == pytest.approx(1 / 20)
    assert found.value < found.null.min()


def test_motion_of_another_item_passes_the_frame_test_but_not_the_item_test(generator):
    """All clips drift right, as a generator of plausible clips would have it; which clip it is plays no part."""
    textures = torch.nn.functional.avg_pool2d(torch.rand(12, 1, 32, 32, generator=generator), 3, 1, 1)
    clips = torch.stack([textures.roll(s, 3) for s in range(5)], 1)
    decoded = clips.roll(1, 0)
    assert video.motion_test(clips, decoded, generator, null="frames", n_permutations=19).p == pytest.approx(
        0.05
    )
    assert video.motion_test(clips, decoded, generator, null="items", n_permutations=19).p > 0.05


def test_an_unknown_null_is_refused(moving, generator):
    clips, _ = moving
    with pytest.raises(ValueError, match="null must be one of"):
        video.motion_test(clips, clips, generator, null="pixels")


def test_frame_ssim_is_the_mean_of_frames(moving):
    clips, _ = moving
    decoded = clips.clone()
    decoded[:, 0] = 1 - decoded[:, 0]
    found = video.frame_ssim(clips, decoded)
    assert (found < 1).all() and (found > 0.5).all()


def test_clips_of_different_shapes_are_refused(moving):
    clips, _ = moving
    with pytest.raises(ValueError, match="they must match"):
        video.frame_ssim(clips, clips[:, :3])


def test_the_null_of_few_clips_rejects_no_more_often_than_it_says(generator, monkeypatch):
    """Of three clips one is right by chance in a third of all worlds, which no p below a third may deny."""
    monkeypatch.setattr(video, "_motion", lambda clips: clips[:, :, :1, :1, 0, None])
    shape = (3, 2, 1, 8, 8)
    p = [
        video.motion_test(
            torch.rand(shape, generator=generator), torch.rand(shape, generator=generator), generator
        ).p
        for _ in range(60)
    ]
    assert sum(one <= 0.05 for one in p) == 0
