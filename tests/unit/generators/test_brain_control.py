"""A control branch before it is trained, and on its way to a file."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec import checks
from braindec.generators import (
    NOTHING,
    Guides,
    _control,
    brain_control,
    embedded_unclip,
    latent_diffusion,
    stable_unclip,
)

N_FEATURES = 6


@pytest.fixture(scope="module")
def shipped():
    return embedded_unclip.build(embedded_unclip.Config(n_steps=3))


@pytest.fixture
def told():
    rng = np.random.default_rng(0)
    return rng.standard_normal((2, 1, 128)).astype(np.float32), Guides(
        brain=rng.standard_normal((2, N_FEATURES))
    )


def drawn(generator, embeddings, guides=NOTHING):
    return generator.generate(
        embeddings, generator=torch.Generator().manual_seed(0), guides=guides, n_steps=3
    )


def steered(base, scale=1.0, moved=False):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        branch = _control.BrainControl(base.unet, N_FEATURES, _control.Config(4))
        if moved:
            for parameter in branch.parameters():
                parameter.data += 0.1 * torch.randn_like(parameter)
    return brain_control.build(brain_control.Config(scale), base, branch.eval())


def test_an_untrained_branch_changes_no_bit_of_the_shipped_generators_pictures(shipped, told):
    np.testing.assert_array_equal(drawn(steered(shipped), *told), drawn(shipped, told[0]))


@pytest.mark.parametrize(
    ("base", "member"), [("stable_diffusion", latent_diffusion), ("stable_unclip", stable_unclip)]
)
def test_an_untrained_branch_changes_no_bit_of_a_folders_pictures(
    tiny_pipelines, tmp_path, told, base, member
):
    getattr(tiny_pipelines, base)(tmp_path)
    settings = {"n_tokens": 1} if member is latent_diffusion else {}
    made = member.build(member.Config(folder=str(tmp_path), space="s", guidance=2.0, **settings))
    about = told[0][:, :, :16]
    np.testing.assert_array_equal(drawn(steered(made), about, told[1]), drawn(made, about))
    assert (drawn(steered(made, moved=True), about, told[1]) != drawn(made, about)).any()


def test_a_branch_that_is_not_zero_changes_them_unless_its_scale_is(shipped, told):
    assert (drawn(steered(shipped, moved=True), *told) != drawn(shipped, told[0])).any()
    np.testing.assert_array_equal(drawn(steered(shipped, 0.0, moved=True), *told), drawn(shipped, told[0]))


def test_the_base_itself_stays_without_a_branch(shipped):
    made = steered(shipped)
    assert shipped.branch is None and "brain" not in shipped.takes
    assert made.takes == shipped.takes | {"brain"}
    assert made.identity()["base"] == shipped.identity()


def test_features_of_another_layer_are_refused(shipped, told):
    with pytest.raises(checks.SpaceMismatchError, match="reads 6"):
        drawn(steered(shipped), told[0], Guides(brain=told[1].brain[:, :5]))


def test_a_branch_comes_back_from_its_folder_as_it_was(shipped, told, tmp_path):
    made = steered(shipped, moved=True)
    _control.save(made.branch, tmp_path)
    again = brain_control.build(brain_control.Config(), shipped, _control.load(tmp_path, shipped.unet))
    np.testing.assert_array_equal(drawn(again, *told), drawn(made, *told))
    assert again.identity() == made.identity()


def test_a_branch_of_another_network_is_refused(shipped, tiny_pipelines, tmp_path):
    _control.save(steered(shipped).branch, tmp_path)
    with pytest.raises(checks.DataFileError, match="another network"):
        _control.load(tmp_path, tiny_pipelines.unet())


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_what_training_minimises_is_nothing_where_the_network_says_the_truth(tiny_pipelines, tmp_path, kind):
    """A network that knows the clean latents misses nothing; told another truth it misses their distance."""
    pipeline = tiny_pipelines.stable_diffusion(tmp_path)
    pipeline.scheduler.register_to_config(prediction_type=kind)
    pipeline.save_pretrained(tmp_path)
    made = latent_diffusion.build(latent_diffusion.Config(folder=str(tmp_path), space="s", n_tokens=1))
    clean, noise = torch.randn(2, 3, 4, 8, 8)
    share = torch.tensor([0.1, 0.5, 0.9])
    kept = made.networks.scheduler.alphas_cumprod[(share * 1000).long()][:, None, None, None]
    truth = {
        "epsilon": noise, "sample": clean, "v_prediction": kept.sqrt() * noise - (1 - kept).sqrt() * clean
    }[kind]  # fmt: skip
    seen = []

    def output(x, level, told, control, features):
        seen.append(x)
        return truth + 0.5

    made._output = output
    missed = made.misses(clean, torch.zeros(3, 1, 16), torch.zeros(3, 2), noise, share)
    torch.testing.assert_close(missed, torch.full((3,), 0.25))
    torch.testing.assert_close(seen[0], kept.sqrt() * clean + (1 - kept).sqrt() * noise)
