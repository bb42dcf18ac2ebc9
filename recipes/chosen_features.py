"""Imagined movements by a few numbers: power and connectivity of channels, chosen on training runs alone.

Before a session somebody looks for features that tell classes apart: power of a channel in a band, and how strongly a
channel is bound to the others. Here training stretches rank them and say how many to keep; a discriminant of these
answers four times a second through held-out runs, beside one of all features. Own recordings in BIDS, or those of
MOABB: `--set data.dataset=moabb_motor_imagery`.

Systems    D9 HappyFeat (Desbois et al. 2023, arXiv:2310.02948), without its windows and buttons
Run        braindec prepare bids --raw DIR --out prepared/runs --set meeg.whole_runs=true --set meeg.detrend=false
           braindec run chosen_features --data prepared/runs --out runs/chosen_features
Smoke      braindec run chosen_features --smoke: normalised MCC 0.84 [0.79, 0.88] of three generated movements
           and idle time (chance 0.50, n 10 stretches, shuffled 0.52, refitted null 0.59, all features 0.78, always idle
           0.50)
Needs      EEG in BIDS or through MOABB (extra moabb; prepared with whole_runs=true); minutes on 2 cores
Published  none that can be compared: features chosen by eye, and accuracy of whole trials
Measured   not measured: needs recordings of motor imagery
Tried      nothing yet
"""

from dataclasses import replace

from braindec import evaluate
from braindec.evaluate import class_panels, online_study, panels
from braindec.evaluate.online_decoders import ChosenFeatures
from braindec.recipe import NeuralData, Recipe
from braindec.targets import category_prototypes
from braindec.types import Report

RECIPE = Recipe(
    data=NeuralData("bids", modalities=("eeg",)),
    target=category_prototypes.Config(),  # classes of the events, and idle
    protocol="pseudo_online",
    plan=evaluate.Plan(n_null=19),
    settings={
        "features": ChosenFeatures(),
        "band_hz": [2.0, 40.0],
        "event_s": None,  # as recorded
        "synthetic": {"imagery": True, "noise": 1.0},
        "prepared": {"sets": ["meeg.whole_runs=true", "meeg.detrend=false"]},
    },
)
SMOKE = ("settings.features.n_blocks=2", "settings.features.n_kept=[2,4,8]", "plan.n_null=1")


def main(recipe, data_dir, out_dir):
    dataset, told = recipe.data.read(data_dir), recipe.settings
    chosen = replace(told["features"], sfreq=online_study.rate_of(dataset))
    systems = {"braindec": chosen, "contender": replace(chosen, n_kept=(online_study.ALL,))}
    found = online_study.online_study(
        recipe, dataset, systems, band_hz=told["band_hz"], event_s=told["event_s"]
    )
    return Report(
        found.scores,
        {
            "title": "Imagined movements by a few numbers",
            "summary": "Power and connectivity of single channels, ranked and counted on training runs; answers every "
            "quarter of a second through runs that were held out, idle time included.",
            "systems": {"braindec": "chosen features", "contender": "all features", "mean": "always idle"},
            "comparisons": list(found.comparisons),
            **found.record,
        },
        (
            *online_study.confusions(found),
            online_study.kept(found, dataset, chosen),
            online_study.reactions(found),
            panels.comparisons(found.comparisons, "Chosen features against others, on the same windows"),
            class_panels.said(
                "What this does not show",
                "That a feature was chosen does not say that it is of the brain: eyes and muscles have power too.",
            ),
        ),
    )
