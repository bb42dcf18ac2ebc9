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
from braindec.data.preprocessing import Preprocessing
from braindec.evaluate import erp_synthesis_report, erp_synthesis_scores
from braindec.evaluate.audit import audited_split
from braindec.evaluate.erp_recordings import Recording, recorded
from braindec.evaluate.erp_synthesis_scores import Fold
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
        Of which the least is chosen that teaches a classifier as well as any, on the last training unit.
    n_made : int
        Epochs made for each training trial.
    n_few : int
        Trials of each cell where a classifier has few, with and without made ones.
    n_null : int
        Diffusions fitted on shuffled conditions.
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
        and diffusions fitted on shuffled conditions.

    Raises
    ------
    LeakageError
        If training and test part share what they must not.
    ValueError
        If channels differ between subjects, there are not two classes, or a training part has one unit only.
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
    n, codes = len(train.codes), train.codes.repeat(settings.n_made, 1)

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
    augmented = {"scratch": few} | _augmented(few, factors, chosen, draw)
    nulls, few_nulls = [], []
    for i in range(settings.n_null):
        wrong = Epochs(train.values, train.codes[torch.randperm(n, generator=draw("null", i))])
        null = synthesis.fit(wrong, factors, chosen, seed)
        nulls.append(Epochs(null.sample(codes, draw("null made", i)), codes))
        mixed = Epochs(few.values, few.codes[torch.randperm(len(few.codes), generator=draw("few null", i))])
        few_nulls.append(_augmented(mixed, factors, chosen, draw, only=("braindec",))["braindec"])
    return Fold(number, recording, model, made, nulls, augmented, few_nulls, guided, chosen.guidance)


def least_guidance(guidances: Sequence[float], areas: Sequence[float]) -> float:
    """The smallest guidance at which a classifier learns nearly as much as at the best one: more only exaggerates."""
    enough = max(areas) - NEARLY
    return min(g for g, area in zip(guidances, areas, strict=True) if area >= enough)


def _augmented(
    few: Epochs, factors: Factors, config: Config, draw: Callable[..., torch.Generator],
    only: Iterable[str] = ("braindec", "contender"),
) -> dict[str, Epochs]:  # fmt: skip
    """Few trials and three times as many that generators of these few alone make."""
    codes = few.codes.repeat(3, 1)
    samplers: dict[str, Callable[[], Tensor]] = {
        "braindec": lambda: synthesis.fit(few, factors, config).sample(codes, draw("few made")),
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


def _guidance(recording: Recording, settings: Settings) -> dict[str, list[float]]:
    """What each guidance makes of the last training unit, by a diffusion that never saw it."""
    units = recording.units
    last = np.unique(units)[-1]
    kept, held = (torch.from_numpy(rows) for rows in (units != last, units == last))
    checks.at_least("units of the training part", len(np.unique(units)), 2)
    seen, unseen = recording.train.take(kept), recording.train.take(held)
    model = synthesis.fit(seen, recording.factors, settings.model, settings.seed)
    codes = seen.codes.repeat(settings.n_made, 1)
    out: dict[str, list[float]] = {"erp_error": [], "sliced_wasserstein": [], "auc": []}
    scale = seen.values.std((0, 2), keepdim=True)
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
