"""Which score would have recognised the right model? Brains made from one layer of a network, judged by all layers.

Run     braindec run encoding_identification --out runs/encoding_identification
Smoke   braindec run encoding_identification --smoke
Needs   nothing: stimuli and brains are generated, weights are shipped; a minute on 2 cores
Expect  see recipes/README.md
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
