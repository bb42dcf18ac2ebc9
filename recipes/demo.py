"""A world with a known truth: four brains that watch the same scenes, decoded into pictures, beside every control.

Three fMRI subjects of different voxel counts and one EEG subject share one decoder (a linear adapter each, one
backbone, the shipped OpenCLIP space); a fourth fMRI subject with a tenth of the data is adapted, against from scratch.

Systems    none: the toolkit's own world, with a known truth
Run        braindec demo --out runs/demo
Smoke      braindec run demo --smoke: two fMRI subjects find 0.60 and 0.65 of 20 held-out scenes (chance 0.05, shuffled
           0.05 and 0.10), the one with EEG none that chance does not (0.05; ridge 0.35)
Needs      nothing: data are generated, weights are shipped; five minutes on 2 cores
Published  none: the world is ours
Measured   image retrieval 0.850 [0.82, 0.88] of 200 (chance 0.005, ridge 0.792), two-way identification of pictures
           0.915 [0.87, 0.96] (means of three fMRI subjects); all numbers in the project's README
Tried      one draw of the prior, guidance, best of 16 or 64 draws by the brain's evidence: worse than the mean of 16
           beside the prediction
"""

from dataclasses import replace

from braindec import evaluate, registry, report
from braindec.adapters import linear
from braindec.backbones import mlp
from braindec.data.preprocessing import AverageTime, Crop, Standardise, Vectorise, Whiten
from braindec.evaluate import hallucination, inside_page, panels
from braindec.generators import embedded_unclip, guided
from braindec.losses import soft_clip
from braindec.priors import diffusion
from braindec.recipe import NeuralData, Recipe
from braindec.targets import differentiable, tiny_openclip
from braindec.train import Config as Train
from braindec.types import Report

REGIONS = ("early", "intermediate", "high", "silent")  # as pictures pass through them
RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(1, 2, 3, 5)),
    target=tiny_openclip.Config(),
    adapter=linear.Config(shared_dim=192),
    backbone=mlp.Config(width=256, n_blocks=1, dropout=0.2),
    loss=soft_clip.Config(
        mixco_fraction=0.2, mixco_temperature=0.05, temperature_start=0.05, temperature_end=0.05
    ),
    prior=diffusion.Config(width=96, depth=2, heads=4),
    generator=embedded_unclip.Config(n_steps=20, guidance=1.0, draft=True, strength=0.15),
    preprocessing={
        "fmri": (Standardise(unit="session", scope="unit_train_rows"), Whiten(noise="repeats")),
        "eeg": (Crop(0.0, 0.5), AverageTime(3), Vectorise(), Whiten(noise="repeats")),
    },
    train=Train(n_steps=40, batch_size=512, lr=1e-4, validate_every=20),
    prior_train=Train(n_steps=300, batch_size=256, lr=1e-3, validate_every=100),
    n_folds=3,
    protocol="heldout_stimuli",
    plan=evaluate.Plan(n_null=19, n_null_baselines=19, n_null_pictures=3, n_jobs=0),
    settings={
        "newcomer": 4,
        "n_null_newcomer": 5,
        "n_images": 30,
        "n_samples": 3,
        # The draft of an embedding is drawn on for three steps, and it looks at each.
        "looks": guided.Config(through=False),
        "meter": hallucination.Settings(n_samples=8, n_prior=256),
        "attributes": {"colour": "colour", "place": "place", "object": "shape", "background": "background"},
        "n_latents": 2,
        "inverse_crime_world": "world_inverse_crime.json",
        "inside": inside_page.Settings(),
    },
)
SMOKE = (
    "data.subjects=[1,2,5]",
    "train.n_steps=20",
    "train.validate_every=10",
    "prior_train.n_steps=40",
    "prior_train.validation_fraction=0.5",
    "n_folds=2",
    "generator.n_steps=4",
    "generator.strength=0.5",
    "plan.n_null=1",
    "plan.n_null_baselines=3",
    "plan.n_null_pictures=2",
    "settings.n_null_newcomer=1",
    "settings.n_images=8",
    "settings.n_samples=2",
    "settings.inverse_crime_world=world_smoke_inverse_crime.json",
    "settings.inside.n_null=3",
    "settings.inside.n_permutations=19",
    "settings.inside.n_draws=19",
    "settings.inside.n_layers=2",
    "settings.inside.n_times=10",
    "settings.inside.n_latents=24",
    "settings.inside.n_active=3",
    "settings.inside.n_steps=60",
    "settings.inside.fusion_world=smoke",
    "settings.inside.planted_latents=24",
    "settings.inside.planted_steps=60",
)


def main(recipe, data_dir, out_dir):
    lap, plan = evaluate.Laps(), recipe.plan
    dataset = recipe.data.read(data_dir)
    embeddings = recipe.embed(dataset, data_dir, everything=True)
    ceilings = evaluate.simulated_ceilings(data_dir, dataset, embeddings)
    lap("embeddings and ceilings")
    training, test = evaluate.training_part(recipe, dataset, embeddings), dataset.part("test")
    decoder, nulls = evaluate.fit_with_nulls(
        recipe, training, embeddings, plan.n_null_pictures, out_dir / "logs", n_jobs=plan.n_jobs
    )
    lap("decoders, true and shuffled")
    judged = evaluate.held_out(
        decoder, recipe, dataset, embeddings, nulls=nulls, plan=plan, ceilings=ceilings
    )
    lap("judging and nulls")
    target = registry.load("targets", "tiny_openclip").build(recipe.target)
    inner = replace(recipe.settings["inside"], seed=recipe.seed)
    latents = inside_page.dictionary(dataset, embeddings, inner)
    names = inside_page.names_of(latents, dataset, embeddings, inner)
    drawn = evaluate.reconstructions(
        decoder, nulls, recipe, dataset, embeddings, n_images=recipe.settings["n_images"],
        n_steps=recipe.generator.n_steps, n_samples=recipe.settings["n_samples"], n_jobs=plan.n_jobs,
        attributes=(
            *evaluate.attributes_of(training, dataset, embeddings, recipe.settings["attributes"]),
            *evaluate.latent_attributes(latents, embeddings, recipe.settings["n_latents"], names),
        ),
        meter=recipe.settings["meter"], target=target,
        generator=guided.build(recipe.settings["looks"], recipe.build_generator(), differentiable(target)),
    )  # fmt: skip
    # Another network than the target's: what pixels predict of a voxel, learnt from the training scenes.
    pixels = registry.load("targets", "pixels")
    seen = pixels.build(pixels.Config(height=8, width=8, colour="rgb"))
    likely = evaluate.brain_correlations(
        drawn, recipe, dataset, evaluate.ridge_encoders(recipe, training, seen)
    )
    lap("pictures")

    newcomer = replace(recipe.data, subjects=(recipe.settings["newcomer"],)).read(data_dir)
    told = evaluate.simulated_ceilings(data_dir, newcomer, embeddings)
    few = replace(plan, n_null=recipe.settings["n_null_newcomer"])
    adapted = evaluate.adaptation(decoder, recipe, newcomer, embeddings, plan=few, ceilings=told)
    lap("a new subject")
    key, metric = "sub-01_fmri", "image_retrieval_top1"
    where = evaluate.predictability(recipe, training, test, embeddings, key)
    by_region = evaluate.by_region(recipe, dataset, embeddings, metric, regions=REGIONS)
    lap("regions")
    crime = evaluate.inflation(
        recipe, dataset, embeddings, key, metric, recipe.settings["inverse_crime_world"]
    )
    lap("inverse crime")
    inside = inside_page.report(
        dataset,
        embeddings,
        data_dir,
        inner,
        recipe.protocol,
        {"Decoding": "../report.html"},
    )
    report.write(inside, out_dir / "inside")
    lap("inside")
    made = Report(
        (*judged.scores, *drawn.scores, *likely, *adapted.scores),
        {
            "title": "Decoding a simulated world",
            "summary": "Scenes that simulated brains watched, decoded from fMRI and EEG; the truth behind every brain "
            "is known, so every score stands beside what an ideal observer would reach.",
            "pages": {"Inside the brains": "inside/report.html"},
            "comparisons": [*judged.comparisons, *adapted.comparisons],
            "adaptation": adapted.record,
            "evaluation": judged.record,
            "audit": judged.record["audit"],
            "rules": {**judged.record["rules"], **adapted.record["rules"]},
            **lap.record(),
        },
        (
            *panels.galleries(drawn, "two_way_identification"),
            *panels.verdicts(drawn),
            *panels.left_out(drawn),
            *evaluate.neighbours(judged.judged["braindec"], dataset),
            *panels.collapse(judged.scores),
            panels.against_oracles([*judged.scores, *adapted.scores], metric),
            panels.inverse_crime(*crime, key),
            panels.comparisons(adapted.comparisons, "A new subject with 300 trials: adapted against from scratch"),
            panels.comparisons(judged.comparisons, "The decoder against closed-form ridge"),
            panels.regions(by_region, metric),
            panels.volume(dataset.trials[key].space, where, f"Where {key} carries the embedding"),
            *panels.curves(decoder),
            panels.limits(panels.SIMULATED),
        ),
    )  # fmt: skip
    decoder.save_pretrained(out_dir / "decoder", made)
    (out_dir / "pictures.png").write_bytes(report.picture(made))
    return made
