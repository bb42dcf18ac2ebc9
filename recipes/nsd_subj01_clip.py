"""NSD subject 1: voxels of nsdgeneral to an OpenCLIP embedding, the 1,000 shared images held out.

Systems    none: one contrasted embedding of NSD's first subject
Run        braindec prepare nsd --raw DIR --out prepared/nsd --subjects '[1]' --jobs 4
           braindec run nsd_subj01_clip --data prepared/nsd --out runs/nsd_subj01_clip
Smoke      braindec run nsd_subj01_clip --smoke: 0.16 of 100 images (chance 0.01, n 100; ridge 0.10) on the dataset's
           miniature: says only that the path is whole
Needs      NSD's files (after its terms are signed), weights of ViT-L-14 in open_clip's cache, one GPU of 24 GB
Published  none for this model; MindEye2 (all sessions, bigG) has 98.8 % of 300 images
Measured   not measured: needs NSD (after its terms are signed) and ViT-L-14
Tried      nothing yet
"""

from dataclasses import replace

from braindec import evaluate
from braindec.adapters import linear
from braindec.backbones import mlp
from braindec.data.preprocessing import Standardise
from braindec.decoder import BrainDecoder
from braindec.evaluate import class_panels, panels
from braindec.losses import soft_clip
from braindec.recipe import NeuralData, Recipe
from braindec.targets import openclip
from braindec.train import Config as Train
from braindec.types import Report

RECIPE = Recipe(
    data=NeuralData("nsd", subjects=(1,), split="shared1000"),
    target=openclip.Config(model="ViT-L-14", weights="openai"),
    preprocessing=(Standardise(unit="session", scope="unit_train_rows"),),  # without the shared images
    adapter=linear.Config(shared_dim=1024),
    backbone=mlp.Config(width=1024, n_blocks=4, dropout=0.15),
    loss=soft_clip.Config(mixco_fraction=0.33),
    train=Train(n_steps=37_500, batch_size=300, lr=3e-4, validate_every=500),
    n_folds=3,
    protocol="nsd_mindeye2_1000",
    plan=evaluate.Plan(n_null=3, n_null_baselines=19),
)
SMOKE = (
    "target=tiny_openclip", "protocol=heldout_stimuli", "adapter.shared_dim=64", "backbone.width=64",
    "backbone.n_blocks=1", "train.n_steps=20", "train.validate_every=10", "n_folds=2", "plan.n_null=1",
    "plan.n_null_baselines=3",
)  # fmt: skip

FORKS = {
    "scale of a voxel": (
        "by session, without shared images",
        "by session, with shared images",
        "over all sessions",
    ),
}


def fork(recipe, **choices):
    steps = {
        "by session, without shared images": Standardise(unit="session", scope="unit_train_rows"),
        "by session, with shared images": Standardise(unit="session", scope="unit_unlabelled"),
        "over all sessions": Standardise(),
    }
    return replace(recipe, preprocessing=(steps[choices["scale of a voxel"]],))


def main(recipe, data_dir, out_dir):
    dataset = recipe.data.read(data_dir)
    embeddings = recipe.embed(dataset, data_dir)
    decoder = BrainDecoder.build(recipe, dataset.info, embeddings.info)
    decoder.fit(evaluate.training_part(recipe, dataset, embeddings), embeddings, out_dir / "logs")
    found = evaluate.held_out(decoder, recipe, dataset, embeddings, plan=recipe.plan)
    report = Report(
        found.scores,
        {
            "title": "Photographs from visual cortex: NSD, subject 1",
            "summary": "The image that one person saw, looked for among shared images that the decoder never met.",
            "comparisons": list(found.comparisons),
            **found.record,
        },
        (
            panels.comparisons(found.comparisons, "The decoder against closed-form ridge"),
            *evaluate.neighbours(found.judged["braindec"], dataset),
            *class_panels.nulls(found.judged["braindec"], "image_retrieval_top1"),
            class_panels.said(
                "About these numbers",
                "One person: intervals speak of further images, not of other people.",
                "NSD chose noise regressors and ridge of these betas by the agreement of repeats, test images' too; "
                "prepare with --set betas=betas_fithrf for betas that are free of it.",
            ),
        ),
    )
    decoder.save_pretrained(out_dir / "decoder", report)
    return report
