"""When and where: EEG over time fused with regions of fMRI by their geometry, with what each level explains of both.

Systems    F11 M/EEG-fMRI fusion (Cichy et al. 2014), commonality analysis (Hebart et al. 2018)
Run        braindec run fusion --out runs/fusion
Smoke      braindec run fusion --smoke: distances of EEG go with those of the early region by 0.218 [0.01, 0.43] and the
           intermediate one by 0.201 [0.05, 0.35] (20 scenes, permuted 0.002 and 0.009, p 0.01 each of 99), with the
           high one not (-0.002, p 0.59)
Needs      nothing: data are generated; a minute on 2 cores
Published  Cichy et al. 2014: V1 peaks at 101 ms, IT at 132 ms; the world's planted latencies are 100, 160 and 250 ms
Measured   rho 0.042 [0.01, 0.07], 0.033 [0.00, 0.06], 0.030 [0.00, 0.06] in three regions (200 scenes, permuted 0.000
           to 0.001, p 0.002 to 0.004 of 499); early is first (90 to 110 ms); 17 s
Tried      one noisy EEG subject does not tell the intermediate from the high region
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
