"""A concept is taken out of a generator while it draws: through sparse latents of one block of its network.

Systems    G10 sparse autoencoders on activations of diffusion, concepts removed (SAeUron, Cywinski and Deja 2025)
Run        braindec run concept_removal --out runs/concept_removal
Smoke      braindec run concept_removal --smoke: a concept gone and the rest kept, less 1: 0.38 [0.16, 0.60] of 10
           pictures (latents picked for permuted labels 0.29, of 3 from -0.16 to 0.64): above the mean of its null, and
           too few pictures to say more
Needs      nothing: data are generated, weights are shipped; minutes of one core
Published  none to compare with: of Stable Diffusion on UnlearnCanvas
Measured   five concepts named in 0.96 of pictures, in 0.21 without their latents (permuted labels 0.55, other latents
           0.91, 90 held-out scenes); gone plus kept of the rest, less 1: 0.373 [0.29, 0.45] (permuted 0.007, p 0.05 of
           19); the difference of means, without an autoencoder, 0.437 (latents -0.06 [-0.17, 0.04]). Drawn from what a
           brain saw: named in 0.50, without in 0.12; 0.319 [0.20, 0.44] (permuted 0.144 of 3)
Tried      the middle of the network, 0.00 of any edit; shapes: no latent is a square's; see notes
"""

from braindec import evaluate
from braindec.adapters import linear
from braindec.backbones import linear as backbone
from braindec.data.preprocessing import Standardise, Whiten
from braindec.decoder import BrainDecoder
from braindec.evaluate import inside_removal
from braindec.generators import embedded_unclip
from braindec.losses import mse
from braindec.priors import ridge
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip

RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(1,)),  # its brain: the scenes that are learned from are drawn anew
    target=tiny_openclip.Config(),
    adapter=linear.Config(shared_dim=96),
    backbone=backbone.Config(),
    loss=mse.Config(),
    prior=ridge.Config(restandardise=True),
    generator=embedded_unclip.Config(guidance=1.0),
    preprocessing=(Standardise(unit="session", scope="unit_train_rows"), Whiten(noise="repeats")),
    n_folds=3,
    protocol="heldout_stimuli",
    fit="closed_form",
    settings={
        "study": {
            "concepts": ["red", "blue", "green", "square", "white"],
            "blocks": ["conv_in", "up_blocks.2"],
            "n_latents": [2, 4, 8],
            "factors": [-1.0, -2.0, -4.0],
            "direction_factors": [-0.5, -1.0, -2.0, -4.0],
            "n_train": 300,
            "n_drawn": 20,
            "n_null": 19,
            "autoencoder": {"n_latents": 256, "n_active": 6, "n_fit_steps": 1200},
        }
    },
)
SMOKE = (
    "n_folds=2",
    "calibrate=false",  # 60 scenes say too little about the error
    'settings.study={"concepts": ["white"], "blocks": ["conv_in"], "n_latents": [2], "factors": [-2.0], '
    '"direction_factors": [-1.0], "n_train": 60, "n_choose": 2, "n_pool": 40, "n_drawn": 5, "n_null": 3, '
    '"n_others": 1, "n_steps": 2, "autoencoder": {"n_latents": 128, "n_fit_steps": 200, "batch_size": 512}}',
)


def main(recipe, data_dir, out_dir):
    dataset = recipe.data.read(data_dir)
    embeddings = recipe.embed(dataset, data_dir, everything=True)
    decoder = BrainDecoder.build(recipe, dataset.info, embeddings.info)
    decoder.fit(evaluate.training_part(recipe, dataset, embeddings), embeddings, out_dir / "logs")
    return inside_removal.removal_study(
        recipe.build_generator(), tiny_openclip.build(recipe.target).embed_images,
        inside_removal.Settings(seed=recipe.seed, **recipe.settings["study"]),
        brain=inside_removal.decoded(decoder, dataset, seed=recipe.seed), subject=1, modality="fmri",
        protocol=recipe.protocol,
    )  # fmt: skip
