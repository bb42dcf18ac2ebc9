"""Words read aloud, from electrodes in the brain: codes of masked segments are said, then 61 words told apart.

A tokenizer first learns a codebook for segments of all of a subject's contacts; a transformer then learns, without
labels, to say which codes masked segments have; then it learns words, beside the same network pretrained on values in
place of codes, from random weights, and ridge, on a run that none of them saw.

Systems    D2 Du-IN (Zheng et al. 2024, arXiv:2405.11459)
Run        braindec prepare du_in --raw DIR --out prepared/du_in
           braindec run du_in_words --data prepared/du_in --out runs/du_in_words
Smoke      braindec run du_in_words --smoke: accuracy 1.00 [0.89, 1.00] of six generated words (chance 0.17, n 30,
           shuffled 0.10; pretrained on values, without pretraining and by ridge 1.00); masked codes said with 0.39 of
           the cross-entropy of their frequencies, masked values filled in with 0.74 of the error of their mean
Needs      datasets/du_in prepared; a GPU or hours of a processor
Published  none that can be compared: single trials of all runs were dealt at random; here whole runs are held out
Measured   not measured: needs the recordings of Du-IN
Tried      tokens that are patches of one linear map of all contacts and times: codes are said with 0.60 in place of
           0.39, values with 0.70 in place of 0.74; segments of time are kept, for they are what Du-IN's tokens are
"""

from dataclasses import replace

import numpy as np

from braindec import evaluate
from braindec.adapters import sensor_attention
from braindec.backbones import masked_transformer
from braindec.data.preprocessing import AverageTime, Standardise
from braindec.decoder.codes import Codes
from braindec.decoder.masked import Config as Masked
from braindec.evaluate import panels
from braindec.evaluate.masked_pretraining import pretraining_gain, said_of_masked
from braindec.losses import cross_entropy
from braindec.recipe import NeuralData, Recipe
from braindec.targets import category_prototypes
from braindec.train import Config as Train
from braindec.types import Report

RECIPE = Recipe(
    data=NeuralData("du_in"),
    target=category_prototypes.Config(),  # of the words that were read
    label_column="word",
    preprocessing=(AverageTime(10), Standardise()),  # 1 kHz to 100 Hz
    adapter=sensor_attention.Config(n_virtual=32),  # contacts by vectors of their own, not by place
    # 100 ms of all contacts are a token.
    backbone=masked_transformer.Config(patch=10, rows=None, width=128, n_layers=4, n_heads=8, pool="all"),
    loss=cross_entropy.Config(),
    train=Train(n_steps=200, batch_size=256, lr=5e-4, validate_every=50, repeats="single"),
    n_folds=3,
    protocol="leave_one_run_out_categories",
    plan=evaluate.Plan(n_null=19, n_jobs=1, progress=False),
    settings={
        "pretraining": Masked(
            ratio=0.5,
            predicts="codes",
            codes=Codes(
                n_codes=256,
                n_layers=1,
                train=Train(n_steps=1000, batch_size=256, lr=1e-3, validate_every=250),
            ),
            train=Train(n_steps=1000, batch_size=256, lr=1e-3, validate_every=250),
        ),
        "n_labelled": 1000,  # all
        "synthetic": {"n_times": 600, "n_runs": 3, "n_words": 6, "n_repeats": 5},
    },
)
SMOKE = (
    "data.subjects=[1]",
    "adapter.n_virtual=12",
    "backbone.width=32",
    "backbone.n_layers=1",
    "backbone.n_heads=4",
    "train.n_steps=30",
    "train.batch_size=144",
    "train.lr=3e-3",
    "train.validate_every=30",
    "calibrate=false",
    "n_folds=0",
    "plan.n_null=1",
    "settings.pretraining.codes.n_codes=32",
    "settings.pretraining.codes.width=32",
    "settings.pretraining.codes.train.n_steps=40",
    "settings.pretraining.codes.train.batch_size=72",
    "settings.pretraining.codes.train.lr=5e-3",
    "settings.pretraining.codes.train.validate_every=40",
    "settings.pretraining.train.n_steps=40",
    "settings.pretraining.train.batch_size=72",
    "settings.pretraining.train.lr=4e-3",
    "settings.pretraining.train.validate_every=40",
)


def main(recipe, data_dir, out_dir):
    lap, told = evaluate.Laps(), recipe.settings
    dataset = recipe.data.read(data_dir)
    words = tuple(np.unique(dataset.stimuli.table["word"]).tolist())
    recipe = replace(recipe, target=category_prototypes.Config(classes=words))
    embeddings = recipe.embed(dataset, data_dir)
    evaluate.training_part(recipe, dataset, embeddings)
    found, decoder = pretraining_gain(
        recipe, dataset, embeddings, ("category_accuracy",), told["pretraining"],
        n_labelled=told["n_labelled"], out_dir=out_dir / "logs", beside="values",
    )  # fmt: skip
    lap("pretraining twice, five systems, nulls")
    report = Report(
        found.scores,
        {
            "title": "Words from electrodes: codes of what is masked, then words",
            "summary": "A transformer that learnt to say the codes of masked segments of sEEG, tuned on words, against "
            "the same pretrained on values, from random weights, and ridge, on a run that none of them saw.",
            "comparisons": list(found.comparisons),
            **found.record,
            **lap.record(),
        },
        (
            panels.comparisons(
                found.comparisons, "The pretrained network against the others, on the same trials"
            ),
            said_of_masked(found),
            *panels.curves(decoder),
            panels.limits(
                "A segment's code takes the trial's other segments into account, so that it may be easy to say from "
                "what is shown (not with settings.pretraining.codes.n_layers=0); contacts are not chosen by region, "
                "and no hours without a task are pretrained on."
            ),
        ),
    )
    decoder.save_pretrained(out_dir / "decoder", report)
    return report
