"""Checkpoints of MindEye2's prior in other sizes than any that is at hand: named back from ours, and read again."""

from __future__ import annotations

import re

import pytest
import torch

from braindec import seeding
from braindec.priors import diffusion
from braindec.priors._mindeye2 import LAYER, NET, RENAMED, SCHEDULE, _schedule, published_tensors

OWN = ("brain_mean", "brain_scale", "image_mean", "image_scale", "n_pairs", "spread")


def built(shape, width, depth, heads, n_train_steps, time="sines"):
    config = diffusion.Config(
        network="mindeye2", width=width, depth=depth, heads=heads, n_train_steps=n_train_steps,
        n_sample_steps=1, image_dropout=0.2, standardise=False, time=time,
    )  # fmt: skip
    with seeding.seeded(3, "prior"):
        return diffusion.build(shape, config).eval()


def published_name(ours):
    """The published name of one of our tensors, by the table read backwards."""
    layer = re.search(r"blocks\.(\d+)\.", ours)
    leaf = re.search(r"(weight|bias)$", ours)
    for theirs, pattern in RENAMED.items():
        number = layer[1] if theirs.startswith(LAYER) and layer else leaf[1] if leaf else ""
        if pattern.replace(r"\1", number) == ours:
            return theirs.replace(r"(\d+)", number).replace("(weight|bias)", number)
    raise KeyError(ours)


def checkpoint(prior, depth, n_train_steps):
    state = prior.state_dict()
    tensors = {published_name(name): value for name, value in state.items() if name not in OWN}
    tensors |= {SCHEDULE + name: value.float() for name, value in _schedule(n_train_steps).items()}
    rotary = NET + "causal_transformer.layers.{}.0.rotary_emb.freqs"
    return tensors | {rotary.format(i): state["network.frequency"].clone() for i in range(depth)}


@torch.no_grad()
@pytest.mark.parametrize("time", ["sines", "table"])
@pytest.mark.parametrize(
    ("shape", "width", "depth", "heads", "n_train_steps"),
    [((4, 26), 60, 3, 3, 50), ((1, 8), 8, 1, 1, 7), ((3, 6), 160, 12, 2, 1000)],
)
def test_a_checkpoint_of_any_size_gives_the_prior_that_it_came_from(
    shape, width, depth, heads, n_train_steps, time
):
    prior = built(shape, width, depth, heads, n_train_steps, time)
    found = published_tensors(checkpoint(prior, depth, n_train_steps))
    sizes = found.config
    assert (found.shape, sizes.width, sizes.depth, sizes.heads) == (shape, width, depth, heads)
    assert (sizes.n_train_steps, sizes.time) == (n_train_steps, time)
    again = diffusion.build(found.shape, sizes)
    again.load_state_dict(found.state, strict=True)
    noisy, brain = (torch.randn(2, *shape, generator=torch.Generator().manual_seed(i)) for i in (1, 2))
    step = torch.tensor([0, n_train_steps - 1])
    assert torch.equal(again.eval().denoise(noisy, step, brain), prior.denoise(noisy, step, brain))


def test_a_checkpoint_in_half_precision_is_read():
    prior = built((4, 26), 60, 2, 3, 100)
    half = {name: value.half() for name, value in checkpoint(prior, 2, 100).items()}
    found = published_tensors(half)
    again = diffusion.build(found.shape, found.config)
    again.load_state_dict(found.state, strict=True)
    assert next(again.parameters()).dtype == torch.float32
