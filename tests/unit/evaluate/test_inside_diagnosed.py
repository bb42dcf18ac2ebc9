"""Planted illnesses are what they say; a penalty is found that makes the asked sparsity."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec import sparse
from braindec.checks import ConfigError
from braindec.evaluate import inside_diagnosed as diagnosed
from braindec.evaluate import inside_worlds as worlds
from braindec.sparse import influence, losses
from braindec.sparse.dictionary import frequencies
from braindec.sparse.sparsity import fit_to_l0


def test_children_of_the_first_families_come_with_their_parent_and_of_the_others_anywhere():
    made = worlds.families(8000, 24, 4, 0)
    parents, children = made.present[:, :4], made.present[:, 4:].view(8000, 4, 2)
    alone = children.any(2) & ~parents
    assert not bool(alone[:, :2].any()) and bool((alone[:, 2:].float().mean(0) > 0.1).all())
    assert not bool(children.all(2).any())  # one child at a time
    often = made.present.float().mean(0)
    torch.testing.assert_close(often[:4], torch.full((4,), 0.4), atol=0.02, rtol=0)
    torch.testing.assert_close(often[4:], torch.full((8,), 0.14), atol=0.02, rtol=0)
    free = worlds.families(8000, 12, 4, 0, kept=False).present
    assert bool((free[:, 4:].view(8000, 4, 2).any(2) & ~free[:, :4]).any(0).all())
    strength = torch.linalg.lstsq(made.atoms.T, made.values.T).solution.T
    assert float(strength[~made.present].abs().max()) < 0.3 < float(strength[made.present].min())


def test_a_gaussian_has_the_covariance_and_not_the_sparsity():
    made = worlds.families(6000, 12, 4, 1).values
    drawn = worlds.gaussian(made, 2)
    torch.testing.assert_close(drawn.T.cov(), made.T.cov(), atol=0.06, rtol=0.1)
    torch.testing.assert_close(drawn.mean(0), made.mean(0), atol=0.05, rtol=0)

    def tails(x):
        return float((((x - x.mean(0)) / x.std(0)) ** 4).mean())

    assert tails(drawn) == pytest.approx(3, abs=0.1) and abs(tails(made) - 3) > 0.15


def test_circles_lie_in_their_planes_and_have_every_angle():
    made, planes = worlds.circles(2000, 10, 2, 3, 0)
    alone = made.present[:, 0] & (made.present.sum(1) == 1)
    points = made.values[alone] @ planes[0].T
    torch.testing.assert_close(points.norm(dim=1), torch.ones(len(points)), atol=0.12, rtol=0)
    counts = np.histogram(torch.atan2(points[:, 1], points[:, 0]), bins=6)[0]
    assert counts.min() > len(points) / 12


def test_the_effect_feels_its_readings_alone_and_its_gradient_says_so():
    made = worlds.loud_and_quiet(500, 16, 12, 4, 0)
    readers = torch.linalg.pinv(made.atoms).T
    effect = worlds.asks_for(readers[12:])
    slopes = influence.gradients(effect, made.values)
    felt = (slopes @ made.atoms.T).abs()
    assert float(felt[:, :12].max()) < 1e-4
    assert float(felt[:, 12:][made.present[:, 12:]].mean()) > 3 * float(
        felt[:, 12:][~made.present[:, 12:]].mean()
    )


def test_a_penalty_is_found_that_leaves_as_many_latents_active_as_asked():
    values = worlds.families(600, 12, 4, 0).values
    settings = sparse.FitConfig(n_steps=60, batch_size=64, lr=0.03, loss=losses.Config("l1", 0.01))
    told = {"seed": 0, "progress": False}
    fitted, weight = fit_to_l0(values, sparse.Config(12, "relu"), settings, 3.0, **told)
    assert float(frequencies(fitted.model, values).sum()) == pytest.approx(3.0, rel=0.2)
    assert weight > 0.01
    with pytest.raises(ConfigError, match="n_active"):
        fit_to_l0(values, sparse.Config(12, "topk", 2), settings, 2.0, **told)
    with pytest.raises(ValueError, match="l0"):
        fit_to_l0(values, sparse.Config(12, "relu"), settings, 0.0, **told)


def test_unknown_kinds_are_refused():
    with pytest.raises(ConfigError, match="Did you mean 'TopK'"):
        diagnosed.Settings(kinds=("Topk",))
