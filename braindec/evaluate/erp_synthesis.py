"""Epochs made to order by a diffusion, beside recorded ones of runs that it never saw, and beside a Gaussian's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from braindec import checks, seeding, synthesis
from braindec.data import NeuralDataset, Split
from braindec.data.bids import natural
from braindec.data.preprocessing import Preprocessing
from braindec.evaluate import erp_synthesis_report, erp_synthesis_scores
from braindec.evaluate.audit import audited_split
from braindec.evaluate.erp_recordings import Recording, recorded
from braindec.evaluate.erp_synthesis_scores import Fold
from braindec.stats.permutation import permute_within_blocks
from braindec.synthesis import Config, Epochs, Factors, measures
from braindec.synthesis.measures import Component
from braindec.types import Report

P300 = Component("P300", (0.25, 0.6), 1, difference=True)
NEARLY = 0.02  # of an area under the ROC
N170 = Component("N170", (0.13, 0.22), -1)


@dataclass(frozen=True)
class Settings:
    """What is made and how it is judged.

    Parameters
    ----------
    target : str
        The class whose ERP less that of the other makes the difference wave.
    components : tuple of synthesis.measures.Component
    guidances : tuple of float
        Of which the least is chosen that teaches a classifier as well as any, on the last training unit of every
        subject. Where a classifier has few trials, guidance is 1: there is nothing to choose it on.
    n_made : int
        Epochs made for each training trial.
    n_few : int
        Trials of each cell where a classifier has few, with and without made ones.
    n_null : int
        Diffusions fitted on classes shuffled within each subject's sessions, their guidance chosen again.
    bin_s : float
        Features of classifiers are means over this long, seconds.
    band_hz : (float, float)
        Spectra are compared in this band.
    model : synthesis.Config
    seed : int
    """

    target: str = "target"
    components: tuple[Component, ...] = (P300, N170)
    guidances: tuple[float, ...] = (0.0, 1.0, 1.5, 2.0, 3.0)
    n_made: int = 3
    n_few: int = 6
    n_null: int = 3
    bin_s: float = 0.05
    band_hz: tuple[float, float] = (1.0, 30.0)
    model: Config = field(default_factory=Config)
    seed: int = 0

    def __post_init__(self) -> None:
        checks.at_least("number of components", len(self.components), 1)
        checks.at_least("number of guidances", len(self.guidances), 1)
        for name in ("n_made", "n_null"):
            checks.at_least(name, getattr(self, name), 1)
        checks.at_least("n_few", self.n_few, 2)


SETTINGS = Settings()


def erp_synthesis(
    dataset: NeuralDataset,
    folds: Sequence[Split],
    *,
    label_column: str,
    preprocessing: Preprocessing | None = None,
    settings: Settings = SETTINGS,
    protocol: str = "heldout_runs",
    out_dir: Path | None = None,
) -> Report:
    """Fits a diffusion over epochs on the training part of every fold, and judges what it makes by the test part.

    Parameters
    ----------
    dataset : NeuralDataset
        Epochs of one or several subjects with the same channels; every subject and session occurs in both parts.
    folds : sequence of Split
        By run, or by another unit that lies within sessions.
    label_column : str
        Column with each trial's class; two occur.
    preprocessing : Preprocessing, optional
        Fitted on each subject's training trials; must leave (trial, channel, time).
    settings : Settings
    protocol : str
        Name that the scores carry.
    out_dir : Path, optional
        Where the diffusion of the last fold is saved, in a folder ``generator``.

    Returns
    -------
    Report
        By subject: a classifier taught by made epochs, ERPs, peaks, spectra, trial-to-trial spread, distributions, and
        whether made epochs are copies; of the diffusion, a Gaussian, made ERPs without noise, recorded training trials,
        and diffusions fitted on shuffled classes.

    Raises
    ------
    LeakageError
        If training and test part share what they must not.
    ValueError
        If channels differ between subjects, there are not two classes, a session lacks one in a part, or a
        subject's training part has one unit only.
    """
    done = []
    for number, split in enumerate(folds):
        whole = dataset.with_split(split)
        audited_split(whole, preprocessing)
        recording = recorded(whole, label_column, settings.target, preprocessing or Preprocessing())
        done.append(_fold(recording, settings, number))
    if out_dir is not None:
        synthesis.save(done[-1].model, out_dir / "generator")
    scores, found = erp_synthesis_scores.judge(done, settings, protocol)
    return erp_synthesis_report.report(scores, found, done, settings)


def _fold(recording: Recording, settings: Settings, number: int) -> Fold:
    """Everything that is fitted on one training part."""
    train, factors, seed = recording.train, recording.factors, settings.seed
    guided = _guidance(recording, settings)
    chosen = replace(settings.model, guidance=least_guidance(settings.guidances, guided["auc"]))
    plain = replace(settings.model, guidance=1.0)
    codes = train.codes.repeat(settings.n_made, 1)

    def draw(*purpose: object) -> torch.Generator:
        return seeding.torch_generator(seed, "erp synthesis", number, *purpose)

    model = synthesis.fit(train, factors, chosen, seed)
    gaussian = synthesis.fit_gaussian(train)
    made = {
        "braindec": Epochs(model.sample(codes, draw("made")), codes),
        "contender": Epochs(gaussian.sample(codes, draw("gaussian")), codes),
        "mean": Epochs(gaussian.sample(train.codes, draw("mean"), noise=0.0), train.codes),
        "oracle": train,
    }
    few = train.take(_few(train.codes, settings.n_few, draw("few")))
    augmented = {"scratch": few} | _augmented(few, factors, plain, seed, draw)
    nulls, few_nulls, chosen_again = [], [], []
    last = last_units(recording)
    for i in range(settings.n_null):
        dealt = seeding.numpy_generator(seed, "erp synthesis", number, "null", i)
        # The last units keep their numbers of each class: guidance is chosen on both.
        wrong = shuffled_classes(train, last, dealt)
        again = _guidance(replace(recording, train=wrong), settings)
        chosen_again.append(least_guidance(settings.guidances, again["auc"]))
        null = synthesis.fit(wrong, factors, replace(settings.model, guidance=chosen_again[-1]), seed)
        nulls.append(Epochs(null.sample(codes, draw("null made", i)), codes))
        mixed = shuffled_classes(few, torch.zeros(len(few.codes), dtype=torch.bool), dealt)
        few_nulls.append(_augmented(mixed, factors, plain, seed, draw, only=("braindec",))["braindec"])
    return Fold(
        number, recording, model, made, nulls, augmented, few_nulls, guided, chosen.guidance, chosen_again
    )


def shuffled_classes(epochs: Epochs, apart: Tensor, generator: np.random.Generator) -> Epochs:
    """The same epochs, subjects and sessions, with classes dealt anew within each session.

    Parameters
    ----------
    epochs : Epochs
    apart : bool tensor, shape (n,)
        Trials that exchange classes with one another alone.
    generator : numpy Generator
    """
    codes = epochs.codes.clone()
    order = permute_within_blocks((2 * codes[:, 1] + apart).numpy(), generator)
    codes[:, 2] = epochs.codes[torch.from_numpy(order), 2]
    return Epochs(epochs.values, codes)


def least_guidance(guidances: Sequence[float], areas: Sequence[float]) -> float:
    """The smallest guidance at which a classifier learns nearly as much as at the best one: more only exaggerates."""
    enough = max(areas) - NEARLY
    return min(g for g, area in zip(guidances, areas, strict=True) if area >= enough)


def _augmented(
    few: Epochs, factors: Factors, config: Config, seed: int, draw: Callable[..., torch.Generator],
    only: Iterable[str] = ("braindec", "contender"),
) -> dict[str, Epochs]:  # fmt: skip
    """Few trials and three times as many that generators of these few alone make."""
    codes = few.codes.repeat(3, 1)
    samplers: dict[str, Callable[[], Tensor]] = {
        "braindec": lambda: synthesis.fit(few, factors, config, seed).sample(codes, draw("few made")),
        "contender": lambda: synthesis.fit_gaussian(few).sample(codes, draw("few gaussian")),
    }
    return {
        name: Epochs(torch.cat([few.values, samplers[name]()]), torch.cat([few.codes, codes]))
        for name in only
    }


def _few(codes: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Positions of n trials of every cell, or of all where it has fewer."""
    order = torch.randperm(len(codes), generator=generator)
    _, cell = codes[order].unique(dim=0, return_inverse=True)
    return torch.cat([order[cell == c][:n] for c in range(int(cell.max()) + 1)])


def last_units(recording: Recording) -> Tensor:
    """Which training trials are of their subject's last unit, in natural order: bool (n_train,).

    Raises
    ------
    ValueError
        If a subject has one training unit only, or a class is missing in its last one or before.
    """
    out = torch.zeros(len(recording.train.codes), dtype=torch.bool)
    for subject, number in enumerate(recording.subjects):
        own = recording.train.codes[:, 0] == subject
        names = sorted(set(recording.units[own.numpy()].tolist()), key=natural)
        checks.at_least(f"training units of subject {number}", len(names), 2)
        last = own & torch.from_numpy(recording.units == names[-1])
        for where, rows in ((f"unit {names[-1]!r}", last), (f"units before {names[-1]!r}", own & ~last)):
            for kind, label in enumerate(recording.classes):
                found = int((recording.train.codes[rows, 2] == kind).sum())
                checks.at_least(
                    f"training trials of class {label!r} in {where} of subject {number}", found, 1
                )
        out |= last
    return out


def _guidance(recording: Recording, settings: Settings) -> dict[str, list[float]]:
    """What each guidance makes of every subject's last training unit, by a diffusion that never saw it."""
    held = last_units(recording)
    seen, unseen = recording.train.take(~held), recording.train.take(held)
    model = synthesis.fit(seen, recording.factors, settings.model, settings.seed)
    codes = seen.codes.repeat(settings.n_made, 1)
    out: dict[str, list[float]] = {"erp_error": [], "sliced_wasserstein": [], "auc": []}
    scale = erp_synthesis_scores.spread_of(seen.values)
    for guidance in settings.guidances:
        draw = seeding.torch_generator(settings.seed, "guidance")  # the same noise for all
        made = Epochs(model.sample(codes, draw, guidance=guidance), codes)
        out["erp_error"].append(float(measures.erp_error(unseen, made).mean()))
        along = seeding.torch_generator(settings.seed, "slices")
        out["sliced_wasserstein"].append(
            measures.sliced_wasserstein(unseen.values / scale, made.values / scale, along)
        )
        out["auc"].append(erp_synthesis_scores.mean_auc(made, unseen, recording, settings.bin_s))
    return out
