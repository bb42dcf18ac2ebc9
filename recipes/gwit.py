"""Guess What I Think: EEG with hardly any preprocessing steers a frozen latent diffusion through a control branch.

Published on EEG-CVPR40, whose classes were shown in blocks: there time alone tells the class, and a score is no
evidence of decoding (`braindec audit` says so). Here the EEG is simulated and the scenes are shuffled in time.

Systems    C5 Guess What I Think (published on a confounded design)
Run        braindec run gwit --out runs/gwit
Smoke      braindec run gwit --smoke: 0.80 [0.58, 0.92] of 20 scenes (chance 0.05, refitted to shuffled scenes 0.05,
           ridge 0.85); 12 pictures two-way 0.61 (shuffled 0.50), pixel correlation 0.36 (0.25)
Needs      nothing: data are generated, weights are shipped; minutes on 2 cores
Published  confounded: EEG-CVPR40 showed each class in one block; the audit refuses that design
Measured   not measured: the published design tells class by time alone; simulated EEG, one person: 0.110 [0.07,
           0.16] of 200 scenes (chance 0.005, shuffled 0.005, ridge 0.130); 50 pictures are not told apart: two-way
           0.525 [0.49, 0.56] (shuffled 0.514), pixel correlation 0.11 [0.03, 0.20] (chance 0.11, shuffled 0.06);
           325 s of one core
Tried      six steps of the branch change nothing that an interval shows
"""

from braindec import evaluate
from braindec.adapters import linear
from braindec.backbones import mlp
from braindec.data.preprocessing import AverageTime, Crop, Standardise, Vectorise
from braindec.evaluate import controlled, outputs, panels
from braindec.generators import embedded_unclip
from braindec.losses import soft_clip
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip
from braindec.train import Config as Train
from braindec.types import Report

RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(5,)),
    target=tiny_openclip.Config(),
    adapter=linear.Config(shared_dim=192),
    backbone=mlp.Config(width=256, n_blocks=1, dropout=0.2),
    loss=soft_clip.Config(temperature_start=0.05, temperature_end=0.05),
    generator=embedded_unclip.Config(n_steps=10, guidance=1.0),
    preprocessing=(Crop(0.0, 0.5), AverageTime(3), Standardise(), Vectorise()),
    train=Train(n_steps=40, batch_size=512, lr=1e-4, validate_every=20),
    n_folds=3,
    protocol="heldout_stimuli",
    plan=evaluate.Plan(n_null=3, n_null_pictures=3, n_jobs=1, progress=False),
    settings={"world": "demo", "control": controlled.Settings(read="signal", n_images=50)},
)
SMOKE = (
    "adapter.shared_dim=48",
    "backbone.width=64",
    "train.n_steps=20",
    "train.batch_size=80",
    "train.lr=3e-4",
    "train.repeats=average",
    "train.validate_every=20",
    "n_folds=2",
    "generator.n_steps=2",
    "plan.n_null=1",
    "plan.n_null_pictures=1",
    "settings.world=small_eeg",
    "settings.control.n_images=12",
    "settings.control.train.n_steps=6",
    "settings.control.train.lr=2e-3",
    "settings.control.train.batch_size=6",
    "settings.control.train.validate_every=6",
    "calibrate=false",
)


def main(recipe, data_dir, out_dir):
    lap, plan = evaluate.Laps(), recipe.plan
    dataset = recipe.data.read(data_dir)
    embeddings = recipe.embed_each(dataset, data_dir, everything=True)
    training = evaluate.training_part(recipe, dataset, embeddings["main"])
    decoder, nulls = evaluate.fit_with_nulls(
        recipe, training, embeddings, plan.n_null_pictures, out_dir / "logs", n_jobs=plan.n_jobs
    )
    lap("decoders, true and shuffled")
    metrics = ("image_retrieval_top1", "brain_retrieval_top1")
    judged = outputs.by_output(decoder, nulls, recipe, dataset, embeddings, "main", metrics)
    drawn, scores, gains = controlled.controlled(decoder, nulls, recipe, dataset, recipe.settings["control"])
    lap("branches and pictures")
    report = Report(
        (*judged.scores, *scores),
        {
            "title": "Guess What I Think: EEG that steers a latent diffusion",
            "summary": "One person's EEG is decoded into an image embedding, and the signal itself steers the frozen "
            "generator through a control branch.",
            "comparisons": [*judged.comparisons, *gains],
            **judged.record,
            **lap.record(),
        },
        (
            *controlled.panels(drawn),
            panels.comparisons(judged.comparisons, "Retrieval against others"),
            panels.comparisons(gains, "What the control branch adds to the same generator"),
            *panels.curves(decoder),
            panels.limits(panels.SIMULATED, panels.IN_BLOCKS),
        ),
    )
    decoder.save_pretrained(out_dir / "decoder", report)
    return report
