"""Neuro-GPT: segments of EEG foreseen from earlier ones without labels, then tuned on classes of trials.

A transformer over segments of time (all channels of a segment are one token) first learns to foresee masked segments
from the ones before them; then it learns classes, beside the same network from random weights and ridge.

Systems    D7 Neuro-GPT (Cui et al. 2024, arXiv:2311.03764), pretrained on the recordings at hand
Run        braindec prepare bids --raw DIR --out prepared/imagery
           braindec run neuro_gpt --data prepared/imagery --out runs/neuro_gpt
Smoke      braindec run neuro_gpt --smoke: accuracy 0.98 [0.89, 1.00] of four classes of generated evoked responses
           (chance 0.25, n 48, shuffled labels 0.29, without pretraining 0.92, ridge 1.00); masked values foreseen
           with 0.80 of the error of their mean
Needs      EEG in BIDS or through MOABB (extra moabb); minutes on 2 cores
Published  none at hand: BNCI2014_001 across people, pretrained on TUH
Measured   not measured: needs recordings of motor imagery, and of many hours without a task (TUH)
Tried      nothing yet
"""

from braindec import evaluate
from braindec.adapters import sensor_attention
from braindec.backbones import masked_transformer
from braindec.data.preprocessing import AverageTime, Standardise
from braindec.decoder.masked import Config as Masked
from braindec.evaluate import panels
from braindec.evaluate.masked_pretraining import pretraining_gain
from braindec.losses import cross_entropy
from braindec.recipe import NeuralData, Recipe
from braindec.targets import category_prototypes
from braindec.train import Config as Train
from braindec.types import Report

RECIPE = Recipe(
    data=NeuralData("bids", modalities=("eeg",)),
    target=category_prototypes.Config(classes=("feet", "left_hand", "right_hand", "tongue")),
    label_column="category",
    preprocessing=(AverageTime(2), Standardise()),
    adapter=sensor_attention.Config(n_virtual=32),
    backbone=masked_transformer.Config(patch=25, width=128, n_layers=4, n_heads=8, pool="all"),
    loss=cross_entropy.Config(),
    train=Train(n_steps=200, batch_size=256, lr=5e-4, validate_every=50, repeats="single"),
    n_folds=3,
    protocol="leave_one_run_out_categories",
    plan=evaluate.Plan(n_null=19, n_jobs=1, progress=False),
    settings={
        "pretraining": Masked(
            ratio=0.5, shown="earlier", train=Train(n_steps=1000, batch_size=256, lr=1e-3, validate_every=250)
        ),
        "n_labelled": 1000,  # all
        "synthetic": {"fmri": False, "noise": 0.3},
    },
)
SMOKE = (
    'target.classes=["face","house","tool","word"]',  # what the miniature shows
    "preprocessing.0.n_samples=10",
    "adapter.n_virtual=12",
    "backbone.patch=4",
    "backbone.width=32",
    "backbone.n_layers=1",
    "backbone.n_heads=4",
    "train.n_steps=20",
    "train.batch_size=144",
    "train.lr=3e-3",
    "train.validate_every=20",
    "calibrate=false",
    "n_folds=0",
    "plan.n_null=1",
    "settings.pretraining.train.n_steps=40",
    "settings.pretraining.train.batch_size=72",
    "settings.pretraining.train.validate_every=40",
)


def main(recipe, data_dir, out_dir):
    lap, told = evaluate.Laps(), recipe.settings
    dataset = recipe.data.read(data_dir)
    embeddings = recipe.embed(dataset, data_dir)
    evaluate.training_part(recipe, dataset, embeddings)
    found, decoder = pretraining_gain(
        recipe, dataset, embeddings, ("category_accuracy",), told["pretraining"],
        n_labelled=told["n_labelled"], out_dir=out_dir / "logs",
    )  # fmt: skip
    lap("pretraining, four systems, nulls")
    report = Report(
        found.scores,
        {
            "title": "EEG foreseen, then told apart",
            "summary": "A transformer that learnt to foresee segments of EEG from earlier ones, tuned on classes, "
            "against the same from random weights and ridge, on a run that neither saw.",
            "comparisons": list(found.comparisons),
            **found.record,
            **lap.record(),
        },
        (
            panels.comparisons(
                found.comparisons, "The pretrained network against the others, on the same trials"
            ),
            *panels.curves(decoder),
            panels.limits("Pretraining sees the recordings at hand alone, none of other people or studies."),
        ),
    )
    decoder.save_pretrained(out_dir / "decoder", report)
    return report
