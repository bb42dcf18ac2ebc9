"""When the geometry of EEG is that of a network's layers, beside pixels, random weights and the ceiling: simulated.

Systems    none: when the geometry of EEG is that of a network's layers
Run        braindec run rsa_time_course --out runs/rsa_time_course
Smoke      braindec run rsa_time_course --smoke: distances of EEG go with a layer's, those of permuted scenes do not
Needs      nothing: data are generated, weights are shipped; two minutes on 2 cores
Published  none: the world is ours
Measured   rho-a 0.085 [0.05, 0.12] of the embedding over all times (200 scenes, permuted 0.000 of 999), layer 1
           0.076, pixels 0.058, random weights 0.016
Tried      nothing else yet
"""

from braindec.evaluate import compare_geometries, compare_report, encode_features
from braindec.evaluate.compare_sources import Choices
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip

RECIPE = Recipe(
    data=NeuralData("simulated", modalities=("eeg",)),
    target=tiny_openclip.Config(),
    protocol="heldout_stimuli",
    settings={"layers": "tiny_openclip", "n_layers": 4, "n_draws": 500, "n_permutations": 999, "n_times": 60},
)
SMOKE = ("settings.n_layers=2", "settings.n_draws=50", "settings.n_permutations=99", "settings.n_times=20")


def main(recipe, data_dir, out_dir):
    told = recipe.settings
    dataset = recipe.data.read(data_dir).part("test")
    layers = encode_features.layers_of(told["layers"], told["n_layers"])
    beside = [*reversed(layers), f"{told['layers']}!random", "pixels:height=8,width=8,colour=rgb"]
    settings = compare_geometries.Settings(
        n_draws=told["n_draws"], n_permutations=told["n_permutations"], seed=recipe.seed,
        choices=Choices(n_times=told["n_times"], part="all", seed=recipe.seed),
    )  # fmt: skip
    found = compare_geometries.compare(dataset, beside, settings, name="EEG")
    return compare_report.report(found, protocol=recipe.protocol)
