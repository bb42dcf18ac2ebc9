"""Do networks group scenes into the same visual concepts once a brain has aligned their channels?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import torch
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

from braindec import checks, config, seeding
from braindec.data import NeuralDataset
from braindec.decoder.rows import applied, fitted_on
from braindec.encoding.voxelwise import ALPHAS
from braindec.evaluate import encode, study
from braindec.evaluate.audit import audited_split
from braindec.evaluate.encode_fits import standardised
from braindec.evaluate.scoring import parse_key
from braindec.maths import ridge
from braindec.maths.factors import RidgeFactors, factorise
from braindec.maths.normalised_cut import labels, normalised_cut
from braindec.types import Report, Score

METRIC = "concept_agreement"
N_FOLDS = 5
WORDS: dict[str, Any] = {
    "systems": {
        "braindec": "one cut of all networks, their channels aligned through the brain",
        "contender": "a cut of each network by its own channels",
        "shuffled": "aligned through responses of other scenes: mean and middle 95 % of refits",
    },
    "null": "the same where responses to training scenes were permuted before channels were aligned",
}
LIMIT = (
    "That two networks group scenes alike does not say what a group is of, nor that the brain groups them so; what "
    "both see and no voxel responds to is left out. The interval is of other held-out scenes; the cut is held fixed."
)


@dataclass(frozen=True)
class Settings:
    """How scenes are cut into concepts.

    Parameters
    ----------
    n_concepts : int
    n_scenes : int
        Training scenes that the cut is made of, drawn at random; all where there are fewer.
    scale : float
        Of likeness (`maths.normalised_cut`).
    n_null : int
        Refits with permuted responses.
    seed : int
    """

    n_concepts: int = 4
    n_scenes: int = 300
    scale: float = 0.5
    n_null: int = 19
    seed: int = 0

    def __post_init__(self) -> None:
        checks.at_least("n_concepts", self.n_concepts, 2)
        checks.at_least("n_scenes", self.n_scenes, self.n_concepts)
        checks.at_least("n_null", self.n_null, 1)


SETTINGS = Settings()
Space = tuple[Tensor, Tensor]  # of training scenes and of held-out ones: (n, dim)


def aligned(channels: Space, factors: RidgeFactors, responses: Tensor) -> Space:
    """A network's scenes on axes that are voxels: each channel is its weights in the encoding model.

    Parameters
    ----------
    channels : pair of Tensor, shapes (n_train, n_channels) and (n_test, n_channels)
    factors : RidgeFactors
        Of the first, with folds.
    responses : Tensor, shape (n_train, n_voxels)

    Returns
    -------
    pair of Tensor, shapes (n_train, n_voxels) and (n_test, n_voxels)
        Predicted responses; those of a training scene by weights that did not see it, as of a held-out one.
    """
    fit = ridge.solve(factors, responses, ALPHAS, per_target=True)
    shown = ridge.held_out_predictions(factors, responses, fit.alpha)
    return shown - fit.intercept, ridge.ridge_predict(channels[1], fit) - fit.intercept


def concepts(spaces: list[Space], settings: Settings = SETTINGS, *, joint: bool = True) -> Tensor:
    """The concept of each held-out scene in each network, int64 (n_test, n_networks).

    Parameters
    ----------
    spaces : list of pairs of Tensor
        A pair for each network: training scenes are cut, held-out ones are then told to which concept they belong.
    settings : Settings
    joint : bool
        One cut of all networks, which need axes in common; else one of each.
    """
    draw = seeding.torch_generator(settings.seed, "concepts", "scenes")
    rows = torch.randperm(len(spaces[0][0]), generator=draw)[: settings.n_scenes]
    shown = [train[rows] for train, _ in spaces]
    groups = [torch.cat(shown)] if joint else shown
    cuts = [normalised_cut(x, settings.n_concepts, scale=settings.scale) for x in groups]
    return torch.stack([labels(cuts[0 if joint else i], test) for i, (_, test) in enumerate(spaces)], 1)


def agreement(found: Tensor) -> float:
    """Mean adjusted Rand index over pairs of networks of their concepts (n_scenes, n_networks); by chance 0."""
    pairs = combinations(found.T.numpy(), 2)
    return float(np.mean([adjusted_rand_score(a, b) for a, b in pairs]))


def compared(
    channels: list[Space], responses: Tensor, settings: Settings = SETTINGS
) -> tuple[Tensor, Tensor, list[float]]:
    """Concepts by one cut of aligned channels, and by cuts of each network's own; agreement of permuted responses.

    Parameters
    ----------
    channels : list of pairs of Tensor, shapes (n_train, n_channels) and (n_test, n_channels)
        Of unit variance at best; two networks or more.
    responses : Tensor, shape (n_train, n_voxels)
    settings : Settings

    Returns
    -------
    concepts, own : int64 Tensor, shape (n_test, n_networks)
    null : list of float, length ``settings.n_null``
    """
    checks.at_least("number of networks", len(channels), 2)
    draw = seeding.torch_generator(settings.seed, "concepts", "folds and null")
    folds = torch.randperm(len(responses), generator=draw).tensor_split(N_FOLDS)
    factors = [factorise(train, folds) for train, _ in channels]

    def through(y: Tensor) -> Tensor:
        return concepts([aligned(x, f, y) for x, f in zip(channels, factors, strict=True)], settings)

    orders = [torch.randperm(len(responses), generator=draw) for _ in range(settings.n_null)]
    null = [agreement(through(responses[order])) for order in orders]
    return through(responses), concepts(channels, settings, joint=False), null


def concept_study(
    dataset: NeuralDataset,
    features: Mapping[str, Tensor],
    settings: Settings = SETTINGS,
    *,
    protocol: str = "heldout_stimuli",
) -> Report:
    """Concepts of held-out scenes in several networks: aligned through each subject, beside each network's own.

    Parameters
    ----------
    dataset : NeuralDataset
        fMRI, with a split.
    features : mapping of str to Tensor, shape (n_stimuli, n_channels)
        Of the dataset's stimuli, by network; two or more.
    settings : Settings
    protocol : str

    Raises
    ------
    LeakageError
        If training and test part share what they must not: found before anything is fitted.
    """
    steps = encode.PREPROCESSING["fmri"]
    audited_split(dataset, steps)
    train, test = dataset.part("train"), dataset.part("test")
    row = {key: i for i, key in enumerate(dataset.stimulus_ids)}
    asked = [row[i] for i in test.stimulus_ids]
    rows: list[Score] = []
    for key, trials in train.trials.items():
        single = torch.from_numpy(applied(fitted_on(steps, trials), trials))
        shown = encode.averaged(trials, single)
        learnt = [row[i] for i in shown.ids]
        channels = [standardised(x[learnt], x[asked]) for x in features.values()]
        rows += _scores(key, *compared(channels, shown.y, settings), settings, protocol)
    return _report(rows, features, settings)


def _scores(
    key: str, found: Tensor, own: Tensor, null: list[float], settings: Settings, protocol: str
) -> list[Score]:
    subject, modality = parse_key(key)

    def scored(labelled: Tensor) -> list[Score]:
        ends = study.jackknife(agreement, labelled, seed=settings.seed)
        return study.scores(
            METRIC, agreement(labelled), ends, null, len(labelled), protocol=protocol, subject=subject,
            modality=modality,
        )  # fmt: skip

    return [*scored(found), replace(scored(own)[0], system="contender", p=None)]


def _report(rows: list[Score], features: Mapping[str, Tensor], settings: Settings) -> Report:
    by = {system: [s for s in rows if s.system == system] for system in WORDS["systems"]}
    said = [
        f"Subject {ours.subject}: {settings.n_concepts} groups of scenes in {len(features)} networks agree with an "
        f"adjusted Rand index of {ours.value:.3f} [{ours.interval[0]:.3f}, {ours.interval[1]:.3f}] on {ours.n} "
        f"held-out scenes (responses permuted {ours.null:.3f}, each network by its own channels {own.value:.3f})."
        for ours, own in zip(by["braindec"], by["contender"], strict=True)
    ]
    series = {words: [s.value for s in by[name]] for name, words in WORDS["systems"].items()}
    names = [f"subject {s.subject}" for s in by["braindec"]]
    limits = {WORDS["systems"]["braindec"]: [s.interval for s in by["braindec"]]}
    bars = study.bars(
        names, series, "adjusted Rand index of two networks' concepts", intervals=limits, chance=0.0
    )
    return study.report(
        "Visual concepts that networks share", said, rows, [("Concepts agree", "regions", bars)], LIMIT,
        settings=config.to_json(settings), networks=list(features), words=WORDS,
    )  # fmt: skip
