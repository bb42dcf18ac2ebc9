"""Two networks joined without training: one's classifier reads the other through relative representations or rotation.

Systems    F6 relative representations (Moschella et al. 2023), product of invariances, subspace alignment
Run        braindec run stitching --out runs/stitching
Smoke      braindec run stitching --smoke: a classifier of one network names 0.32 [0.17, 0.52] of 25 scenes of another
           through anchors, 0.35 by rotation (commonest 0.20, permuted partners 0.24 and 0.23 of 3); two scenes told
           apart across the spaces 0.76 and 0.77 (0.56 and 0.50)
Needs      nothing: pictures are generated, weights are shipped (second network: extra demo); a minute on 2 cores
Published  Moschella et al. 2023: zero-shot stitching close to a classifier of the own space, absolute spaces at
           chance; on CIFAR and text, not here
Measured   relative 0.554 [0.51, 0.60], rotation 0.730 [0.68, 0.77] of 400 scenes (most frequent class 0.185, partners
           permuted 0.168 and 0.166 of 19, own classifier 0.885); 83 s
Tried      nothing else yet
"""

from braindec.evaluate import compare_sources, compare_stitching, study
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip

RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(1,)),  # its scenes alone
    target=tiny_openclip.Config(),
    protocol="heldout_stimuli",
    settings={
        "networks": {"OpenCLIP": "tiny_openclip", "EfficientNet": "efficientnet_lite0:size=64@blocks.6"},
        "column": "background",
        "study": {"n_anchors": [16, 32, 64, 128, 256], "n_test": 400, "n_null": 19},
    },
)
SMOKE = ('settings.study={"n_anchors": [8, 32], "n_test": 25, "n_null": 3}',)


def main(recipe, data_dir, out_dir):
    dataset, told = recipe.data.read(data_dir), recipe.settings
    networks = list(told["networks"].values())
    first, second = study.features(dataset, networks, data_dir / "embeddings", recipe.seed).values()
    labels = compare_sources.label_of(dataset, told["column"], dataset.stimulus_ids)
    settings = compare_stitching.Settings(**{**told["study"], "seed": recipe.seed})
    return compare_stitching.stitching_study(
        first, second, labels, settings, names=tuple(told["networks"]), protocol=recipe.protocol
    )
