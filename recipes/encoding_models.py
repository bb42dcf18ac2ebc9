"""Which model predicts the brain: trained, before training, or pixels; pictures beside words; more training trials.

Systems    E1 visio-linguistic encoding; E2 scaling laws, the part of data size
Run        braindec run encoding_models --out runs/encoding_models
Smoke      braindec run encoding_models --smoke: a trained network predicts held-out responses of two simulated
           people, refitted to shuffled scenes it does not
Needs      nothing: data are generated, weights are shipped; three minutes on 2 cores
Published  none to compare with: on BOLD5000, Pereira and stories
Measured   mean r 0.568, 0.556, 0.578 of three simulated people (200 held-out scenes, refitted to shuffled scenes
           0.000, -0.003, -0.009, p 0.05 of 19); the same network before training 0.478, 0.457, 0.477; 115 s of
           processor time on 2 cores
Tried      nothing else yet
"""

from braindec.evaluate import encode, encode_features, encode_partition, encode_scaling, encode_scan
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip

RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(1, 2, 3)),
    target=tiny_openclip.Config(),
    protocol="heldout_stimuli",
    settings={
        "targets": ["tiny_openclip", "efficientnet_lite0:size=64"],
        "n_layers": 2,
        # One penalty for a layer and the pixels beside it: a fifth of the time.
        "fits": {
            "n_null": 19,
            "n_permutations": 99,
            "shares": [0.5],
        },
        "image": "tiny_openclip",
        "text": "tiny_openclip",
        "fractions": [0.1, 0.3, 1.0],
    },
)
SMOKE = (
    "data.subjects=[1,2]",
    'settings.targets=["tiny_openclip"]',
    "settings.n_layers=2",
    'settings.fits={"n_null": 3, "n_permutations": 9, "shares": [0.5]}',
)


def main(recipe, data_dir, out_dir):
    dataset, told = recipe.data.read(data_dir), recipe.settings
    cache, settings = data_dir / "embeddings", encode.Settings(seed=recipe.seed, **told["fits"])
    scan = encode_scan.encode_scan(
        dataset, told["targets"], n_layers=told["n_layers"], settings=settings, cache=cache
    )
    image = encode_features.feature_spaces([told["image"]], dataset, cache=cache)[told["image"]]
    text = encode_partition.caption_space(dataset, told["text"])
    shared = encode_partition.encode_partition(dataset, {"image": image, "caption": text}, settings=settings)
    growth = encode_scaling.encode_scaling(dataset, image, told["fractions"], settings=settings)
    panels = [("Pictures and words", "table", encode_partition.table(shared)), *encode_scaling.panels(growth)]
    return encode_scan.report(scan, dataset, protocol=recipe.protocol, panels=panels)
