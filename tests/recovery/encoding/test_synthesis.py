"""Pictures made for a region raise the answer of the brain itself; pictures made for nothing do not."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from braindec import checks
from braindec.data.simulated import preferring, scenes
from braindec.evaluate import encode_synthesis as es
from braindec.generators import embedded_unclip
from braindec.targets import efficientnet_lite0, tiny_openclip

N_TRAIN = 400


@dataclass(frozen=True)
class Made:
    """A region that likes stripes, both models of it, and natural pictures that neither saw."""

    region: preferring.PreferringRegion
    guide: es.PictureEncoding
    judge: es.PictureEncoding
    natural: np.ndarray


def world(n_train, likes="striped"):
    rng = np.random.default_rng(0)
    images = scenes.render_all(scenes.sample_scenes(n_train + 300, rng))
    region = preferring.draw_region(likes, images[:n_train], 10, rng)
    responses = region.respond(images[:n_train])
    responses = responses + rng.standard_normal(responses.shape)
    networks = (
        tiny_openclip.build(tiny_openclip.Config()),
        efficientnet_lite0.build(efficientnet_lite0.Config(size=64)),
    )
    guide, judge = (es.fit_pictures(t, images[:n_train], responses) for t in networks)
    return Made(region, guide, judge, images[n_train:])


@pytest.fixture(scope="module")
def made():
    return world(N_TRAIN)


@pytest.fixture(scope="module")
def shipped():
    return embedded_unclip.build(embedded_unclip.Config(n_steps=6))


@pytest.fixture(scope="module")
def found(made, shipped):
    return es.synthesise_for_region(
        shipped, made.guide, made.judge, made.natural, 6, seed=0, n_random=4, truth=made.region.respond
    )


def test_pictures_of_a_region_raise_the_true_response_over_unguided_and_random_ones(found):
    for kind in (es.UNGUIDED, es.RANDOM, es.NATURAL):
        value, low, _ = found.differences["truth", kind]
        assert value > low > 0, (kind, value, low)
        assert found.differences["judge", kind][0] > 0
    assert all(x.shape == (6, 64, 64, 3) for x in found.pictures.values())
    assert found.table()["rows"][-1][0] == es.GUIDED


def test_pictures_guided_in_random_directions_do_not_raise_it(found):
    truth = found.judged["truth"]
    random = truth[es.RANDOM].reshape(4, 6).mean(1) - truth[es.UNGUIDED].mean()
    assert len(truth[es.RANDOM]) == 24
    assert random.mean() < 0.25 * found.differences["truth", es.UNGUIDED][0]
    assert random.max() < found.differences["truth", es.UNGUIDED][0]


def test_the_guide_is_pleased_whatever_the_brain_says(made, shipped, found, rng):
    model = made.guide.model
    weights = model.weights[torch.from_numpy(rng.permutation(model.n_features))]
    guide = replace(made.guide, model=replace(model, weights=weights))
    pleased = es.synthesise_for_region(
        shipped, guide, made.judge, made.natural, 6, seed=0, n_random=4, truth=made.region.respond,
        controls=found.controls,
    )  # fmt: skip
    gain, true_gain = (pleased.differences[by, es.UNGUIDED][0] for by in ("guide", "truth"))
    assert gain > 0.5 * found.differences["guide", es.UNGUIDED][0]
    assert true_gain < 0.6 * found.differences["truth", es.UNGUIDED][0]


def test_controls_serve_another_region_of_the_same_network(made, shipped, found):
    other = replace(made.guide, model=replace(made.guide.model, weights=-made.guide.model.weights))
    again = es.synthesise_for_region(shipped, other, made.judge, made.natural, 2, seed=0, n_random=1)
    given = es.synthesise_for_region(
        shipped, made.guide, made.judge, made.natural, 2, seed=0, n_random=1, controls=again.controls
    )
    own = es.synthesise_for_region(shipped, made.guide, made.judge, made.natural, 2, seed=0, n_random=1)
    assert all(np.array_equal(given.pictures[kind], own.pictures[kind]) for kind in own.pictures)
    assert not np.array_equal(given.pictures[es.GUIDED], again.pictures[es.GUIDED])
    with pytest.raises(ValueError, match="random direction"):
        es.synthesise_for_region(
            shipped, made.guide, made.judge, made.natural, 6, seed=0, controls=again.controls
        )


def test_a_judge_that_reads_the_guides_network_is_refused(made, shipped):
    with pytest.raises(checks.LeakageError, match="circular"):
        es.synthesise_for_region(shipped, made.guide, made.guide, made.natural, 4, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("likes", ["striped", "red"])
def test_the_best_of_many_made_pictures_beats_the_best_of_many_natural_ones(likes):
    big = world(700, likes)
    shipped = embedded_unclip.build(embedded_unclip.Config(n_steps=20))
    found = es.synthesise_for_region(
        shipped,
        big.guide,
        big.judge,
        big.natural,
        12,
        seed=1,
        n_candidates=48,
        n_random=1,
        truth=big.region.respond,
    )
    for judge in ("truth", "judge"):
        assert found.differences[judge, es.CHOSEN][1] > 0, found.differences
        assert found.differences[judge, es.UNGUIDED][1] > 0
