"""What trials without labels are worth: a transformer that first learns to fill in masked patches of voxels.

Three simulated fMRI subjects share one trunk over patches of their regions. It is pretrained on all training trials
without a label; then 100 labelled scenes a subject (300 trials) train the decoder, against the same from random weights
and against ridge.

Systems    none: the step that B1 and A10 begin with, apart
Run        braindec run masked_pretraining --out runs/masked_pretraining
Smoke      braindec run masked_pretraining --smoke: 0.30 and 0.45 of 20 scenes (chance 0.05, shuffled 0.05; from
           random weights 0.30 and 0.45, ridge 0.50): labelled scenes are found, and pretraining adds nothing
Needs      nothing: data are generated, weights are shipped; minutes on 2 cores
Published  none to compare with
Measured   200 scenes, three people: 0.115 [0.08, 0.17], 0.085 and 0.140 (chance 0.005, shuffled 0.000 to 0.015;
           from random weights 0.075, 0.070 and 0.135, ridge 0.220, 0.220 and 0.265): pretraining adds 0.040 [-0.01,
           0.09], 0.015 and 0.005, nothing that counts, and ridge is better by 0.105 to 0.135
Tried      with 120 labels pretraining did not help (0.917 without, 0.900 and 0.867 with)
"""

from braindec import evaluate
from braindec.adapters import region_patches
from braindec.backbones import masked_transformer
from braindec.data.preprocessing import Standardise
from braindec.decoder.masked import Config as Masked
from braindec.evaluate import panels
from braindec.evaluate.masked_pretraining import pretraining_gain
from braindec.losses import soft_clip
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip
from braindec.train import Config as Train
from braindec.types import Report

RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(1, 2, 3)),
    target=tiny_openclip.Config(),
    # The world's regions; what is silent is left out.
    adapter=region_patches.Config(
        regions=("early", "intermediate", "high"), rest=False, n_patches=8, patch=12
    ),
    backbone=masked_transformer.Config(patch=12, width=64, n_layers=2, pool="all"),
    loss=soft_clip.Config(mixco_fraction=0.0, temperature_start=0.05, temperature_end=0.05),
    preprocessing=(Standardise(unit="session", scope="unit_train_rows"),),
    train=Train(n_steps=120, batch_size=192, lr=1e-3, validate_every=40),
    n_folds=2,
    protocol="heldout_stimuli",
    plan=evaluate.Plan(n_null=3, n_jobs=1, progress=False),
    settings={
        "pretraining": Masked(
            ratio=0.5, train=Train(n_steps=1000, batch_size=192, lr=2e-3, validate_every=250)
        ),
        "n_labelled": 100,
        "world": "demo",
    },
)
SMOKE = (
    "data.subjects=[1,2]",
    "adapter.n_patches=4",
    "adapter.patch=8",
    "backbone.patch=8",
    "backbone.width=32",
    "backbone.n_layers=1",
    "train.n_steps=40",
    "train.batch_size=64",
    "train.lr=2e-3",
    "train.validate_every=20",
    "plan.n_null=1",
    "settings.pretraining.train.n_steps=60",
    "settings.pretraining.train.batch_size=64",
    "settings.pretraining.train.validate_every=30",
    "settings.n_labelled=40",
    "settings.world=small_people",
    "calibrate=false",
)


def main(recipe, data_dir, out_dir):
    lap, metrics = evaluate.Laps(), ("image_retrieval_top1", "brain_retrieval_top1")
    dataset = recipe.data.read(data_dir)
    embeddings = recipe.embed(dataset, data_dir, everything=True)
    evaluate.training_part(recipe, dataset, embeddings)
    lap("embeddings")
    found, decoder = pretraining_gain(
        recipe, dataset, embeddings, metrics, recipe.settings["pretraining"],
        n_labelled=recipe.settings["n_labelled"], out_dir=out_dir / "logs",
    )  # fmt: skip
    lap("pretraining, four systems, nulls")
    report = Report(
        found.scores,
        {
            "title": "What trials without labels are worth",
            "summary": "A trunk that learnt to fill in masked patches, trained further on few labelled trials, "
            "against the same from random weights and ridge; retrieval of held-out scenes, with paired intervals.",
            "comparisons": list(found.comparisons),
            **found.record,
            **lap.record(),
        },
        (
            panels.comparisons(
                found.comparisons, "The pretrained trunk against the others, on the same queries"
            ),
            *panels.curves(decoder),
            panels.limits(panels.SIMULATED),
        ),
    )
    decoder.save_pretrained(out_dir / "decoder", report)
    return report
