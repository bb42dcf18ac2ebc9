"""One subject of a simulated world: its brain, what it saw when, and its single trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from braindec import seeding
from braindec.data.simulated.brains import FmriBrain, draw_brain
from braindec.data.simulated.design import Schedule, draw_schedule
from braindec.data.simulated.meeg import MeegBrain, draw_meeg
from braindec.data.simulated.noise import Redraw
from braindec.data.simulated.sensors import sensors_of
from braindec.data.simulated.stimuli import Stimuli
from braindec.data.simulated.world import Subject, World
from braindec.types import Table, Trials

FMRI_SPACING_S, FMRI_START_S = 4.0, 12.0  # as in NSD: a picture every four seconds, lead-in
MEEG_SPACING_S, MEEG_START_S, MEEG_JITTER_S = 1.0, 2.0, 0.2


@dataclass(frozen=True, eq=False)
class Simulated:
    """One subject's brain, schedule and single trials.

    Parameters
    ----------
    subject : Subject
    brain : FmriBrain or MeegBrain
    schedule : Schedule
    responses : ndarray, shape (n_trials, n_voxels) or (n_trials, n_sensors, n_times)
        Percent signal change, volts or tesla.
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
            sensors_of(subject.modality),
            stimuli.map,
            stimuli.reference,
            n_sessions=subject.n_sessions,
            noise_level=world.eeg_noise_level if subject.modality == "eeg" else world.meg_noise_level,
            config=world.meeg,
            generator=generator,
        )
    noise_free = brain.respond(stimuli.features)
    drawn = seeding.numpy_generator(world.seed, "trials", subject.key)
    redraw = None
    if world.gallery_seed:
        again = seeding.numpy_generator(world.seed, "trials", subject.key, "gallery", world.gallery_seed)
        redraw = Redraw(schedule.stimulus < world.n_gallery, again)
    responses, seen = brain.measure(noise_free[schedule.stimulus], schedule.session, drawn, redraw)
    return Simulated(subject, brain, schedule, responses, seen, noise_free)


def _schedule(world: World, subject: Subject) -> Schedule:
    counts = dict.fromkeys(range(world.n_gallery), subject.n_gallery_repeats)
    counts |= dict.fromkeys(world.images_of(subject), subject.n_repeats)
    fmri = subject.modality == "fmri"
    return draw_schedule(
        counts,
        n_sessions=subject.n_sessions,
        n_runs=subject.n_runs,
        spacing_s=FMRI_SPACING_S if fmri else MEEG_SPACING_S,
        start_s=FMRI_START_S if fmri else MEEG_START_S,
        jitter_s=0.0 if fmri else MEEG_JITTER_S,
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
        units=brain.units if isinstance(brain, MeegBrain) else "percent signal change",
        subject=simulated.subject.subject,
        modality=simulated.subject.modality,
        sfreq=brain.config.sfreq if isinstance(brain, MeegBrain) else None,
        tmin=brain.config.tmin if isinstance(brain, MeegBrain) else None,
    )
