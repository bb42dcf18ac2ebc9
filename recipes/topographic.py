"""Units on a sheet: does a loss of smoothness lay them out in patches of like selectivity, and what does that cost?

A layer of units that lie on a grid learns from an image embedding which things are in a scene. Beside the task's loss
stands one that wants near units to respond alike. Patches are measured by Moran's I of maps of selectivity.

Systems    E11 TopoLM (Rathi et al. 2025, arXiv:2410.11516)
Run        braindec run topographic --out runs/topographic
Smoke      braindec run topographic --smoke: Moran's I of maps for 40 things on 8 x 8 units 0.489 [0.38, 0.59]
           (the same units on random sheets -0.007, chance -0.016; without the loss -0.015); things of 30 held-out
           scenes told with an area of 0.821 [0.79, 0.85] (without the loss 0.848, labels shuffled 0.484)
Needs      nothing: scenes are generated, weights are shipped
Published  none to compare with: a language model of twelve layers, its maps beside those of fMRI
Measured   Moran's I of maps for 40 things on 10 x 10 units 0.529 [0.50, 0.55] (random sheets -0.010, p 0.01 of 99;
           without the loss -0.006); things of 360 held-out scenes told with an area of 0.985 [0.982, 0.989] (without
           the loss 0.988 [0.984, 0.991], labels shuffled 0.497 of 10); 61 s of processor time
Tried      nothing yet
"""

from braindec.evaluate import encode_sheets, study
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip

RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(1,)),  # its scenes alone
    target=tiny_openclip.Config(),
    protocol="heldout_stimuli",
    settings={"world": "demo", "features": "tiny_openclip", "sheet": encode_sheets.Settings()},
)
SMOKE = (
    "settings.world=small_fmri",
    "settings.sheet.side=8",
    "settings.sheet.n_steps=150",
    "settings.sheet.n_null=6",
)


def main(recipe, data_dir, out_dir):
    dataset, told = recipe.data.read(data_dir), recipe.settings
    spaces = study.features(dataset, [told["features"]], data_dir / "embeddings", recipe.seed)
    things = study.factors(dataset)
    return encode_sheets.sheet_study(
        spaces[told["features"]], things, told["sheet"], protocol=recipe.protocol
    )
