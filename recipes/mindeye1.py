"""MindEye: one output for retrieval and one for reconstruction, a diffusion prior, and a low-level path.

Two simulated fMRI subjects. A residual MLP, contrasted on mixed trials (BiMixCo), then softly (SoftCLIP); the output
that pictures are drawn from is regressed and passes a diffusion prior; a third one says roughly how the picture looked.

Systems    A1 MindEye
Run        braindec run mindeye1 --out runs/mindeye1
Smoke      braindec run mindeye1 --smoke: 0.80 [0.58, 0.92] of 20 scenes by the contrasted output (chance 0.05,
           refitted to shuffled scenes 0.10, ridge 0.95), 1.00 by the regressed one; 12 pictures two-way 0.66
           (shuffled 0.45), pixel correlation 0.43 (0.06)
Needs      nothing: data are generated, weights are shipped; minutes on 2 cores
Published  NSD, 982 images, mean of four people: image and brain retrieval 93.6 and 90.1 % of 300, two-way CLIP 94.1
           %, pixel correlation 0.309
Measured   not measured: needs NSD, CLIP ViT-L/14, and an autoencoder and image generator of that size; retrieval in
           LAION needs its index; simulated, two people: 0.750 [0.69, 0.81] and 0.790 [0.73, 0.84] of 200 scenes by
           the contrasted output (chance 0.005, shuffled scenes 0.005, ridge 0.760 and 0.815), 0.805 and 0.870 by
           the regressed one; 30 pictures two-way 0.839 [0.75, 0.90] and 0.875 [0.81, 0.92] (shuffled 0.51 and
           0.57), pixel correlation 0.71 and 0.68 (0.06 and 0.07)
Tried      calibration on 80 scenes takes retrieval by the regressed output from 0.95 to 0.30
"""

from braindec import evaluate
from braindec.adapters import linear
from braindec.backbones import mlp
from braindec.data.preprocessing import Standardise, Whiten
from braindec.evaluate import outputs, panels, two_paths
from braindec.generators import embedded_unclip, vae_latents
from braindec.losses import mse, soft_clip
from braindec.priors import diffusion
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip, vae
from braindec.train import Config as Train
from braindec.types import Report

RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(1, 2)),
    target=tiny_openclip.Config(),
    targets={
        "retrieval": tiny_openclip.Config(),
        "low_level": vae.Config(model="shipped", size=64, layout="flat"),
    },
    adapter=linear.Config(shared_dim=192),
    backbone=mlp.Config(width=256, n_blocks=4, dropout=0.15),
    loss={
        "main": mse.Config(),
        "retrieval": soft_clip.Config(
            mixco_fraction=0.33, mixco_temperature=0.05, temperature_start=0.05, temperature_end=0.05
        ),
        "low_level": mse.Config(),
    },
    prior=diffusion.Config(width=96, depth=2, heads=4),
    generator=embedded_unclip.Config(n_steps=10, guidance=1.0),
    preprocessing=(Standardise(unit="session", scope="unit_train_rows"), Whiten(noise="repeats")),
    train=Train(n_steps=300, batch_size=256, lr=1e-3, validate_every=100),
    prior_train=Train(n_steps=300, batch_size=256, lr=1e-3, validate_every=100),
    n_folds=3,
    protocol="heldout_stimuli",
    plan=evaluate.Plan(n_null=5, n_jobs=1, progress=False),
    settings={"world": "demo", "n_images": 30, "merge": "img2img", "low_level": vae_latents.Config()},
)
SMOKE = (
    "data.subjects=[1]",
    "backbone.width=64",
    "backbone.n_blocks=1",
    "train.n_steps=40",
    "train.batch_size=90",
    "train.lr=2e-3",
    "train.validate_every=40",
    "prior_train.n_steps=20",
    "prior_samples=8",
    "prior.width=32",
    "prior.depth=1",
    "n_folds=2",
    "generator.n_steps=2",
    "plan.n_null=1",
    "settings.world=small_fmri",
    "settings.n_images=12",
    "calibrate=false",
)


def main(recipe, data_dir, out_dir):
    lap, told = evaluate.Laps(), recipe.settings
    dataset = recipe.data.read(data_dir)
    embeddings = recipe.embed_each(dataset, data_dir, everything=True)
    training = evaluate.training_part(recipe, dataset, embeddings["main"])
    decoder = outputs.fit_outputs(
        recipe, training, embeddings, out_dir / "logs", progress=recipe.plan.progress
    )
    lap("fit")
    nulls = evaluate.fit_nulls(
        recipe, training, embeddings, recipe.plan.n_null, n_jobs=recipe.plan.n_jobs, progress=False
    )
    lap("shuffled decoders")
    metrics = ("image_retrieval_top1", "brain_retrieval_top1")
    judged = outputs.by_output(decoder, nulls, recipe, dataset, embeddings, "retrieval", metrics)
    lap("retrieval")
    drawn, scores, gains = two_paths.two_paths(
        decoder, nulls, recipe, dataset, output="low_level", rough=vae_latents.build(told["low_level"]),
        n_images=told["n_images"], merge=told["merge"],
    )  # fmt: skip
    lap("pictures")
    report = Report(
        (*judged.scores, *scores),
        {
            "title": "MindEye: retrieve by one output, reconstruct from another",
            "summary": "One residual MLP with an output for retrieval, one for reconstruction through a diffusion "
            "prior, and one for how the picture roughly looked; each beside what it adds.",
            "comparisons": [*judged.comparisons, *gains],
            **judged.record,
            **lap.record(),
        },
        (
            *two_paths.panels(drawn),
            panels.comparisons(judged.comparisons, "Retrieval by the contrasted output against others"),
            panels.comparisons(gains, "What each path adds to the pictures"),
            *panels.curves(decoder),
            panels.limits(panels.SIMULATED),
        ),
    )
    decoder.save_pretrained(out_dir / "decoder", report)
    return report
