"""THINGS-EEG2 subject 1: which of 200 new objects a person saw, from EEG into OpenAI's CLIP, as NICE decodes it.

Systems    C1 NICE
Run        braindec prepare things_eeg2 --raw DIR --out prepared/things_eeg2
           braindec run things_eeg2_nice --data prepared/things_eeg2 --out runs/things_eeg2_nice
Smoke      braindec run things_eeg2_nice --smoke: 0.20 of 20 new pictures (chance 0.05, n 20; ridge 0.40) on the
           dataset's miniature: says only that the path is whole
Needs      the 250 Hz files and pictures; one GPU (or a night of a processor); CLIP ViT-L/14, downloaded once by
           open_clip
Published  THINGS-EEG2, ten people: 15.6 and 42.8 % top-1 and top-5 of 200 (Song et al. 2024), with concept prototypes
           as candidates; here the images shown
Measured   not measured: needs THINGS-EEG2 and CLIP ViT-L/14
Tried      nothing yet
"""

from braindec import evaluate
from braindec.adapters import sensor_attention
from braindec.backbones import temporal_spatial
from braindec.data.preprocessing import AverageTime, Standardise
from braindec.decoder import BrainDecoder
from braindec.evaluate import panels
from braindec.losses import clip
from braindec.recipe import NeuralData, Recipe
from braindec.targets import openclip
from braindec.train import Config as Train
from braindec.types import Report

RECIPE = Recipe(
    data=NeuralData("things_eeg2", subjects=(1,)),
    target=openclip.Config(model="ViT-L-14", weights="openai"),
    # The 250 Hz files are whitened already, on training images. One sample a mean: all 250 are kept.
    preprocessing=(AverageTime(1), Standardise()),
    adapter=sensor_attention.Config(n_virtual=63),
    backbone=temporal_spatial.Config(),
    loss=clip.Config(learned=True),
    # 50 passes over 16,540 images, repeats averaged; Song et al. 2024, arXiv:2308.13234, make 200 without looking.
    train=Train(n_steps=850, batch_size=1000, lr=2e-4, validate_every=85, repeats="average"),
    n_folds=3,
    protocol="things_eeg2_200",
    plan=evaluate.Plan(n_null=19, n_null_baselines=19),
)
SMOKE = (
    "target=tiny_openclip",
    "protocol=things_eeg2_200_miniature",  # 20 test concepts, which are not the listed ones
    "preprocessing.0.n_samples=5",
    "adapter.n_virtual=16",
    "backbone.n_filters=16",
    "backbone.kernel=5",
    "backbone.pool=11",
    "backbone.stride=6",
    "backbone.dropout=0.1",
    "train.n_steps=30",
    "train.batch_size=80",
    "train.lr=5e-3",
    "train.validate_every=15",
    "n_folds=2",
    "plan.n_null=1",
    "plan.n_null_baselines=1",
)


def main(recipe, data_dir, out_dir):
    dataset = recipe.data.read(data_dir)
    embeddings = recipe.embed(dataset, data_dir)
    decoder = BrainDecoder.build(recipe, dataset.info, embeddings.info)
    decoder.fit(evaluate.training_part(recipe, dataset, embeddings), embeddings, out_dir / "logs")
    judged = evaluate.held_out(decoder, recipe, dataset, embeddings, plan=recipe.plan)
    # What papers print here, the best step of the test set: beside the scores, marked, counting for nothing.
    peeked = evaluate.best_test_step(recipe, dataset, embeddings)
    report = Report(
        (*judged.scores, *peeked),
        {
            "title": "Two hundred new objects from EEG",
            "summary": "One person; the test objects are of concepts of which training showed no picture. Responses to "
            "all repeats of a picture are averaged before the decoder.",
            "comparisons": list(judged.comparisons),
            **judged.record,
        },
        (
            panels.comparisons(judged.comparisons, "The decoder against closed-form ridge"),
            *evaluate.neighbours(judged.judged["braindec"], dataset),
            *panels.curves(decoder),
            panels.limits("80 repeats are averaged: a single look at a picture tells far less."),
        ),
    )
    decoder.save_pretrained(out_dir / "decoder", report)
    return report
