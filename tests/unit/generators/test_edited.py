"""Activations of a generator's network, recorded and edited while it draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec import checks
from braindec.generators import edited, embedded_unclip, latent_diffusion, stable_unclip

BLOCKS = ("conv_in", "down_blocks.0", "mid_block", "up_blocks.1")


def shipped(folder, tiny, guidance=1.0, batch_size=8):
    return embedded_unclip.build(embedded_unclip.Config(n_steps=2, guidance=guidance, batch_size=batch_size))


def texts(folder, tiny, guidance=1.0, batch_size=8):
    if not any(folder.iterdir()):
        tiny.stable_diffusion(folder)
    told = {"folder": str(folder), "space": "a space", "n_tokens": 5, "n_steps": 2}
    return latent_diffusion.build(latent_diffusion.Config(**told, guidance=guidance, batch_size=batch_size))


def pictures(folder, tiny, guidance=1.0, batch_size=8):
    if not any(folder.iterdir()):
        tiny.stable_unclip(folder)
    told = {"folder": str(folder), "space": "a space", "n_steps": 2}
    return stable_unclip.build(stable_unclip.Config(**told, guidance=guidance, batch_size=batch_size))


KINDS = {"shipped": (shipped, (1, 128)), "texts": (texts, (5, 16)), "pictures": (pictures, (1, 16))}


@pytest.fixture(scope="module", params=KINDS)
def make(request, tmp_path_factory, tiny_pipelines):
    maker, _ = KINDS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    return lambda **settings: maker(folder, tiny_pipelines, **settings)


@pytest.fixture
def some(request, rng):
    _, item = KINDS[request.node.callspec.params["make"]]
    x = rng.standard_normal((3, *item)).astype(np.float32)
    return x / np.linalg.norm(x, axis=(1, 2), keepdims=True)


def draw(made, embeddings):
    return made.generate(embeddings, generator=torch.Generator().manual_seed(0))


def n_hooks(unet):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in unet.modules())


@pytest.mark.parametrize("block", BLOCKS)
def test_an_edit_that_changes_nothing_gives_the_same_bytes(make, some, block):
    base = make(guidance=2.0)
    same = edited.build(edited.Config(block), base, lambda x, level: x + 0.0)
    np.testing.assert_array_equal(draw(same, some), draw(base, some))


@pytest.mark.parametrize("block", BLOCKS)
def test_an_edit_changes_pictures_and_leaves_the_base_as_it_was(make, some, block):
    base = make()
    before = draw(base, some)
    other = edited.build(edited.Config(block), base, lambda x, level: -2.0 * x)
    assert (draw(other, some) != before).any()
    np.testing.assert_array_equal(draw(base, some), before)
    assert n_hooks(base.unet) == 0


def test_hooks_are_removed_when_an_edit_fails(make, some):
    base = make()
    before = draw(base, some)

    def fail(x, level):
        raise FloatingPointError("no")

    with pytest.raises(FloatingPointError):
        draw(edited.build(edited.Config(), base, fail), some)
    assert n_hooks(base.unet) == 0
    np.testing.assert_array_equal(draw(base, some), before)


@pytest.mark.parametrize("block", ["conv_in", "mid_block", "up_blocks.0"])
def test_what_is_recorded_is_what_the_block_gave_row_by_row(make, some, block):
    """Beside a hook of the test's own; rows of several batches come back in order."""
    base, seen = make(batch_size=2), []
    handle = base.unet.get_submodule(block).register_forward_hook(lambda m, a, out: seen.append(out.clone()))
    drawn = draw(base, some)
    handle.remove()
    found = edited.record(base, block, some, generator=torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(found.pictures, drawn)
    n_steps = len(found.levels)
    assert n_steps == 2
    assert list(found.levels) == sorted(found.levels, reverse=True)
    for step in range(n_steps):  # batches of 2 and 1 rows, one after another
        wanted = torch.cat([seen[step], seen[n_steps + step]]).permute(0, 2, 3, 1).flatten(1, 2)
        assert torch.equal(found.values[:, step], wanted)


def test_only_what_is_read_is_kept(make, some):
    base, seed = make(), torch.Generator().manual_seed(0)
    whole = edited.record(base, "mid_block", some, generator=seed)
    seed = torch.Generator().manual_seed(0)
    means = edited.record(base, "mid_block", some, generator=seed, read=lambda x, level: x.mean(1))
    assert torch.allclose(means.values, whole.values.mean(2), atol=1e-6)


def test_recording_with_guidance_is_refused(make, some):
    with pytest.raises(checks.ConfigError, match="guidance 1"):
        edited.record(make(guidance=3.0), "mid_block", some, generator=torch.Generator().manual_seed(0))


def test_a_block_that_there_is_not_is_refused_by_name(tmp_path, tiny_pipelines):
    base = shipped(tmp_path, tiny_pipelines)
    with pytest.raises(ValueError, match=r"block must be one of .*Did you mean 'up_blocks.1'"):
        edited.build(edited.Config("up_block.1"), base, lambda x, level: x)


def test_an_edit_that_changes_the_shape_is_refused(tmp_path, tiny_pipelines):
    base = shipped(tmp_path, tiny_pipelines)
    made = edited.build(edited.Config("conv_in"), base, lambda x, level: x[:, :1])
    with pytest.raises(ValueError, match="must keep the shape"):
        draw(made, np.ones((1, 1, 128), np.float32))


class Network(torch.nn.Module):
    """A block that hands its output on twice, in a network whose output tells what it was given."""

    def __init__(self):
        super().__init__()
        self.block = SameTwice()

    def forward(self, x, timestep):
        new, (old, again) = self.block(x)
        return new, old, again


class SameTwice(torch.nn.Module):
    def forward(self, x):
        new = x + 1
        return new, (x, new)


def test_what_a_block_hands_on_twice_is_edited_twice_and_its_inputs_are_not():
    network, levels = Network(), []

    def edit(x, level):
        levels.append(level)
        return 10 * x

    x = torch.arange(8.0).reshape(1, 2, 2, 2)
    with edited._hooked(network, "block", edit):
        new, old, again = network(x, torch.tensor([7, 7]))
        network(x, timestep=3)
    assert torch.equal(new, 10 * (x + 1))
    assert torch.equal(again, new)
    assert torch.equal(old, x)
    assert levels == [7.0, 3.0]
