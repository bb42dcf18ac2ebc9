"""What is true of a simulated subject, in one file beside its trials, and the ceilings that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from braindec import checks, config, store
from braindec.data.simulated.brains import REGION_BANKS, FmriBrain, prior_variances, saturation_moments
from braindec.data.simulated.ceiling import Ceiling, Trial, Truth
from braindec.data.simulated.meeg import MeegBrain
from braindec.data.simulated.noise import FmriNoise, NoiseConfig, draw_attention
from braindec.data.simulated.observers import oracle_image, oracle_linear
from braindec.data.simulated.simulate import Simulated
from braindec.data.simulated.stimuli import Stimuli
from braindec.data.simulated.trained_observer import Prior, oracle_n
from braindec.types import Embeddings, Trials

KINDS = ("oracle_image", "oracle_linear", "oracle_n")


def truth_path(folder: str | Path, key: str) -> Path:
    """`<folder>/truth_<key>.h5`."""
    return Path(folder) / f"truth_{key}.h5"


def write_truth(folder: str | Path, simulated: Simulated, stimuli: Stimuli, ids: Sequence[str]) -> Path:
    """Writes the truth of one subject and returns its path.

    Parameters
    ----------
    folder : path
    simulated : Simulated
    stimuli : Stimuli
    ids : sequence of str
        Stimulus id of each picture of the world.
    """
    brain = simulated.brain
    path = truth_path(folder, simulated.subject.key)
    arrays = {
        "ids": np.array(ids),
        "noise_free": simulated.noise_free.astype(np.float32),
        "features": stimuli.features.astype(np.float32),
        "weights": brain.weights.astype(np.float32),
        "session_scale": brain.noise.session_scale if isinstance(brain, FmriBrain) else brain.session_scale,
        "session_length": np.bincount(simulated.schedule.session),
        "seen": simulated.seen,
    }
    attributes = {
        "content": "truth",
        "key": simulated.subject.key,
        "gain_sd": brain.config.gain_sd,
        "lapse": brain.config.lapse,
    }
    more, further = _fmri(brain) if isinstance(brain, FmriBrain) else _meeg(brain, simulated.noise_free)
    priors = prior_variances(stimuli.map, brain.config.spectrum)
    with store.writer(path) as out:
        for name, values in (arrays | more | {f"variance/{k}": v for k, v in priors.items()}).items():
            out.array(name, values)
        out.attributes(attributes | further)
    return path


def _fmri(brain: FmriBrain) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    arrays = {
        "ncsnr": brain.ncsnr,
        "scale": brain.amplitude * brain.slope,
        "kernel": brain.kernel,
        "sd": brain.noise.sd,
        "tuning": brain.noise.tuning,
        "loadings": brain.noise.loadings,
        "noise_kernel": brain.noise.kernel,
    } | {f"members/{name}": rows for name, rows in brain.space.regions.items()}
    return arrays, {"noise": asdict(brain.noise.config)}


def _meeg(brain: MeegBrain, noise_free: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    filters, covariance = brain.unmixing()
    _, slope = saturation_moments(brain.config.saturation)
    arrays = {
        "ncsnr": brain.ncsnr(noise_free),
        "scale": np.full(len(covariance), slope),
        "kernel": np.eye(len(covariance)),
        "topography": brain.topography,
        "waveform": brain.waveform,
        "filters": filters,
        "error": covariance,
    } | {f"members/{level}": brain.level == level for level in np.unique(brain.level)}
    return arrays, {}


class StoredTruth:
    """What is true of one simulated subject, read from its file.

    Parameters
    ----------
    path : path
        Written by `write_truth`.

    Attributes
    ----------
    key : str
        ``sub-01_fmri``.
    ids : list of str
        Stimuli.
    noise_free, features : ndarray, shape (n_stimuli, n_voxels or n_sources) and (n_stimuli, n_features)
        Response to every stimulus at gain 1; what the weights act on.
    ncsnr : ndarray
        Planted, of each voxel, or of each sensor and time.
    members : mapping of str to ndarray of bool
        Voxels (sources) of each region (level).
    """

    def __init__(self, path: str | Path):
        stored = store.Stored(path)
        about = stored.attributes
        if about.get("content") != "truth":
            raise checks.DataFileError(
                path, "is no truth of a simulated subject", "Prepare the simulated dataset again."
            )
        self.key: str = about["key"]
        self.trial = Trial(about["gain_sd"], about["lapse"])
        self.ids: list[str] = stored.array("ids").tolist()
        self.noise_free = stored.array("noise_free").astype(np.float64)
        self.features = stored.array("features").astype(np.float64)
        self.ncsnr = stored.array("ncsnr")
        self.seen = stored.array("seen")
        self.members = stored.group("members")
        self._variances, self._kernel, self._scale = (
            stored.group("variance"),
            stored.array("kernel"),
            stored.array("scale"),
        )
        self._session_scale, self._session_length = (
            stored.array("session_scale"),
            stored.array("session_length"),
        )
        self._session_start = np.cumsum(self._session_length) - self._session_length
        self._filters = stored.array("filters") if "filters" in stored.names else None
        if self._filters is not None:
            self._error = stored.array("error")
            return
        noise = config.from_json(NoiseConfig, about["noise"])
        sd, tuning, loadings, kernel = (stored.array(n) for n in ("sd", "tuning", "loadings", "noise_kernel"))
        self._noise = FmriNoise(sd, tuning, loadings, kernel, self._session_scale, noise)

    def told(self, embeddings: Embeddings, without: Sequence[str]) -> tuple[Truth, Prior]:
        """Truth and prior over all stimuli but some (the gallery), for one target embedding."""
        hidden = set(without)
        rows = np.array([i for i, key in enumerate(self.ids) if key not in hidden])
        values = _flat(embeddings, [self.ids[i] for i in rows])
        prior = Prior(
            self.features[rows], self._variances, self.members, self._kernel, self.trial.mean * self._scale
        )
        return Truth(self.noise_free[rows], values, self.trial), prior

    def driven(self) -> dict[str, np.ndarray]:
        """What drives one level of vision and no other, by level from early to late: (n_stimuli, n_features of it).

        Features have the size with which they drive the level: unit variance times the SD of their weights.
        """
        out = {}
        for level, variance in sorted(
            self._variances.items(), key=lambda item: list(REGION_BANKS).index(item[0])
        ):
            others = sum(v for name, v in self._variances.items() if name != level)
            own = (variance > 0) & (others == 0)
            out[level] = self.features[:, own] * np.sqrt(variance[own])
        return out

    def candidates(self, ids: Sequence[str]) -> np.ndarray:
        """Noise-free responses to these stimuli, (n, n_voxels or n_sources)."""
        row = {key: i for i, key in enumerate(self.ids)}
        return self.noise_free[[checks.known_key("stimulus", key, row) for key in ids]]

    def measured(
        self, noise_free: np.ndarray, session: np.ndarray, generator: np.random.Generator
    ) -> np.ndarray:
        """Further single trials of an fMRI subject: attention, gain and noise as in its recording.

        Parameters
        ----------
        noise_free : ndarray, shape (n_trials, n_voxels)
            Response at gain 1 of each trial, in order of acquisition.
        session : ndarray of int, shape (n_trials,)
            0-based.
        generator : numpy.random.Generator

        Returns
        -------
        ndarray of float64, shape (n_trials, n_voxels)
        """
        if self._filters is not None:
            raise ValueError(f"{self.key} was not measured by fMRI; further trials are drawn of fMRI alone.")
        seen, gain = draw_attention(len(noise_free), self.trial.lapse, self.trial.gain_sd, generator)
        return noise_free * (seen * gain)[:, None] + self._noise.sample(session, generator)

    def averages(self, trials: Trials, ids: Sequence[str]) -> tuple[np.ndarray, list[np.ndarray]]:
        """Mean response to each stimulus (as voxels, or as estimates of the sources), and the rows averaged into it."""
        if trials.key != self.key:
            raise checks.SpaceMismatchError(f"trials are of {trials.key}, the truth is of {self.key}.")
        shown = trials.table["stimulus_id"]
        rows = [np.flatnonzero(shown == key) for key in ids]
        means = np.stack([np.asarray(trials.responses[r], dtype=np.float64).mean(0) for r in rows])
        if self._filters is not None:
            means = means.reshape(len(means), -1) @ self._filters.T
        elif means.shape[1] != self.noise_free.shape[1]:
            raise checks.SpaceMismatchError(
                f"trials have {means.shape[1]} voxels, the truth {self.noise_free.shape[1]}; read the whole brain."
            )
        return means, rows

    def noise_of(self, trials: Trials, rows: np.ndarray) -> np.ndarray:
        """Covariance of the additive noise in the average of these trials."""
        session = trials.table["session"].astype(np.int64) - 1
        if self._filters is not None:
            return self._error * (self._session_scale[session[rows]] ** 2).sum() / len(rows) ** 2
        position = trials.table["acquisition_order"][rows] - self._session_start[session[rows]]
        return self._noise.covariance_of_mean(session[rows], position, self._session_length[session[rows]])

    def mean_noise(self, trials: Trials, rows: Sequence[np.ndarray], n_most: int = 50) -> np.ndarray:
        """Mean of `noise_of` over the averages (over an even selection of them where there are many)."""
        chosen = np.linspace(0, len(rows) - 1, min(len(rows), n_most)).astype(int)
        return np.mean([self.noise_of(trials, rows[i]) for i in chosen], axis=0)


def ceilings(
    folder: str | Path,
    test: Trials,
    train: Trials,
    embeddings: Embeddings,
    kinds: Sequence[str] = KINDS,
) -> dict[str, Ceiling]:
    """What ideal observers make of one subject's test trials, averaged over repeats.

    Parameters
    ----------
    folder : path
        Prepared folder of the simulated dataset.
    test, train : Trials
        Of one subject, in the units in which they are stored (no preprocessing), the whole brain.
    embeddings : Embeddings
        Of every stimulus of the dataset in the decoder's target space.
    kinds : sequence of str
        Among ``"oracle_image"``, ``"oracle_linear"`` and ``"oracle_n"``.

    Returns
    -------
    dict of str to Ceiling
        Queries and candidates are the sorted stimuli of `test`, so that the target of query i is candidate i.

    Notes
    -----
    Observers of M/EEG see the best linear unbiased estimates of the sources, which keep all that Gaussian noise leaves
    of a trial: even `oracle_n` is told topographies and waveforms, and lacks only what drives each source.
    """
    truth = StoredTruth(truth_path(folder, test.key))
    ids = sorted(set(test.table["stimulus_id"].tolist()))
    own = sorted(set(train.table["stimulus_id"].tolist()))
    responses, rows = truth.averages(test, ids)
    counts = np.array([len(r) for r in rows])
    gallery, target = _flat(embeddings, ids), np.arange(len(ids))
    told, prior = truth.told(embeddings, ids)
    noise, n_repeats = truth.mean_noise(test, rows), 1 / float((1 / counts).mean())
    found: dict[str, Ceiling] = {}
    for kind in kinds:
        if checks.one_of("kind of ceiling", kind, KINDS) == "oracle_image":
            noises = partial(_noise_of_query, truth, test, rows)
            found[kind] = oracle_image(responses, truth.candidates(ids), target, noises, counts, truth.trial)
        elif kind == "oracle_linear":
            found[kind] = oracle_linear(responses, gallery, target, told, noise, n_repeats)
        else:
            known, known_rows = truth.averages(train, own)
            known_counts = np.array([len(r) for r in known_rows])
            found[kind] = oracle_n(
                responses, gallery, target, known, _flat(embeddings, own), told, prior, noise,
                truth.mean_noise(train, known_rows), n_repeats, 1 / float((1 / known_counts).mean()),
            )  # fmt: skip
    return found


def _noise_of_query(truth: StoredTruth, trials: Trials, rows: Sequence[np.ndarray], query: int) -> np.ndarray:
    return truth.noise_of(trials, rows[query])


def _flat(embeddings: Embeddings, ids: Sequence[str]) -> np.ndarray:
    return embeddings.of(ids).reshape(len(ids), -1).astype(np.float64)
