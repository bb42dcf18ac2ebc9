"""Which part of the film is it? Segments of a film matched between people in a shared response space.

Systems    F9 shared response models, segments of a film
Run        braindec run film_segments --data prepared/raider --out runs/film_segments
Smoke      braindec run film_segments --smoke: 0.952 of 2,181 held-out segments of generated people (chance 0.0009;
           films shifted against each other 0.003; own components 0.002)
Needs      datasets/raider prepared; a minute on 2 cores
Published  Chen et al. 2015, raider, ten people, segments of nine volumes, half of the film held out: far above
           anatomical alignment and each person's own components (0.7 to 0.8 with all regions)
Measured   not measured: needs raider's files
Tried      nothing else yet
"""

from braindec.evaluate import compare_segments
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip

RECIPE = Recipe(
    data=NeuralData("raider"),
    target=tiny_openclip.Config(),
    protocol="heldout_stimuli",
    settings={"sizes": [10, 20, 50, 75, 100], "length": 9, "lengths": [1, 3, 6, 9, 12], "n_null": 19},
)
SMOKE = ("data.subjects=[1,2,3,4]", "settings.sizes=[2,4]", "settings.lengths=[1,9]", "settings.n_null=3")


def main(recipe, data_dir, out_dir):
    dataset = recipe.data.read(data_dir)
    settings = compare_segments.Settings(seed=recipe.seed, **recipe.settings)
    return compare_segments.segments_study(dataset, settings, protocol=recipe.protocol)
