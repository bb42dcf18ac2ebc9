"""A foundation model of whole brains: masked pretraining, fine-tuning by contrast, networks removed, imagery.

Three simulated fMRI subjects, every voxel. One trunk learns to fill in masked patches without labels and is then tuned
by contrast of images and responses; each network is silenced; what is imagined is found by the decoder of seen scenes.

Systems    A10 whole-brain decoding with fMRI foundation models
Run        braindec run whole_cortex --out runs/whole_cortex
Smoke      braindec run whole_cortex --smoke: 0.80 [0.58, 0.92] of 20 scenes (chance 0.05, refitted to shuffled scenes
           0.05, without pretraining 0.75, ridge 0.90); imagined pictures two-way 0.92 [0.81, 0.97], p 0.001 of 999
           permutations
Needs      nothing: data are generated, weights are shipped; minutes on 2 cores
Published  none at hand for these data: on NSD and NSD-Imagery
Measured   not measured: needs NSD and NSD-Imagery (`braindec prepare nsd` reads both) and a foundation model's
           weights, which this toolkit has no reader for; simulated, three people: 0.685 [0.62, 0.75], 0.695 and
           0.710 of 200 scenes (chance 0.005, shuffled 0.005 to 0.015), without pretraining 0.655 [0.59, 0.72],
           0.680 and 0.725: it adds nothing that counts, and ridge is better (0.760, 0.815 and 0.835); what is
           imagined is told from another picture in 0.961 [0.89, 0.99], 0.938 and 0.984 (n 18 each, p 0.001); 629 s
           of one core
Tried      silencing networks of 90 voxels: all intervals around zero
"""

from braindec import evaluate
from braindec.adapters import region_patches
from braindec.backbones import masked_transformer
from braindec.data.preprocessing import Standardise
from braindec.decoder.masked import Config as Masked
from braindec.evaluate import imagery, network_ablation, panels
from braindec.evaluate.masked_pretraining import pretraining_gain
from braindec.losses import clip
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip
from braindec.train import Config as Train
from braindec.types import Report

NETWORKS = ("early", "intermediate", "high", "silent")
RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(1, 2, 3)),
    target=tiny_openclip.Config(),
    adapter=region_patches.Config(regions=NETWORKS, rest=False, n_patches=8, patch=12),
    backbone=masked_transformer.Config(patch=12, width=64, n_layers=2, pool="all"),
    loss=clip.Config(),
    preprocessing=(Standardise(unit="session", scope="unit_train_rows"),),
    train=Train(n_steps=300, batch_size=192, lr=1e-3, validate_every=100),
    n_folds=2,
    protocol="heldout_stimuli",
    plan=evaluate.Plan(n_null=3, n_jobs=1, progress=False),
    settings={
        "pretraining": Masked(
            ratio=0.5, train=Train(n_steps=1000, batch_size=192, lr=2e-3, validate_every=250)
        ),
        "n_labelled": 1000,
        "n_imagined": 18,  # as in NSD-Imagery
        "n_draws": 5,
        "world": "demo",
    },
)
SMOKE = (
    "data.subjects=[1]",
    "adapter.n_patches=4",
    "adapter.patch=8",
    "backbone.patch=8",
    "backbone.width=32",
    "backbone.n_layers=1",
    "train.n_steps=60",
    "train.batch_size=64",
    "train.lr=2e-3",
    "train.validate_every=60",
    "plan.n_null=1",
    "settings.pretraining.train.n_steps=50",
    "settings.pretraining.train.batch_size=64",
    "settings.pretraining.train.validate_every=50",
    "settings.n_labelled=80",
    "settings.n_draws=1",
    "settings.world=small_fmri",
    "calibrate=false",
)


def main(recipe, data_dir, out_dir):
    lap, told = evaluate.Laps(), recipe.settings
    metrics = ("image_retrieval_top1", "brain_retrieval_top1")
    dataset = recipe.data.read(data_dir)
    embeddings = recipe.embed(dataset, data_dir, everything=True)
    evaluate.training_part(recipe, dataset, embeddings)
    lap("embeddings")
    found, decoder = pretraining_gain(
        recipe, dataset, embeddings, metrics, told["pretraining"], n_labelled=told["n_labelled"],
        out_dir=out_dir / "logs",
    )  # fmt: skip
    lap("pretraining, four systems, nulls")
    networks = network_ablation.regions(dataset, NETWORKS)
    costs = network_ablation.network_ablation(
        decoder, recipe, dataset, embeddings, networks, metrics[0], n_draws=told["n_draws"]
    )
    lap("networks")
    dreamt = imagery.imagined_by(data_dir, dataset, n_stimuli=told["n_imagined"], seed=recipe.seed)
    seen = imagery.imagery(decoder, dreamt, embeddings, protocol=recipe.protocol, seed=recipe.seed)
    lap("imagery")
    report = Report(
        (*found.scores, *seen),
        {
            "title": "A model of whole brains",
            "summary": "A trunk that learnt to fill in masked patches of whole brains, tuned by contrast of images and "
            "responses; which network's removal costs what; and imagery, which it was never trained on.",
            "comparisons": list(found.comparisons),
            "ablation": list(costs),
            **found.record,
            **lap.record(),
        },
        (
            panels.comparisons(found.comparisons, "The pretrained trunk against the others, on the same queries"),
            network_ablation.panel(costs),
            imagery.panel(seen),
            *panels.curves(decoder),
            panels.limits(
                panels.SIMULATED,
                "That imagery is a weaker copy of seeing, least so where vision ends, is this world's assumption."
            ),
        ),
    )  # fmt: skip
    decoder.save_pretrained(out_dir / "decoder", report)
    return report
