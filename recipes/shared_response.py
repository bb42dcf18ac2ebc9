"""What people share when they see the same pictures: held-out pictures matched between people in a shared space.

Systems    F9 shared response models, functional alignment
Run        braindec run shared_response --out runs/shared_response
Smoke      braindec run shared_response --smoke: held-out pictures are matched between people, after permuting scenes
           they are not
Needs      nothing: data are generated; a minute on 2 cores
Published  Chen et al. 2015: segments of a film matched across raider's ten people in 0.7 to 0.8 of cases; the film is
           not here
Measured   0.665 [0.60, 0.73], 0.705, 0.720, 0.660 of 50 held-out scenes (four simulated people, n 200, chance 0.020,
           permuted 0.016 to 0.020, p 0.05 of 19; own components 0.016); 6 s
Tried      nothing else yet
"""

from braindec.evaluate import compare_shared
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip

RECIPE = Recipe(
    data=NeuralData("simulated", modalities=("fmri",)),
    target=tiny_openclip.Config(),
    protocol="heldout_stimuli",
    settings={"sizes": [2, 5, 10, 20, 40, 80], "n_folds": 4, "n_null": 19},
)
SMOKE = ("settings.sizes=[2,4,8]", "settings.n_null=5")


def main(recipe, data_dir, out_dir):
    dataset = recipe.data.read(data_dir).part("test")  # the pictures that everybody saw
    settings = compare_shared.Settings(seed=recipe.seed, **recipe.settings)
    return compare_shared.shared_study(dataset, settings, protocol=recipe.protocol)
