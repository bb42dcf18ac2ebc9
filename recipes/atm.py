"""ATM: pictures from EEG by channels that attend to each other and to a subject's token, in two stages.

Two simulated EEG subjects. The encoder is contrasted with image embeddings; a diffusion prior makes image embeddings of
its predictions (first stage) and a generator pictures of these (second). When and where the decoder reads: windows of
time, and sensors by their place on the head.

Systems    C2 ATM
Run        braindec run atm --out runs/atm
Smoke      braindec run atm --smoke: 0.80 [0.58, 0.92] of 20 new scenes (chance 0.05, refitted to shuffled scenes
           0.00, ridge 1.00); 20 pictures two-way 0.65 [0.53, 0.75] (shuffled 0.51), pixel correlation 0.18 (0.13)
Needs      nothing: data are generated, weights are shipped; minutes on 2 cores
Published  THINGS-EEG2, 200 new concepts, ten people: 28.5 and 60.4 % top-1 and top-5, its step chosen on the test
           set; pixel correlation 0.160, two-way CLIP 0.786 (one person)
Measured   not measured: needs THINGS-EEG2, OpenCLIP ViT-H/14, SDXL with IP-Adapter; simulated EEG, two people:
           0.290 [0.23, 0.36] and 0.380 [0.32, 0.45] of 200 scenes (chance 0.005, shuffled 0.000, order of trials
           0.000 and 0.005, ridge 0.215 [0.16, 0.28] and 0.340 [0.28, 0.41]); 30 pictures two-way 0.753 [0.67, 0.82]
           and 0.780 [0.68, 0.86] (shuffled 0.548 and 0.507, the nearest training picture 0.656 and 0.672, true
           embedding 0.971), pixel correlation 0.25 and 0.18 (0.02 and 0.14); 35 minutes of one core
Tried      on few, linear trials no better than ridge; 120 scenes for 300, ten steps of the prior and the mean of four
           draws for 32: two-way 0.50, as shuffled; the loss of ATM's reconstructions, nine tenths regression, predicts
           embeddings no better (cosine 0.24, without 0.24)
"""

from braindec import evaluate, registry
from braindec.adapters import subject_token
from braindec.backbones import channel_transformer
from braindec.data.preprocessing import AverageTime, Standardise, Vectorise
from braindec.decoder import BrainDecoder
from braindec.evaluate import network_ablation, panels, windows
from braindec.generators import embedded_unclip
from braindec.losses import clip
from braindec.priors import diffusion
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip
from braindec.train import Config as Train
from braindec.types import Report

RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(5, 7)),
    target=tiny_openclip.Config(),
    adapter=subject_token.Config(),
    # 60 samples at 100 Hz in place of 250 at 250 Hz: filters and means of as many milliseconds.
    backbone=channel_transformer.Config(kernel=10, pool=20, stride=2),
    loss=clip.Config(learned=True),
    prior=diffusion.Config(network="unet", widths=(256, 128, 64), time_width=128),
    generator=embedded_unclip.Config(n_steps=10, guidance=1.0),
    preprocessing=(AverageTime(1), Standardise()),
    train=Train(n_steps=400, batch_size=512, lr=1e-3, validate_every=100, repeats="mixed"),
    prior_train=Train(n_steps=300, batch_size=256, lr=1e-3, validate_every=100),
    n_folds=3,
    protocol="heldout_stimuli",
    plan=evaluate.Plan(n_null=3, n_null_baselines=3, n_null_pictures=3, n_jobs=1, progress=False),
    settings={
        "world": "modalities",
        "n_images": 30,
        "step_s": 0.05,
        "width_s": 0.1,
        "stop_s": 0.45,
        "n_draws": 3,
    },
)
SMOKE = (
    "data.subjects=[5]",
    "backbone.n_filters=8",
    "preprocessing.0.n_samples=2",
    "backbone.kernel=3",
    "backbone.pool=5",
    "backbone.stride=3",
    "backbone.dropout=0.1",
    "backbone.attention_dropout=0.1",
    "backbone.width=32",
    "train.n_steps=60",
    "train.batch_size=80",
    "train.lr=3e-3",
    "train.repeats=average",
    "train.validate_every=60",
    "prior.widths=[64,32]",
    "prior_train.n_steps=60",
    "n_folds=2",
    "generator.n_steps=2",
    "plan.n_null=1",
    "plan.n_null_baselines=1",
    "plan.n_null_pictures=1",
    "settings.world=small_eeg_long",
    "settings.n_images=20",
    "settings.step_s=0.15",
    "settings.stop_s=0.33",
    "settings.n_draws=1",
)
RIDGE = (AverageTime(2), Vectorise(), Standardise())  # of windows; AverageTime drops what is left over


def main(recipe, data_dir, out_dir):
    lap, plan, told = evaluate.Laps(), recipe.plan, recipe.settings
    dataset = recipe.data.read(data_dir)
    embeddings = recipe.embed(dataset, data_dir, everything=True)
    training = evaluate.training_part(recipe, dataset, embeddings)
    decoder = BrainDecoder.build(recipe, dataset.info, embeddings.info)
    decoder.fit(training, embeddings, out_dir / "logs", progress=plan.progress)
    lap("fit")
    nulls = evaluate.fit_nulls(recipe, training, embeddings, plan.n_null, progress=False)
    judged = evaluate.held_out(decoder, recipe, dataset, embeddings, nulls=nulls, plan=plan)
    lap("judging and nulls")
    drawn = evaluate.reconstructions(
        decoder, nulls[: plan.n_null_pictures], recipe, dataset, embeddings, n_images=told["n_images"],
        n_steps=recipe.generator.n_steps, n_jobs=1, progress=False,
        target=registry.load("targets", "tiny_openclip").build(recipe.target),
    )  # fmt: skip
    lap("pictures")
    metric, step = "image_retrieval_top1", told["step_s"]
    sliding = windows.sliding(-0.05, told["stop_s"], told["width_s"], step)
    moving = windows.by_window(decoder, recipe, dataset, embeddings, sliding, metric, steps=RIDGE)
    growing = windows.growing(0.0, told["stop_s"], step)
    longer = windows.by_window(decoder, recipe, dataset, embeddings, growing, metric, steps=RIDGE)
    lap("windows")
    costs = network_ablation.network_ablation(
        decoder,
        recipe,
        dataset,
        embeddings,
        network_ablation.sensor_groups(dataset),
        metric,
        n_draws=told["n_draws"],
    )
    lap("sensors")
    report = Report(
        (*judged.scores, *drawn.scores),
        {
            "title": "Pictures from EEG in two stages",
            "summary": "Channels that attend to each other and to a subject's token, a diffusion prior, a generator; "
            "when after onset the decoder reads, and which sensors it needs.",
            "comparisons": list(judged.comparisons),
            "sliding windows": moving.to_json(),
            "growing windows": longer.to_json(),
            "ablation": list(costs),
            **judged.record,
            **lap.record(),
        },
        (
            *panels.galleries(drawn, "two_way_identification"),
            *evaluate.neighbours(judged.judged["braindec"], dataset),
            *panels.left_out(drawn),
            windows.panel(moving, metric, "One window of time at a time"),
            windows.panel(longer, metric, "From onset to the end of the window"),
            network_ablation.panel(costs),
            panels.comparisons(judged.comparisons, "The decoder against closed-form ridge"),
            *panels.curves(decoder),
            panels.limits(panels.SIMULATED),
        ),
    )
    decoder.save_pretrained(out_dir / "decoder", report)
    return report
