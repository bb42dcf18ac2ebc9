"""CMVDM: semantics and a silhouette decoded apart; the silhouette steers the frozen generator by a control branch.

The branch reads the decoded silhouette as it is, with its errors, and so learns what to make of it.

Systems    A9 CMVDM
Run        braindec run cmvdm --out runs/cmvdm
Smoke      braindec run cmvdm --smoke: 0.95 [0.76, 0.99] of 20 scenes (chance 0.05, refitted to shuffled scenes 0.05,
           ridge 0.95); 12 pictures two-way 0.60 (shuffled 0.51), pixel correlation 0.39 (0.23); six steps teach a
           branch nothing
Needs      nothing: data are generated, weights are shipped; minutes on 2 cores
Published  none at hand: on GOD and BOLD5000
Measured   not measured: needs GOD or BOLD5000, and Stable Diffusion; simulated, two people: 0.755 [0.69, 0.81] and
           0.815 [0.76, 0.86] of 200 scenes (chance 0.005, shuffled 0.005, ridge 0.760 and 0.815), 0.835 and 0.850
           by the output that pictures are drawn from; 50 pictures two-way 0.803 [0.74, 0.85] and 0.819 [0.78, 0.86]
           (shuffled 0.504 and 0.505), pixel correlation 0.51 and 0.54 (0.03 and 0.02); 395 s of one core
Tried      the published module for residual information is not made
"""

from braindec import evaluate
from braindec.adapters import linear
from braindec.backbones import mlp
from braindec.data.preprocessing import Standardise, Whiten
from braindec.evaluate import controlled, outputs, panels
from braindec.generators import embedded_unclip
from braindec.losses import mse, soft_clip
from braindec.recipe import NeuralData, Recipe
from braindec.targets import silhouette, tiny_openclip
from braindec.train import Config as Train
from braindec.types import Report

RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(1, 2)),
    target=tiny_openclip.Config(),
    targets={"silhouette": silhouette.Config(side=16)},
    adapter=linear.Config(shared_dim=192),
    backbone=mlp.Config(width=256, n_blocks=1, dropout=0.2),
    loss={
        "main": soft_clip.Config(temperature_start=0.05, temperature_end=0.05),
        "silhouette": mse.Config(),
    },
    generator=embedded_unclip.Config(n_steps=10, guidance=1.0),
    preprocessing=(Standardise(unit="session", scope="unit_train_rows"), Whiten(noise="repeats")),
    train=Train(n_steps=40, batch_size=512, lr=1e-4, validate_every=20),
    n_folds=3,
    protocol="heldout_stimuli",
    plan=evaluate.Plan(n_null=3, n_null_pictures=3, n_jobs=1, progress=False),
    settings={
        "world": "demo",
        "control": controlled.Settings(read="output", output="silhouette", n_images=50),
    },
)
SMOKE = (
    "data.subjects=[1]",
    "adapter.shared_dim=48",
    "backbone.width=64",
    "train.n_steps=20",
    "train.batch_size=90",
    "train.lr=3e-4",
    "train.validate_every=20",
    "n_folds=2",
    "generator.n_steps=2",
    "plan.n_null=1",
    "plan.n_null_pictures=1",
    "settings.world=small_fmri",
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
    decoder = outputs.fit_outputs(recipe, training, embeddings, out_dir / "logs", progress=plan.progress)
    nulls = evaluate.fit_nulls(
        recipe, training, embeddings, plan.n_null_pictures, n_jobs=plan.n_jobs, progress=plan.progress
    )
    lap("decoders, true and shuffled")
    metrics = ("image_retrieval_top1", "brain_retrieval_top1")
    judged = outputs.by_output(decoder, nulls, recipe, dataset, embeddings, "main", metrics)
    drawn, scores, gains = controlled.controlled(decoder, nulls, recipe, dataset, recipe.settings["control"])
    lap("branches and pictures")
    report = Report(
        (*judged.scores, *scores),
        {
            "title": "CMVDM: semantics, and a silhouette that steers",
            "summary": "An image embedding and a silhouette are decoded apart; the silhouette steers the frozen "
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
            panels.limits(panels.SIMULATED),
        ),
    )
    decoder.save_pretrained(out_dir / "decoder", report)
    return report
