"""NeuroPictor: several people's responses in one shared space, which steers the diffusion model itself.

Adapters of all subjects end in one space. A backbone predicts the image embedding from it (the semantic part), and a
control branch, a trained copy of the frozen UNet's first half, reads it too (the low-level part).

Systems    A6 NeuroPictor
Run        braindec run neuropictor --out runs/neuropictor
Smoke      braindec run neuropictor --smoke: 0.95 [0.76, 0.99] of 20 scenes (chance 0.05, refitted to shuffled scenes
           0.05, ridge 0.95); 12 pictures two-way 0.64 (shuffled 0.51), pixel correlation 0.39 (0.24); six steps teach
           a branch nothing
Needs      nothing: data are generated, weights are shipped; minutes on 2 cores
Published  none at hand: on NSD, with Stable Diffusion 2.1
Measured   not measured: needs NSD and Stable Diffusion; simulated, three people: 0.755, 0.810 and 0.815 of 200
           scenes (chance 0.005, shuffled 0.005 to 0.010, ridge 0.755 to 0.815), 0.830 to 0.895 by the output that
           pictures are drawn from; 50 pictures two-way 0.826 [0.77, 0.87], 0.822 and 0.810 (shuffled 0.50), pixel
           correlation 0.54 to 0.57 (-0.04 to 0.00)
Tried      six steps teach a branch nothing; with little noise on the embedding the branch's features add nothing
"""

from braindec import evaluate
from braindec.adapters import linear
from braindec.backbones import mlp
from braindec.data.preprocessing import Standardise, Whiten
from braindec.evaluate import controlled, outputs, panels
from braindec.generators import embedded_unclip
from braindec.losses import soft_clip
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip
from braindec.train import Config as Train
from braindec.types import Report

RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(1, 2, 3)),
    target=tiny_openclip.Config(),
    adapter=linear.Config(shared_dim=192),
    backbone=mlp.Config(width=256, n_blocks=1, dropout=0.2),
    loss=soft_clip.Config(temperature_start=0.05, temperature_end=0.05),
    generator=embedded_unclip.Config(n_steps=10, guidance=1.0),
    preprocessing=(Standardise(unit="session", scope="unit_train_rows"), Whiten(noise="repeats")),
    train=Train(n_steps=40, batch_size=512, lr=1e-4, validate_every=20),
    n_folds=3,
    protocol="heldout_stimuli",
    plan=evaluate.Plan(n_null=3, n_null_pictures=3, n_jobs=1, progress=False),
    settings={"world": "demo", "control": controlled.Settings(read="adapter", n_images=50)},
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
            "title": "NeuroPictor: a shared space that steers the diffusion model",
            "summary": "One space for all subjects; it is decoded into an image embedding, and it steers the frozen "
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
