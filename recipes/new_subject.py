"""What the first minutes of a new person are worth, with other people's maps as a prior: no image is shared.

Three simulated fMRI subjects train a decoder; three others are met with their first 50, 150, 300 and 750 trials in four
ways: in closed form (empirical Bayes), by fine-tuning their adapter or the whole network, and by a ridge of their own.

Systems    none: what A2 asks of a new person's first hour, in closed form
Run        braindec run new_subject --out runs/new_subject
Smoke      braindec run new_subject --smoke: a new person's scenes are found after few trials, those of shuffled
           stimuli are not
Needs      nothing: data are generated, weights are shipped; about 5 minutes on 2 cores
Published  none: the estimator is ours
Measured   top-1 of 200 scenes after 50, 150, 300 and 750 trials 0.148, 0.455, 0.632, 0.768 (chance 0.005, null of 19
           refits 0.004 to 0.007), fine-tuned adapter 0.030, 0.263, 0.465, 0.692; 246 s
Tried      an isotropic prior, components of the few trials, mixtures of populations, error shapes borrowed from
           others
"""

from dataclasses import replace

from braindec import evaluate
from braindec.adapters import linear
from braindec.backbones import mlp
from braindec.data.preprocessing import Standardise, Whiten
from braindec.decoder import BrainDecoder
from braindec.evaluate import panels
from braindec.evaluate.new_subject import learning_curve, new_subject_curve
from braindec.losses import soft_clip
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip
from braindec.train import Config as Train
from braindec.types import Report

RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(1, 2, 3)),
    target=tiny_openclip.Config(),
    adapter=linear.Config(shared_dim=192),
    backbone=mlp.Config(width=256, n_blocks=1, dropout=0.2),
    loss=soft_clip.Config(
        mixco_fraction=0.2, mixco_temperature=0.05, temperature_start=0.05, temperature_end=0.05
    ),
    preprocessing=(Standardise(unit="session", scope="unit_train_rows"), Whiten(noise="repeats")),
    train=Train(n_steps=40, batch_size=512, lr=1e-4, validate_every=20),
    n_folds=3,
    protocol="heldout_stimuli",
    plan=evaluate.Plan(n_null=19, n_jobs=1, progress=False),
    settings={"world": "new_subject", "newcomers": [4, 7, 8], "sizes": [50, 150, 300, 750]},
)
SMOKE = (
    "data.subjects=[1,2]",
    "train.n_steps=4",
    "train.validate_every=4",
    "n_folds=2",
    "plan.n_null=2",
    "settings.world=smoke",
    "settings.newcomers=[4]",
    "settings.sizes=[75,90]",
)


def main(recipe, data_dir, out_dir):
    lap, metric = evaluate.Laps(), "image_retrieval_top1"
    dataset = recipe.data.read(data_dir)
    embeddings = recipe.embed(dataset, data_dir, everything=True)
    training = evaluate.training_part(recipe, dataset, embeddings)
    decoder = BrainDecoder.build(recipe, dataset.info, embeddings.info).fit(training, embeddings)
    lap("other subjects")
    newcomers = replace(recipe.data, subjects=tuple(recipe.settings["newcomers"])).read(data_dir)
    sizes = recipe.settings["sizes"]
    found = new_subject_curve(decoder, recipe, newcomers, embeddings, sizes, metric, plan=recipe.plan)
    lap("new subjects")
    adapted = decoder.adapt(newcomers.part("train"), embeddings, method="empirical_bayes")
    lap("all their trials, in closed form")
    report = Report(
        found.scores,
        {
            "title": "A new person's first minutes",
            "summary": "Other people's weights over the embedding as a prior: what a new person's first trials then "
            "tell, in closed form and without an image in common, beside fine-tuning and a ridge of their own.",
            "comparisons": list(found.comparisons),
            "learning_curve": found.record,
            **lap.record(),
        },
        (
            learning_curve(found, metric),
            panels.comparisons(
                found.comparisons, "Empirical Bayes against each other way, on the same queries"
            ),
            panels.limits(panels.SIMULATED),
        ),
    )
    adapted.save_pretrained(out_dir / "decoder", report)
    return report
