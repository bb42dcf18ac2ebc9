"""MindEye2: a model that several subjects share, then a new person with little data, and pictures for that one.

Each subject has a linear map into a shared space; mixer, projection for retrieval and diffusion prior are everybody's.
They are pretrained on three simulated fMRI subjects and adapted, all weights, to a fourth one with a tenth of the data.
A captioner writes what the decoded embedding says, and pictures are drawn a second time with its words.

Systems    A2 MindEye2
Run        braindec run mindeye2 --out runs/mindeye2
Smoke      braindec run mindeye2 --smoke: a new person finds 0.60 [0.39, 0.78] of 20 scenes (chance 0.05, adapted to
           shuffled scenes 0.05, from scratch 0.25, ridge 0.90), by the backbone's own output 0.65; 12 pictures two-way
           0.71 (shuffled 0.54), pixel correlation 0.33 (0.24); refined by captions 0.62, before 0.71, which 12 pictures
           do not tell apart
Needs      nothing: data are generated, weights are shipped (extra models); minutes on 2 cores
Published  NSD, mean of four people: one hour of data 79.0 and 57.4 % image and brain retrieval of 300, 40 hours 98.8
           and 98.3 %
Measured   not measured: needs NSD, OpenCLIP bigG and the SDXL unCLIP, for captions GIT and for refinement SDXL;
           simulated: a new person with a tenth of the data finds 0.355 [0.29, 0.42] of 200 scenes (chance 0.005,
           shuffled 0.005, from scratch 0.065, ridge 0.330), 0.480 [0.41, 0.55] by the backbone's own output; 30
           pictures two-way 0.666 [0.60, 0.73] (shuffled 0.503), pixel correlation 0.43 (0.02)
Tried      the mixer as published (--set backbone.variant=published), which mixes nothing
"""

from dataclasses import replace

from braindec import evaluate
from braindec.adapters import linear
from braindec.backbones import mixer
from braindec.captioners import Writing, prefix
from braindec.data.preprocessing import Standardise, Whiten
from braindec.evaluate import outputs, panels, refinement, two_paths
from braindec.generators import embedded_unclip, in_words, vae_latents
from braindec.losses import mse, soft_clip
from braindec.priors import diffusion
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip, vae
from braindec.train import Config as Train
from braindec.types import Report

RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(1, 2, 3)),
    target=tiny_openclip.Config(),  # what prior and pictures are made of
    targets={
        "clip": tiny_openclip.Config(),  # projected from it: what retrieves
        "low_level": vae.Config(model="shipped", size=64, layout="flat"),
    },
    adapter=linear.Config(shared_dim=192),
    backbone=mixer.Config(n_blocks=2, projected=(("clip", "main"),)),
    loss={
        "main": mse.Config(),
        "clip": soft_clip.Config(
            mixco_fraction=0.33, mixco_temperature=0.05, temperature_start=0.05, temperature_end=0.05
        ),
        "low_level": mse.Config(),
    },
    prior=diffusion.Config(network="mindeye2", width=96, depth=2, heads=4),
    generator=embedded_unclip.Config(n_steps=10, guidance=1.0),
    preprocessing=(Standardise(unit="session", scope="unit_train_rows"), Whiten(noise="repeats")),
    train=Train(n_steps=300, batch_size=256, lr=1e-3, validate_every=100),
    prior_train=Train(n_steps=300, batch_size=256, lr=1e-3, validate_every=100),
    n_folds=3,
    protocol="heldout_stimuli",
    plan=evaluate.Plan(n_null=3, n_jobs=1, progress=False),
    settings={
        "world": "demo",
        "newcomer": 4,
        "n_images": 30,
        "merge": "blend",
        "low_level": vae_latents.Config(),
        "captioner": prefix.Config(noise=0.5, writing=Writing(n_tokens=48)),
        "second": in_words.Config(share=1.0),  # or generators.refined: SDXL
    },
)
SMOKE = (
    "data.subjects=[1]",
    "adapter.shared_dim=48",
    "backbone.n_blocks=1",
    "train.n_steps=50",
    "train.batch_size=60",
    "train.lr=3e-3",
    "train.validate_every=50",
    "prior_train.n_steps=20",
    "prior_samples=8",
    "prior.width=32",
    "prior.depth=1",
    "n_folds=2",
    "generator.n_steps=2",
    "plan.n_null=1",
    "settings.world=small_people",
    "settings.newcomer=2",
    "settings.n_images=12",
    "settings.captioner.width=48",
    "settings.captioner.depth=1",
    "settings.captioner.n_steps=60",
    "settings.captioner.batch_size=32",
    "settings.captioner.lr=5e-3",
    "settings.captioner.writing.n_tokens=24",
    "settings.second.base.n_steps=4",
    "calibrate=false",
)


def main(recipe, data_dir, out_dir):
    lap, told = evaluate.Laps(), recipe.settings
    dataset = recipe.data.read(data_dir)
    embeddings = recipe.embed_each(dataset, data_dir, everything=True)
    training = evaluate.training_part(recipe, dataset, embeddings["main"])
    decoder = outputs.fit_outputs(
        recipe, training, embeddings, out_dir / "logs", progress=recipe.plan.progress
    )
    lap("pretraining on other subjects")
    newcomer = replace(recipe.data, subjects=(told["newcomer"],)).read(data_dir)
    few = evaluate.training_part(recipe, newcomer, embeddings["main"])
    adapted, nulls, scratch = outputs.adapt_outputs(
        decoder, recipe, few, embeddings, mode="all", n_null=recipe.plan.n_null
    )
    lap("a new subject")
    metrics = ("image_retrieval_top1", "brain_retrieval_top1")
    judged = outputs.by_output(adapted, nulls, recipe, newcomer, embeddings, "clip", metrics, scratch=scratch)
    lap("retrieval")
    second = refinement.refinement(recipe, newcomer, embeddings["main"], told["captioner"], told["second"])
    lap("captioner")
    drawn, scores, gains = two_paths.two_paths(
        adapted, nulls, recipe, newcomer, output="low_level", rough=vae_latents.build(told["low_level"]),
        n_images=told["n_images"], merge=told["merge"], refinement=second,
    )  # fmt: skip
    lap("pictures")
    report = Report(
        (*judged.scores, *scores),
        {
            "title": "MindEye2: a shared model, then little data of a new person",
            "summary": "Adapters of all subjects end in one space; the rest is pretrained on other people and adapted "
            "to a new one, against the same recipe from scratch and ridge.",
            "comparisons": [*judged.comparisons, *gains],
            **judged.record,
            **second.identity(),
            **lap.record(),
        },
        (
            *two_paths.panels(drawn),
            panels.comparisons(judged.comparisons, "Retrieval for the new person, on the same queries"),
            panels.comparisons(gains, "What each path and the captions add to the pictures"),
            *panels.curves(adapted),
            panels.limits(panels.SIMULATED),
        ),
    )
    adapted.save_pretrained(out_dir / "decoder", report)
    return report
