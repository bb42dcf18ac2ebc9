"""Solid objects from fMRI: an object's shape is decoded, brought near real ones by a diffusion bridge, and drawn.

A generator learns from training objects, and from others that nobody was shown, to draw a solid of 16 numbers. These
numbers are decoded from the frames of a scan, the bridge samples what is likely of them, and what is drawn is compared
by shape and by views with the object itself, with the mean object and with the mean of its category.

Systems    B5 MinD-3D (Gao et al. 2024, arXiv:2312.07485), fMRI-3D (Gao et al. 2025, arXiv:2409.11315)
Run        braindec prepare fmri_3d --raw DIR --out prepared/fmri_3d --set part=shape --set frames=joined
           braindec run mind_3d --data prepared/fmri_3d --out runs/mind_3d
Smoke      braindec run mind_3d --smoke: 48 generated objects trained on; two-way by views 0.906 [0.85, 0.94] (n 24,
           chance 0.5, null 0.438, mean of the category 0.875), volume IoU 0.347 [0.28, 0.41] (null 0.090, category
           0.459, own latent 0.887), Chamfer distance 0.085 [0.08, 0.10] (null 0.158, mean object 0.130)
Needs      datasets/fmri_3d prepared; grids of voxels of its objects below `--set settings.solids=DIR` (the card says in
           which form) and, better, of others below `--set settings.others=DIR`. Categories with a single test object:
           `--set protocol=heldout_stimuli_folds_without_classes`
Published  none to compare with: theirs is by a category classifier of views, with textures, on ShapeNet's objects
Measured   not measured: needs fMRI-3D and ShapeNet's or Objaverse's objects
Tried      240 generated objects trained on, 2 refits (138 s of one busy core): two-way 0.959 [0.95, 0.97] (n 120, null
           0.501, category 0.891), IoU 0.585 [0.56, 0.62] (null 0.123, category 0.515, own latent 0.940), Chamfer 0.045
           (null 0.136, category 0.052). The bridge adds 0.038 [0.020, 0.055] of IoU to the prediction alone; of 48
           objects, in the smoke run, it takes 0.14 away. Fields that are not raised to a guessed size draw some decoded
           objects as nothing (smoke, IoU without bridge: 0.42, raised 0.49)
"""

from braindec import evaluate
from braindec.adapters import linear
from braindec.backbones import linear as backbone
from braindec.data.preprocessing import Pca, Standardise
from braindec.evaluate import class_panels, panels, solid_panels, solids
from braindec.generators import _solids as solid_generator
from braindec.losses import mse
from braindec.priors import diffusion
from braindec.recipe import NeuralData, Recipe
from braindec.train import Config as Train
from braindec.types import Report

RECIPE = Recipe(
    data=NeuralData("fmri_3d"),
    target=None,  # the generator's latents, which it learns from objects
    preprocessing=(Standardise(), Pca(n_components=300)),
    adapter=linear.Config(shared_dim=300),
    backbone=backbone.Config(),
    loss=mse.Config(),
    fit="closed_form",
    prior=diffusion.Config(width=64, depth=2),
    prior_train=Train(n_steps=1500, batch_size=128, lr=1e-3, validate_every=100, device="cpu"),
    prior_samples=32,
    n_folds=5,
    protocol="heldout_stimuli_folds",
    label_column="category",
    plan=evaluate.Plan(n_null=5, n_null_baselines=19, progress=False),
    settings={
        "solids": "solids",  # folder of the presented objects' grids, from the prepared one
        "others": None,  # folder of objects that nobody was shown
        "shapes": solids.Settings(),
        "generator": solid_generator.Config(),
        "n_shown": 8,  # test objects of each subject in the report
        "n_meshes": 20,  # and written as .ply
        "synthetic": {"part": "objaverse", "solids": True, "n_pixels": 240, "n_objects": 72, "n_others": 160},
        "prepared": {"frames": "joined"},
    },
)
SMOKE = (
    'preprocessing=["Standardise"]',
    "adapter.shared_dim=64",
    "prior.depth=1",
    "prior_train.n_steps=60",
    "prior_train.batch_size=64",
    "prior_train.validate_every=20",
    "prior_samples=16",
    "n_folds=3",
    "plan.n_null=1",
    "plan.n_null_baselines=2",
    "settings.solids=../raw-smoke/solids",
    "settings.others=../raw-smoke/other_solids",
    "settings.shapes.side=24",
    "settings.shapes.n_points=96",
    "settings.shapes.angles=[30]",
    "settings.generator.n_components=64",
    "settings.generator.n_steps=400",
    "settings.n_shown=4",
    "settings.n_meshes=4",
)


def main(recipe, data_dir, out_dir):
    lap, told = evaluate.Laps(), recipe.settings
    how = told["shapes"]
    dataset = recipe.data.read(data_dir)
    objects = solids.with_solids(
        dataset, told["solids"], told["others"], data_dir, how, told["generator"], recipe.seed
    )
    embeddings = objects.embeddings(dataset.stimulus_ids)
    lap("generator")
    training = evaluate.training_part(recipe, dataset, embeddings)
    decoder, nulls = evaluate.fit_with_nulls(
        recipe, training, embeddings, recipe.plan.n_null, out_dir / "logs", progress=False
    )
    lap("decoder, bridge, nulls")
    found = solids.shaped(decoder, nulls, recipe, dataset, objects, how)
    solid_panels.write_meshes(found, out_dir / "solids", n=told["n_meshes"])
    lap("objects drawn and judged")
    judged = evaluate.held_out(
        decoder, recipe, dataset, embeddings, nulls=nulls, plan=recipe.plan, label_column=recipe.label_column
    )
    lap("latents told apart")
    report = Report(
        (*found.scores, *judged.scores),
        {
            "title": "Solid objects from fMRI",
            "summary": "The shape of objects that people watched turning, decoded from their scans, drawn as solids "
            "and compared by shape and by views.",
            "words": solids.WORDS,
            "comparisons": [*found.comparisons, *judged.comparisons],
            **judged.record,
            **lap.record(),
        },
        (
            *solid_panels.panels(found, n=told["n_shown"]),
            panels.comparisons(
                found.comparisons, "Against no bridge, the mean object and the category's mean"
            ),
            *panels.curves(decoder),
            class_panels.said("What this does not show", *solid_panels.LIMITS),
        ),
    )
    decoder.save_pretrained(out_dir / "decoder", report)
    objects.generator.save(out_dir / "generator")
    return report
