"""A whole simulated world from one JSON file: scenes, subjects, what each of them saw and how their brains responded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from braindec import checks, config, seeding, store
from braindec.data.simulated import features as banks
from braindec.data.simulated.brains import BrainConfig, FmriBrain, draw_brain
from braindec.data.simulated.design import Schedule, draw_schedule
from braindec.data.simulated.meeg import MeegBrain, MeegConfig, draw_meeg, sensor_space
from braindec.data.simulated.network import layer_features
from braindec.data.simulated.rendering import render_all
from braindec.data.simulated.scenes import Scene, sample_scenes, sample_unique_scenes
from braindec.types import signal_key

TR_S = 4 / 3  # NSD's
FMRI_SPACING_S, FMRI_START_S = 4.0, 12.0  # as in NSD: a picture every four seconds, lead-in
EEG_SPACING_S, EEG_START_S, EEG_JITTER_S = 1.0, 2.0, 0.2


@dataclass(frozen=True)
class Subject:
    """One subject's part of a world.

    Parameters
    ----------
    subject : int
        1 is sub-01.
    modality : str
        ``"fmri"`` or ``"eeg"``.
    n_images, n_repeats : int
        Training pictures of this subject alone, and presentations of each.
    n_gallery_repeats : int
        Presentations of each gallery picture.
    n_sessions, n_runs : int
        Sessions, and runs of each.
    n_voxels : int
        fMRI only.
    recording : str
        Subjects of one study share a recording's folder; a new subject has its own.
    """

    subject: int
    modality: str
    n_images: int
    n_repeats: int
    n_gallery_repeats: int
    n_sessions: int
    n_runs: int
    n_voxels: int = 0
    recording: str = "main"

    def __post_init__(self) -> None:
        checks.one_of("modality", self.modality, ("fmri", "eeg"))
        if (self.modality == "fmri") != (self.n_voxels > 0):
            raise checks.ConfigError(f"subject {self.subject}: n_voxels must be given for fmri, and only for fmri.")

    @property
    def key(self) -> str:
        """``sub-01_fmri``."""
        return signal_key(self.subject, self.modality)


@dataclass(frozen=True)
class World:
    """Everything that defines a simulated world; every number is drawn from `seed`.

    Parameters
    ----------
    name : str
    seed : int
    n_gallery : int
        Test pictures that every subject sees.
    n_reference : int
        Scenes over which feature banks and ncsnr are defined; nobody sees them.
    noise_level : float
        Divides the ncsnr of every voxel: the one number that was set (by ideal observers alone) when the target
        embedding was trained.
    eeg_noise_level : float
        Multiplies all EEG noise; set likewise.
    inverse_crime : bool
        Whether the brains are built from the decoding target's own embedding in place of the scene network.
    subjects : tuple of Subject
    brain : BrainConfig
    meeg : MeegConfig
    about : str
        For the reader of the file.
    """

    name: str
    seed: int
    n_gallery: int
    subjects: tuple[Subject, ...]
    n_reference: int = 1500
    noise_level: float = 1.0
    eeg_noise_level: float = 1.0
    inverse_crime: bool = False
    brain: BrainConfig = field(default_factory=BrainConfig)
    meeg: MeegConfig = field(default_factory=MeegConfig)
    about: str = ""

    def __post_init__(self) -> None:
        checks.unique("subjects", [s.key for s in self.subjects])
        checks.at_least("n_gallery", self.n_gallery, 2)

    @property
    def n_stimuli(self) -> int:
        """Pictures of the gallery and of all subjects."""
        return self.n_gallery + sum(s.n_images for s in self.subjects)

    def images_of(self, subject: Subject) -> range:
        """Indices of the subject's own training pictures."""
        start = self.n_gallery
        for other in self.subjects:
            if other == subject:
                return range(start, start + subject.n_images)
            start += other.n_images
        raise checks.ConfigError(f"world {self.name!r} has no {subject.key}.")


def load_world(path: str | Path) -> World:
    """The world that a JSON file describes; unknown keys are refused."""
    path = checks.existing_file(path, "It ships as datasets/simulated/world.json.")
    return config.from_json(World, store.read_json(path), where=str(path))


@dataclass(frozen=True, eq=False)
class Stimuli:
    """Scenes of a world and what brains see in them.

    Parameters
    ----------
    scenes : list of Scene
        Gallery first, then each subject's own.
    images : ndarray of uint8, shape (n, 64, 64, 3)
    map : FeatureMap
    features : ndarray of float32, shape (n, n_features)
    reference : ndarray of float32, shape (n_reference, n_features)
    """

    scenes: list[Scene]
    images: np.ndarray
    map: banks.FeatureMap
    features: np.ndarray
    reference: np.ndarray


@dataclass(frozen=True, eq=False)
class Simulated:
    """One subject's brain, schedule and single trials.

    Parameters
    ----------
    subject : Subject
    brain : FmriBrain or MeegBrain
    schedule : Schedule
    responses : ndarray, shape (n_trials, n_voxels) or (n_trials, n_sensors, n_times)
        Percent signal change, or volts.
    seen : ndarray of bool, shape (n_trials,)
    noise_free : ndarray, shape (n_stimuli, n_voxels or n_sources)
        Response to every picture of the world at gain 1.
    """

    subject: Subject
    brain: FmriBrain | MeegBrain
    schedule: Schedule
    responses: np.ndarray
    seen: np.ndarray
    noise_free: np.ndarray


def draw_stimuli(
    world: World, *, embed: Callable[[np.ndarray], np.ndarray] | None = None, progress: bool = False
) -> Stimuli:
    """The world's scenes, their pictures and the features that drive its brains.

    Parameters
    ----------
    world : World
    embed : callable, optional
        ``embed(images) -> (n, dim)``: the decoding target; needed by an inverse-crime world, refused by any other.
    progress : bool
        Whether to show a progress bar.
    """
    if world.inverse_crime != (embed is not None):
        raise checks.ConfigError(
            f"inverse_crime is {world.inverse_crime}, but embed is {'given' if embed else 'not given'}; "
            "an inverse-crime world, and no other, is built from the decoding target's embedding."
        )
    reference = sample_scenes(world.n_reference, seeding.numpy_generator(world.seed, "reference"))
    scenes = sample_unique_scenes(world.n_stimuli, seeding.numpy_generator(world.seed, "scenes"), exclude=reference)
    images, reference_images = render_all(scenes, progress), render_all(reference, progress)
    raw = banks.raw_banks(scenes, images, _vision(images, embed))
    reference_raw = banks.raw_banks(reference, reference_images, _vision(reference_images, embed))
    fitted = banks.fit_feature_map(reference_raw)
    return Stimuli(scenes, images, fitted, fitted(raw), fitted(reference_raw))


def _vision(images: np.ndarray, embed: Callable[[np.ndarray], np.ndarray] | None) -> Mapping[str, np.ndarray]:
    if embed is None:
        return banks.network_banks(layer_features(images))
    values = np.asarray(embed(images), dtype=np.float32)
    return dict.fromkeys(banks.NETWORK_BANKS, values)


def simulate_subject(world: World, subject: Subject, stimuli: Stimuli) -> Simulated:
    """One subject's brain and recordings; they do not depend on the other subjects' draws."""
    schedule = _schedule(world, subject)
    generator = seeding.numpy_generator(world.seed, "brain", subject.key)
    brain: FmriBrain | MeegBrain
    if subject.modality == "fmri":
        brain = draw_brain(
            stimuli.map,
            stimuli.reference,
            n_voxels=subject.n_voxels,
            n_sessions=subject.n_sessions,
            noise_level=world.noise_level,
            config=world.brain,
            generator=generator,
        )
    else:
        brain = draw_meeg(
            sensor_space(),
            stimuli.map,
            stimuli.reference,
            n_sessions=subject.n_sessions,
            noise_level=world.eeg_noise_level,
            config=world.meeg,
            generator=generator,
        )
    noise_free = brain.respond(stimuli.features)
    drawn = seeding.numpy_generator(world.seed, "trials", subject.key)
    responses, seen = brain.measure(noise_free[schedule.stimulus], schedule.session, drawn)
    return Simulated(subject, brain, schedule, responses, seen, noise_free)


def _schedule(world: World, subject: Subject) -> Schedule:
    counts = dict.fromkeys(range(world.n_gallery), subject.n_gallery_repeats)
    counts |= dict.fromkeys(world.images_of(subject), subject.n_repeats)
    eeg = subject.modality == "eeg"
    return draw_schedule(
        counts,
        n_sessions=subject.n_sessions,
        n_runs=subject.n_runs,
        spacing_s=EEG_SPACING_S if eeg else FMRI_SPACING_S,
        start_s=EEG_START_S if eeg else FMRI_START_S,
        jitter_s=EEG_JITTER_S if eeg else 0.0,
        # Subjects of one NSD-like study share their order of presentation, as in NSD.
        generator=seeding.numpy_generator(world.seed, "schedule", subject.recording, subject.modality),
    )
