"""Which sparse autoencoder finds the factors that made the data? Every kind on known factors, beside PCA, ICA, k-means.

Systems    G1 TopK with AuxK; G2 ReLU + L1, JumpReLU, BatchTopK; G3 Matryoshka, names by CLIP text, search; G4 mutual
           feature regularisation; G9 families and steering of retrieval; G12 known generative variables
Run        braindec run sparse_dictionaries --out runs/sparse_dictionaries
Smoke      braindec run sparse_dictionaries --smoke: planted factors are found better than by random atoms
Needs      nothing: data are generated, weights are shipped; two minutes of one core
Published  none to compare with: of language models and of CLIP on photographs
Measured   mean cosine of 25 planted factors with their atoms 0.866 [0.79, 0.95] (ReLU + L1) to 0.625 (Matryoshka);
           k-means 0.662, ICA 0.556, PCA 0.326, random atoms 0.434 of 19 draws; eight factors switched on in scenes
           that lack them: 0.804 [0.76, 0.85] of the ten nearest scenes have them (before 0.085; another latent on
           0.122, at most 0.20 of 19); 81 s of one core
Tried      two drawn together find no more factors than two trained apart (0.785 both)
"""

from braindec.evaluate import inside_factors, study
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip

RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(1,)),  # its scenes alone
    target=tiny_openclip.Config(),
    protocol="heldout_stimuli",
    settings={
        "embedding": "tiny_openclip",
        "study": {"n_scenes": 10000, "n_dims": 16, "n_steps": 1500, "n_latents": 128, "n_null": 19},
    },
)
SMOKE = ('settings.study={"n_scenes": 1000, "n_dims": 16, "n_steps": 80, "n_latents": 24, "n_null": 3}',)


def main(recipe, data_dir, out_dir):
    dataset, told = recipe.data.read(data_dir), recipe.settings
    found = study.features(dataset, [told["embedding"]], data_dir / "embeddings", recipe.seed)
    (embeddings,) = found.values()
    factors = study.factors(dataset)
    texts = study.words(told["embedding"], list(factors))
    settings = inside_factors.Settings(seed=recipe.seed, **told["study"])
    return inside_factors.factor_study(embeddings, factors, texts, settings, protocol=recipe.protocol)
