"""Imagined movements as they happen: a decoder that answers four times a second through runs that it never saw.

Windows of two seconds slide over whole runs, and many of them are idle. Covariances of channels beside delayed copies
of themselves, their number and delay chosen on training runs, are told apart in their tangent space, beside the same
without delays, one that always says idle, and one that learnt shuffled classes. A filter that looks back alone comes
first. Own recordings in BIDS, or those of MOABB: `--set data.dataset=moabb_motor_imagery`.

Systems    D5 Augmented covariance (Carrara & Papadopoulo 2023, arXiv:2302.04508); D6 Pseudo-online evaluation (Carrara
           & Papadopoulo 2024, doi:10.1088/1741-2552/ad171a)
Run        braindec prepare bids --raw DIR --out prepared/runs --set meeg.whole_runs=true --set meeg.detrend=false
           braindec run imagined_movements --data prepared/runs --out runs/imagined_movements
Smoke      braindec run imagined_movements --smoke: normalised MCC 0.82 [0.72, 0.89] of three generated movements and
           idle time (chance 0.50, n 10 stretches, shuffled 0.44, refitted null 0.52, without delays 0.72, always idle
           0.50)
Needs      EEG in BIDS or through MOABB (extra moabb; prepared with whole_runs=true), pyriemann (extra riemann)
Published  none that can be compared: MOABB's datasets in windows, overlaps and trials of their own choice
Measured   not measured: needs recordings of motor imagery
Tried      logistic regression with a hundredth of the penalty: 0.72 against 0.73 on generated runs of nine channels
"""

from dataclasses import replace

from braindec import evaluate
from braindec.evaluate import class_panels, online_study, panels
from braindec.evaluate.online_decoders import AugmentedCovariance
from braindec.recipe import NeuralData, Recipe
from braindec.targets import category_prototypes
from braindec.types import Report

RECIPE = Recipe(
    data=NeuralData("bids", modalities=("eeg",)),
    target=category_prototypes.Config(),  # classes of the events, and idle
    protocol="pseudo_online",
    plan=evaluate.Plan(n_null=19),
    settings={
        "augmented": AugmentedCovariance(),
        "band_hz": [8.0, 30.0],
        "event_s": None,  # as recorded
        "synthetic": {"imagery": True, "noise": 0.5},
        "prepared": {"sets": ["meeg.whole_runs=true", "meeg.detrend=false"]},
    },
)
SMOKE = (
    "settings.augmented.orders=[1,2]",
    "settings.augmented.lags=[2]",
    "settings.augmented.n_blocks=2",
    "plan.n_null=1",
)


def main(recipe, data_dir, out_dir):
    dataset, told = recipe.data.read(data_dir), recipe.settings
    systems = {"braindec": told["augmented"], "contender": replace(told["augmented"], orders=(1,))}
    found = online_study.online_study(
        recipe, dataset, systems, band_hz=told["band_hz"], event_s=told["event_s"]
    )
    return Report(
        found.scores,
        {
            "title": "Imagined movements as they happen",
            "summary": "Answers every quarter of a second through runs that were held out, idle time included.",
            "systems": {
                "braindec": "covariances of channels and delayed copies",
                "contender": "covariances of channels alone",
                "mean": "always idle",
            },
            "comparisons": list(found.comparisons),
            **found.record,
        },
        (
            *online_study.confusions(found),
            online_study.reactions(found),
            panels.comparisons(found.comparisons, "With delayed copies against others, on the same windows"),
            class_panels.said(
                "What this does not show",
                "Runs are played, not lived: nobody saw the answers, as a person who learns from them does.",
                "Bits a minute take windows for independent and classes for equally likely, and overestimate.",
            ),
        ),
    )
