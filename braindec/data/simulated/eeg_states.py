"""Simulated EEG of several people: states told by the power of sensor groups, and responses whose latency jitters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from braindec import checks, seeding
from braindec.data.dataset import NeuralDataset
from braindec.data.simulated.meeg_config import MeegConfig
from braindec.data.simulated.meeg_noise import noise_parts
from braindec.data.simulated.noise import root
from braindec.data.simulated.sensors import HEAD_M, eeg_cap
from braindec.types import StimulusSet, Table

# A state's group lies on both hemispheres, so that nearness alone does not tell who belongs together.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "calm": ("F3", "F7", "F4", "F8"),
    "glad": ("T7", "CP5", "T8", "CP6"),
    "sad": ("FC1", "C3", "FC2", "C4"),
    "tense": ("P3", "PO3", "P4", "PO4"),
}
SHAPES = ("up_down", "down_up", "up")  # of responses; a mirror image is no shifted copy
STATE_HZ, FORGETS_S = 20.0, 0.25  # of a group's waves: frequency, and when they forget their phase
AMPLITUDE_SD = 0.3  # of the logarithm of a group's amplitude, from trial to trial
SPREAD = (
    0.2  # of people: SD of each sensor's share in its group, and of the dipole's place over the head's radius
)
LATENCY_S, WIDTH_S = 0.5, 0.05  # of responses: middle of the epoch; SD of the bell they are made of
PARIETAL = (0.0, -0.3, 0.6)  # place of the responses' dipole over the head's radius
MICROVOLT = 1e-6
GAP_S = 4.0  # from trial to trial
Signal = Callable[
    [np.ndarray, np.random.Generator, np.random.Generator], np.ndarray
]  # labels, person, trials


@dataclass(frozen=True)
class Settings:
    """Size of a world, the same for all kinds.

    Parameters
    ----------
    n_people, n_runs, n_trials : int
        People; runs of each; trials of a run, of which classes have equal shares.
    n_times : int
        Samples of an epoch of one second: Hz.
    power : float
        Amplitude of the group that a state drives over that of the others, >= 1.
    state_uv : float
        Amplitude of a group's waves at rest, SD in microvolts.
    response_uv : float
        Peak of a response where it is largest, microvolts.
    noise : float
        Factor on all noise: background, alpha waves, blinks, muscles, sensors.
    """

    n_people: int = 4
    n_runs: int = 3
    n_trials: int = 36
    n_times: int = 64
    power: float = 2.0
    state_uv: float = 2.5
    response_uv: float = 10.0
    noise: float = 1.0

    def __post_init__(self) -> None:
        for name in ("n_people", "n_runs"):  # two to train on, so that training can choose its penalty
            checks.at_least(name, getattr(self, name), 3)
        checks.at_least("n_trials", self.n_trials, len(GROUPS))
        checks.at_least("n_times", self.n_times, 48)
        checks.at_least("power", self.power, 1.0)


def members() -> np.ndarray:
    """Which sensors belong to which state's group: bool (n_states, n_sensors)."""
    names = eeg_cap().space.names
    return np.array([[name in group for name in names] for group in GROUPS.values()])


def states(settings: Settings, seed: int = 0) -> NeuralDataset:
    """Four states; each drives the waves of its own group of sensors, whose phase tells nothing.

    Returns
    -------
    NeuralDataset
        One key: the people share a cap, and are the sessions. ``category`` of a stimulus is its state.
    """
    cap, classes = eeg_cap(), tuple(GROUPS)
    lags = np.subtract.outer(*[np.arange(settings.n_times) / settings.n_times] * 2)
    waves = root(np.exp(-((lags / FORGETS_S) ** 2) / 2) * np.cos(2 * np.pi * STATE_HZ * lags))

    def signal(labels: np.ndarray, person: np.random.Generator, draw: np.random.Generator) -> np.ndarray:
        share = members() * (1 + SPREAD * person.standard_normal(members().shape))  # (group, sensor)
        driven = np.where(labels[:, None] == np.arange(len(classes)), settings.power, 1.0)
        size = driven * np.exp(AMPLITUDE_SD * draw.standard_normal(driven.shape))  # (trial, group)
        own = draw.standard_normal((*size.shape, settings.n_times)) @ waves * size[..., None]
        return settings.state_uv * np.einsum("gs,ngt->nst", share @ cap.reference, own)

    return _world(settings, classes, signal, seed, "states")


def responses(settings: Settings, jitter_s: float, seed: int = 0) -> NeuralDataset:
    """Three shapes of a response at the same sensors, each at `LATENCY_S`, or up to `jitter_s` before or after.

    Parameters
    ----------
    jitter_s : float
        In [0, 0.3]: the whole response stays in the epoch. The same seed draws the same noise for every jitter.
    """
    checks.in_range("jitter_s", jitter_s, 0.0, 0.3)
    cap = eeg_cap()
    times = np.arange(settings.n_times) / settings.n_times

    def signal(labels: np.ndarray, person: np.random.Generator, draw: np.random.Generator) -> np.ndarray:
        place = np.array(PARIETAL) + SPREAD / 2 * person.standard_normal(3)
        pattern = cap.reference @ cap.of_dipole(HEAD_M * place, np.array(PARIETAL))
        latency = LATENCY_S + jitter_s * draw.uniform(-1, 1, len(labels))
        size = 1 + AMPLITUDE_SD / 2 * draw.standard_normal(len(labels))
        u = (times - latency[:, None]) / WIDTH_S  # (trial, time)
        bell = np.exp(-(u**2) / 2)
        steep = u * bell / np.exp(-0.5)  # its extremes are 1 and -1
        shapes = np.stack([-steep, steep, bell])[labels, np.arange(len(labels))]
        peak = pattern / np.abs(pattern).max()
        return settings.response_uv * (size[:, None] * shapes)[:, None] * peak[:, None]

    return _world(settings, SHAPES, signal, seed, "responses")


def _world(
    settings: Settings, classes: Sequence[str], signal: Signal, seed: int, purpose: str
) -> NeuralDataset:
    """Noise of the cap with a signal (microvolts) in it, of all people's runs."""
    cap = eeg_cap()
    config = MeegConfig(sfreq=float(settings.n_times), tmin=0.0, n_times=settings.n_times)
    noise = noise_parts(cap, config, settings.noise)
    values, labels, people, runs = [], [], [], []
    for person in range(settings.n_people):
        for run in range(settings.n_runs):
            draw = seeding.numpy_generator(seed, "eeg states", purpose, person, run)
            shown = draw.permutation(np.arange(settings.n_trials) % len(classes))
            background = np.sum([part.sample(len(shown), draw) for part in noise], axis=0)
            own = seeding.numpy_generator(
                seed, "eeg states", purpose, "person", person
            )  # the same in every run
            values.append(background / MICROVOLT + signal(shown, own, draw))
            labels.append(np.array(classes)[shown])
            people += [f"{person + 1:02d}"] * len(shown)
            runs += [str(run + 1)] * len(shown)
    classes_shown = np.concatenate(labels)
    ids = np.array([f"{classes_shown[i]}-{i:05d}" for i in range(len(people))])  # no trial repeats another
    made = NeuralDataset.from_arrays(
        np.concatenate(values), ids, modality="eeg", units="uV", sfreq=config.sfreq, tmin=0.0,
        space=cap.space, session=people, run=runs, acquisition_order=np.arange(len(people)),
        onset_s=GAP_S * (np.arange(len(people)) % settings.n_trials),
    )  # fmt: skip
    known = dict(zip(ids.tolist(), classes_shown.tolist(), strict=True))
    categories = np.array([known[i] for i in made.stimuli.ids])
    return replace(made, stimuli=StimulusSet(made.stimuli.ids, "none", table=Table({"category": categories})))
