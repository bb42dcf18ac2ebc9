"""Haxby 2001: which of eight categories a person saw, from one slice of fMRI, a whole run held out each time.

Systems    none: eight categories, real recordings
Run        braindec prepare haxby2001 --raw DIR --out prepared/haxby2001
           braindec run haxby2001_category --data prepared/haxby2001 --out runs/haxby2001
Smoke      braindec run haxby2001_category --smoke: eight categories of generated recordings are told apart, shuffled
           ones are not
Needs      nothing but a processor
Published  none for this slice and these folds; a shrinkage LDA that sees the residuals of the categories has 0.92
Measured   accuracy 0.865 [0.78, 0.92] (chance 0.125, n 96, null 0.120, p 0.05 of 19), ridge 0.812 [0.72, 0.88],
           nuisance 0.260; transductive
Tried      whitening by residuals of the categories; gradient steps on cross-entropy instead of squared error
"""

from dataclasses import replace

from braindec import evaluate
from braindec.adapters import linear
from braindec.backbones import linear as backbone
from braindec.data import splits
from braindec.data.preprocessing import Standardise, Whiten
from braindec.decoder import BrainDecoder
from braindec.evaluate import class_panels, panels
from braindec.losses import mse
from braindec.recipe import NeuralData, Recipe
from braindec.targets import category_prototypes
from braindec.train import Config as Train
from braindec.types import Report

CLASSES = ("bottle", "cat", "chair", "face", "house", "scissors", "scrambledpix", "shoe")
RECIPE = Recipe(
    data=NeuralData("haxby2001"),
    target=category_prototypes.Config(classes=CLASSES),
    label_column="category",
    # Runs differ in level: each loses its own mean, the held-out one too, without its labels (transductive).
    preprocessing=(Standardise(unit="run", scope="unit_unlabelled", scale=False), Standardise()),
    adapter=linear.Config(shared_dim=8),
    backbone=backbone.Config(),
    loss=mse.Config(),
    train=Train(n_steps=20, batch_size=96, lr=1e-3, validate_every=20, repeats="single", device="cpu"),
    n_folds=11,  # each training run once
    protocol="leave_one_run_out_categories",
    # Categories are not balanced over the blocks of a run, which alone tells more than chance.
    plan=evaluate.Plan(
        n_null=19, n_null_baselines=39, nuisance=("run_position", "onset_s", "acquisition_order")
    ),
)
SMOKE = ("plan.n_null=1", "plan.n_null_baselines=3", "n_folds=2", "train.n_steps=10")

FORKS = {
    "level of a run": ("removed", "kept", "removed, scaled"),
    "scale of a voxel": ("one", "as measured"),
    "noise": ("as measured", "whitened by class residuals"),
    "penalty": ("told apart", "least error", "fixed at 1"),
    "candidates": ("of the protocol", "pools of 4", "pools of 2"),  # of eight categories
}


def fork(recipe, **choices):
    level, scale, noise = (choices[name] for name in ("level of a run", "scale of a voxel", "noise"))
    steps = (
        *(
            ()
            if level == "kept"
            else (Standardise("run", "unit_unlabelled", scale=level == "removed, scaled"),)
        ),
        *((Standardise(),) if scale == "one" else ()),
        *((Whiten(noise="repeats"),) if noise.startswith("whitened") else ()),
    )
    return replace(recipe, preprocessing=steps)


def main(recipe, data_dir, out_dir):
    dataset = recipe.data.read(data_dir)
    embeddings = recipe.embed(dataset, data_dir)
    folds, label = splits.leave_one_out(dataset, "run"), recipe.label_column
    found = evaluate.cross_validate(recipe, dataset, embeddings, folds, plan=recipe.plan, label_column=label)
    decoder = BrainDecoder.build(recipe, dataset.info, embeddings.info).fit(
        dataset, embeddings, out_dir / "logs"
    )
    report = Report(
        found.scores,
        {
            "title": "Eight categories from one slice of visual cortex",
            "summary": "One person, twelve runs of eight blocks; each run is decoded by decoders that never saw it.",
            "comparisons": list(found.comparisons),
            **found.record,
        },
        (
            class_panels.confusion(found.judged["braindec"], dataset, label),
            panels.comparisons(found.comparisons, "The decoder against closed-form ridge"),
            *class_panels.nulls(found.judged["braindec"], "category_accuracy"),
            class_panels.said(
                "About these numbers",
                "Transductive: the mean of the held-out run is removed, without its labels; a single new block could "
                "not be decoded this way.",
                "The nuisance decoder sees the position of a block in its run and nothing of the brain.",
                "One person and one slice: intervals speak of further blocks of this person, not of other people.",
            ),
        ),
    )
    decoder.save_pretrained(out_dir / "decoder", report)
    return report
