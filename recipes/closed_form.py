"""What gradient steps add to an encoder that is solved: MindEye2's published map is affine, so this is its bar.

Three simulated fMRI subjects. Reduced-rank ridge into the embedding, the same with gradient steps on a residual MLP
after it, and those steps from random weights: same steps, same batches, the number chosen out of fold in training.

Systems    none: what gradient steps add to a solved encoder
Run        braindec run closed_form --out runs/closed_form
Smoke      braindec run closed_form --smoke: a solved encoder finds 0.15 [0.05, 0.36] and 0.65 [0.43, 0.82] of 20
           held-out scenes, two people (chance 0.05, refitted to shuffled scenes 0.075 of 2), after gradient steps 0.15
           and 0.60
Needs      nothing: data are generated, weights are shipped; about 5 minutes on 2 cores
Published  none: the comparison is ours
Measured   0.838 [0.80, 0.88] top-1 of 200 held-out scenes (chance 0.005, null 0.003 of 2 refits, mean of three
           simulated people), 0.832 after gradient steps
Tried      gradient steps on a residual MLP after the closed form add nothing that an interval shows
"""

from braindec import evaluate
from braindec.adapters import linear
from braindec.backbones import mlp
from braindec.data.preprocessing import Standardise, Whiten
from braindec.evaluate import panels
from braindec.evaluate.closed_form import curve_panel, gradient_gain
from braindec.losses import soft_clip
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip
from braindec.train import Config as Train
from braindec.types import Report

RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(1, 2, 3)),
    target=tiny_openclip.Config(),
    adapter=linear.Config(shared_dim=96),
    backbone=mlp.Config(width=256, n_blocks=1, dropout=0.2),
    loss=soft_clip.Config(
        mixco_fraction=0.2, mixco_temperature=0.05, temperature_start=0.05, temperature_end=0.05
    ),
    preprocessing=(Standardise(unit="session", scope="unit_train_rows"), Whiten(noise="repeats")),
    train=Train(n_steps=300, batch_size=256, lr=1e-4, validate_every=50),
    n_folds=3,
    protocol="heldout_stimuli",
    plan=evaluate.Plan(n_null=5, n_jobs=1, progress=False),
    settings={"random_lr": 1e-3},
)
SMOKE = (
    "data.subjects=[1,2]",
    "train.n_steps=20",
    "train.validate_every=10",
    "n_folds=2",
    "plan.n_null=2",
)


def main(recipe, data_dir, out_dir):
    lap, metrics = evaluate.Laps(), ("image_retrieval_top1", "brain_retrieval_top1")
    dataset = recipe.data.read(data_dir)
    embeddings = recipe.embed(dataset, data_dir, everything=True)
    evaluate.training_part(recipe, dataset, embeddings)
    lap("embeddings")
    found = gradient_gain(recipe, dataset, embeddings, metrics, random_lr=recipe.settings["random_lr"])
    lap("three ways to fit, and nulls")
    return Report(
        found.scores,
        {
            "title": "What gradient steps add to the closed form",
            "summary": "One decoder fitted in closed form, by gradient steps after it, and by the same steps from "
            "random weights; retrieval of held-out scenes, with paired intervals.",
            "comparisons": list(found.comparisons),
            "training": found.record,
            **lap.record(),
        },
        (
            panels.comparisons(found.comparisons, "Three ways to fit, on the same queries"),
            curve_panel(found),
            panels.limits(panels.SIMULATED),
        ),
    )
