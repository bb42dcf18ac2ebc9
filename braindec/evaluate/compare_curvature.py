"""Whether a network's communities hold a brain's neighbours together: curvature of graphs of stimuli, and its flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from scipy.stats import rankdata

from braindec import config, seeding
from braindec.evaluate import compare_sources, study
from braindec.evaluate.scoring import parse_key
from braindec.maths import curvature
from braindec.types import Report, Score

N_NULL = 199
NAMES = ("communities_in_brain", "curved_edges_shared")
LIMIT = (
    "Intervals and nulls speak of other stimuli given these graphs; the graphs are not built anew. Communities of few "
    "stimuli change with the number of neighbours that are joined. Which stimuli are near decides all of this: it is "
    "another look at what RSA compares, not a finding apart from it."
)


@dataclass(frozen=True)
class Settings:
    """What is compared.

    Parameters
    ----------
    network : str
        A feature space, as `compare_sources.other` reads it.
    region : str
    n_conditions : int
        Stimuli of each subject, at most.
    n_neighbours : int
        Each stimulus is joined to so many nearest ones.
    n_rounds : int
        Of the flow.
    seed : int
    """

    network: str = "tiny_openclip"
    region: str = "high"
    n_conditions: int = 80
    n_neighbours: int = 5
    n_rounds: int = 8
    seed: int = 0


def curvature_study(
    folder: Path, settings: Settings = Settings(), *, protocol: str = "heldout_stimuli"
) -> Report:
    """Each subject's graph of neighbours in a region, beside curvature and communities of a network's graph.

    Parameters
    ----------
    folder : path
        Prepared folder of a dataset.
    settings : Settings
    protocol : str

    Notes
    -----
    Communities are found in the network alone, by Ricci flow, and judged by their modularity in the brain's graph;
    beside them as many groups by average linkage. Edges of the network are told by their curvature: do those that the
    brain has lie higher (area under the curve)? The null permutes the network's stimuli.
    """
    found: list[Score] = []
    for subject, brain, network in _geometries(folder, settings):
        found += beside(subject, brain, network, settings, protocol)
    mean = {name: [s for s in found if s.name == name and s.system == "braindec"] for name in NAMES}
    value, null = (
        [float(np.mean([getattr(s, field) for s in mean[name]])) for name in NAMES]
        for field in ("value", "null")
    )
    told = [s.details for s in mean[NAMES[0]]]
    groups = float(np.mean([one["linkage"] for one in told]))
    own = float(np.mean([one["in_network"] for one in told]))
    said = [
        f"Communities of {settings.network} have a modularity of {value[0]:.3f} in the graphs of {len(told)} people's "
        f"{settings.region} region (stimuli permuted {null[0]:.3f}, as many groups by average linkage {groups:.3f}; in "
        f"the network itself {own:.3f}).",
        f"Of its edges those that the brain has are curved more positively in {value[1]:.3f} of pairs (chance 0.5, "
        f"stimuli permuted {null[1]:.3f}).",
    ]
    series = {"Ricci flow": [s.value for s in mean[NAMES[0]]], "average linkage": [one["linkage"] for one in told],
              "stimuli permuted": [s.null for s in mean[NAMES[0]]]}  # fmt: skip
    panels: list[study.Panel] = [
        ("The network's communities in a brain's graph", "regions", study.bars(
            [f"subject {s.subject}" for s in mean[NAMES[0]]], series, "modularity", chance=0.0,
        )),
    ]  # fmt: skip
    return study.report(
        "Do stimuli hang together alike? Curvature and its communities", said, found, panels, LIMIT,
        settings=config.to_json(settings),
    )  # fmt: skip


def beside(
    subject: int,
    brain: np.ndarray,
    network: np.ndarray,
    settings: Settings,
    protocol: str = "heldout_stimuli",
) -> list[Score]:
    """Scores of one subject, from distances (n, n) of the same stimuli in its brain and in a network."""
    theirs, ours = (curvature.neighbour_graph(d, settings.n_neighbours) for d in (network, brain))
    labels = curvature.communities(theirs, settings.n_rounds)
    found = curvature.ollivier_ricci(theirs)
    bent = np.full(theirs.shape, np.nan)
    bent[tuple(found.edges.T)] = bent[tuple(found.edges.T[::-1])] = found.values

    def inside(rows: np.ndarray, order: np.ndarray) -> float:
        return curvature.modularity(ours[np.ix_(rows, rows)], labels[order])

    def shared(rows: np.ndarray, order: np.ndarray) -> float:
        return area(bent[np.ix_(order, order)], ours[np.ix_(rows, rows)])

    told = {
        "linkage": curvature.modularity(ours, _linked(network, labels.max() + 1)),
        "in_network": curvature.modularity(theirs, labels), "n_communities": int(labels.max()) + 1,
    }  # fmt: skip
    return [
        *_scored(NAMES[0], inside, len(ours), settings, protocol, subject=subject, **told),
        *_scored(NAMES[1], shared, len(ours), settings, protocol, subject=subject, chance=0.5),
    ]


def area(values: np.ndarray, joined: np.ndarray) -> float:
    """How often a value (n, n) of a pair that is joined is above that of one that is not; pairs of NaN are left out.

    0.5 where none or all of the pairs are joined.
    """
    pairs = np.triu(~np.isnan(values), 1)
    ranks, hit = rankdata(values[pairs]), joined[pairs]
    n, m = hit.sum(), (~hit).sum()
    return float((ranks[hit].sum() - n * (n + 1) / 2) / (n * m)) if n and m else 0.5


def _geometries(folder: Path, settings: Settings) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Each subject's number, its distances (n, n), and the network's of the same stimuli."""
    choices = compare_sources.Choices(
        modality="fmri", part="all", n_conditions=settings.n_conditions, seed=settings.seed
    )
    dataset = compare_sources.open_dataset(f"{folder}@{settings.region}", choices)
    made = []
    for key in dataset.trials:
        own = compare_sources.brain(settings.region, dataset.select(keys=[key]), choices).rdm.mean("subject")
        network = compare_sources.other(settings.network, dataset, own.conditions, choices).rdm
        made.append((parse_key(key)[0], own.square().numpy(), network.square().numpy()))
    return made


def _linked(distances: np.ndarray, n: int) -> np.ndarray:
    """As many groups by average linkage, labels from 0."""
    tree = linkage(squareform(distances, checks=False), "average")
    return fcluster(tree, n, "maxclust") - 1


def _scored(
    name: str, statistic: Callable[[np.ndarray, np.ndarray], float], n: int, settings: Settings, protocol: str, *,
    subject: int, chance: float = 0.0, **told: float,
) -> list[Score]:  # fmt: skip
    """A score of rows of a brain's and of a network's graph, beside those after the network's were permuted."""
    rng = seeding.numpy_generator(settings.seed, "curvature", name, str(subject))
    rows = np.arange(n)
    nulls = [statistic(rows, rng.permutation(n)) for _ in range(N_NULL)]
    ends = study.jackknife(
        lambda r: statistic(r.numpy(), r.numpy()), torch.from_numpy(rows), seed=settings.seed
    )
    return study.scores(
        name, statistic(rows, rows), ends, nulls, n, protocol=protocol, chance=chance, subject=subject,
        modality="fmri", **told,
    )  # fmt: skip
