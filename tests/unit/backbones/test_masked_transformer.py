"""Patches of shared values, tokens of those that are shown, and the decoder that fills in the others."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec import seeding
from braindec.backbones import masked_transformer
from braindec.backbones._masked_decoder import MaskedDecoder
from braindec.backbones._patches import Patches

OUTPUTS = {"main": (2, 5)}


def build(shape, **settings):
    config = masked_transformer.Config(width=8, n_layers=2, n_heads=2, **settings)
    with seeding.seeded(0, "backbone"):
        return masked_transformer.build(shape, OUTPUTS, config).eval()


def test_patches_are_the_blocks_that_slicing_gives_padded_by_zeros(rng):
    values = rng.standard_normal((3, 5, 7)).astype(np.float32)
    patches = Patches((5, 7), 2, 3)
    padded = np.zeros((3, 6, 9), np.float32)
    padded[:, :5, :7] = values
    expected = [
        padded[:, 2 * i : 2 * i + 2, 3 * j : 3 * j + 3].reshape(3, 6) for i in range(3) for j in range(3)
    ]
    np.testing.assert_array_equal(patches.cut(torch.from_numpy(values)).numpy(), np.stack(expected, 1))
    assert int(patches.filled().sum()) == 35
    assert (patches.n, patches.size, patches.grid) == (9, 6, (3, 3))


@pytest.mark.parametrize("pool", ["mean", "class", "all"])
def test_tokens_know_nothing_of_patches_that_are_not_shown(pool, generator):
    backbone = build((4, 12), patch=4, pool=pool)
    x = torch.randn(3, 4, 12, generator=generator)
    kept = torch.tensor([[0, 5, 7]]).expand(3, -1)
    tokens = backbone.tokens(x, kept)
    hidden = x.clone()
    hidden[:, 0, 4:8] += 10.0  # patch 1
    torch.testing.assert_close(backbone.tokens(hidden, kept), tokens, rtol=0, atol=0)
    hidden[:, 1, 8:] += 10.0  # patch 5
    assert not torch.allclose(backbone.tokens(hidden, kept), tokens)
    assert tokens.shape == (3, 3 + (pool == "class"), 8)


def test_all_patches_shown_in_any_order_are_what_the_heads_see(generator):
    backbone = build((30,), patch=4)
    x = torch.randn(2, 30, generator=generator)
    order = torch.randperm(8, generator=generator).expand(2, -1)
    torch.testing.assert_close(backbone.tokens(x, order), backbone.tokens(x)[:, order[0]])
    expected = backbone.heads(backbone.tokens(x).mean(1))["main"]
    torch.testing.assert_close(backbone(x)["main"], expected)


def test_places_of_patches_matter_to_every_pooling(generator):
    for pool in ("mean", "class", "all"):
        backbone = build((4, 8), patch=4, pool=pool)
        with torch.no_grad():
            backbone.positions.rows.mul_(50)
        x = torch.randn(2, 4, 8, generator=generator)
        assert not torch.allclose(backbone(x)["main"], backbone(x.flip(1))["main"], atol=1e-3)


def test_the_decoder_puts_every_token_into_its_own_place(generator):
    backbone = build((24,), patch=4, pool="class")
    decoder = MaskedDecoder(backbone.patches, 8, 8, 1, 2, backbone.patches.size).eval()
    tokens = torch.randn(2, 4, 8, generator=generator)  # one of no patch, three of patches
    kept = torch.tensor([[4, 0, 2], [1, 5, 3]])
    order = torch.tensor([2, 0, 1])
    moved = torch.cat([tokens[:, :1], tokens[:, 1:][:, order]], 1)
    torch.testing.assert_close(decoder(moved, kept[:, order]), decoder(tokens, kept))
    assert decoder(tokens, kept).shape == (2, 6, 4)


def test_a_shape_that_makes_one_patch_or_has_three_axes_is_refused():
    with pytest.raises(ValueError, match="lower patch"):
        build((16,), patch=16)
    with pytest.raises(ValueError, match="masked_transformer takes"):
        build((2, 3, 4))
    assert build((3, 40), patch=20, rows=None).patches.n == 2  # segments of time over all channels
