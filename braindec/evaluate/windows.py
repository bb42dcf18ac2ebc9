"""Decoding from one window of time at a time: by ridge that is fitted to it, and by a decoder that is told no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from braindec import checks
from braindec.data import NeuralDataset
from braindec.data.epoch_steps import Crop
from braindec.evaluate.exam import Exam, in_memory
from braindec.evaluate.measures import Measured, protocol_named
from braindec.evaluate.network_ablation import Silenced, session_means
from braindec.evaluate.scoring import judge
from braindec.evaluate.systems import Fitter, RidgeFitter, System, signal_features
from braindec.types import Embeddings, Trials


@dataclass(frozen=True, eq=False)
class Windows:
    """One metric by window of time.

    Parameters
    ----------
    bounds : float array, shape (n_windows, 2)
        First and last second of each.
    ridge : mapping of str to list of Measured
        By signal key: ridge fitted to the window.
    told : mapping of str to list of Measured
        By signal key: the whole decoder, told the window alone.
    null : mapping of str to float array, shape (n_windows, n_null)
        By signal key: ridge fitted to the window with permuted stimuli.
    """

    bounds: np.ndarray
    ridge: Mapping[str, list[Measured]]
    told: Mapping[str, list[Measured]]
    null: Mapping[str, np.ndarray]

    def to_json(self) -> dict[str, Any]:
        """Values by signal key."""
        return {
            key: {
                "windows_s": self.bounds.tolist(),
                "ridge": [m.value for m in self.ridge[key]],
                "ridge_interval": [list(m.interval) for m in self.ridge[key]],
                "told_this_window_alone": [m.value for m in self.told[key]],
                "null": self.null[key].mean(1).tolist(),
            }
            for key in self.ridge
        }


def sliding(start_s: float, stop_s: float, width_s: float, step_s: float) -> np.ndarray:
    """Bounds (n_windows, 2) of windows of one length, seconds."""
    checks.in_range("width_s", width_s, 1e-6, stop_s - start_s)
    first = np.arange(start_s, stop_s - width_s + 1e-9, step_s)
    return np.stack([first, first + width_s], 1)


def growing(start_s: float, stop_s: float, step_s: float) -> np.ndarray:
    """Bounds (n_windows, 2) of windows that begin at the same time and grow by a step each, seconds."""
    checks.in_range("step_s", step_s, 1e-6, stop_s - start_s)
    last = np.arange(start_s + step_s, stop_s + 1e-9, step_s)
    return np.stack([np.full(len(last), start_s), last], 1)


def by_window(
    system: System,
    recipe: Any,
    dataset: NeuralDataset,
    embeddings: Embeddings,
    windows: np.ndarray,
    metric: str,
    *,
    steps: Sequence[Any],
    n_null: int = 1,
) -> Windows:
    """A metric by window of time, of every subject.

    Parameters
    ----------
    system : System
        Fitted on ``dataset.part("train")`` with whole epochs; outside of a window it is told the mean of training.
    recipe : Recipe
        Its protocol and seed.
    dataset : NeuralDataset
        Of epochs, with the split in use.
    windows : float array, shape (n_windows, 2)
        Seconds from onset, from `sliding` or `growing`.
    metric : str
        Of the protocol.
    steps : sequence of preprocessing steps
        Of ridge, behind the cut.
    n_null : int
        Refits of ridge to permuted stimuli, in each window.
    """
    if dataset.split is None:
        raise ValueError("the dataset has no split; give it one with with_split(...).")
    exam = Exam(in_memory(dataset), embeddings, [dataset.split], protocol_named(recipe.protocol), recipe.seed,
                progress=False, only=(metric,))  # fmt: skip
    means = {key: session_means(trials) for key, trials in dataset.part("train").trials.items()}
    fitted: dict[str, list[Measured]] = {key: [] for key in dataset.trials}
    told: dict[str, list[Measured]] = {key: [] for key in dataset.trials}
    null: dict[str, list[np.ndarray]] = {key: [] for key in dataset.trials}
    for first, last in windows.tolist():
        chain = (Crop(first, last), *steps)
        ridge = judge("ridge", RidgeFitter(signal_features(chain)), exam, n_null)
        hidden = {key: ~inside(trials, first, last) for key, trials in dataset.trials.items()}
        alone = judge("told", _always(Silenced(system, means, hidden)), exam, 0)
        for key in dataset.trials:
            fitted[key].append(ridge.measured[key][metric])
            told[key].append(alone.measured[key][metric])
            null[key].append(ridge.null[key][metric])
    return Windows(np.asarray(windows), fitted, told, {key: np.array(rows) for key, rows in null.items()})


def _always(system: System) -> Fitter:
    return lambda *_: system


def inside(trials: Trials, first_s: float, last_s: float) -> np.ndarray:
    """Which values lie in a window, bool (n_channels, n_times)."""
    if trials.sfreq is None or trials.tmin is None:
        raise ValueError(f"{trials.key} has no time axis; windows are of epochs.")
    n_channels, n_times = trials.responses.shape[1:]
    times, slack = trials.tmin + np.arange(n_times) / trials.sfreq, 0.01 / trials.sfreq
    kept = (times >= first_s - slack) & (times <= last_s + slack)
    return np.broadcast_to(kept, (n_channels, n_times)).copy()


def panel(found: Windows, metric: str, title: str) -> tuple[str, str, dict[str, Any]]:
    """Lines over the windows' last second: ridge, the decoder told this window alone, ridge on permuted stimuli."""
    series: dict[str, np.ndarray] = {}
    for key in found.ridge:
        name = key.replace("_", " ")
        series[f"{name}, ridge on the window"] = np.array([m.value for m in found.ridge[key]])
        series[f"{name}, decoder told the window alone"] = np.array([m.value for m in found.told[key]])
        series[f"{name}, permuted stimuli"] = found.null[key].mean(1)
    ends = np.round(1000 * found.bounds[:, 1]).astype(int)
    caption = f"Chance {next(iter(found.ridge.values()))[0].chance:.3f}. What a window knows may have begun before it."
    return (
        title,
        "curve",
        {"step": ends, "series": series, "xlabel": "end of the window, ms from onset",
         "ylabel": metric.replace("_", " "), "caption": caption, "section": "scores"},
    )  # fmt: skip
