"""What does a region like? Its voxels named by words, and pictures made for it, where the truth is known.

Systems    E4 BrainSCUBA: voxels named by words; E5 BrainDiVE: pictures for a region
Run        braindec run region_pictures --out runs/region_pictures
Smoke      braindec run region_pictures --smoke: pictures made for a planted region are liked by a judge of another
           network more than those for random directions
Needs      nothing: data are generated, weights are shipped (judge: extra demo); four minutes on 2 cores
Published  none to compare with: on NSD, judged by people
Measured   three planted regions, 12 pictures each, judged by another network: 3.40 [3.10, 3.73], 2.29 [1.56, 2.92]
           and 2.75 [2.13, 3.39] of the region's spread (random directions 0.74, 0.73 and -0.02, natural pictures
           0.22, 1.02 and 0.93); of 60 voxels all are named right (chance 0.05, voxels shuffled 0.334)
Tried      nothing else yet
"""

from braindec.evaluate import encode_preference
from braindec.generators import embedded_unclip
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip

RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(1,)),  # its scenes alone: the regions are made here
    target=tiny_openclip.Config(),
    protocol="heldout_stimuli",
    settings={
        "world": "demo",
        "guide": "tiny_openclip",
        "judge": "efficientnet_lite0:size=64",
        "design": {"likes": ["striped", "red", "blue"], "n_pictures": 12, "n_candidates": 48, "n_steps": 20},
    },
)
SMOKE = (
    'settings.design={"likes": ["red", "blue"], "n_pictures": 4, "n_candidates": 8, "n_steps": 6}',
    "settings.world=small_fmri",
)


def main(recipe, data_dir, out_dir):
    dataset, told = recipe.data.read(data_dir), recipe.settings
    design = encode_preference.Design(seed=recipe.seed, **told["design"])
    shipped = embedded_unclip.build(embedded_unclip.Config())
    return encode_preference.preference_study(dataset, shipped, told["guide"], told["judge"], design)
