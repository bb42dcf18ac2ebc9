"""Where pictures and words meet: electrodes that a multimodal network predicts better than both sides put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from braindec import checks, encoding, seeding
from braindec.evaluate import study
from braindec.stats.auc import roc_auc
from braindec.stats.corrections import fdr
from braindec.types import Report

KINDS = ("vision", "language", "integration", "silent")
UNIMODAL = ("vision", "language", "concatenated")
MULTIMODAL, UNTRAINED = "multimodal", "multimodal, before training"
LEVEL = 0.05
N_READ = 16  # components of pictures and of captions that the multimodal network reads, all of one size
LIMIT = (
    "The electrodes are simulated, and those that integrate do so by products of picture and caption components: a "
    "rule that any wide nonlinear network can approximate. A network that beats linear concatenation may have a better "
    "nonlinearity and need not integrate anything, which is why the same network before training stands beside it."
)


@dataclass(frozen=True)
class Design:
    """A study that is simulated.

    Parameters
    ----------
    n_electrodes : int
        Of each kind: linear in pictures, linear in captions, in products of both, and in nothing.
    n_components : int
        Of pictures and of captions that electrodes are made of.
    ceiling : float
        Share of a response's variance that is signal, in (0, 1].
    n_hidden, n_steps : int
        Of the multimodal network, which learns to tell whether a caption belongs to a picture.
    n_draws : int
        Resamples of test stimuli.
    n_null : int
        Studies with stimuli shuffled.
    seed : int
    """

    n_electrodes: int = 40
    n_components: int = 3
    ceiling: float = 0.5
    n_hidden: int = 512
    n_steps: int = 100
    n_draws: int = 999
    n_null: int = 19
    seed: int = 0

    def __post_init__(self) -> None:
        checks.in_range("ceiling", self.ceiling, 1e-6, 1.0)
        checks.at_least("n_electrodes", self.n_electrodes, 2)


def electrode_study(
    image: Tensor, text: Tensor, design: Design = Design(), *, protocol: str = "heldout_stimuli"
) -> Report:
    """Encoding models of every electrode by five feature spaces, and where the multimodal one is best.

    Parameters
    ----------
    image, text : Tensor, shapes (n, p) and (n, q)
        Embeddings of pictures and of their captions.
    design : Design
    protocol : str

    Notes
    -----
    After Subramaniam et al. 2024, arXiv:2406.14481: a site integrates where the multimodal network predicts it better
    than pictures, words, and both side by side.
    """
    n = checks.same_length("stimulus", image=image, text=text)
    generator = seeding.torch_generator(design.seed, "electrodes")
    order = torch.randperm(n, generator=generator)
    train, test = order[: 2 * n // 3], order[2 * n // 3 :]
    v, w = (_standard(x, train) for x in (image, text))
    spaces = {"vision": v, "language": w, "concatenated": torch.cat([v, w], 1)} | _networks(
        v, w, train, design
    )
    y = _electrodes(v, w, design, generator)
    kind = np.repeat(np.arange(len(KINDS)), design.n_electrodes)
    made = _predicted(spaces, y, train, test)
    r = {name: _correlation(p, y[test]).numpy() for name, p in made.items()}
    p = _better(made, y[test], design)
    gain, site = _gain(r), fdr(p) < LEVEL
    planted = kind == KINDS.index("integration")
    area = roc_auc(gain, planted)
    nulls = [_null(spaces, y, train, test, planted, design, i) for i in range(design.n_null)]
    found = study.scores(
        "integration_told", area.value, (area.interval.low, area.interval.high), nulls, len(kind), chance=0.5,
        subject="electrodes", modality="ieeg", protocol=protocol,
        hits=float(site[planted].mean()), false_alarms=float(site[~planted].mean()),
    )  # fmt: skip
    untrained = _gain({**r, MULTIMODAL: r[UNTRAINED]})
    said = [
        f"The gain of the multimodal network over pictures, words and both side by side tells planted integration "
        f"sites from other electrodes with an area of {area.value:.3f} "
        f"[{area.interval.low:.2f}, {area.interval.high:.2f}] "
        f"(stimuli shuffled {np.mean(nulls):.3f}).",
        f"At a false discovery rate of {LEVEL:g}, {site[planted].sum()} of {planted.sum()} planted sites and "
        f"{site[~planted].sum()} of {(~planted).sum()} others are called integrating.",
        f"The same network before training reaches an area of {roc_auc(untrained, planted).value:.3f}; on the planted "
        f"sites trained {r[MULTIMODAL][planted].mean():.3f}, before training {r[UNTRAINED][planted].mean():.3f}.",
    ]
    panels: list[study.Panel] = [
        ("How well each kind of electrode is predicted", "regions", study.bars(
            [f"{k} electrodes" for k in KINDS],
            {name: [values[kind == k].mean() for k in range(len(KINDS))] for name, values in r.items()},
            f"correlation on {len(test)} new stimuli",
            intervals={name: [_spread(values[kind == k]) for k in range(len(KINDS))] for name, values in r.items()},
        )),
        ("Gain of the multimodal network, electrode by electrode", "curve", study.lines(
            np.arange(1, design.n_electrodes + 1),
            {k: np.sort(gain[kind == i])[::-1] for i, k in enumerate(KINDS)},
            "electrode, sorted", "multimodal less the best other",
        )),
        ("Called integrating", "table", {
            "columns": ["electrodes", "n", "called integrating", "mean gain"],
            "rows": [
                [k, int((kind == i).sum()), int(site[kind == i].sum()), f"{gain[kind == i].mean():+.3f}"]
                for i, k in enumerate(KINDS)
            ],
        }),
    ]  # fmt: skip
    return study.report("Where pictures and words meet", said, found, panels, LIMIT, stimuli=n)


def _standard(x: Tensor, train: Tensor) -> Tensor:
    x = x.float()
    return (x - x[train].mean(0)) / x[train].std(0).clamp_min(1e-6)


def _components(x: Tensor, n: int) -> Tensor:
    u = torch.linalg.svd((x - x.mean(0)).double(), full_matrices=False).U[:, :n]
    return u * len(x) ** 0.5


def _electrodes(v: Tensor, w: Tensor, design: Design, generator: torch.Generator) -> Tensor:
    """Responses (n, electrode) of all kinds in turn, variance 1."""
    a, b = (_components(x, design.n_components) for x in (v, w))
    products = (a[:, :, None] * b[:, None, :]).flatten(1)
    both = torch.cat([a, b], 1)
    products = products - both @ torch.linalg.lstsq(both, products).solution  # what no linear model has
    out = []
    for basis in (a, b, products, torch.zeros(len(v), 1, dtype=torch.float64)):
        weights = torch.randn(basis.shape[1], design.n_electrodes, generator=generator, dtype=torch.float64)
        signal = basis @ weights
        signal = signal / signal.std(0).clamp_min(1e-12)
        noise = torch.randn(signal.shape, generator=generator, dtype=torch.float64)
        out.append(design.ceiling**0.5 * signal + (1 - design.ceiling) ** 0.5 * noise)
    return torch.cat(out, 1).float()


def _networks(v: Tensor, w: Tensor, train: Tensor, design: Design) -> dict[str, Tensor]:
    """Hidden units of a network that tells captions that belong to a picture from others, trained and as it began."""
    with seeding.seeded(design.seed, "multimodal network"):
        v, w = (_standard(_components(x, N_READ).float(), train) for x in (v, w))
        hidden = torch.nn.Linear(2 * N_READ, design.n_hidden)
        out = torch.nn.Linear(design.n_hidden, 1)
    generator = seeding.torch_generator(design.seed, "multimodal training")
    with torch.no_grad():
        before = torch.relu(hidden(torch.cat([v, w], 1)))
    optimiser = torch.optim.AdamW([*hidden.parameters(), *out.parameters()], lr=1e-3, weight_decay=0.01)
    for _ in range(design.n_steps):
        rows = train[torch.randint(len(train), (128,), generator=generator)]
        belongs = torch.rand(len(rows), generator=generator) < 0.5
        other = train[torch.randint(len(train), (len(rows),), generator=generator)]
        captions = torch.where(belongs, rows, other)
        said = out(torch.relu(hidden(torch.cat([v[rows], w[captions]], 1))))[:, 0]
        optimiser.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(said, belongs.float()).backward()
        optimiser.step()
    with torch.no_grad():
        after = torch.relu(hidden(torch.cat([v, w], 1)))
    return {MULTIMODAL: _standard(after, train), UNTRAINED: _standard(before, train)}


def _predicted(spaces: Mapping[str, Tensor], y: Tensor, train: Tensor, test: Tensor) -> dict[str, Tensor]:
    return {
        name: encoding.fit(x[train], y[train], folds=4, score="correlation").predict(x[test])
        for name, x in spaces.items()
    }


def _correlation(made: Tensor, truth: Tensor, weights: Tensor | None = None) -> Tensor:
    """Correlation of each electrode, (electrode,); under counts of stimuli (draw, n), (draw, electrode)."""
    a, b = made.double(), truth.double()
    w = torch.full((1, len(a)), 1 / len(a), dtype=torch.float64) if weights is None else weights
    ma, mb = w @ a, w @ b
    covariance = w @ (a * b) - ma * mb
    spread = ((w @ a.square() - ma.square()) * (w @ b.square() - mb.square())).clamp_min(1e-24).sqrt()
    found = covariance / spread
    return found[0] if weights is None else found


def _gain(r: Mapping[str, np.ndarray]) -> np.ndarray:
    found: np.ndarray = r[MULTIMODAL] - np.max([r[name] for name in UNIMODAL], 0)
    return found


def _better(made: Mapping[str, Tensor], truth: Tensor, design: Design) -> np.ndarray:
    """p of "not better than each of the others", test stimuli resampled: the largest over the three."""
    n = len(truth)
    counts = seeding.numpy_generator(design.seed, "electrode draws").multinomial(
        n, np.full(n, 1 / n), design.n_draws
    )
    weights = torch.from_numpy(counts / n)
    r = {name: _correlation(made[name], truth, weights).numpy() for name in (MULTIMODAL, *UNIMODAL)}
    each = [((r[MULTIMODAL] <= r[name]).sum(0) + 1) / (design.n_draws + 1) for name in UNIMODAL]
    return np.max(each, 0)


def _null(
    spaces: Mapping[str, Tensor],
    y: Tensor,
    train: Tensor,
    test: Tensor,
    planted: np.ndarray,
    design: Design,
    draw: int,
) -> float:
    """The area where everything is fitted again to responses of other stimuli."""
    generator = seeding.torch_generator(design.seed, "electrode null", draw)
    other = y.clone()
    other[train] = y[train][torch.randperm(len(train), generator=generator)]
    used = {name: spaces[name] for name in (MULTIMODAL, *UNIMODAL)}
    made = _predicted(used, other, train, test)
    r = {name: _correlation(p, y[test]).numpy() for name, p in made.items()}
    return float(roc_auc(_gain(r), planted).value)


def _spread(values: np.ndarray) -> tuple[float, float]:
    half = 2.0 * values.std(ddof=1) / len(values) ** 0.5
    return float(values.mean() - half), float(values.mean() + half)
