"""Training of a control branch: what it changes, and what it leaves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec import train
from braindec.decoder import control_branch
from braindec.generators import Guides, _control, brain_control, latent_diffusion

N = 12


@pytest.fixture
def base(tiny_pipelines, tmp_path):
    tiny_pipelines.stable_diffusion(tmp_path)
    return latent_diffusion.build(
        latent_diffusion.Config(folder=str(tmp_path), space="s", n_tokens=2, guidance=1.0)
    )


def fitted(base, n_steps: int, ids=None, **settings):
    rng = np.random.default_rng(0)
    told = rng.standard_normal((N, 2, 16)).astype(np.float32)
    pictures = rng.integers(0, 256, (N, 16, 16, 3), dtype=np.uint8)
    config = train.Config(n_steps=n_steps, batch_size=4, lr=1e-2, device="cpu", **settings)
    return control_branch.fit(
        base, 5 + 3 * rng.standard_normal((N, 6)), told, pictures, config,
        ids=[str(i) for i in range(N)] if ids is None else ids, config=_control.Config(4),
    )  # fmt: skip


def test_the_branch_learns_and_the_generator_stays_as_it_was(base):
    before = {key: value.clone() for key, value in base.unet.state_dict().items()}
    branch = fitted(base, 3, validation_fraction=0.0)
    assert all(torch.equal(value, before[key]) for key, value in base.unet.state_dict().items())
    assert base.branch is None
    closing = [value for key, value in branch.state_dict().items() if "controlnet_mid_block" in key]
    assert sum(float(value.abs().sum()) for value in closing) > 0
    np.testing.assert_allclose(branch.mean.mean(), 5, atol=2)
    assert not any(parameter.requires_grad for parameter in branch.parameters())


def test_equal_seeds_train_equal_branches(base):
    first, second = (fitted(base, 2, validation_fraction=0.0).state_dict() for _ in range(2))
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_without_steps_pictures_are_the_generators_own(base):
    steered = brain_control.build(brain_control.Config(), base, fitted(base, 0))
    told = np.ones((2, 2, 16), np.float32)
    drawn = [
        generator.generate(told, generator=torch.Generator().manual_seed(0), guides=guides, n_steps=2)
        for generator, guides in ((base, Guides()), (steered, Guides(brain=np.ones((2, 6)))))
    ]
    np.testing.assert_array_equal(*drawn)


def test_repeats_of_a_stimulus_are_on_one_side(base):
    held = control_branch._held([str(i // 3) for i in range(N)], 0.5, 0)
    assert held.sum() == N // 2
    assert all(len(set(held[3 * i : 3 * i + 3])) == 1 for i in range(4))


def test_rows_that_do_not_belong_together_are_refused(base):
    with pytest.raises(ValueError, match="trial"):
        fitted(base, 1, ids=["a"])


@pytest.mark.parametrize("unit", [1.0, 1e-13])
def test_features_have_unit_variance_in_any_unit_and_those_that_never_vary_stay_small(base, unit):
    features = unit * (5 + 3 * np.random.default_rng(0).standard_normal((N, 6)))
    features[:, 2] = 7 * unit
    told, pictures = np.zeros((N, 2, 16), np.float32), np.zeros((N, 16, 16, 3), np.uint8)
    config = train.Config(n_steps=0, batch_size=4, validation_fraction=0.0, device="cpu")
    ids = [str(i) for i in range(N)]
    branch = control_branch.fit(base, features, told, pictures, config, ids=ids, config=_control.Config(4))
    seen = (torch.as_tensor(features).float() - branch.mean) / branch.std
    spread = seen.std(0, correction=0)
    np.testing.assert_allclose(np.delete(spread.numpy(), 2), 1, atol=1e-3)
    assert float(spread[2]) < 1e-3 and float(branch.std[2]) >= unit
