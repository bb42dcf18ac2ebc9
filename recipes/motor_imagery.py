"""Imagined movements from EEG by plain convolutions over time, a whole run held out each time.

EEG-SimpleConv: all channels enter one-dimensional convolutions that halve time, then the mean over time. Read are one's
own recordings in BIDS (`trial_type` is the class), or those of MOABB with `--set data.dataset=moabb_motor_imagery`.

Systems    D4 EEG-SimpleConv (El Ouahidi et al. 2024, arXiv:2309.07159), within a person
Run        braindec prepare bids --raw DIR --out prepared/imagery
           braindec run motor_imagery --data prepared/imagery --out runs/motor_imagery
Smoke      braindec run motor_imagery --smoke: accuracy 0.97 [0.94, 0.99] of four classes of generated evoked
           responses (chance 0.25, n 192, shuffled labels 0.19, ridge 1.00): says that the path is whole, nothing of
           imagery
Needs      EEG in BIDS or through MOABB (extra moabb); minutes on 2 cores
Published  none that can be compared: BNCI2014_001 and others across people, with their statistics and mixup
Measured   not measured: needs recordings of motor imagery
Tried      nothing yet
"""

from braindec import evaluate
from braindec.adapters import sensor_attention
from braindec.backbones import eeg_simpleconv
from braindec.data import splits
from braindec.data.preprocessing import AverageTime, ClipMad, Standardise
from braindec.decoder import BrainDecoder
from braindec.evaluate import class_panels, panels
from braindec.losses import cross_entropy
from braindec.recipe import NeuralData, Recipe
from braindec.targets import category_prototypes
from braindec.train import Config as Train
from braindec.types import Report

RECIPE = Recipe(
    data=NeuralData("bids", modalities=("eeg",)),
    target=category_prototypes.Config(classes=("feet", "left_hand", "right_hand", "tongue")),
    label_column="category",
    preprocessing=(AverageTime(3), ClipMad(5.0), Standardise()),  # 250 Hz to about the 80 Hz of the paper
    adapter=sensor_attention.Config(n_virtual=32),
    backbone=eeg_simpleconv.Config(width=64, kernel=8),
    loss=cross_entropy.Config(),
    train=Train(n_steps=200, batch_size=288, lr=1e-3, validate_every=50, repeats="single", device="cpu"),
    n_folds=3,
    protocol="leave_one_run_out_categories",
    plan=evaluate.Plan(n_null=19, n_null_baselines=39),
)
SMOKE = (
    'target.classes=["face","house","tool","word"]',  # what the miniature shows
    'preprocessing=[{"name": "AverageTime", "n_samples": 10}, "Standardise"]',
    "adapter.n_virtual=12",
    "backbone.width=16",
    "backbone.kernel=3",
    "train.n_steps=20",
    "train.batch_size=144",
    "train.lr=1e-2",
    "train.validate_every=30",
    "n_folds=0",
    "calibrate=false",
    "plan.n_null=1",
    "plan.n_null_baselines=1",
    'settings={"synthetic": {"fmri": false, "noise": 0.3}}',
)


def main(recipe, data_dir, out_dir):
    dataset = recipe.data.read(data_dir)
    embeddings = recipe.embed(dataset, data_dir)
    folds, label = splits.leave_one_out(dataset, "run"), recipe.label_column
    found = evaluate.cross_validate(recipe, dataset, embeddings, folds, plan=recipe.plan, label_column=label)
    decoder = BrainDecoder.build(recipe, dataset.info, embeddings.info)
    decoder.fit(dataset, embeddings, out_dir / "logs")
    report = Report(
        found.scores,
        {
            "title": "Classes of trials from EEG, by plain convolutions",
            "summary": "Each run is decoded by a network that never saw it, beside closed-form ridge.",
            "comparisons": list(found.comparisons),
            **found.record,
        },
        (
            class_panels.confusion(found.judged["braindec"], dataset, label),
            panels.comparisons(found.comparisons, "The decoder against closed-form ridge"),
            *class_panels.nulls(found.judged["braindec"], "category_accuracy"),
            class_panels.said(
                "About these numbers",
                "The published system is trained on other people and tested on a new one; here a run of the same "
                "person is held out.",
            ),
        ),
    )
    decoder.save_pretrained(out_dir / "decoder", report)
    return report
