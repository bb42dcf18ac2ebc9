"""Online: a decoder that answers again and again while the recording runs, idle most of the time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.metrics import confusion_matrix
from torch import Tensor

from braindec import checks
from braindec.metrics import Metric

SECONDS_A_MINUTE = 60.0


def normalised_mcc(scores: Tensor, labels: Tensor) -> Tensor:
    """Parts, a window, of (Matthews' correlation + 1) / 2 of true and answered classes; their mean is the score.

    Parameters
    ----------
    scores : Tensor, shape (n_windows, n_classes)
        The largest is the answer; of equals the first.
    labels : integer Tensor, shape (n_windows,)
        In 0..n_classes - 1.

    Returns
    -------
    Tensor of float64, shape (n_windows,)
        The mean lies in [0, 1]: 0.5 for a decoder that knows nothing however rare a class is, and for one that always
        gives the same answer. A single part may lie outside.

    Notes
    -----
    Gorodkin 2004, doi:10.1016/j.compbiolchem.2004.09.006: the correlation of one-hot rows, a sum over windows.
    """
    checks.n_axes("scores", scores, ("window", "class"))
    checks.same_length("window", scores=scores, labels=labels)
    checks.finite("scores", scores)
    n_classes = scores.shape[1]
    true, answered = (
        torch.nn.functional.one_hot(x.long(), n_classes).double() for x in (labels, scores.argmax(1))
    )
    true, answered = true - true.mean(0), answered - answered.mean(0)
    scale = (true.square().sum(1).mean() * answered.square().sum(1).mean()).sqrt()
    parts = (true * answered).sum(1) / scale if scale > 0 else true.new_zeros(len(scores))
    return (parts + 1) / 2


def information_transfer_rate(accuracy: float, n_classes: int, decisions_a_minute: float) -> float:
    """Wolpaw's bits a minute.

    Parameters
    ----------
    accuracy : float
        Share of right answers, in [0, 1]; with rare classes the mean over classes, or always answering the common one
        would transfer bits.
    n_classes : int
        >= 2.
    decisions_a_minute : float
        > 0; answers from overlapping windows are no decisions of their own.

    Returns
    -------
    float
        >= 0; 0 at chance and below.

    Notes
    -----
    Wolpaw et al. 1998, doi:10.1109/86.712231. An overestimate of what gets through: it takes all classes for equally
    likely and equally hard, wrong answers for spread evenly, successive answers for independent, and every answer for
    one that was meant; idle time, which has to be recognised too, costs nothing.
    """
    checks.in_range("accuracy", accuracy, 0.0, 1.0)
    checks.at_least("n_classes", n_classes, 2)
    if accuracy <= 1 / n_classes:
        return 0.0
    bits = math.log2(n_classes) + accuracy * math.log2(accuracy)
    if accuracy < 1:
        bits += (1 - accuracy) * math.log2((1 - accuracy) / (n_classes - 1))
    return bits * decisions_a_minute


def mean_recall(answers: np.ndarray, labels: np.ndarray, n_classes: int) -> float:
    """Share of right answers of a class, averaged over the classes that occur: 1 / n for who knows nothing."""
    table = confusion_matrix(labels, answers, labels=np.arange(n_classes)).astype(float)
    occurs = table.sum(1) > 0
    return float((table.diagonal()[occurs] / table.sum(1)[occurs]).mean())


@dataclass(frozen=True)
class RunMetric:
    """A number of all answers to continuous runs: no mean over windows, so it has no value a window.

    Parameters
    ----------
    name, unit, direction, source : str
    chance : float or None
        Of a decoder that knows nothing; None where that depends on how often it answers anything but idle.
    """

    name: str
    unit: str
    direction: str
    chance: float | None
    source: str


_MCC = (
    "Carrara & Papadopoulo 2024, doi:10.1088/1741-2552/ad171a: (MCC + 1) / 2; Gorodkin 2004, "
    "doi:10.1016/j.compbiolchem.2004.09.006"
)
_WOLPAW = (
    "Wolpaw et al. 1998, doi:10.1109/86.712231, of the mean recall over classes and one decision a window length; "
    "overestimates what gets through (equal priors, even errors, independent answers)"
)
_LATENCY = (
    "median seconds from an event's onset to the end of the first window that is answered with its class"
)

METRICS = {"normalised_mcc": Metric("normalised_mcc", "labels", 0.5, "higher", _MCC, normalised_mcc)}
RUN_METRICS: dict[str, RunMetric] = {
    metric.name: metric
    for metric in (
        RunMetric("information_transfer_rate", "bits/min", "higher", 0.0, _WOLPAW),
        RunMetric("detection_latency_s", "s", "lower", None, _LATENCY),
    )
}
