"""The meter: sets cover; what no brain carries is the prior's, what one carries the brain's; few claims are wrong.

Brains here are Gaussian: a picture is a point in eight dimensions, its attributes are read off some of them, and a
brain gives a noisy look at some of them. Given the look, the posterior is known exactly.
"""

from __future__ import annotations

import numpy as np
import pytest

from braindec import checks
from braindec.evaluate import hallucination as meter
from braindec.evaluate.hallucination_beliefs import Classes, Numbers, belief_of
from braindec.evaluate.hallucination_readouts import attribute
from braindec.types import Embeddings

N_TRAIN, N_CALIBRATION, N_TEST, N_DIMS = 400, 150, 60, 8
SETTINGS = meter.Settings(n_permutations=99, alpha=0.05, n_samples=24, n_prior=300)
WORDS = np.array(["red", "green", "blue", "pink"])
WORLDS = 24


class World:
    """Pictures with a colour (dims 0, 1), a texture (dims 2, 3) and a size (dim 4); a brain that sees some dims."""

    def __init__(self, seed: int, noise: float, unseen: tuple[int, ...] = ()):
        self.rng = np.random.default_rng(seed)
        n = N_TRAIN + N_CALIBRATION + N_TEST
        self.x = self.rng.standard_normal((n, N_DIMS)).astype(np.float32)
        self.ids = tuple(f"picture-{i}" for i in range(n))
        self.embeddings = Embeddings(self.ids, self.x[:, None], "gaussian", {}, "0" * 64)
        self.shrunk = np.full(N_DIMS, 1 / (1 + noise**2))
        self.shrunk[list(unseen)] = 0.0
        look = self.x + noise * self.rng.standard_normal(self.x.shape)
        self.mean = self.shrunk * look

    def labels(self, first: int) -> dict[str, str]:
        """Four classes by the signs of two dims."""
        code = (self.x[:, first] > 0) * 2 + (self.x[:, first + 1] > 0)
        return dict(zip(self.ids, WORDS[code].tolist(), strict=True))

    def attributes(self):
        training = self.ids[:N_TRAIN]
        size = {i: 3.0 + 2 * float(v) for i, v in zip(self.ids, self.x[:, 4], strict=True)}
        return [
            attribute("colour", self.labels(0), training, self.embeddings),
            attribute("texture", self.labels(2), training, self.embeddings),
            attribute("size", size, training, self.embeddings),
        ]

    def posterior(self, rows: slice, n: int = SETTINGS.n_samples) -> np.ndarray:
        mean = self.mean[rows]
        spread = np.sqrt(1 - self.shrunk)
        return (mean + spread * self.rng.standard_normal((n, *mean.shape)))[:, :, None].astype(np.float32)

    def judged(self, pictures: np.ndarray | None = None):
        """(gauges, readings of the test pictures, their ids)."""
        known = slice(N_TRAIN, N_TRAIN + N_CALIBRATION)
        prior = self.rng.standard_normal((SETTINGS.n_prior, 1, N_DIMS)).astype(np.float32)
        gauges = meter.calibrate(
            self.attributes(), self.ids[known], self.posterior(known), prior, settings=SETTINGS, seed=1
        )
        rest = slice(N_TRAIN + N_CALIBRATION, None)
        self.drawn = self.posterior(rest)
        return gauges, meter.judge(gauges, self.drawn, pictures), self.ids[rest]


@pytest.fixture(scope="module")
def worlds():
    """Brains that see all but the texture's dims, well."""
    made = [World(seed, noise=0.25, unseen=(2, 3)) for seed in range(WORLDS)]
    return [(world, *world.judged()) for world in made]


def test_sets_hold_the_truth_in_nine_of_ten_cases(worlds):
    shares: dict[str, list[float]] = {}
    for world, gauges, _, ids in worlds:
        for gauge in gauges:
            belief = belief_of(gauge.attribute.readings(world.drawn))
            shares.setdefault(gauge.attribute.name, []).append(
                gauge.covered(belief, gauge.attribute.of(ids)).mean()
            )
    for name, found in shares.items():
        assert np.mean(found) == pytest.approx(0.9, abs=0.025), name


def test_what_no_brain_sees_is_said_to_come_from_the_prior(worlds):
    share = np.mean([readings[1].share(meter.FROM_PRIOR) for _, _, readings, _ in worlds])
    assert share >= 0.95


def test_what_brains_see_well_comes_mostly_from_the_brain(worlds):
    for number in (0, 2):
        share = np.mean([readings[number].share(meter.FROM_BRAIN) for _, _, readings, _ in worlds])
        assert share > 0.7, worlds[0][2][number].attribute.name


def test_of_the_claims_at_most_a_tenth_is_wrong(worlds):
    shares = []
    for _, gauges, readings, ids in worlds:
        for gauge, reading in zip(gauges, readings, strict=True):
            made, wrong = meter.false_claims(reading, gauge.attribute.of(ids), gauge.prior)
            shares.append(wrong / max(made, 1))
    assert np.mean(shares) <= 0.1


def test_a_brain_of_noise_decides_nothing():
    found = [World(100 + seed, noise=0.25, unseen=tuple(range(N_DIMS))).judged()[1] for seed in range(6)]
    assert np.mean([r.share(meter.FROM_PRIOR) for readings in found for r in readings]) >= 0.95


def test_a_picture_that_shows_what_its_brain_excludes_is_not_from_the_brain():
    world = World(7, noise=0.1)
    rest = world.x[N_TRAIN + N_CALIBRATION :]
    true, wrong = rest.copy(), rest.copy()
    wrong[:, :2] *= -1  # another colour, all else alike
    _, as_seen, _ = world.judged(true[:, None])
    _, against, _ = World(7, noise=0.1).judged(wrong[:, None])
    assert as_seen[0].share(meter.FROM_BRAIN) > 0.7
    assert against[0].share(meter.FROM_PRIOR) > 0.9
    assert against[2].share(meter.FROM_BRAIN) > 0.7  # the size is still the brain's


def test_verdicts_follow_their_definition():
    mass, inside, told = (
        np.array([0.2, 0.2, 0.8, 0.95, 0.2]),
        np.array([1, 0, 1, 1, 1], bool),
        np.array([1, 1, 1, 1, 0], bool),
    )
    expected = (meter.FROM_BRAIN, meter.FROM_PRIOR, meter.UNDECIDABLE, meter.FROM_PRIOR, meter.UNDECIDABLE)
    assert meter.verdicts_of(True, mass, inside, told, 0.9) == expected
    assert meter.verdicts_of(False, mass, inside, told, 0.9) == (meter.FROM_PRIOR,) * 5


def test_beliefs_of_classes_and_numbers_claim_half_of_the_prior():
    belief = Classes(np.array([[0.1, 0.6, 0.2, 0.1], [0.4, 0.1, 0.1, 0.4]]))
    confidence, wrong = belief.claims(np.full(4, 0.25), np.array([2, 1]))
    assert confidence == pytest.approx([0.8, 0.8])
    assert wrong.tolist() == [False, True]
    frequent, _ = belief.claims(np.array([0.1, 0.9, 0.0, 0.0]), None)
    assert np.isneginf(frequent[0])  # what the prior holds likely anyway is no claim
    number = Numbers(np.array([0.0, 3.0]), np.ones(2))
    reach, missed = number.claims(np.linspace(-1, 1, 101), np.array([0.4, 1.0]))
    assert reach[0] == pytest.approx(0.5, abs=0.02)
    assert reach[1] > reach[0]
    assert missed.tolist() == [False, False]


def test_sets_are_said_in_words():
    from braindec.evaluate.hallucination_beliefs import ClassSets

    member = np.array([[1, 1, 1, 1], [1, 0, 1, 1], [0, 1, 0, 0], [1, 1, 0, 0]], bool)
    found = ClassSets(member, np.full(4, 0.25)).words(WORDS.tolist())
    assert found == ("any", "any but green", "green", "red or green")


def test_too_few_calibration_stimuli_are_refused():
    world = World(0, noise=0.2)
    prior = np.zeros((10, 1, N_DIMS), np.float32)
    with pytest.raises((checks.ConfigError, ValueError), match="calibration stimuli whose colour is known"):
        meter.calibrate(
            world.attributes(), world.ids[:5], world.posterior(slice(0, 5)), prior, settings=SETTINGS
        )
