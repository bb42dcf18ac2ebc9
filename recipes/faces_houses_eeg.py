"""Face or house: what a person saw, from half a second of four EEG electrodes, a whole run held out each time.

Systems    none: four dry electrodes, real recordings
Run        braindec prepare faces_houses_eeg --raw DIR --out prepared/faces_houses_eeg
           braindec run faces_houses_eeg --data prepared/faces_houses_eeg --out runs/faces_houses_eeg
Smoke      braindec run faces_houses_eeg --smoke: faces and houses of generated recordings are told apart, those of
           shuffled labels are not
Needs      nothing but a processor
Published  none for these runs
Measured   area under the ROC 0.708 [0.68, 0.74] (chance 0.5, n 1,174, null 0.489, p 0.05 of 19), ridge 0.707,
           nuisance 0.512; 232 s
Tried      no clipping (0.62); cross-entropy without dropout (below ridge)
"""

from dataclasses import replace

from braindec import evaluate
from braindec.adapters import linear
from braindec.backbones import linear as backbone
from braindec.data import splits
from braindec.data.preprocessing import AverageTime, ClipMad, Crop, Standardise
from braindec.decoder import BrainDecoder
from braindec.evaluate import class_panels, panels
from braindec.losses import cross_entropy
from braindec.recipe import NeuralData, Recipe
from braindec.targets import category_prototypes
from braindec.train import Config as Train
from braindec.types import Report

CLEAN = (
    ClipMad(3.0),
    Standardise(),
)  # limits of the training runs: artefacts are clipped, no trial is dropped
RECIPE = Recipe(
    data=NeuralData("faces_houses_eeg"),
    target=category_prototypes.Config(classes=("face", "house")),
    label_column="category",
    preprocessing=(
        *CLEAN,
        Crop(0.0, 0.5),
        AverageTime(4),
    ),  # the next picture comes after 0.5 s at the earliest
    adapter=linear.Config(shared_dim=8, dropout=0.5),
    backbone=backbone.Config(),
    loss=cross_entropy.Config(),
    train=Train(n_steps=40, batch_size=1024, lr=1e-3, validate_every=20, repeats="single", device="cpu"),
    n_folds=5,  # each training run once
    protocol="leave_one_run_out_auc",
    plan=evaluate.Plan(n_null=19, n_null_baselines=39),
    settings={"n_null_time_course": 999, "n_averaged": 10},
)
SMOKE = (
    "plan.n_null=1", "plan.n_null_baselines=3", "n_folds=2", "train.n_steps=10", "settings.n_null_time_course=19",
    "settings.n_averaged=5",
)  # fmt: skip

FORKS = {
    "cleaning": ("clipped, scaled", "scaled", "none"),
    "window": ("0 to 0.5 s", "0 to 0.3 s", "0.1 to 0.4 s"),
    "averaging": ("4 samples", "1 sample", "8 samples"),
    "penalty": ("told apart", "least error", "fixed at 1"),
    "candidates": (
        "of the protocol",
        "of all folds",
    ),  # a trial is ranked among those of its run, or of all runs
}
WINDOWS = {"0 to 0.5 s": (0.0, 0.5), "0 to 0.3 s": (0.0, 0.3), "0.1 to 0.4 s": (0.1, 0.4)}


def fork(recipe, cleaning, window, averaging):
    clean = {"clipped, scaled": CLEAN, "scaled": CLEAN[1:], "none": ()}[cleaning]
    return replace(
        recipe, preprocessing=(*clean, Crop(*WINDOWS[window]), AverageTime(int(averaging.split()[0])))
    )


def main(recipe, data_dir, out_dir):
    dataset = recipe.data.read(data_dir)
    embeddings = recipe.embed(dataset, data_dir)
    folds, label = splits.leave_one_out(dataset, "run"), recipe.label_column
    found = evaluate.cross_validate(recipe, dataset, embeddings, folds, plan=recipe.plan, label_column=label)
    n_null, n_averaged = recipe.settings["n_null_time_course"], recipe.settings["n_averaged"]
    course = evaluate.time_course(dataset, folds, label_column=label, preprocessing=CLEAN, n_null=n_null)
    decoder = BrainDecoder.build(recipe, dataset.info, embeddings.info).fit(
        dataset, embeddings, out_dir / "logs"
    )
    report = Report(
        found.scores,
        {
            "title": "Face or house, from four electrodes",
            "summary": "One person, six runs; every trial of a run is scored by a decoder that never saw the run.",
            "comparisons": list(found.comparisons),
            "roc_auc_of_averages": {
                "n_averaged": n_averaged,
                "value": evaluate.averaged_trials(
                    found.judged["braindec"], dataset, label, n_averaged, recipe.seed
                ),
            },
            "time_course": course.to_json(),
            **found.record,
        },
        (
            class_panels.over_time(course),
            panels.comparisons(found.comparisons, "The decoder against closed-form ridge"),
            *class_panels.nulls(found.judged["braindec"], "roc_auc"),
            class_panels.said(
                "About these numbers",
                "No trial is dropped, in training or in the held-out run: values beyond 3 median absolute deviations "
                "of the training runs are clipped.",
                "The marker tells the class of a picture, not which one it was: a few pictures may recur over runs.",
                "One person and four dry electrodes: intervals speak of further trials of this person.",
            ),
        ),
    )
    decoder.save_pretrained(out_dir / "decoder", report)
    return report
