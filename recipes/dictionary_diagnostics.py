"""What is wrong with a dictionary? Absorption, bits, cosines and circles, where each illness is planted, kind by kind.

Systems    G2 Gated; G5 gradient SAE; G8 absorption, MDL, quasi-orthogonality, circular features; G11 matching pursuit
Run        braindec run dictionary_diagnostics --out runs/dictionary_diagnostics
Smoke      braindec run dictionary_diagnostics --smoke: parents with children of their own are absorbed, the same
           children anywhere absorb less; each diagnosis beside a refit where the illness is not there
Needs      nothing: data are generated, weights are shipped
Published  none to compare with: of language models, no target here
Measured   not measured: needs a whole run, about sixty fits. Smoke: TopK absorbs 0.359 [0.34, 0.38] of a parent
           (children anywhere 0.186), saves 3.5 [3.0, 4.0] bits of a Gaussian's 29 (-7.0 where the data are one);
           circles 0.649 irreducible (random groups 0.180); an effect keeps 0.980 of its variance (another's gradient
           0.418); n 1,500
Tried      training with the gradient in the choice: quiet features are found with a cosine of 0.266, by TopK 0.332;
           groups of latents with near atoms: TopK tells a circle by four that lie apart
"""

from braindec.evaluate import inside_diagnosed, study
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip

RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(1,)),  # its scenes alone
    target=tiny_openclip.Config(),
    protocol="heldout_stimuli",
    settings={"embedding": "tiny_openclip", "study": {"n_samples": 6000, "n_steps": 600, "n_null": 3}},
)
SMOKE = (
    'settings.study={"n_samples": 3000, "n_steps": 220, "n_null": 1, "kinds": ["TopK"], "n_embedded": 16}',
)


def main(recipe, data_dir, out_dir):
    dataset, told = recipe.data.read(data_dir), recipe.settings
    found = study.features(dataset, [told["embedding"]], data_dir / "embeddings", recipe.seed)
    (embeddings,) = found.values()
    settings = inside_diagnosed.Settings(**{**told["study"], "seed": recipe.seed})
    return inside_diagnosed.diagnosis_study(embeddings, settings, protocol=recipe.protocol)
