"""Which score would have recognised the right model? Brains made from one layer of a network, judged by all layers.

Systems    E8 system identification: would we know?
Run        braindec run encoding_identification --out runs/encoding_identification
Smoke      braindec run encoding_identification --smoke: scores recognise the layer that made a brain, with scenes
           shuffled they do not
Needs      nothing: stimuli and brains are generated, weights are shipped; a minute on 2 cores
Published  none to compare with: their networks and brains are others
Measured   the true layer comes first of five in 0.99 [0.95, 1.00] by linear CKA, 0.89 by RSA, 0.87 by ridge encoding
           (100 brains, chance 0.20, scenes shuffled 0.18 to 0.20)
Tried      nothing else yet
"""

from braindec.evaluate import encode_features
from braindec.evaluate import encode_identification as identification
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip

RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(1,)),  # its scenes alone: the brains are made here
    target=tiny_openclip.Config(),
    protocol="heldout_stimuli",
    settings={"layers": "tiny_openclip", "n_stimuli": 200, "n_voxels": 100, "ceiling": 0.1, "n_brains": 20},
)
SMOKE = ("settings.n_stimuli=60", "settings.n_voxels=60", "settings.ceiling=0.5", "settings.n_brains=2")


def main(recipe, data_dir, out_dir):
    dataset, told = recipe.data.read(data_dir), recipe.settings
    specs = encode_features.layers_of(told["layers"])
    spaces = encode_features.feature_spaces(specs, dataset, cache=data_dir / "embeddings")
    candidates = identification.features_of(spaces, dataset.stimulus_ids)
    sizes = told["n_stimuli"], told["n_voxels"], told["ceiling"], told["n_brains"]
    design = identification.Design(*sizes, seed=recipe.seed)
    found = identification.identify(candidates, design)
    shuffled = identification.identify(candidates, design, shuffled=True)
    return identification.report(found, shuffled, design)
