"""Where do pictures and words meet? Electrodes that a multimodal network predicts better than both sides put together.

Systems    E3 vision-language integration in sEEG, trained against random weights
Run        braindec run ieeg_vision_language --out runs/ieeg_vision_language
Smoke      braindec run ieeg_vision_language --smoke: electrodes that integrate are told from the others, after
           shuffling they are not
Needs      nothing: stimuli and electrodes are generated, weights are shipped; a minute on 2 cores
Published  Subramaniam et al. 2024: 141 of 1,090 sites (12.9 %) are predicted better by a multimodal network than by
           unimodal ones and by their linear concatenation
Measured   area 1.000 [0.97, 1.00] of those that integrate against others (160 simulated electrodes, chance 0.5,
           shuffled 0.506, p 0.05 of 19), 40 of 40 called and none of 120 others; 38 s
Tried      a network that reads all dims of both embeddings (area 0.65 to 0.85)
"""

from braindec.evaluate import encode_electrodes, study
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip

RECIPE = Recipe(
    data=NeuralData(
        "simulated", subjects=(1,)
    ),  # its scenes and captions alone: the electrodes are made here
    target=tiny_openclip.Config(),
    protocol="heldout_stimuli",
    settings={
        "image": "tiny_openclip",
        "text": "tiny_openclip",
        "design": {"n_electrodes": 40, "n_components": 3, "ceiling": 0.5, "n_steps": 100, "n_null": 19},
    },
)
SMOKE = (
    "data.subjects=[1,2,5]",
    'settings.design={"n_electrodes": 9, "n_components": 2, "ceiling": 0.9, "n_hidden": 256, "n_steps": 50, '
    '"n_draws": 99, "n_null": 1}',
)


def main(recipe, data_dir, out_dir):
    dataset, told = recipe.data.read(data_dir), recipe.settings
    image = study.features(dataset, [told["image"]], data_dir / "embeddings")[told["image"]]
    text = study.captions(dataset, told["text"])
    design = encode_electrodes.Design(seed=recipe.seed, **told["design"])
    return encode_electrodes.electrode_study(image, text, design, protocol=recipe.protocol)
