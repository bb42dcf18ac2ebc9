"""NeuroImagen: pixels and semantics decoded from EEG apart; a latent diffusion starts from the one, told the other.

Published on EEG-CVPR40, whose classes were shown in blocks: there time alone tells the class, and a score is no
evidence of decoding (`braindec audit` says so). Here the EEG is simulated and the scenes are shuffled in time.

Systems    C4 NeuroImagen (published on a confounded design)
Run        braindec run neuroimagen --out runs/neuroimagen
Smoke      braindec run neuroimagen --smoke: 0.65 [0.43, 0.82] of 20 scenes (chance 0.05, refitted to shuffled scenes
           0.05, ridge 0.80); 12 pictures two-way 0.66 (shuffled 0.54), pixel correlation 0.46 (0.21)
Needs      nothing: data are generated, weights are shipped; minutes on 2 cores
Published  confounded: EEG-CVPR40 showed each class in one block; the audit refuses that design
Measured   not measured: the published design tells class by time alone; simulated EEG, one person: 0.135 [0.09,
           0.19] of 200 scenes (chance 0.005, shuffled 0.005), ridge 0.195 [0.15, 0.26]; 50 pictures two-way 0.593
           [0.54, 0.64] (shuffled 0.509), pixel correlation 0.31 [0.22, 0.40] (0.16); 191 s of one core
Tried      nothing else yet
"""

from braindec import evaluate
from braindec.adapters import linear
from braindec.backbones import mlp
from braindec.data.preprocessing import AverageTime, Crop, Standardise, Vectorise, Whiten
from braindec.evaluate import outputs, panels, two_paths
from braindec.generators import embedded_unclip, vae_latents
from braindec.losses import mse, soft_clip
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip, vae
from braindec.train import Config as Train
from braindec.types import Report

RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(5,)),
    target=tiny_openclip.Config(),  # sample-level semantics
    targets={"low_level": vae.Config(model="shipped", size=64, layout="flat")},  # pixel-level semantics
    adapter=linear.Config(shared_dim=192),
    backbone=mlp.Config(width=256, n_blocks=1, dropout=0.2),
    loss={
        "main": soft_clip.Config(temperature_start=0.05, temperature_end=0.05),
        "low_level": mse.Config(),
    },
    generator=embedded_unclip.Config(n_steps=20, guidance=1.0, strength=0.8),
    preprocessing=(Crop(0.0, 0.5), AverageTime(3), Standardise(), Vectorise(), Whiten(noise="repeats")),
    train=Train(n_steps=150, batch_size=256, lr=1e-3, validate_every=50),
    n_folds=3,
    protocol="heldout_stimuli",
    plan=evaluate.Plan(n_null=5, n_jobs=1, progress=False),
    settings={"world": "demo", "n_images": 50, "merge": "img2img", "low_level": vae_latents.Config()},
)
SMOKE = (
    "adapter.shared_dim=48",
    "backbone.width=64",
    "train.n_steps=60",
    "train.batch_size=80",
    "train.lr=3e-3",
    "train.repeats=average",
    "train.validate_every=30",
    "n_folds=2",
    "generator.n_steps=3",
    "plan.n_null=1",
    "settings.world=small_eeg",
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
    nulls = evaluate.fit_nulls(
        recipe, training, embeddings, recipe.plan.n_null, n_jobs=recipe.plan.n_jobs, progress=False
    )
    lap("decoders, true and shuffled")
    metrics = ("image_retrieval_top1", "brain_retrieval_top1")
    judged = outputs.by_output(decoder, nulls, recipe, dataset, embeddings, "main", metrics)
    drawn, scores, gains = two_paths.two_paths(
        decoder, nulls, recipe, dataset, output="low_level", rough=vae_latents.build(told["low_level"]),
        n_images=told["n_images"], merge=told["merge"],
    )  # fmt: skip
    lap("retrieval and pictures")
    report = Report(
        (*judged.scores, *scores),
        {
            "title": "NeuroImagen: pixels and semantics from EEG",
            "summary": "Rough pictures and image embeddings are decoded apart from one person's EEG; the generator "
            "starts from the ones, told the others.",
            "comparisons": [*judged.comparisons, *gains],
            **judged.record,
            **lap.record(),
        },
        (
            *two_paths.panels(drawn),
            panels.comparisons(judged.comparisons, "Retrieval against others"),
            panels.comparisons(gains, "What each path adds to the pictures"),
            *panels.curves(decoder),
            panels.limits(panels.SIMULATED, panels.IN_BLOCKS),
        ),
    )
    decoder.save_pretrained(out_dir / "decoder", report)
    return report
