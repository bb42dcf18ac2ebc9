"""Which layers of a network predict the brain: encoding models of the simulated world, its regions in known order.

Systems    none: which layer predicts which region, in known order
Run        braindec run encoding_layers --out runs/encoding_layers
Smoke      braindec run encoding_layers --smoke: layers predict held-out responses, refitted to shuffled scenes they
           do not
Needs      nothing: data are generated, weights are shipped; five minutes on 2 cores
Published  none: the world is ours
Measured   mean r 0.575, 0.567, 0.585 over 170, 208, 239 voxels of three simulated people (200 held-out scenes;
           shuffled 0.000, 0.002, -0.006, p 0.05 of 19; 0.83 to 0.88 of the ceiling); 4.4 min
Tried      one penalty for a layer and its nuisance features: 0.01 lower
"""

from braindec.evaluate import encode, encode_features, encode_maps, encode_report
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip

RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(1, 2, 3)),
    target=tiny_openclip.Config(),
    protocol="heldout_stimuli",
    settings={
        "layers": "tiny_openclip",
        "n_layers": 5,
        "n_null": 19,
        "n_permutations": 499,
    },
)
SMOKE = ("data.subjects=[1,2]", "settings.n_layers=3", "settings.n_null=3", "settings.n_permutations=99")


def main(recipe, data_dir, out_dir):
    dataset, told = recipe.data.read(data_dir), recipe.settings
    specs = encode_features.layers_of(told["layers"], told["n_layers"])
    cached = {"seed": recipe.seed, "cache": data_dir / "embeddings"}
    layers = encode_features.feature_spaces(specs, dataset, **cached)
    nuisance = encode_features.feature_spaces(encode_features.default_nuisance(specs), dataset, **cached)
    settings = encode.Settings(n_null=told["n_null"], n_permutations=told["n_permutations"], seed=recipe.seed)
    found = encode.encode(dataset, layers, nuisance, preprocessing=encode.PREPROCESSING, settings=settings)
    encode_maps.write_maps(found, out_dir / "maps")
    return encode_report.report(found, dataset, protocol=recipe.protocol)
