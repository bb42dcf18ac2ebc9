"""The mixer against a plain reading of MindEye2's, diffusers' decoder, and what follows from its algebra."""

from __future__ import annotations

import pytest
import torch

from braindec.adapters import linear
from braindec.backbones import mixer
from braindec.backbones._blurry import Decoder
from braindec.encoder import Encoder
from braindec.types import ArraySpace, SignalInfo, SubjectSignal

PUBLISHED = mixer.Config(
    variant="published", n_blocks=3, projected=(("clip", "tokens"),), latents="latents", latent_maps="maps"
)
OUTPUTS = {"tokens": (5, 12), "clip": (5, 12), "latents": (4, 784), "maps": (49, 512)}


def backbone(config=PUBLISHED, shape=(24,), outputs=OUTPUTS, randomised=True):
    torch.manual_seed(0)
    made = mixer.build(shape, outputs, config).eval()
    if randomised:
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape))
    return made


def gradients(module, x):
    """Names of parameters that a gradient reaches, of random weights on every output."""
    scalar = sum((v * torch.randn(v.shape, dtype=v.dtype)).sum() for v in module(x).values())
    scalar.backward()
    return {
        n for n, p in module.named_parameters() if p.grad is not None and float(p.grad.abs().max()) > 1e-10
    }


@torch.no_grad()
@pytest.mark.parametrize("n_steps", [1, 2, 3])
def test_two_residual_streams_are_computed_as_published(plain_mindeye2, n_steps):
    """The plain network computes all blocks; ours leaves the dead ones out at one step."""
    plain = plain_mindeye2((7,), 24, 3, (5, 12), seq_len=n_steps, clip=False, blurry=False).eval()
    ours = backbone(mixer.Config(variant="published", n_blocks=3), (n_steps, 24), {"tokens": (5, 12)})
    names = {"dims": "mixer_blocks1", "tokens": "mixer_blocks2"}
    theirs = plain.backbone.state_dict()
    places = {"norm": "0", "inner": "1.0", "outer": "1.3"}
    state = {}
    for name in ours.state_dict():
        _, kind, *rest = name.split(".")
        if name.startswith("mixing."):
            state[name] = theirs[f"{names[kind]}.{rest[0]}.{places[rest[1]]}.{rest[2]}"]
        else:
            state[name] = theirs[f"backbone_linear.{rest[-1]}"]
    ours.load_state_dict(state, strict=True)
    voxels = torch.randn(6, n_steps, 7)
    wanted = plain(voxels, 0)
    torch.testing.assert_close(ours(wanted["ridge"])["tokens"], wanted["backbone"], atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("channels", "side"), [((32, 64, 128), 7), ((32, 64), 4), ((64,), 3)])
def test_the_small_decoder_is_diffusers_s(channels, side):
    from braindec._compat import ensure_torchvision

    ensure_torchvision()
    from diffusers.models.autoencoders.vae import Decoder as Theirs

    torch.manual_seed(0)
    theirs = Theirs(
        in_channels=6, out_channels=3, up_block_types=["UpDecoderBlock2D"] * len(channels),
        block_out_channels=list(channels), layers_per_block=1,
    ).eval()  # fmt: skip
    for parameter in theirs.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape))
    ours = Decoder(6, 3, channels, 32, key_bias=True)
    # Both list their parameters part by part; only the order of the middle and the way up differs.
    state = theirs.state_dict()
    renamed = {
        "before": "mid_block.resnets.0", "after": "mid_block.resnets.1", "attention": "mid_block.attentions.0",
        "up": "up_blocks", "blocks": "resnets", "grow": "upsamplers.0.conv", "shortcut": "conv_shortcut",
        "query": "to_q", "key": "to_k", "value": "to_v", "out": "to_out.0",
    }  # fmt: skip
    found = {}
    for name in ours.state_dict():
        words = [renamed.get(word, word) for word in name.split(".")]
        if name.startswith("attention.norm"):
            words[-2] = "group_norm"
        if name.startswith("norm."):
            words[0] = "conv_norm_out"
        found[name] = state.pop(".".join(words))
    assert not state
    ours.load_state_dict(found, strict=True)
    x = torch.randn(2, 6, side, side)
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-4, rtol=1e-4)


def test_exactly_the_parameters_declared_inert_get_no_gradient():
    made = backbone().double()
    x = torch.randn(6, 24, dtype=torch.float64)
    assert {n for n, _ in made.named_parameters()} - gradients(made, x) == made.inert
    assert "mixing.dims.0.inner.weight" in made.inert
    assert "mixing.tokens.0.inner.weight" not in made.inert
    assert "blurry.decoder.attention.key.bias" in made.inert


@torch.no_grad()
def test_inert_parameters_change_nothing_and_the_whole_mixing_only_a_constant():
    made = backbone()
    x = torch.randn(8, 24)
    before = made(x)
    for name, parameter in made.named_parameters():
        if name in made.inert:
            parameter.normal_()
    for name, values in made(x).items():
        torch.testing.assert_close(values, before[name], atol=2e-4, rtol=1e-4)
    for parameter in made.mixing.parameters():
        parameter.normal_()
    gained = made(x)["tokens"] - before["tokens"]
    assert gained.abs().max() > 0.1
    torch.testing.assert_close(gained, gained[:1].expand_as(gained), atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_the_mended_mixing_does_depend_on_its_input():
    made = backbone(mixer.Config(n_blocks=2), outputs={"tokens": (5, 12)})
    x = torch.randn(8, 24)
    before = made(x)["tokens"]
    for parameter in made.mixing.parameters():
        parameter.normal_(std=0.5)
    gained = made(x)["tokens"] - before
    assert (gained - gained.mean(0)).abs().max() > 0.1


@torch.no_grad()
def test_in_the_mended_mixing_every_token_hears_of_every_other():
    made = backbone(mixer.Config(n_blocks=1, n_tokens=4))
    x = torch.randn(1, 4, 6)
    changed = x.clone()
    changed[:, 2] += torch.randn(6)
    gained = (made.mixing(changed) - made.mixing(x))[0]
    assert (gained.abs().amax(1) > 1e-4).all()


def test_a_gradient_reaches_every_parameter_of_the_mended_variant_with_all_heads():
    config = mixer.Config(n_blocks=2, projected=(("clip", "tokens"),), latents="latents", latent_maps="maps")
    made = backbone(config).double()
    assert made.inert == frozenset()
    assert gradients(made, torch.randn(6, 24, dtype=torch.float64)) == {n for n, _ in made.named_parameters()}


@torch.no_grad()
def test_the_published_tokens_are_affine_of_at_most_the_shared_rank():
    made = backbone().double()
    weight, bias = torch.randn(24, 60, dtype=torch.float64), torch.randn(24, dtype=torch.float64)
    signal = torch.randn(50, 60, dtype=torch.float64)
    tokens = made(signal @ weight.T + bias)["tokens"].flatten(1)
    found = made.affine_map(weight, bias, "tokens")
    torch.testing.assert_close(tokens, signal @ (found.left @ found.right).T + found.bias)
    assert torch.linalg.matrix_rank(tokens - tokens.mean(0)) == 24
    clip = made(signal @ weight.T + bias)["clip"].flatten(1)
    assert torch.linalg.matrix_rank(clip - clip.mean(0)) > 24


@pytest.mark.parametrize(("variant", "output"), [("fixed", "tokens"), ("published", "clip")])
def test_what_is_not_affine_has_no_affine_map(variant, output):
    made = backbone(
        mixer.Config(variant=variant, projected=(("clip", "tokens"),)),
        outputs={"tokens": (5, 12), "clip": (5, 12)},
    )
    with pytest.raises(ValueError, match="affine"):
        made.affine_map(torch.zeros(24, 3), torch.zeros(24), output)


@torch.no_grad()
def test_dropout_moves_the_constant_of_every_dim_by_itself_as_published():
    """Each hidden value over tokens is dropped for each dim of each trial: 0, or what the block makes over 1 - p."""
    made = backbone(mixer.Config(variant="published", n_blocks=1, dropout=0.5), outputs={"tokens": (5, 12)})
    block = made.mixing.tokens[0]
    x = torch.zeros(400, 1, 24)
    gained = made.mixing.train()(x)
    hidden = torch.nn.functional.gelu(block.inner(block.norm.bias))
    either = torch.cat([block.outer(0 * hidden), block.outer(2 * hidden)])
    assert torch.isclose(gained[..., None], either, atol=1e-6).any(-1).all()
    assert float((gained == gained.max()).float().mean()) == pytest.approx(0.5, abs=0.03)


@torch.no_grad()
@pytest.mark.parametrize("variant", ["fixed", "published"])
@pytest.mark.parametrize("shared_dim", [24, 64])
def test_an_encoder_starts_as_closed_form_ridge(variant, shared_dim):
    """Exactly where the shared vector is as long as the tokens, else as the best map of its rank."""
    signal = SubjectSignal(1, "fmri", (30,), ArraySpace(30))
    encoder = Encoder.build(
        SignalInfo({signal.key: signal}), {"main": (4, 16)}, linear.Config(shared_dim), mixer.Config(variant=variant), 0
    ).eval()  # fmt: skip
    weight, bias = torch.randn(64, 30), torch.randn(64)
    assert encoder.start_from_ridge_({signal.key: (weight, bias)}) == (signal.key,)
    u, s, v = torch.linalg.svd(weight, full_matrices=False)
    best = (u[:, :shared_dim] * s[:shared_dim]) @ v[:shared_dim]
    voxels = torch.randn(6, 30)
    found = encoder({signal.key: voxels})[signal.key]["main"].flatten(1)
    torch.testing.assert_close(found, voxels @ best.T + bias, atol=1e-3, rtol=1e-3)
