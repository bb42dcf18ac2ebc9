"""What is wrong with a dictionary? Absorption, bits, cosines and circles, where each illness is planted, kind by kind.

Systems    G2 Gated; G5 gradient SAE; G8 absorption, MDL, quasi-orthogonality, circular features; G11 matching pursuit
Run        braindec run dictionary_diagnostics --out runs/dictionary_diagnostics
Smoke      braindec run dictionary_diagnostics --smoke: parents with children of their own are absorbed, the same
           children anywhere absorb less; each diagnosis beside a refit where the illness is not there
Needs      nothing: data are generated, weights are shipped
Published  none to compare with: of language models, no target here
Measured   of a parent with children of its own Matryoshka absorbs 0.173 [0.16, 0.19], Gated 0.252, ReLU + L1 0.370,
           TopK 0.426 [0.41, 0.44], matching pursuit 0.529 (n 3,000; null, the same children anywhere, 0.037 to 0.293
           of 3); bits saved of a Gaussian's: Gated 8.9, matching pursuit 7.5, TopK 7.4, Matryoshka 6.8, ReLU + L1 5.1
           (null, data of one Gaussian, -3.9 to -7.2); circles 0.976 [0.85, 1.07] irreducible (random groups 0.237 of
           9); an effect keeps 0.977 of its variance (another's gradient 0.373 of 19); 102 s of processor time
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
