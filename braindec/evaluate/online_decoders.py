"""Decoders of windows that answer while a recording runs: covariances of delayed channels, and chosen features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from braindec import checks
from braindec.evaluate.online import Answer
from braindec.metrics.online import normalised_mcc

NEVER = -1e9  # score of a class that training windows lack
FEWEST_BLOCKS = 2


@dataclass(frozen=True)
class AugmentedCovariance:
    """Windows to classes by covariances of channels beside delayed copies of themselves: how many, training decides.

    Parameters
    ----------
    orders : tuple of int
        Copies of each channel that are tried, the undelayed one among them; ``(1,)`` is the plain covariance.
    lags : tuple of int
        Samples from one copy to the next that are tried.
    n_blocks : int
        Stretches of training that are held out in turn to choose among them.
    gap : int
        Training windows before and after a stretch that are left out: neighbours share samples.
    strength : float
        Inverse penalty of the logistic regression, > 0: windows overlap, so that there are fewer of them than it seems.

    Notes
    -----
    Carrara & Papadopoulo 2023, arXiv:2302.04508: a covariance of copies holds what rhythms do over time, which one of
    channels alone does not. Covariances (shrunk, Oracle approximating) are mapped to the tangent space at their
    geometric mean (Barachant et al. 2013), by pyriemann, and classified by logistic regression with equal weight of
    classes. A choice that is no better than a smaller one is not taken.
    """

    orders: tuple[int, ...] = (1, 2, 3, 4)
    lags: tuple[int, ...] = (1, 2, 4, 8)
    n_blocks: int = 4
    gap: int = 8
    strength: float = 0.01

    def __post_init__(self) -> None:
        for name in ("orders", "lags"):
            checks.at_least(f"number of {name}", len(getattr(self, name)), 1)
            checks.at_least(f"smallest of {name}", min(getattr(self, name)), 1)
        checks.at_least("n_blocks", self.n_blocks, FEWEST_BLOCKS)

    def __call__(self, windows: np.ndarray, labels: np.ndarray) -> CovarianceAnswer:
        """Fits on training windows, which follow each other in time.

        Raises
        ------
        MissingPackageError
            If pyriemann is not installed.
        """
        tried = sorted({(1, 1) if k == 1 else (k, lag) for k in self.orders for lag in self.lags})

        def fitted(choice: tuple[int, int]) -> Callable[[np.ndarray, np.ndarray], CovarianceAnswer]:
            return lambda x, y: CovarianceAnswer(
                x, y, *choice, strength=self.strength, n_classes=labels.max() + 1
            )

        chosen = best_of([fitted(c) for c in tried], windows, labels, self.n_blocks, self.gap)
        return fitted(tried[chosen])(windows, labels)


class CovarianceAnswer:
    """What `AugmentedCovariance` fitted, at one choice of `order` and `lag`: windows to log-probabilities.

    Parameters
    ----------
    windows : array, shape (n, n_channels, n_times)
    labels : int array, shape (n,)
    order, lag : int
    strength : float
    n_classes : int
    """

    def __init__(
        self,
        windows: np.ndarray,
        labels: np.ndarray,
        order: int,
        lag: int,
        *,
        strength: float,
        n_classes: int,
    ):
        try:
            from pyriemann.tangentspace import TangentSpace
        except ImportError as error:
            raise checks.needs_package("pyriemann", "riemann", "an augmented covariance") from error
        from sklearn.linear_model import LogisticRegression

        self.order, self.lag, self._n_classes = order, lag, int(n_classes)
        self._space = TangentSpace(metric="riemann")
        features = self._space.fit_transform(self._covariances(windows))
        self._mean, self._scale = features.mean(0), np.maximum(features.std(0), 1e-12)
        self._model = LogisticRegression(C=strength, class_weight="balanced", max_iter=1000)
        self._model.fit((features - self._mean) / self._scale, labels)

    @property
    def chosen(self) -> dict[str, int]:
        """Order and lag."""
        return {"order": self.order, "lag": self.lag}

    def __call__(self, windows: np.ndarray) -> np.ndarray:
        """(n, n_classes)."""
        features = (self._space.transform(self._covariances(windows)) - self._mean) / self._scale
        return _by_class(self._model, features, self._n_classes)

    def _covariances(self, windows: np.ndarray) -> np.ndarray:
        return shrunk_covariances(delayed(windows, self.order, self.lag))


def delayed(windows: np.ndarray, order: int, lag: int) -> np.ndarray:
    """Channels beside copies of themselves that are late: (n, order * n_channels, n_times - (order - 1) * lag).

    Parameters
    ----------
    windows : array, shape (n, n_channels, n_times)
    order : int
        Copies, the undelayed one among them.
    lag : int
        Samples from one copy to the next.

    Returns
    -------
    float64 array
        Copy k of a channel at time t is the channel at time t + k * lag of the window.
    """
    kept = windows.shape[2] - (order - 1) * lag
    checks.at_least("samples of a window that all copies share", kept, 2)
    copies = [windows[:, :, k * lag : k * lag + kept] for k in range(order)]
    return np.concatenate(copies, axis=1).astype(np.float64)


def shrunk_covariances(windows: np.ndarray) -> np.ndarray:
    """Covariance over time of each window, shrunk towards a multiple of the identity: (n, n_channels, n_channels).

    Parameters
    ----------
    windows : array, shape (n, n_channels, n_times)

    Notes
    -----
    Oracle approximating shrinkage, Chen et al. 2010, doi:10.1109/TSP.2010.2053029, with the terms that scikit-learn
    keeps; all windows at once.
    """
    x = np.asarray(windows, dtype=np.float64)
    n_channels, n_times = x.shape[1:]
    x = x - x.mean(2, keepdims=True)
    sample = x @ x.swapaxes(1, 2) / n_times
    square = (sample**2).mean((1, 2))
    level = np.einsum("ncc->n", sample) / n_channels
    above = (n_times + 1) * (square - level**2 / n_channels)
    share = np.minimum(1.0, (square + level**2) / np.maximum(above, 1e-300))
    identity = np.eye(n_channels) * level[:, None, None]
    return np.asarray((1 - share)[:, None, None] * sample + share[:, None, None] * identity)


@dataclass(frozen=True)
class ChosenFeatures:
    """Windows to classes by a few numbers: power of a channel in a band, and how strongly it is bound to the others.

    Parameters
    ----------
    sfreq : float
        Hz of the windows.
    bands_hz : tuple of (float, float)
        Each with its lower edge included.
    n_kept : tuple of int
        How many features are tried, the best first; training decides.
    piece_s : float
        Seconds of the pieces, half overlapping, whose spectra are averaged in a window.
    n_blocks, gap
        As of `AugmentedCovariance`.

    Notes
    -----
    What HappyFeat (Desbois et al. 2023, arXiv:2310.02948) lets a person do by eye before a session:
    features are power and the node strength of the imaginary part of coherency (Nolte et al. 2004), ranked by how much
    of their variance classes explain. Ranking, number and the discriminant (shrunk, Ledoit-Wolf) are fitted within each
    training stretch.
    """

    sfreq: float = 250.0
    bands_hz: tuple[tuple[float, float], ...] = ((4.0, 8.0), (8.0, 13.0), (13.0, 20.0), (20.0, 30.0))
    n_kept: tuple[int, ...] = (2, 4, 8, 16, 32)
    piece_s: float = 0.5
    n_blocks: int = 4
    gap: int = 8

    def __post_init__(self) -> None:
        checks.at_least("smallest of n_kept", min(self.n_kept), 1)
        checks.at_least("n_blocks", self.n_blocks, FEWEST_BLOCKS)

    def __call__(self, windows: np.ndarray, labels: np.ndarray) -> FeatureAnswer:
        """Fits on training windows, which follow each other in time."""
        found, n_classes = self.features(windows), int(labels.max()) + 1
        tried = sorted({min(n, found.shape[1]) for n in self.n_kept})

        def fitted(n: int) -> Callable[[np.ndarray, np.ndarray], FeatureAnswer]:
            return lambda x, y: FeatureAnswer(x, y, n, n_classes)

        chosen = best_of([fitted(n) for n in tried], found, labels, self.n_blocks, self.gap)
        answer = fitted(tried[chosen])(found, labels)
        answer.read = self.features
        return answer

    def features(self, windows: np.ndarray) -> np.ndarray:
        """Of each window, (n, 2 * n_bands * n_channels): log-power by band and channel, then node strengths."""
        spectra, hz = self._spectra(np.asarray(windows, dtype=np.float64))
        cross = np.einsum("npcf,npdf->nfcd", spectra, spectra.conj()) / spectra.shape[1]
        power = np.maximum(np.einsum("nfcc->nfc", cross).real, 1e-30)
        coherency = cross / np.sqrt(power[:, :, :, None] * power[:, :, None, :])
        strength = np.abs(coherency.imag).sum(-1) / max(cross.shape[-1] - 1, 1)
        inside = [(hz >= low) & (hz < high) for low, high in self.bands_hz]
        if not all(mask.any() for mask in inside):
            raise checks.ConfigError(
                f"pieces of {self.piece_s:g} s resolve {hz[1]:g} Hz; one of the bands {list(self.bands_hz)} holds no "
                "frequency. Take longer pieces or wider bands."
            )
        parts = [np.log(power[:, m].mean(1)) for m in inside] + [strength[:, m].mean(1) for m in inside]
        return np.concatenate(parts, axis=1)

    def names(self, channels: Sequence[str]) -> list[str]:
        """Of the features, in their order."""
        return [
            f"{kind}, {channel}, {low:g} to {high:g} Hz"
            for kind in ("power", "connectivity")
            for low, high in self.bands_hz
            for channel in channels
        ]

    def _spectra(self, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of the pieces of windows, (n, n_pieces, n_channels, n_frequencies), and frequencies in Hz."""
        length = round(self.piece_s * self.sfreq)
        checks.in_range("samples of a piece", length, 2, windows.shape[2])
        pieces = np.lib.stride_tricks.sliding_window_view(windows, length, axis=2)[:, :, :: length // 2]
        pieces = pieces.swapaxes(1, 2) - pieces.mean(-1).swapaxes(1, 2)[..., None]
        return np.fft.rfft(pieces * np.hanning(length), axis=-1), np.fft.rfftfreq(length, 1 / self.sfreq)


class FeatureAnswer:
    """What `ChosenFeatures` fitted: the features that were kept, and windows to log-probabilities.

    Parameters
    ----------
    found : float array, shape (n, n_features)
        Of training windows.
    labels : int array, shape (n,)
    n_kept : int
    n_classes : int
    """

    def __init__(self, found: np.ndarray, labels: np.ndarray, n_kept: int, n_classes: int):
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
        from sklearn.feature_selection import f_classif

        told = np.nan_to_num(
            f_classif(found, labels)[0]
        )  # monotone in the share of variance that classes explain
        self.kept = np.sort(np.argsort(-told, kind="stable")[:n_kept])
        self.read: Callable[[np.ndarray], np.ndarray] = np.asarray
        self._n_classes = n_classes
        n = len(np.unique(labels))
        self._model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=np.full(n, 1 / n))
        self._model.fit(found[:, self.kept], labels)

    @property
    def chosen(self) -> dict[str, int]:
        """How many features are kept."""
        return {"n_kept": len(self.kept)}

    def __call__(self, windows: np.ndarray) -> np.ndarray:
        """(n, n_classes); of features in place of windows before `read` is set."""
        return _by_class(self._model, self.read(windows)[:, self.kept], self._n_classes)


def always_idle(windows: np.ndarray, labels: np.ndarray) -> Answer:
    """A decoder that knows nothing and never says anything but idle."""
    scores = np.zeros((1, int(labels.max()) + 1))
    scores[0, 0] = 1.0
    return lambda new: np.repeat(scores, len(new), axis=0)


def best_of(
    fits: Sequence[Callable[[np.ndarray, np.ndarray], Answer]],
    x: np.ndarray,
    labels: np.ndarray,
    n_blocks: int,
    gap: int,
) -> int:
    """Which of several ways to fit answers best through stretches of training that it did not see.

    Parameters
    ----------
    fits : sequence of callable
        ``fit(x, labels) -> answer``; simpler ways first: a later one has to be better.
    x : array, shape (n, ...)
        Training windows, or what was made of each alone, in time.
    labels : int array, shape (n,)
    n_blocks : int
        Stretches of equal length, held out in turn.
    gap : int
        Windows before and after a stretch that neither train nor are tested.

    Returns
    -------
    int
        The highest mean of normalised MCC.
    """
    if len(fits) == 1:
        return 0
    place, values = np.arange(len(x)), np.zeros((len(fits), n_blocks))
    for b, held in enumerate(np.array_split(place, n_blocks)):
        shown = (place < held[0] - gap) | (place > held[-1] + gap)
        for i, fit in enumerate(fits):
            scores = torch.from_numpy(fit(x[shown], labels[shown])(x[held]))
            values[i, b] = float(normalised_mcc(scores, torch.from_numpy(labels[held])).mean())
    return int(values.mean(1).argmax())


def _by_class(model: Any, features: np.ndarray, n_classes: int) -> np.ndarray:
    """Log-probabilities, (n, n_classes); classes that training lacked are never answered."""
    scores = np.full((len(features), n_classes), NEVER)
    scores[:, model.classes_] = np.maximum(model.predict_log_proba(features), NEVER / 2)
    return scores
