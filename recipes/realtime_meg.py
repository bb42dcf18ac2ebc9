"""Pictures from MEG as time goes on: contrast and regression on MEG, several targets, windows that slide over time.

One simulated MEG subject. Sensors are merged by their place, dilated convolutions follow; one trunk predicts the
image embedding (contrast and regression together), the caption's text embedding and latents of an autoencoder. Windows
slide over time, before onset included; prior and generator draw what the whole epoch says.

Systems    C3 real-time MEG decoding (Benchetrit et al.)
Run        braindec run realtime_meg --out runs/realtime_meg
Smoke      braindec run realtime_meg --smoke: 0.45 [0.26, 0.66] of 20 scenes (chance 0.05, refitted to shuffled scenes
           0.00, ridge 0.95); 12 pictures two-way 0.60 (shuffled 0.55), pixel correlation 0.29 (0.13)
Needs      nothing: data are generated, weights are shipped; minutes on 2 cores
Published  THINGS-MEG: seven times the linear decoder's retrieval
Measured   not measured: needs THINGS-MEG, DINOv2, CLIP and a latent diffusion model; simulated MEG not run in full
Tried      where sources are linear in what is decoded and trials few, ridge is better
"""

from braindec import evaluate
from braindec.adapters import spatial_merger
from braindec.backbones import dilated_conv
from braindec.data.preprocessing import AverageTime, Standardise, Vectorise
from braindec.evaluate import outputs, panels, two_paths, windows
from braindec.generators import embedded_unclip, vae_latents
from braindec.losses import mse, regression_contrastive
from braindec.priors import diffusion
from braindec.recipe import NeuralData, Recipe
from braindec.targets import caption_text, tiny_openclip, vae
from braindec.train import Config as Train
from braindec.types import Report

RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(6,)),
    target=tiny_openclip.Config(),
    targets={
        "retrieval": tiny_openclip.Config(),
        "caption": caption_text.Config(encoder="tiny_openclip"),
        "low_level": vae.Config(model="shipped", size=64, layout="flat"),
    },
    adapter=spatial_merger.Config(n_virtual=32, n_frequencies=8, drop_radius=0.1),
    backbone=dilated_conv.Config(width=64, n_layers=4, dilation_period=4, aggregation="learned"),
    loss={
        "main": mse.Config(),
        "retrieval": regression_contrastive.Config(contrast=0.75),
        "caption": mse.Config(),
        "low_level": mse.Config(),
    },
    prior=diffusion.Config(width=96, depth=2, heads=4),
    generator=embedded_unclip.Config(n_steps=10, guidance=1.0),
    preprocessing=(AverageTime(1), Standardise()),
    train=Train(n_steps=400, batch_size=256, lr=1e-3, validate_every=100, repeats="mixed"),
    prior_train=Train(n_steps=300, batch_size=256, lr=1e-3, validate_every=100),
    n_folds=3,
    protocol="heldout_stimuli",
    plan=evaluate.Plan(n_null=3, n_jobs=1, progress=False),
    settings={
        "world": "modalities",
        "n_images": 30,
        "merge": "blend",
        "low_level": vae_latents.Config(),
        "step_s": 0.05,
        "width_s": 0.1,
        "stop_s": 0.45,
    },
)
SMOKE = (
    "adapter.n_virtual=32",
    "adapter.n_frequencies=4",
    "backbone.width=48",
    "backbone.n_layers=1",
    "adapter.drop_radius=0.0",
    "train.n_steps=80",
    "train.batch_size=120",
    "train.lr=6e-3",
    "train.validate_every=80",
    "train.repeats=average",
    "prior.width=32",
    "prior.depth=1",
    "prior_train.n_steps=40",
    "prior_samples=8",
    "n_folds=2",
    "generator.n_steps=2",
    "plan.n_null=1",
    "settings.world=small_meg",
    "settings.n_images=12",
    "settings.step_s=0.1",
    "settings.stop_s=0.33",
)
RIDGE = (AverageTime(2), Vectorise(), Standardise())


def main(recipe, data_dir, out_dir):
    lap, told, plan = evaluate.Laps(), recipe.settings, recipe.plan
    dataset = recipe.data.read(data_dir)
    embeddings = recipe.embed_each(dataset, data_dir, everything=True)
    training = evaluate.training_part(recipe, dataset, embeddings["main"])
    decoder = outputs.fit_outputs(recipe, training, embeddings, out_dir / "logs", progress=plan.progress)
    lap("fit")
    nulls = evaluate.fit_nulls(recipe, training, embeddings, plan.n_null, progress=False)
    lap("shuffled decoders")
    metrics = ("image_retrieval_top1", "image_retrieval_top5")
    judged = outputs.by_output(decoder, nulls, recipe, dataset, embeddings, "retrieval", metrics, ridge=RIDGE)
    lap("retrieval")
    slid = windows.by_window(
        outputs.OutputSystem(decoder, "retrieval"), recipe, dataset, embeddings["retrieval"],
        windows.sliding(-0.05, told["stop_s"], told["width_s"], told["step_s"]), metrics[0], steps=RIDGE,
    )  # fmt: skip
    lap("windows")
    drawn, scores, gains = two_paths.two_paths(
        decoder, nulls, recipe, dataset, output="low_level", rough=vae_latents.build(told["low_level"]),
        n_images=told["n_images"], merge=told["merge"],
    )  # fmt: skip
    lap("pictures")
    report = Report(
        (*judged.scores, *scores),
        {
            "title": "Pictures from MEG as time goes on",
            "summary": "Contrast and regression on MEG, several targets from one trunk, windows that slide over time, "
            "and pictures of the whole epoch.",
            "comparisons": [*judged.comparisons, *gains],
            "sliding windows": slid.to_json(),
            **judged.record,
            **lap.record(),
        },
        (
            *two_paths.panels(drawn),
            windows.panel(slid, metrics[0], "One window of time at a time"),
            panels.comparisons(judged.comparisons, "Retrieval by the contrasted output against others"),
            panels.comparisons(gains, "What each path adds to the pictures"),
            *panels.curves(decoder),
            panels.limits(panels.SIMULATED),
        ),
    )
    decoder.save_pretrained(out_dir / "decoder", report)
    return report
