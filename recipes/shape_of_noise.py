"""Do systems differ in their noise? Distances of noisy representations name the kind of noise that was planted.

Systems see the same scenes; their mean responses are mostly one network's features, each turned at random. Noise is as
strong in all of them and differs in direction alone: even, along the means' axes, or another for every scene. Is the
nearest other system one of the same kind? Beside it, distances of means alone, which most comparisons use.

Systems    F3 stochastic shape metrics (Duong et al. 2023, arXiv:2211.11665)
Run        braindec run shape_of_noise --out runs/shape_of_noise
Smoke      braindec run shape_of_noise --smoke: by means and noise 0.750 [0.47, 0.91] of 12 systems are named (chance
           0.273, kinds dealt at random 0.27; by means alone 0.500, by noise alone 0.500)
Needs      nothing: scenes are generated, weights are shipped
Published  none to compare with: they compare mice and networks by figures
Measured   by means and noise the kind is named for 0.583 [0.39, 0.75] of 24 systems (chance 0.304, kinds dealt at
           random 0.304, p 0.01 of 199), by noise alone for 0.708 [0.51, 0.85], by means alone for 0.208 [0.09, 0.40];
           32 s
Tried      systems of exactly equal means: distances of estimated means then name 0.750 of 12 systems, because their
           errors are that noise; since then each system has 20 % of its means' variance of its own
"""

from braindec.evaluate import compare_noise, study
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip

RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(1,)),  # its scenes alone
    target=tiny_openclip.Config(),
    protocol="heldout_stimuli",
    settings={"features": "tiny_openclip", "study": compare_noise.Settings()},
)
SMOKE = ("settings.study.n_stimuli=20", "settings.study.n_repeats=12", "settings.study.n_systems=4")


def main(recipe, data_dir, out_dir):
    dataset, told = recipe.data.read(data_dir), recipe.settings
    features = study.features(dataset, [told["features"]], data_dir / "embeddings", recipe.seed)
    return compare_noise.noise_study(features[told["features"]], told["study"], protocol=recipe.protocol)
