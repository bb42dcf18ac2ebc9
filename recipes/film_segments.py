"""Which part of the film is it? Segments of a film matched between people in a shared response space.

Rows    F9 shared response models (Chen et al. 2015: segments of nine volumes of raider matched across ten people, a
        half of the film held out; far above anatomical alignment and each person's own components)
Run     braindec run film_segments --data prepared/raider --out runs/film_segments
Smoke   braindec run film_segments --smoke
Needs   datasets/raider prepared; a minute on 2 cores
Expect  see recipes/README.md; the film's files were not at hand when this was written: smoke data are generated
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
