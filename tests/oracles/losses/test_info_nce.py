"""InfoNCE in blocks, in parts of processes and with its switches, against loops and against all pairs at once."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from braindec.losses import Mix, clip, soft_clip
from braindec.losses._contrast import unit
from braindec.losses._info_nce import info_nce


class Largest(TorchDispatchMode):
    """The number of values of the largest tensor that any operation made."""

    values = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        sizes = [x.numel() for x in tree_iter(out) if isinstance(x, torch.Tensor)]
        self.values = max([self.values, *sizes])
        return out


def batch(n, generator, dtype=torch.float64, d=6):
    """Predictions, targets, ids with repeats, and a mix in which some rows drew themselves."""
    target = torch.randn(n, 1, d, generator=generator, dtype=dtype)
    prediction = target + torch.randn(n, 1, d, generator=generator, dtype=dtype)
    partner = torch.randperm(n, generator=generator)
    mix = Mix(partner, torch.rand(n, generator=generator, dtype=dtype), partner)
    return prediction, target, torch.arange(n) // 2, mix


def value_and_gradient(loss, prediction, target, ids, progress, mix):
    prediction = prediction.clone().requires_grad_()
    value = loss(prediction, target, ids, progress, mix)
    loss.zero_grad()
    value.backward()
    return [value.detach(), prediction.grad, *[p.grad.clone() for p in loss.parameters()]]


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("direction", ["both", "to_target", "to_prediction"])
@pytest.mark.parametrize("chunk", [1, 4, 12])
def test_blocks_give_the_value_and_gradient_of_the_whole(generator, chunk, direction, mixed):
    prediction, target, ids, mix = batch(13, generator)
    found, expected = (
        value_and_gradient(
            clip.build(clip.Config(0.1, learned=True, direction=direction, chunk=size)).double(),
            prediction, target, ids, 0.3, mix if mixed else None,
        )
        for size in (chunk, 0)
    )  # fmt: skip
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("labels", ["exact", "as_published_by_mindeye"])
@pytest.mark.parametrize("progress", [0.0, 0.9])
def test_blocks_of_soft_clip_give_the_value_and_gradient_of_the_whole(generator, progress, labels):
    prediction, target, ids, mix = batch(13, generator)
    found, expected = (
        value_and_gradient(soft_clip.build(soft_clip.Config(labels=labels, chunk=size)), prediction, target, ids,
                           progress, mix if progress == 0.0 else None)
        for size in (4, 0)
    )  # fmt: skip
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-9)


def test_blocks_in_single_precision_are_within_a_millionth(generator):
    prediction, target, ids, _ = batch(64, generator, torch.float32, d=32)
    found, expected = (
        value_and_gradient(clip.build(clip.Config(chunk=size)), prediction, target, ids, 0.0, None)
        for size in (16, 0)
    )
    for ours, theirs in zip(found, expected, strict=True):
        assert float((ours - theirs).norm() / theirs.norm()) < 1e-6


def test_memory_grows_with_the_batch_and_not_with_its_square(generator):
    n, chunk = 8192, 512
    prediction, target, _, _ = batch(n, generator, torch.float32, d=8)
    prediction.requires_grad_()
    with Largest() as largest:
        clip.build(clip.Config(chunk=chunk))(prediction, target, torch.arange(n), 0.0, None).backward()
    assert largest.values == chunk * n
    assert float(prediction.grad.abs().sum()) > 0
    small = prediction.detach()[:1024].requires_grad_()
    with Largest() as whole:
        clip.build(clip.Config())(small, target[:1024], torch.arange(1024), 0.0, None).backward()
    assert whole.values == 1024 * 1024


@pytest.mark.parametrize("chunk", [0, 2])
@pytest.mark.parametrize("n_ranks", [2, 4])
def test_the_mean_over_processes_is_the_whole(generator, n_ranks, chunk):
    prediction, target, ids, mix = batch(12, generator)
    predicted, true = (unit(x).requires_grad_() for x in (prediction, target))
    scale = torch.tensor(7.0, dtype=torch.float64, requires_grad=True)
    whole = info_nce(predicted, true, ids, scale, mix=mix)
    n_rows = 12 // n_ranks
    parts = [
        info_nce(predicted, true, ids, scale, chunk=chunk, offset=rank * n_rows, n_rows=n_rows, mix=mix)
        for rank in range(n_ranks)
    ]
    together = torch.stack(parts).mean()
    torch.testing.assert_close(together, whole)
    inputs = (predicted, true, scale)
    for ours, theirs in zip(
        torch.autograd.grad(together, inputs), torch.autograd.grad(whole, inputs), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_rows_beyond_the_batch_are_refused(generator):
    x = torch.randn(5, 3, generator=generator)
    with pytest.raises(ValueError, match="n_rows"):
        info_nce(x, x, torch.arange(5), torch.tensor(1.0), offset=3, n_rows=3)


def test_the_candidate_alone_may_be_normalised_as_speech_decoding_does(generator):
    """Score of a segment: sum of products over channels and times, over the candidate's Frobenius norm."""
    prediction, target, _, _ = batch(9, generator)
    total = 0.0
    for i in range(9):
        scores = [float((prediction[i] * target[j]).sum() / target[j].norm()) for j in range(9)]
        total += math.log(sum(math.exp(s) for s in scores)) - scores[i]
    config = clip.Config(temperature=1.0, direction="to_target", normalise="target", repeats="negatives")
    found = clip.build(config)(prediction, target, torch.zeros(9, dtype=torch.int64), 0.0, None)
    assert float(found) == pytest.approx(total / 9)


@pytest.mark.parametrize("normalise", ["both", "target", "prediction", "neither"])
def test_the_sides_named_are_normalised_and_no_others(generator, normalise):
    prediction, target, ids, _ = batch(6, generator)
    loss = clip.build(clip.Config(normalise=normalise))
    value = loss(prediction, target, ids, 0.0, None)
    for side, moved in (("prediction", (3 * prediction, target)), ("target", (prediction, 3 * target))):
        same = torch.allclose(loss(*moved, ids, 0.0, None), value)
        assert same == (normalise in ("both", side))


def test_directions_are_the_halves_of_both(generator):
    prediction, target, ids, mix = batch(8, generator)
    both, there, back = (
        clip.build(clip.Config(direction=d))(prediction, target, ids, 0.0, mix)
        for d in ("both", "to_target", "to_prediction")
    )
    torch.testing.assert_close(both, (there + back) / 2)
    swapped = clip.build(clip.Config(direction="to_target"))(target, prediction, ids, 0.0, None)
    torch.testing.assert_close(
        swapped, clip.build(clip.Config(direction="to_prediction"))(prediction, target, ids, 0.0, None)
    )
    assert not torch.allclose(there, back)


def test_a_scheduled_temperature_ends_where_it_is_told(generator):
    prediction, target, ids, _ = batch(8, generator)
    scheduled = clip.build(clip.Config(0.1, temperature_end=0.02))
    for progress, temperature in ((0.0, 0.1), (0.5, 0.06), (1.0, 0.02)):
        fixed = clip.build(clip.Config(temperature))(prediction, target, ids, 0.0, None)
        torch.testing.assert_close(scheduled(prediction, target, ids, progress, None), fixed)


def test_half_precision_predictions_are_compared_in_single_precision(generator):
    prediction, target, ids, _ = batch(16, generator, torch.float32, d=64)
    loss = clip.build(clip.Config(temperature=0.01))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(prediction, target, ids, 0.0, None)
    assert float(found) == pytest.approx(float(loss(prediction, target, ids, 0.0, None)), rel=1e-6)
    rounded = prediction.bfloat16()
    assert loss(rounded, target, ids, 0.0, None) == loss(rounded.float(), target, ids, 0.0, None)


def test_repeats_as_negatives_are_told_apart(generator):
    prediction, target, ids, _ = batch(8, generator)
    own = functional.cross_entropy(unit(prediction) @ unit(target).T / 0.07, torch.arange(8))
    config = clip.Config(repeats="negatives", direction="to_target")
    torch.testing.assert_close(clip.build(config)(prediction, target, ids, 0.0, None), own)


@pytest.mark.parametrize(
    "settings",
    [{"temperature_end": 0.1, "learned": True}, {"direction": "forth"}, {"normalise": "all"}, {"chunk": -1},
     {"repeats": "ignored"}, {"temperature_end": 0.0}],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        clip.Config(**settings)
