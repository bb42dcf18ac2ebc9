"""The hallucination meter: which attributes of a reconstruction come from the brain, and which the prior filled in.

Embeddings drawn given the brain (the posterior) and without it (the prior) are read for an attribute: the colour, the
place, the object, whether a latent is active. Training stimuli that encoder and prior did not see say how far such
readings may be trusted, and give three things:

- A **set** of values for each picture that holds the true value in at least 90 % of cases, whatever the models do:
  split conformal inference, by subject and attribute. The set of somebody who is told nothing holds, at the same
  coverage, 90 % of the prior.
- Whether the attribute is **carried**: the posterior foresees the true values of calibration stimuli better than it
  foresees those of other stimuli (permutation test, Holm over a subject's attributes, 0.02).
- Which pictures are **told**: for each, the claim that the truth is among the values that the brain makes likeliest and
  that together hold at most about half of the prior. Claims are made for as many pictures as keep the expected share of
  wrong ones among them at 10 % (conformal selection, over all pictures that are judged together).

The verdict on what one picture shows of one attribute:

from the brain
    The attribute is carried, the claim is made for this picture, its set holds at most about half of the prior, and
    what the picture shows lies in the set. *The brain decided this, to about one bit at least.*
from the prior
    The attribute is not carried; or the picture's set holds as much of the prior as the set of somebody who is told
    nothing; or the picture shows a value that its set excludes. *Prior or generator filled this in.*
undecidable
    Neither. *The brain says something of it, too little for this picture.*

A verdict is about where a value comes from, not about whether it is right: a prior may guess right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from braindec import checks, seeding
from braindec.evaluate.hallucination_beliefs import EDGE, HALF, Belief, Sets, belief_of
from braindec.evaluate.hallucination_readouts import Attribute
from braindec.stats import conformal
from braindec.stats.corrections import holm
from braindec.stats.permutation import p_value

FROM_BRAIN, FROM_PRIOR, UNDECIDABLE = VERDICTS = ("from the brain", "from the prior", "undecidable")
MIN_CALIBRATION = (
    20  # cases; a set of 90 % needs 9, a claim at a false discovery rate of 10 % in five pictures 20
)


@dataclass(frozen=True)
class Settings:
    """How sets, tests and claims are made.

    Parameters
    ----------
    level : float
        Coverage of the sets.
    alpha : float
        Of the test whether an attribute is carried.
    false_discovery_rate : float
        Of the claims over the pictures that are judged together.
    n_permutations : int
        Of that test.
    n_samples, n_prior : int
        Posterior samples of each stimulus, and prior samples.
    n_folds : int
        Parts in which a prior that is solved at once is solved again without the calibration stimuli.
    """

    level: float = 0.9
    alpha: float = 0.02  # an attribute that no brain sees is to be flagged in more than 95 of 100
    false_discovery_rate: float = 0.1
    n_permutations: int = 999
    n_samples: int = 32
    n_prior: int = 512
    n_folds: int = 5

    def __post_init__(self) -> None:
        checks.in_range("level", self.level, 0.5, 0.999)
        checks.in_range("alpha", self.alpha, 1e-6, 0.5)
        checks.in_range("false_discovery_rate", self.false_discovery_rate, 1e-6, 0.5)
        checks.at_least("n_permutations", self.n_permutations, 1 / self.alpha - 1)
        for name in ("n_samples", "n_prior"):
            checks.at_least(name, getattr(self, name), 1)
        checks.at_least("n_folds", self.n_folds, 2)


SETTINGS = Settings()


@dataclass(frozen=True, eq=False)
class Reading:
    """What the meter says of one attribute of n pictures.

    Parameters
    ----------
    attribute : Attribute
    verdicts : tuple of str
        Of `VERDICTS`, a picture each.
    sets : Sets
        Conformal; none is empty.
    p : ndarray, shape (n,)
        Of the claim being wrong.
    told : ndarray of bool, shape (n,)
        Whether the claim is made.
    best : ndarray, shape (n,)
        Likeliest class or expected number.
    shown : ndarray, shape (n,), or None
        What the picture shows, where pictures were read.
    carried : bool
    carried_p : float
        Corrected over the subject's attributes.
    belief : Belief
    """

    attribute: Attribute
    verdicts: tuple[str, ...]
    sets: Sets
    p: np.ndarray
    told: np.ndarray
    best: np.ndarray
    shown: np.ndarray | None
    carried: bool
    carried_p: float
    belief: Belief

    def share(self, verdict: str) -> float:
        """Share of the pictures with this verdict."""
        return self.verdicts.count(checks.one_of("verdict", verdict, VERDICTS)) / len(self.verdicts)


@dataclass(frozen=True, eq=False)
class Gauge:
    """One attribute of one subject, calibrated.

    Parameters
    ----------
    attribute : Attribute
    belief : Belief
        About calibration stimuli.
    truth : ndarray, shape (n,)
        Of them.
    prior : ndarray, shape (n_classes,) or (n_prior,)
        Probability of each class, or numbers that the prior draws.
    p : float
        Of the test whether the attribute is carried, not corrected.
    settings : Settings
    seed : int
    """

    attribute: Attribute
    belief: Belief
    truth: np.ndarray
    prior: np.ndarray
    p: float
    settings: Settings
    seed: int

    @property
    def strangeness(self) -> np.ndarray:
        """Of the calibration stimuli's true values."""
        return self.belief.strangeness(self.truth)

    def covered(self, belief: Belief, truth: np.ndarray) -> np.ndarray:
        """Whether the conformal sets of further stimuli, empty ones left empty, hold their true values: bool (n,)."""
        return belief.covered(self.strangeness, truth, self.settings.level, self._ties())

    def judge(
        self, belief: Belief, corrected_p: float, shown: np.ndarray | None = None, sets: Sets | None = None
    ) -> Reading:
        """Verdicts on pictures.

        Parameters
        ----------
        belief : Belief
            About what each brain saw.
        corrected_p : float
            `p`, corrected for the subject's attributes.
        shown : ndarray, shape (n,), optional
            What each picture shows; without, the likeliest value is taken to be shown.
        sets : Sets, optional
            Sets of the same coverage, where they are made otherwise than by split conformal inference.
        """
        told = self.settings
        made = belief.sets(self.strangeness, self.prior, told.level, self._ties()) if sets is None else sets
        before, wrong = self.belief.claims(self.prior, self.truth)
        chosen = conformal.select(
            before, wrong, belief.claims(self.prior, None)[0], told.false_discovery_rate
        )
        carried = corrected_p <= told.alpha
        verdicts = verdicts_of(
            carried, made.mass, made.holds(belief.best if shown is None else shown), chosen.chosen, told.level
        )
        return Reading(
            self.attribute,
            verdicts,
            made,
            chosen.p,
            chosen.chosen,
            belief.best,
            shown,
            carried,
            corrected_p,
            belief,
        )

    def _ties(self) -> np.random.Generator:
        return seeding.numpy_generator(self.seed, "ties", self.attribute.name)


def verdicts_of(
    carried: bool, mass: np.ndarray, shown_inside: np.ndarray, told: np.ndarray, level: float
) -> tuple[str, ...]:
    """The verdict on each picture; see the head of this module.

    Parameters
    ----------
    carried : bool
    mass : ndarray, shape (n,)
        Share of the prior in each set.
    shown_inside : ndarray of bool, shape (n,)
        Whether what is shown lies in the set.
    told : ndarray of bool, shape (n,)
        Whether the claim is made.
    level : float
        Coverage, and so the share of the prior in the set of somebody who is told nothing.
    """
    nothing = ~shown_inside | (mass >= level - EDGE) | (not carried)
    decided = ~nothing & told & (mass <= HALF + EDGE)
    return tuple(np.where(nothing, FROM_PRIOR, np.where(decided, FROM_BRAIN, UNDECIDABLE)).tolist())


def calibrate(
    attributes: Sequence[Attribute],
    ids: Sequence[str],
    posterior: np.ndarray,
    prior: np.ndarray,
    *,
    settings: Settings = SETTINGS,
    seed: int = 0,
) -> tuple[Gauge, ...]:
    """Gauges of one subject.

    Parameters
    ----------
    attributes : sequence of Attribute
        Whose readouts were fitted on training stimuli; calibration stimuli are read by readouts fitted without them.
    ids : sequence of str, length n
        Training stimuli that encoder and prior did not see.
    posterior : ndarray, shape (n_samples, n, n_tokens, n_dims)
        Drawn given their brains.
    prior : ndarray, shape (n_prior, n_tokens, n_dims)
        Drawn without a brain.
    """
    checks.same_length("stimulus", ids=ids, posterior=np.moveaxis(posterior, 1, 0))
    out = []
    for one in attributes:
        kept = one.known(ids)
        checks.at_least(f"calibration stimuli whose {one.name} is known", int(kept.sum()), MIN_CALIBRATION)
        names = [i for i, k in zip(ids, kept.tolist(), strict=True) if k]
        truth = one.of(names)
        belief: Belief = belief_of(one.unseen_readings(names, posterior[:, kept]))
        alone = one.read(prior)
        p = carried_p(
            belief, truth, settings.n_permutations, seeding.numpy_generator(seed, "carried", one.name)
        )
        light = replace(one, without=None)  # without the training embeddings: readings change processes
        out.append(Gauge(light, belief, truth, alone.mean(0) if one.values else alone, p, settings, seed))
    return tuple(out)


def judge(
    gauges: Sequence[Gauge], posterior: np.ndarray, pictures: np.ndarray | None = None
) -> tuple[Reading, ...]:
    """What the meter says of pictures of one subject, a reading an attribute.

    Parameters
    ----------
    gauges : sequence of Gauge
        All attributes that are asked about: tests are corrected for their number.
    posterior : ndarray, shape (n_samples, n, n_tokens, n_dims)
        Drawn given the brains.
    pictures : ndarray, shape (n, n_tokens, n_dims), optional
        Embeddings of the pictures that are shown.
    """
    corrected = holm([g.p for g in gauges])
    return tuple(
        gauge.judge(
            belief_of(gauge.attribute.readings(posterior)), float(p),
            None if pictures is None else belief_of(gauge.attribute.readings(pictures[None])).best,
        )
        for gauge, p in zip(gauges, corrected, strict=True)
    )  # fmt: skip


def carried_p(
    belief: Belief, truth: np.ndarray, n_permutations: int, generator: np.random.Generator
) -> float:
    """Chance of foreseeing other stimuli's true values as well as their own, if brains said nothing of them."""
    own = float(belief.gain(truth).mean())
    null = [float(belief.gain(generator.permutation(truth)).mean()) for _ in range(n_permutations)]
    return p_value(own, null)


def columns_of(readings: Sequence[Reading]) -> list[dict[str, str]]:
    """Verdicts by attribute, a picture each: what a gallery shows under its columns."""
    n = checks.same_length("picture", **{r.attribute.name: r.verdicts for r in readings})
    return [{r.attribute.name: r.verdicts[i] for r in readings} for i in range(n)]


def record_of(readings: Sequence[Reading]) -> list[dict[str, Any]]:
    """JSON of the readings of one subject: an attribute each."""
    return [
        {
            "attribute": r.attribute.name, "n": len(r.verdicts), "carried": r.carried, "carried_p": r.carried_p,
            "verdicts": {v: r.verdicts.count(v) for v in VERDICTS},
            "share_of_the_prior_in_a_set": float(r.sets.mass.mean()),
        }
        for r in readings
    ]  # fmt: skip


def false_claims(reading: Reading, truth: np.ndarray, prior: np.ndarray) -> tuple[int, int]:
    """(claims made, wrong ones among them) where the truth is known."""
    _, wrong = reading.belief.claims(prior, truth)
    return int(reading.told.sum()), int((reading.told & wrong).sum())


def true_values(readings: Sequence[Reading], ids: Sequence[str]) -> Mapping[str, np.ndarray]:
    """True values of these stimuli by attribute, where all are known."""
    return {r.attribute.name: r.attribute.of(ids) for r in readings if r.attribute.known(ids).all()}
