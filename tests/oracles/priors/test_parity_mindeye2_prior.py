"""MindEye2's prior gives what its own code gave, one assertion for each output, and its checkpoint is read strictly."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from braindec.priors import diffusion
from braindec.priors._mindeye2 import NET, PREFIX, SCHEDULE, published_tensors

TOLERANCE = {"atol": 1e-4, "rtol": 1e-4}


@pytest.fixture(scope="module")
def tensors(parity):
    """The prior's tensors of the published checkpoint."""
    whole = torch.load(parity / "mindeye2_public.pth", weights_only=True)["model_state_dict"]
    return {key: value for key, value in whole.items() if key.startswith(PREFIX)}


@pytest.fixture(scope="module")
def published(parity):
    """Inputs and outputs of the published code."""
    return load_file(parity / "mindeye2_public_io.safetensors")


def prior_of(tensors, **settings):
    found = published_tensors(tensors)
    prior = diffusion.build(found.shape, replace(found.config, **settings))
    prior.load_state_dict(found.state, strict=True)
    return prior.eval()


@torch.no_grad()
@pytest.mark.parametrize(("key", "guidance"), [("prior_pred", 1.0), ("prior_pred_cond_scale_2", 2.0)])
def test_the_network_gives_the_published_output(tensors, published, key, guidance):
    prior = prior_of(tensors, guidance_hides="brain_and_image_as_published", guidance=guidance)
    found = prior.denoise(published["prior_noisy"], published["prior_t"], published["backbone"])
    torch.testing.assert_close(found, published[key], **TOLERANCE)


def test_the_noise_schedule_is_the_published_one(tensors, published):
    torch.testing.assert_close(prior_of(tensors).alphas_cumprod, published["alphas_cumprod"], **TOLERANCE)


def test_noising_is_the_published_one(tensors, published):
    x = published["prior_noisy"]
    left = prior_of(tensors).alphas_cumprod
    found = diffusion.q_sample(x, published["prior_t"], torch.ones_like(x), left)
    torch.testing.assert_close(found, published["q_sample"], **TOLERANCE)


@torch.no_grad()
def test_a_shuffled_brain_does_not_give_the_published_output(tensors, published):
    prior = prior_of(tensors)
    other = published["backbone"].roll(1, 0)
    found = prior.denoise(published["prior_noisy"], published["prior_t"], other)
    assert float((found - published["prior_pred"]).abs().max()) > 0.1


@torch.no_grad()
def test_the_mended_guidance_sees_the_noisy_image_and_the_published_one_does_not(tensors, published):
    noisy, step, brain = (published[key] for key in ("prior_noisy", "prior_t", "backbone"))
    for hides, blind in (("brain", False), ("brain_and_image_as_published", True)):
        prior = prior_of(tensors, guidance_hides=hides)
        without = 2 * prior.denoise(noisy, step, brain, guidance=1.0) - prior.denoise(
            noisy, step, brain, guidance=2.0
        )
        other = 2 * prior.denoise(-noisy, step, brain, guidance=1.0) - prior.denoise(
            -noisy, step, brain, guidance=2.0
        )
        assert torch.allclose(without, other, atol=1e-4) == blind


def test_every_tensor_of_the_checkpoint_is_accounted_for(tensors):
    found = published_tensors(tensors)
    assert set(found.renamed) | set(found.left) == set(tensors)
    assert not set(found.renamed) & set(found.left)
    own = {"n_pairs", "spread", "brain_mean", "brain_scale", "image_mean", "image_scale"}
    assert set(found.state) == set(found.renamed.values()) | own
    assert len(set(found.renamed.values())) == len(found.renamed)


@pytest.mark.parametrize(
    "key", ["learned_query", "causal_transformer.norm.g", "causal_transformer.layers.0.0.null_kv"]
)
def test_a_missing_tensor_is_refused(tensors, key):
    with pytest.raises(ValueError, match=r"tensor|shape None"):
        published_tensors({name: value for name, value in tensors.items() if name != NET + key})


@pytest.mark.parametrize(
    "name", [PREFIX + "ema.decay", NET + "to_text.weight", SCHEDULE + "sigmas", "voxel2clip"]
)
def test_a_tensor_too_many_is_refused(tensors, name):
    with pytest.raises(ValueError, match="no tensor"):
        published_tensors(tensors | {name: torch.zeros(3)})


def test_a_tensor_of_another_shape_is_refused(tensors):
    key = NET + "causal_transformer.layers.0.1.1.weight"
    with pytest.raises(ValueError, match=r"hidden_in\.weight"):
        published_tensors(tensors | {key: tensors[key][:-2]})


def test_another_noise_schedule_is_refused(tensors):
    key = SCHEDULE + "alphas_cumprod"
    with pytest.raises(ValueError, match="cosine"):
        published_tensors(tensors | {key: tensors[key].sqrt()})


def test_blocks_that_turn_differently_are_refused(tensors):
    blocks = [key for key in tensors if key.endswith("rotary_emb.freqs")]
    if len(blocks) < 2:
        pytest.skip("this checkpoint has one block")
    with pytest.raises(ValueError, match="alike"):
        published_tensors(tensors | {blocks[-1]: 2 * tensors[blocks[-1]]})
