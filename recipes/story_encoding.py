"""Which places of the brain follow the words of a story: encoding models of continuous fMRI, a held-out story as test.

Systems    none: data and design of E2, with one language model
Run        braindec run story_encoding --data prepared/lebel2023 --out runs/story_encoding
Smoke      braindec run story_encoding --smoke: mean r 0.366 [0.32, 0.40] and 0.351 [0.31, 0.37] of two generated
           people (n 10 pieces, reordered 0.003 and 0.009)
Needs      datasets/lebel2023 prepared; extra `captions` (MiniLM); a person's 81,126 voxels and 84 stories: 16 GB of
           memory
Published  none for this model
Measured   not measured: needs the stories of lebel2023
Tried      nothing yet
"""

from braindec.evaluate import encode, encode_continuous, encode_maps, encode_report, encode_text
from braindec.recipe import NeuralData, Recipe
from braindec.targets import minilm

RECIPE = Recipe(
    data=NeuralData("lebel2023", subjects=(1,)),
    target=minilm.Config(),
    protocol="heldout_stimuli",
    settings={
        "layers": ["letters", "minilm"],
        "model": "fir",
        "gap_s": 16.0,
        "n_null": 19,
        "n_permutations": 999,
    },
)
SMOKE = (
    "data.subjects=[1,2]",
    'settings.layers=["letters"]',
    "settings.n_null=3",
    "settings.n_permutations=99",
)


def main(recipe, data_dir, out_dir):
    dataset, told = recipe.data.read(data_dir), recipe.settings
    words = encode_text.words_of(dataset)
    layers = encode_text.spaces(told["layers"], words)
    nuisance = {encode_text.RATE: encode_text.word_rate(words)}
    timing = encode_continuous.Timing(model=told["model"], gap_s=told["gap_s"])
    settings = encode.Settings(n_null=told["n_null"], n_permutations=told["n_permutations"], seed=recipe.seed)
    found = encode_continuous.encode_continuous(dataset, layers, nuisance, timing=timing, settings=settings)
    encode_maps.write_maps(found, out_dir / "maps")
    return encode_report.report(found, dataset, protocol=recipe.protocol)
