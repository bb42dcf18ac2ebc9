"""A network guided by another's geometry, or a brain's, layer by layer: CKA as an aim of training beside the task."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from braindec import checks, config, registry, seeding
from braindec.data import NeuralDataset
from braindec.evaluate import compare_sources, study
from braindec.losses import cka
from braindec.maths.principal import principal_components
from braindec.stats.intervals import t_interval
from braindec.types import Report, Score

LIMIT = (
    "One small architecture on small pictures, without augmentation and without a search for what trains it best: that "
    "guidance helps here says that the guide knows what the task needs and the network does not find it alone. Guides "
    "saw pictures of this kind before; the network without one did not. Intervals are over networks, stimuli as "
    "they are."
)


@dataclass(frozen=True)
class Settings:
    """The network that is guided, and how it is trained.

    Parameters
    ----------
    width : int
        Units of every hidden layer; there are as many of these as a guide has layers.
    n_steps, batch_size, lr, weight_decay
        Of AdamW.
    strength : float
        Of guidance: weight of the mean over layers of 1 - CKA beside the cross-entropy of the task.
    n_components : int
        Leading principal components of a guide's layer that guide: CKA knows no rotation, only the rest is lost.
    n_networks : int
        Of every kind, each with weights and batches of its own, >= 2.
    seed : int
    """

    width: int = 128
    n_steps: int = 250
    batch_size: int = 128
    lr: float = 1e-3
    weight_decay: float = 1e-2
    strength: float = 1.0
    n_components: int = 128
    n_networks: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        checks.at_least("n_networks", self.n_networks, 2)
        checks.at_least("strength", self.strength, 0.0)


class Layered(nn.Module):
    """Fully connected layers whose activations are all returned.

    Parameters
    ----------
    n_inputs, width, n_layers, n_classes : int
    """

    def __init__(self, n_inputs: int, width: int, n_layers: int, n_classes: int) -> None:
        super().__init__()
        sizes = [n_inputs, *[width] * n_layers]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.head = nn.Linear(width, n_classes)

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Activations (row, width) of every hidden layer, and logits (row, class)."""
        layers = []
        for one in self.hidden:
            x = one(x).relu()
            layers.append(x)
        return layers, self.head(x)


def train_guided(
    x: Tensor, y: Tensor, guide: Sequence[Tensor] | None, n_layers: int, settings: Settings, number: int
) -> Layered:
    """A network that classifies and, where there is a guide, lays stimuli out as the guide's layers do.

    Parameters
    ----------
    x : Tensor, shape (stimulus, input)
    y : int64 tensor, shape (stimulus,)
    guide : sequence of Tensor, shapes (stimulus, dim), or None
        A target for each hidden layer, early to late.
    n_layers : int
        Hidden layers.
    settings : Settings
    number : int
        Of the network: equal numbers begin from equal weights and see equal batches.

    Notes
    -----
    After Subramaniam et al. 2024 (arXiv:2410.20035), where deep or recurrent networks are guided by others.
    """
    if guide is not None and len(guide) != n_layers:
        raise ValueError(f"the guide has {len(guide)} layers, the network {n_layers}; each needs its own.")
    with seeding.seeded(settings.seed, "guided network", number):
        network = Layered(x.shape[1], settings.width, n_layers, int(y.max()) + 1)
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    generator = seeding.torch_generator(settings.seed, "guided batches", number)
    size = min(settings.batch_size, len(x))
    for _ in range(settings.n_steps):
        rows = torch.randperm(len(x), generator=generator)[:size]
        layers, logits = network(x[rows])
        loss = nn.functional.cross_entropy(logits, y[rows])
        if guide is not None:
            away = [cka.away(made, wanted[rows]) for made, wanted in zip(layers, guide, strict=True)]
            loss = loss + settings.strength * torch.stack(away).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval()


def alignment(network: Layered, x: Tensor, guide: Sequence[Tensor]) -> np.ndarray:
    """Debiased CKA (layer,) of a network's layers with a guide's, of stimuli (stimulus, input)."""
    rule = registry.load("similarity", "cka").MEASURES["cka"]
    with torch.no_grad():
        layers, _ = network(x)
    return np.array([float(rule(a.double(), b.double())) for a, b in zip(layers, guide, strict=True)])


def accuracy(network: Layered, x: Tensor, y: Tensor) -> float:
    """Share of stimuli whose class is named."""
    with torch.no_grad():
        return float((network(x)[1].argmax(1) == y).double().mean())


def guided_study(
    x: Tensor,
    labels: np.ndarray,
    guides: Mapping[str, Sequence[Tensor]],
    train: np.ndarray,
    settings: Settings = Settings(),
    *,
    protocol: str = "heldout_stimuli",
) -> Report:
    """Networks trained with each guide, without one, and with each guide's stimuli permuted.

    Parameters
    ----------
    x : Tensor, shape (stimulus, input)
    labels : array, shape (stimulus,)
        Classes; those of the other stimuli are among those that are trained on.
    guides : mapping of str to sequence of Tensor, shapes (stimulus, dim)
        Early to late; equally many layers each.
    train : bool array, shape (stimulus,)
        What is trained on; the others judge.
    settings : Settings
    protocol : str
        What the scores are filed under.

    Returns
    -------
    Report
        Of each guide, held out: the mean over layers of CKA with it, and the share of stimuli that are classified.
        The null of both is a network of the same first weights and the same batches, guided by other stimuli.
    """
    n = checks.same_length("stimulus", x=x, labels=labels, train=train)
    (n_layers,) = {len(guide) for guide in guides.values()}
    y = torch.from_numpy(np.unique(labels, return_inverse=True)[1])
    here, there = (torch.from_numpy(np.flatnonzero(rows)) for rows in (train, ~train))
    mean, spread = x[here].mean(0), x[here].std(0).clamp_min(1e-6)
    x = ((x - mean) / spread).float()
    chance = float(torch.bincount(y[there]).max() / len(there))
    alone = [train_guided(x[here], y[here], None, n_layers, settings, i) for i in range(settings.n_networks)]
    plain = np.array([accuracy(one, x[there], y[there]) for one in alone])
    found: list[Score] = []
    said = [
        f"Without a guide {plain.mean():.3f} of {len(there)} new stimuli are classified (commonest {chance:.3f})."
    ]
    by_layer: dict[str, np.ndarray] = {}
    for name, guide in guides.items():
        drawn = [_leading(layer.float(), here, settings) for layer in guide]
        wanted = [layer[there] for layer in guide]
        made: dict[bool, list[tuple[np.ndarray, float]]] = {False: [], True: []}
        for wrong in made:
            for i in range(settings.n_networks):
                order = here[torch.randperm(len(here), generator=_generator(settings, i))] if wrong else here
                one = train_guided(x[here], y[here], [v[order] for v in drawn], n_layers, settings, i)
                made[wrong].append((alignment(one, x[there], wanted), accuracy(one, x[there], y[there])))
        aligned, right = ({w: np.array([np.mean(v[k]) for v in made[w]]) for w in made} for k in (0, 1))
        before = np.array([alignment(one, x[there], wanted).mean() for one in alone])
        word = name.replace(" ", "_")
        common: dict[str, Any] = {"protocol": protocol, "guide": name}
        found += study.scores(f"aligned_with_{word}", *_mean(aligned[False]), aligned[True], len(there),
                              unguided=float(before.mean()), **common)  # fmt: skip
        found += study.scores(f"accuracy_guided_by_{word}", *_mean(right[False]), right[True], len(there),
                              chance=chance, unguided=float(plain.mean()), **common)  # fmt: skip
        gain, ends = _mean(right[False] - plain)
        said.append(
            f"Guided by {name}: {right[False].mean():.3f} classified ({gain:+.3f} [{ends[0]:+.3f}, {ends[1]:+.3f}] "
            f"beside no guide), permuted {right[True].mean():.3f}; CKA of new stimuli {aligned[False].mean():.3f}, "
            f"without a guide {before.mean():.3f}, permuted {aligned[True].mean():.3f}."
        )
        by_layer[name] = np.mean([v[0] for v in made[False]], 0)
    panels: list[study.Panel] = [
        ("New stimuli classified", "regions", study.bars(
            [s.details["guide"] for s in found if _is(s, "accuracy")],
            {"guided": [s.value for s in found if _is(s, "accuracy")],
             "guided by permuted stimuli": [s.null for s in found if _is(s, "accuracy")],
             "not guided": [plain.mean() for _ in guides]},
            "share of new stimuli", chance=chance,
        )),
        ("Likeness to the guide, layer by layer", "curve", study.lines(
            np.arange(1, n_layers + 1), by_layer, "layer", "CKA of new stimuli",
        )),
    ]  # fmt: skip
    return study.report("Guided by another's geometry", said, found, panels, LIMIT, stimuli=n,
                        settings=config.to_json(settings))  # fmt: skip


def network_guides(
    dataset: NeuralDataset, layers: Sequence[str], cache: Path, seed: int = 0
) -> dict[str, list[Tensor]]:
    """Features of a network's layers (`encode_features`, early to late), and of the same layers before training."""
    untrained = [f"{layer}!random" if "@" in layer else f"{layer}@visual!random" for layer in layers]
    spaces = study.features(dataset, [*layers, *untrained], cache, seed)
    return {
        "a network": [spaces[layer] for layer in layers],
        "it untrained": [spaces[layer] for layer in untrained],
    }


def brain_guide(
    data: Any, folder: Path, regions: Sequence[str], ids: Sequence[str], seed: int = 0
) -> list[Tensor]:
    """Mean responses (stimulus, voxel) of each region of one subject, early to late, of these stimuli.

    Parameters
    ----------
    data : NeuralData
        Of a recipe; one subject.
    folder : path
        Of the prepared dataset.
    regions, ids : sequence of str
    seed : int
    """
    choices = compare_sources.Choices(distance="correlation", part="all", n_conditions=len(ids), seed=seed)
    found = []
    for region in regions:
        dataset: NeuralDataset = replace(data, region=region).read(folder)
        made = compare_sources.brain(region, dataset, choices, ids)
        found.append(torch.from_numpy(made.patterns[0]).float())
    return found


def _leading(layer: Tensor, rows: Tensor, settings: Settings) -> Tensor:
    """Scores (stimulus, component) on the leading principal axes of some rows."""
    n = min(settings.n_components, len(rows) - 1)
    if layer.shape[1] <= n:
        return layer
    found = principal_components(layer[rows], n, seeding.torch_generator(settings.seed, "guide's components"))
    return ((layer.double() - found.mean) @ found.directions.T).to(layer.dtype)


def _generator(settings: Settings, number: int) -> torch.Generator:
    return seeding.torch_generator(settings.seed, "guide of others", number)


def _mean(values: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Mean over networks and its 95 % interval."""
    n = len(values)
    ends = t_interval(float(values.mean()), float(values.std(ddof=1) / n**0.5), n)
    return float(values.mean()), (ends.low, ends.high)


def _is(score: Score, what: str) -> bool:
    return score.system == "braindec" and score.name.startswith(what)
