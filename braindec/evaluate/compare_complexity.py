"""Same computation, other geometry: how much of a likeness is due to what is simple, or was learnt first.

Networks learn a simple and a complex feature of the same inputs until they compute both without error. What does it do
to variance, distances, CKA and encoding scores that one of the two is a bit of the input, and the other a parity?
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks, config, registry, seeding
from braindec.evaluate import study
from braindec.stats.intervals import t_interval
from braindec.types import Report, Score

OUTPUTS = ("simple", "complex", "as simple")
# What each network is taught in the first and in the second half of its training.
TAUGHT = {
    "both": (("simple", "complex"), ("simple", "complex")),
    "simple alone": (("simple",), ("simple",)),
    "complex alone": (("complex",), ("complex",)),
    "simple first": (("simple",), ("simple", "complex")),
    "complex first": (("complex",), ("simple", "complex")),
    "two simple": (("simple", "as simple"), ("simple", "as simple")),
    "as simple alone": (("as simple",), ("as simple",)),
}
MEASURES = {"rsa_rho_a": "distances (rho-a)", "cka": "CKA", "predictivity": "encoding"}
MOST_FLIPS = 6  # networks of whose signs all combinations are tried
N_FLIPS = 199
LIMIT = (
    "Small networks on random bits, one architecture and one optimiser: how large the bias is elsewhere is not "
    "measured here, and other pairs of features need not differ so. That two features are computed without error is no "
    "measure of how far a brain uses them."
)


@dataclass(frozen=True)
class Settings:
    """Networks, what they learn, and what they are compared on.

    Parameters
    ----------
    n_bits : int
        Of an input, each -1 or 1; half of all inputs are learnt from.
    n_parity : int
        Bits whose product is the complex feature.
    width : int
        Units of each of two hidden layers; the second is compared.
    n_networks : int
        Of every kind, each with weights and batches of its own.
    n_steps, batch_size, lr
        Of Adam.
    n_stimuli : int
        Held-out inputs that representations are compared on.
    seed : int
    """

    n_bits: int = 12
    n_parity: int = 3
    width: int = 64
    n_networks: int = 6
    n_steps: int = 800
    batch_size: int = 128
    lr: float = 2e-3
    n_stimuli: int = 300
    seed: int = 0

    def __post_init__(self) -> None:
        checks.in_range("n_parity", self.n_parity, 2, self.n_bits - 2)
        checks.at_least("n_networks", self.n_networks, 3)


@dataclass(frozen=True, eq=False)
class Grown:
    """Trained networks of every kind.

    Parameters
    ----------
    layers : mapping of str to Tensor, shape (network, stimulus, unit)
        The second hidden layer, by kind, of the same held-out inputs.
    features : mapping of str to Tensor, shape (stimulus,)
        -1 or 1.
    accuracy : mapping of str to (mapping of str to float)
        By kind and output that it was taught: worst network, all held-out inputs.
    """

    layers: Mapping[str, Tensor]
    features: Mapping[str, Tensor]
    accuracy: Mapping[str, Mapping[str, float]]


def grow(settings: Settings = Settings()) -> Grown:
    """Trains all networks side by side, then shows them held-out inputs."""
    generator = seeding.torch_generator(settings.seed, "complexity")
    bits = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=settings.n_bits)))
    bits = bits[torch.randperm(len(bits), generator=generator)]
    wanted = torch.stack([bits[:, 0], bits[:, 1 : 1 + settings.n_parity].prod(1), bits[:, -1]], 1)
    half = len(bits) // 2
    kinds = [kind for kind in TAUGHT for _ in range(settings.n_networks)]
    weights = _trained(bits[:half], wanted[:half], kinds, settings, generator)
    with torch.no_grad():
        layer, made = _through(weights, bits[half:].expand(len(kinds), -1, -1))
    right = ((made > 0) == (wanted[half:] > 0)).double().mean(1)  # (network, output)
    rows = {kind: [i for i, k in enumerate(kinds) if k == kind] for kind in TAUGHT}
    column = {name: i for i, name in enumerate(OUTPUTS)}
    accuracy = {
        kind: {name: float(right[rows[kind], column[name]].min()) for name in TAUGHT[kind][1]}
        for kind in TAUGHT
    }
    shown = slice(0, settings.n_stimuli)
    layers = {kind: layer[i][:, shown].double() for kind, i in rows.items()}
    return Grown(layers, {n: wanted[half:][shown, i].double() for n, i in column.items()}, accuracy)


def shares(layer: Tensor, features: Mapping[str, Tensor]) -> dict[str, float]:
    """Share of a layer's variance (stimulus, unit) along each of some features (stimulus,), fitted together."""
    names = list(features)
    x = torch.stack([f - f.mean() for f in features.values()], 1)
    y = layer - layer.mean(0)
    weights = torch.linalg.lstsq(x, y).solution  # (feature, unit)
    total = y.square().sum()
    return {
        n: float((x[:, i].square().sum() * weights[i].square().sum()) / total) for i, n in enumerate(names)
    }


def complexity_study(settings: Settings = Settings(), *, protocol: str = "planted") -> Report:
    """What complexity and order do to geometries of networks that compute the same.

    Parameters
    ----------
    settings : Settings
    protocol : str
        What the scores are filed under.

    Notes
    -----
    After Lampinen et al. 2024, arXiv:2405.05847. Of every measure the *bias* is the likeness of a network that computes
    both features to one that computes the simple feature alone, less its likeness to one that computes the complex
    feature alone. Its null is the same between two features of one complexity, whose names are exchanged at random.
    The bias of order is the complex feature's share of variance where it was learnt first, less that where it was
    learnt second; its null, differences of networks that learnt both at once.
    """
    grown = grow(settings)
    worst = min(v for by in grown.accuracy.values() for v in by.values())
    of_variance = {
        kind: np.array([list(shares(one, grown.features).values()) for one in grown.layers[kind]])
        for kind in TAUGHT
    }  # (network, feature)
    both, plain = of_variance["both"], of_variance["two simple"]
    found = _scores(
        "complexity_bias_variance", both[:, 0] - both[:, 1], plain[:, 0] - plain[:, 2], settings, protocol,
        of_simple=float(both[:, 0].mean()), of_complex=float(both[:, 1].mean()),
    )  # fmt: skip
    alike: dict[str, dict[str, float]] = {}
    for name, words in MEASURES.items():
        simple, parity = (_likeness(name, grown, "both", k) for k in ("simple alone", "complex alone"))
        one, other = (_likeness(name, grown, "two simple", k) for k in ("simple alone", "as simple alone"))
        alike[words] = {"simple alone": float(simple.mean()), "complex alone": float(parity.mean())}
        found += _scores(
            f"complexity_bias_{name}", simple - parity, one - other, settings, protocol,
            to_simple=float(simple.mean()), to_complex=float(parity.mean()),
        )  # fmt: skip
    late, early = (of_variance[k][:, 1] for k in ("simple first", "complex first"))
    found += _scores(
        "order_bias_variance", early - late, both[:, 1] - np.roll(both[:, 1], 1), settings, protocol,
        complex_first=float(early.mean()), simple_first=float(late.mean()),
    )  # fmt: skip
    said = [
        f"Networks that compute a bit and a parity of {settings.n_parity} bits (right for {worst:.3f} of held-out "
        f"inputs or more) spend {both[:, 0].mean():.3f} of their second layer's variance on the bit and "
        f"{both[:, 1].mean():.3f} on the parity.",
        *(
            f"By {words} they are like networks of the bit alone in {v['simple alone']:.3f}, like networks of the "
            f"parity alone in {v['complex alone']:.3f}."
            for words, v in alike.items()
        ),
        f"The parity has {early.mean():.3f} of the variance where it was learnt first, {late.mean():.3f} where second.",
        *(f"{s.name.replace('_', ' ')} {s.value:+.3f} [{s.interval[0]:+.3f}, {s.interval[1]:+.3f}], null "
          f"{s.null:+.3f} [{t.interval[0]:+.3f}, {t.interval[1]:+.3f}]." for s, t in zip(found[::2], found[1::2])),
    ]  # fmt: skip
    kinds = [k for k in TAUGHT if "complex" in TAUGHT[k][1]]
    series = {name: [of_variance[k][:, i].mean() for k in kinds] for i, name in enumerate(OUTPUTS[:2])}
    panels: list[study.Panel] = [
        ("What the second layer's variance is of", "regions", study.bars(
            kinds, series, "share of variance", caption=f"Every output is right for at least {worst:.3f} of inputs.",
        )),
        ("How alike the network of both features is to networks of one", "regions", study.bars(
            list(alike), {k: [v[k] for v in alike.values()] for k in ("simple alone", "complex alone")}, "likeness",
        )),
    ]  # fmt: skip
    return study.report("Same computation, other geometry", said, found, panels, LIMIT,
                        accuracy=grown.accuracy, settings=config.to_json(settings))  # fmt: skip


def _trained(
    x: Tensor, y: Tensor, kinds: list[str], settings: Settings, generator: torch.Generator
) -> list[Tensor]:
    """Weights and biases of all networks, (network, ...) each, after Adam on logistic losses."""
    n, p, w = len(kinds), settings.n_bits, settings.width
    weights = []
    for fan_in, fan_out in ((p, w), (w, w), (w, len(OUTPUTS))):
        weights.append(torch.randn(n, fan_in, fan_out, generator=generator) * (2 / fan_in) ** 0.5)
        weights.append(torch.zeros(n, 1, fan_out))
    for one in weights:
        one.requires_grad_()
    masks = [
        torch.tensor([[float(name in TAUGHT[kind][part]) for name in OUTPUTS] for kind in kinds])
        for part in (0, 1)
    ]
    optimiser = torch.optim.Adam(weights, lr=settings.lr)
    for step in range(settings.n_steps):
        rows = torch.randint(len(x), (n, settings.batch_size), generator=generator)
        _, made = _through(weights, x[rows])
        loss = torch.nn.functional.softplus(-made * y[rows]).mean(1)  # (network, output)
        optimiser.zero_grad()
        (loss * masks[2 * step >= settings.n_steps]).sum().backward()
        optimiser.step()
    return [one.detach() for one in weights]


def _through(weights: list[Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """(second hidden layer, outputs) of inputs (network, row, bit)."""
    first, b1, second, b2, last, b3 = weights
    layer = (torch.baddbmm(b2, torch.baddbmm(b1, x, first).relu(), second)).relu()
    return layer, torch.baddbmm(b3, layer, last)


def _likeness(measure: str, grown: Grown, kind: str, other: str) -> np.ndarray:
    """A measure (network,) of each network of a kind beside one of another kind, never of the same number."""
    rule = _measure(measure)
    sides = grown.layers[other].roll(1, 0)
    return np.array([float(rule(a, b)) for a, b in zip(sides, grown.layers[kind], strict=True)])


def _measure(name: str) -> Any:
    found = {
        n: m
        for k in ("rsa", "cka", "predictivity")
        for n, m in registry.load("similarity", k).MEASURES.items()
    }
    return checks.known_key("measure", name, found)


def _scores(
    name: str, values: np.ndarray, nulls: np.ndarray, settings: Settings, protocol: str, **details: Any
) -> list[Score]:
    """Mean over networks, with means of the null's values after their signs were exchanged."""
    n = len(values)
    signs = np.array(list(itertools.product((-1, 1), repeat=n))) if n <= MOST_FLIPS else (
        seeding.numpy_generator(settings.seed, "names exchanged", name).choice([-1, 1], (N_FLIPS, n))
    )  # fmt: skip
    ends = t_interval(float(values.mean()), float(values.std(ddof=1) / n**0.5), n)
    return study.scores(
        name, values.mean(), (ends.low, ends.high), (signs * nulls).mean(1), n, protocol=protocol, **details
    )
