"""Which score would have recognised the right model? Brains made from one candidate, judged by all of them.

Each candidate in turn is the truth: brains are linear in its features, with noise of known size. Every way of scoring
ranks the candidates; what counts is how often the truth comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks, config, encoding, seeding
from braindec.maths import folds as fold_rules
from braindec.rdm import comparators
from braindec.stats.intervals import wilson
from braindec.types import Embeddings, Report, Score

LIMIT = (
    "These brains are linear in one of the candidates. Real ones are linear in none, and what comes first there may be "
    "the wider layer or the one nearest to all: no score here names a model that is not among the candidates."
)
N_COMPONENTS = (
    64  # of a candidate's features that a brain is made of: what brains see of all candidates has one size
)


@dataclass(frozen=True)
class Design:
    """A study that is simulated.

    Parameters
    ----------
    n_stimuli, n_voxels : int
    ceiling : float
        Share of a response's variance that is signal, in (0, 1].
    n_brains : int
        Drawn for each true model.
    seed : int
    """

    n_stimuli: int = 200
    n_voxels: int = 100
    ceiling: float = 0.3
    n_brains: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        checks.in_range("ceiling", self.ceiling, 1e-6, 1.0)
        checks.at_least("n_stimuli", self.n_stimuli, 20)


@dataclass(frozen=True, eq=False)
class Identified:
    """How often each score put each candidate first.

    Parameters
    ----------
    names : tuple of str
        Candidates.
    first : mapping of str to int array, shape (n_true, n_candidates)
        By score: brains of a true model (rows) for which a candidate (columns) came first.
    n_brains : int
        Of each true model.
    """

    names: tuple[str, ...]
    first: Mapping[str, np.ndarray]
    n_brains: int

    def accuracy(self, score: str) -> tuple[float, float, float]:
        """Share of brains whose true model came first, and its 95 % interval."""
        table = checks.known_key("score", score, self.first)
        hits, n = float(np.trace(table)), int(table.sum())
        found = wilson(hits, n)
        return hits / n, found.low, found.high

    @property
    def chance(self) -> float:
        """Share that guessing reaches."""
        return 1 / len(self.names)


def features_of(spaces: Mapping[str, Embeddings], ids: Sequence[str]) -> dict[str, Tensor]:
    """Features (n, n_features) of these stimuli in every space."""
    return {name: torch.from_numpy(space.of(ids)).flatten(1) for name, space in spaces.items()}


Scoring = Callable[
    [Tensor, Tensor], float
]  # features (n, p), responses (n, n_voxels) -> higher is more alike


def identify(
    candidates: Mapping[str, Tensor],
    design: Design = Design(),
    scorings: Mapping[str, Scoring] | None = None,
    *,
    shuffled: bool = False,
) -> Identified:
    """Makes brains of every candidate and lets every score choose.

    Parameters
    ----------
    candidates : mapping of str to Tensor, shape (n, n_features)
        Features of the same stimuli, at least `design.n_stimuli`.
    design : Design
    scorings : mapping of str to callable, optional
        ``score(features, responses)``; `SCORINGS` by default.
    shuffled : bool
        Pair responses with other stimuli: every score must then be at chance.

    Returns
    -------
    Identified
    """
    n = checks.same_length("stimulus", **{k.replace(" ", "_"): v for k, v in candidates.items()})
    checks.at_least("number of candidates", len(candidates), 2)
    checks.in_range("n_stimuli", design.n_stimuli, 20, n)
    rules, names = scorings or SCORINGS, tuple(candidates)
    first = {name: np.zeros((len(names), len(names)), dtype=int) for name in rules}
    for row, truth in enumerate(names):
        for brain in range(design.n_brains):
            generator = seeding.torch_generator(design.seed, "identification", truth, brain)
            chosen = torch.randperm(n, generator=generator)[: design.n_stimuli]
            y = brain_of(candidates[truth][chosen], design, generator)
            if shuffled:
                y = y[torch.randperm(len(y), generator=generator)]
            for name, score in rules.items():
                values = [score(x[chosen], y) for x in candidates.values()]
                first[name][row, int(np.argmax(values))] += 1
    return Identified(names, first, design.n_brains)


def brain_of(features: Tensor, design: Design, generator: torch.Generator) -> Tensor:
    """Responses (n_stimuli, n_voxels): linear in leading components of the features, plus white noise; variance 1."""
    x = features.double() - features.double().mean(0)
    u, s, _ = torch.linalg.svd(x, full_matrices=False)
    kept = min(N_COMPONENTS, int((s > 1e-6 * s[0]).sum()))
    weights = torch.randn(kept, design.n_voxels, generator=generator, dtype=torch.float64)
    signal = (u[:, :kept] * s[:kept]) @ weights
    signal = signal / signal.std(0)
    noise = torch.randn(signal.shape, generator=generator, dtype=torch.float64)
    return (design.ceiling**0.5 * signal + (1 - design.ceiling) ** 0.5 * noise).float()


def encoding_score(features: Tensor, responses: Tensor) -> float:
    """Mean cross-validated correlation of ridge encoding models."""
    rules = fold_rules.folds_by_count(len(features), 5)
    scale = features.std(0).clamp_min(1e-6)
    model = encoding.fit((features - features.mean(0)) / scale, responses, folds=rules, score="correlation")
    return float(model.cv_score.mean())


def rsa_score(features: Tensor, responses: Tensor) -> float:
    """Rank correlation (rho-a) of dissimilarities, 1 - correlation of patterns."""
    pairs = torch.triu_indices(len(features), len(features), 1)
    a, b = (
        (1 - torch.corrcoef(x.double() - x.double().mean(0)))[pairs[0], pairs[1]]
        for x in (features, responses)
    )
    return float(comparators.compare(a[None], b[None], "rho_a"))


def cka_score(features: Tensor, responses: Tensor) -> float:
    """Linear centred kernel alignment without the bias of few stimuli (Song's estimate of each term)."""
    a, b = (_kernel(x) for x in (features, responses))
    return float(_unbiased(a, b) / (_unbiased(a, a) * _unbiased(b, b)).clamp_min(1e-300).sqrt())


SCORINGS: dict[str, Scoring] = {"encoding": encoding_score, "rsa": rsa_score, "cka": cka_score}


def _kernel(x: Tensor) -> Tensor:
    wide = x.double() - x.double().mean(0)
    return (wide @ wide.T).fill_diagonal_(0.0)


def _unbiased(a: Tensor, b: Tensor) -> Tensor:
    n = len(a)
    rows, columns = a.sum(0), b.sum(0)
    total = (a * b).sum() + rows.sum() * columns.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (rows @ columns)
    return total / (n * (n - 3))


def report(found: Identified, shuffled: Identified, design: Design) -> Report:
    """How often each score is right, beside the same with stimuli shuffled, and what was mistaken for what."""
    n = design.n_brains * len(found.names)
    rows = []
    for name in found.first:
        value, low, high = found.accuracy(name)
        null, null_low, null_high = shuffled.accuracy(name)
        for system, one, limits in (
            ("braindec", value, (low, high)),
            ("shuffled", null, (null_low, null_high)),
        ):
            metric = f"right_model_by_{name}"
            rows.append(
                Score(metric, system, "simulated", "simulated", "fmri", one, limits, found.chance, null, n)
            )
    panels: list[tuple[str, str, dict[str, Any]]] = [
        ("Which score recognises the right model", "table", table(found, [shuffled])),
        *(
            (f"Taken for what, by {name}", "confusion", {"matrix": one, "labels": list(found.names)})
            for name, one in found.first.items()
        ),
        ("What this does not show", "text", {"text": LIMIT, "section": "limits"}),
    ]
    run = {"title": "Which score would have recognised the right model?", "design": config.to_json(design)}
    return Report(tuple(rows), run, tuple(panels))


def table(found: Identified, others: Sequence[Identified] = ()) -> dict[str, Any]:
    """The panel's table: a row a score; `others` (shuffled brains) give further columns."""
    rows = []
    for name in found.first:
        cells = ["{:.2f} [{:.2f}, {:.2f}]".format(*one.accuracy(name)) for one in (found, *others)]
        rows.append([name, *cells])
    columns = ["score", "true model came first", *("the same, stimuli shuffled" for _ in others)]
    n = found.n_brains * len(found.names)
    return {"columns": columns, "rows": rows, "caption": f"{n} simulated brains; chance {found.chance:.2f}."}
