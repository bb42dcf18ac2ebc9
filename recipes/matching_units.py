"""Do two networks, or two trainings, have the same units? Matched four ways, and as latents of sparse autoencoders.

Systems    F1 convergent learning (Li et al. 2016); F5 universal neurons, features across models and seeds
Run        braindec run matching_units --out runs/matching_units
Smoke      braindec run matching_units --smoke: units of two networks correlate one to one by 0.110 [-0.02, 0.24], as
           groups by 0.274 [0.07, 0.48] (80 scenes; scenes permuted -0.010 and 0.023 of 3)
Needs      nothing: pictures are generated, weights are shipped (second network: extra demo); two minutes on 2 cores
Published  Gurnee et al. 2024: 1 to 5 % of GPT-2's neurons; Paulo and Belrose 2025: 30 % of latents shared by two
           seeds; of language models, no target here
Measured   one to one r 0.221 [0.20, 0.24] (rotated 0.214, scenes permuted -0.001 of 19; 1,200 scenes); 53 % of 32
           latents found again from another seed (rotated 0 %); 13 s
Tried      64 latents (3 % found again) and 256 (none): 1,200 scenes do not determine more
"""

from braindec.evaluate import compare_matching, study
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip

RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(1,)),  # its scenes alone
    target=tiny_openclip.Config(),
    protocol="heldout_stimuli",
    settings={
        "networks": {
            "OpenCLIP": "tiny_openclip@visual.layer4",
            "EfficientNet": "efficientnet_lite0:size=64@blocks.6",
            "OpenCLIP before training": "tiny_openclip@visual.layer4!random",
        },
        "study": {"n_null": 19, "n_latents": 32, "n_steps": 1500},
    },
)
SMOKE = ('settings.study={"n_null": 3, "n_latents": 32, "n_steps": 150}',)


def main(recipe, data_dir, out_dir):
    dataset, told = recipe.data.read(data_dir), recipe.settings
    spaces = study.features(dataset, list(told["networks"].values()), data_dir / "embeddings", recipe.seed)
    units = dict(zip(told["networks"], map(study.channels, spaces.values())))
    settings = compare_matching.Settings(seed=recipe.seed, **told["study"])
    return compare_matching.matching_study(units, settings, protocol=recipe.protocol)
