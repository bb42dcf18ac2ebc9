"""When and where: EEG over time fused with regions of fMRI by their geometry, with what each level explains of both.

Rows    F11 M/EEG-fMRI fusion (Cichy et al. 2014: V1 peaks at 101 ms, IT at 132 ms), commonality analysis (Hebart et al.
        2018)
Run     braindec run fusion --out runs/fusion
Smoke   braindec run fusion --smoke
Needs   nothing: data are generated; a minute on 2 cores
Expect  see recipes/README.md; the planted latencies are 100, 160 and 250 ms
"""

from braindec.evaluate import compare_fusion
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip

RECIPE = Recipe(
    data=NeuralData("simulated"),
    target=tiny_openclip.Config(),
    protocol="heldout_stimuli",
    settings={"n_times": 60, "n_permutations": 499},
)
SMOKE = ("settings.n_times=20", "settings.n_permutations=99")


def main(recipe, data_dir, out_dir):
    settings = compare_fusion.Settings(seed=recipe.seed, **recipe.settings)
    return compare_fusion.fusion_study(data_dir, settings, protocol=recipe.protocol)
