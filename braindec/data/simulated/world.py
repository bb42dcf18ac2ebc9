"""A whole simulated world from one JSON file: scenes, subjects, what each saw and how the brains responded."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from braindec import checks, config, seeding, store
from braindec.data.simulated import features as banks
from braindec.data.simulated.brains import BrainConfig, FmriBrain, draw_brain
from braindec.data.simulated.design import Schedule, draw_schedule
from braindec.data.simulated.meeg import MeegBrain, MeegConfig, draw_meeg, sensor_space
from braindec.data.simulated.network import layer_features
from braindec.data.simulated.rendering import render_all
from braindec.data.simulated.scenes import FACTORS, Scene, sample_scenes, sample_unique_scenes
from braindec.types import Table, Trials, signal_key

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
            raise checks.ConfigError(
                f"subject {self.subject}: n_voxels must be given for fmri, and only for fmri."
            )

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
    n_alike, n_changes : int
        The gallery consists of families of `n_alike` scenes with equal background and places that differ from the
        family's first scene in `n_changes` words for shape, colour or texture of objects. Scenes drawn at random
        differ so much that every observer finds them.
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
    n_alike: int = 1
    n_changes: int = 2
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
        checks.in_range("n_changes", self.n_changes, 1, 3)
        if self.n_alike < 1 or self.n_gallery % self.n_alike:
            raise checks.ConfigError(f"n_alike must divide n_gallery ({self.n_gallery}), got {self.n_alike}.")

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


def json_text(world: World) -> str:
    """The world as JSON text that `load_world` reads."""
    return json.dumps(config.to_json(world), indent=1) + "\n"


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
    gallery = draw_gallery(world, exclude=reference)
    n_others, generator = world.n_stimuli - world.n_gallery, seeding.numpy_generator(world.seed, "scenes")
    scenes = gallery + sample_unique_scenes(n_others, generator, exclude=reference + gallery)
    images, reference_images = render_all(scenes, progress), render_all(reference, progress)
    raw = banks.raw_banks(scenes, images, _vision(images, embed))
    reference_raw = banks.raw_banks(reference, reference_images, _vision(reference_images, embed))
    fitted = banks.fit_feature_map(reference_raw)
    return Stimuli(scenes, images, fitted, fitted(raw), fitted(reference_raw))


def draw_gallery(world: World, exclude: list[Scene]) -> list[Scene]:
    """The test scenes: families of look-alikes, next to each other; no two scenes agree in all their factors."""
    generator = seeding.numpy_generator(world.seed, "gallery")
    firsts = sample_unique_scenes(world.n_gallery // world.n_alike, generator, exclude=exclude)
    taken = {scene.key for scene in (*exclude, *firsts)}
    gallery: list[Scene] = []
    for first in firsts:
        family = [first]
        while len(family) < world.n_alike:
            other = look_alike(first, world.n_changes, generator)
            if other.key not in taken:
                taken.add(other.key)
                family.append(other)
        gallery += family
    return gallery


def look_alike(scene: Scene, n_changes: int, generator: np.random.Generator) -> Scene:
    """The scene with other words for `n_changes` of its objects' shapes, colours and textures."""
    objects = list(scene.objects)
    words = [(i, name) for i in range(len(objects)) for name in ("shape", "colour", "texture")]
    for k in generator.permutation(len(words))[:n_changes]:
        i, name = words[k]
        others = [word for word in FACTORS[name] if word != getattr(objects[i], name)]
        objects[i] = replace(objects[i], **{name: others[generator.integers(len(others))]})
    return Scene(tuple(objects), scene.background, scene.pattern)


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


def trials_of(simulated: Simulated, ids: Sequence[str]) -> Trials:
    """One subject's trials without a detour through files.

    Parameters
    ----------
    simulated : Simulated
    ids : sequence of str
        Stimulus id of each picture of the world.
    """
    d, brain = simulated.schedule, simulated.brain
    session = (d.session + 1).astype(str)
    table = Table(
        {
            "stimulus_id": np.array(ids)[d.stimulus],
            "session": session,
            "run": np.array([f"{s + 1}-{r + 1}" for s, r in zip(d.session, d.run, strict=True)]),
            "repeat": d.repeat,
            "onset_s": d.onset_s,
            "acquisition_order": np.arange(d.n_trials),
            "exchangeability_block": session,
        }
    )
    return Trials(
        responses=simulated.responses.astype(np.float32),
        table=table,
        space=brain.space,
        units="V" if isinstance(brain, MeegBrain) else "percent signal change",
        subject=simulated.subject.subject,
        modality=simulated.subject.modality,
        sfreq=brain.config.sfreq if isinstance(brain, MeegBrain) else None,
        tmin=brain.config.tmin if isinstance(brain, MeegBrain) else None,
    )
