"""A whole simulated world as one JSON file defines it: seeds, gallery, noise levels, subjects."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from braindec import checks, config, store
from braindec.data.simulated.brains import BrainConfig
from braindec.data.simulated.meeg_config import MeegConfig
from braindec.types import signal_key

TR_S = 4 / 3  # NSD's


@dataclass(frozen=True)
class Subject:
    """One subject's part of a world.

    Parameters
    ----------
    subject : int
        1 is sub-01.
    modality : str
        ``"fmri"``, ``"eeg"`` or ``"meg"``.
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
        checks.one_of("modality", self.modality, ("fmri", "eeg", "meg"))
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
    """Everything that defines a simulated world; every number is drawn from `seed`, but for the gallery's.

    Parameters
    ----------
    name : str
    seed : int
    n_gallery : int
        Test pictures that every subject sees.
    gallery_seed : int
        Draws the gallery's scenes and the noise of the trials that show them, and nothing else: worlds that differ in
        it alone have equal brains, training scenes and training trials. 0 is the gallery to develop decoders with.
    n_alike, n_changes : int
        The gallery consists of families of `n_alike` scenes with equal background and places that differ from the
        family's first scene in `n_changes` words for shape, colour or texture of objects. Scenes drawn at random
        differ so much that every observer finds them.
    n_reference : int
        Scenes over which feature banks and ncsnr are defined; nobody sees them.
    noise_level : float
        Divides the ncsnr of every voxel: the one number that was set (by ideal observers alone) when the target
        embedding was trained.
    eeg_noise_level, meg_noise_level : float
        Multiplies all EEG (MEG) noise; set likewise.
    unseen : tuple of str
        Factors of `stimuli.ALIKE` that no brain sees: to them, all scenes are alike in these.
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
    gallery_seed: int = 0
    n_alike: int = 1
    n_changes: int = 2
    n_reference: int = 1500
    noise_level: float = 1.0
    eeg_noise_level: float = 1.0
    meg_noise_level: float = 1.0
    unseen: tuple[str, ...] = ()
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
