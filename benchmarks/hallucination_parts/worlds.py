"""Simulated brains that do not see one factor of what is shown, and what the meter says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from braindec.adapters import linear
from braindec.backbones import linear as backbone
from braindec.data import NeuralDataset, Split
from braindec.data.preprocessing import Standardise
from braindec.data.simulated import scenes
from braindec.data.simulated.simulate import simulate_subject, trials_of
from braindec.data.simulated.stimuli import draw_stimuli
from braindec.data.simulated.world import Subject, World
from braindec.decoder import BrainDecoder, Prediction
from braindec.decoder.settings import Settings as DecoderSettings
from braindec.evaluate import hallucination as meter
from braindec.evaluate import inside_fitting
from braindec.evaluate.hallucination_beliefs import belief_of
from braindec.evaluate.hallucination_draws import ASIDE
from braindec.evaluate.hallucination_draws import meter as calibrated
from braindec.evaluate.hallucination_readouts import attributes_of, latent_attributes
from braindec.losses import mse
from braindec.priors import diffusion
from braindec.targets import tiny_openclip
from braindec.train import Config as Train
from braindec.types import Embeddings, StimulusSet, Table

COLUMNS = {
    "colour": "object_1_colour", "texture": "object_1_texture", "object": "object_1_shape",
    "place": "object_1_place", "background": "background", "pattern": "pattern", "across": "object_1_x_px",
}  # fmt: skip
# What no brain of a world sees, and the attribute that is then not encoded.
PLANTS = {
    "nothing": None,
    "colour": "colour",
    "texture": "texture",
    "shape": "object",
    "background": "background",
}
N_LATENTS, N_JUDGED_LATENTS = 32, 3


@dataclass(frozen=True)
class Size:
    """How large each world is."""

    n_voxels: int = 200
    n_images: int = 800
    n_aside: int = 160  # further images, of which nothing but the meter's calibration knows
    n_gallery: int = 300
    n_reference: int = 400
    n_prior_steps: int = 150
    noise_level: float = 0.6
    n_samples: int = 16
    n_folds: int = 20  # of few, encoders of calibration stimuli know less than that of test stimuli


SMALL = Size(
    n_voxels=60,
    n_images=240,
    n_aside=60,
    n_gallery=60,
    n_reference=150,
    n_prior_steps=40,
    n_samples=8,
    n_folds=5,
)


def world(seed: int, plant: str, size: Size) -> tuple[NeuralDataset, Embeddings]:
    """One brain's recording and the embeddings of what it was shown; `plant` is what it does not see."""
    one = Subject(1, "fmri", size.n_images + size.n_aside, 3, 3, 4, 6, size.n_voxels)
    unseen = () if plant == "nothing" else (plant,)
    told = World(
        "meter",
        seed,
        size.n_gallery,
        (one,),
        n_reference=size.n_reference,
        noise_level=size.noise_level,
        unseen=unseen,
    )
    stimuli = draw_stimuli(told)
    ids = tuple(f"scene-{i:04d}" for i in range(told.n_stimuli))
    row = {name: i for i, name in enumerate(ids)}
    shown = StimulusSet(
        ids, "image", lambda names: stimuli.images[[row[n] for n in names]],
        table=Table(scenes.factor_table(stimuli.scenes)),
    )  # fmt: skip
    test, others = ids[: size.n_gallery], ids[size.n_gallery :]
    parts = {"train": others[: size.n_images], ASIDE: others[size.n_images :], "test": test}
    trials = trials_of(simulate_subject(told, one, stimuli), ids)
    dataset = NeuralDataset.from_trials([trials], shown, Split("default", "stimulus", parts))
    target = tiny_openclip.build(tiny_openclip.Config())
    values = target.embed_images(stimuli.images)
    return dataset, Embeddings(ids, values, target.space, target.identity(), "0" * 64)


def measured(seed: int, plant: str, size: Size) -> list[dict[str, Any]]:
    """A row an attribute and way to calibrate: coverage, verdicts and claims on pictures that nothing was fitted on."""
    dataset, embeddings = world(seed, plant, size)
    training, test = dataset.part("train"), dataset.part("test")
    decoder = BrainDecoder.build(_decoder(size, seed), dataset.info, embeddings.info)
    decoder.fit(training, embeddings, progress=False)
    attributes = [
        *attributes_of(training, dataset, embeddings, COLUMNS),
        *_latents(dataset, embeddings, size, seed),
    ]
    told = meter.Settings(n_samples=size.n_samples)
    prediction = decoder.predict(test.trials["sub-01_fmri"], repeats="after")
    draws = decoder.imagine(prediction, seed=seed, n_samples=told.n_samples)
    rows = []
    for way, aside in (("aside", dataset.part(ASIDE)), ("out of fold", None)):
        gauges = calibrated(decoder, attributes, embeddings, aside=aside, settings=told, seed=seed)
        about = {"seed": seed, "unseen": plant, "calibration": way}
        rows += [about | row for row in _rows(gauges["sub-01_fmri"], prediction, draws, plant)]
    return rows


def _rows(
    gauges: Sequence[meter.Gauge], prediction: Prediction, draws: np.ndarray, plant: str
) -> list[dict[str, Any]]:
    rows = []
    for gauge, reading in zip(gauges, meter.judge(gauges, draws), strict=True):
        truth = gauge.attribute.of(prediction.ids)
        belief = belief_of(gauge.attribute.readings(draws))
        made, wrong = meter.false_claims(reading, truth, gauge.prior)
        name = gauge.attribute.name
        rows.append({
            "attribute": "latent" if name.startswith("latent") else name,
            "encoded": PLANTS[plant] != name, "n": len(truth), "n_calibration": len(gauge.truth),
            "covered": int(gauge.covered(belief, truth).sum()),
            "covered_never_empty": int(reading.sets.holds(truth).sum()),
            "carried": reading.carried, "mass": float(reading.sets.mass.mean()), "claims": made, "wrong_claims": wrong,
            "right": float((np.asarray(belief.best) == truth).mean()) if gauge.attribute.values else None,
            **{verdict: reading.verdicts.count(verdict) for verdict in meter.VERDICTS},
        })  # fmt: skip
    return rows


def _decoder(size: Size, seed: int) -> DecoderSettings:
    prior_train = Train(
        n_steps=size.n_prior_steps, batch_size=256, lr=1e-3, validate_every=size.n_prior_steps, validation_fraction=0.2
    )  # fmt: skip
    return DecoderSettings(
        adapter=linear.Config(shared_dim=96), backbone=backbone.Config(), loss=mse.Config(), fit="closed_form",
        prior=diffusion.Config(width=64, depth=2, heads=4), preprocessing=(Standardise(),), prior_train=prior_train,
        n_folds=size.n_folds, seed=seed,
    )  # fmt: skip


def _latents(dataset: NeuralDataset, embeddings: Embeddings, size: Size, seed: int) -> list[Any]:
    """The commonest latents of an autoencoder of the training embeddings."""
    told = inside_fitting.Settings(
        n_latents=N_LATENTS, n_active=4, n_steps=size.n_prior_steps, lr=3e-3, seed=seed
    )
    spare = [*dataset.part(ASIDE).stimulus_ids, *dataset.part("test").stimulus_ids]
    unseen = dataset.hold_out("stimulus", spare)
    model = inside_fitting.fit_dictionary(embeddings, told, unseen).model
    return list(latent_attributes(model, embeddings, N_JUDGED_LATENTS))
