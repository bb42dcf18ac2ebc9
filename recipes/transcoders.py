"""What does a layer compute, and which latents drive which? A transcoder and ablations where the circuit is planted.

Systems    G6 transcoders; G13 circuits: a latent followed across layers, random latents, dormant pathways
Run        braindec run transcoders --out runs/transcoders
Smoke      braindec run transcoders --smoke: what a layer writes is found, with outputs of other inputs it is not;
           ablated latents move what they drive more than random latents do
Needs      nothing: the layer is generated
Published  none to compare with: of language models, no target here
Measured   cosine 0.911 [0.76, 1.00] of 8 outputs with the transcoder's atoms (outputs of other inputs 0.457 of 9), 0.21
           of their variance left (1.00); wired pairs told from others by ablation with an area of 1.000 (n 80, chance
           0.5, random latents 0.847 of 19); 26 s of one core
Tried      outputs that nearly add their inputs: one latent an input tells them as shortly, and 0.72 of them are found
"""

from braindec.evaluate import inside_circuits
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip

RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(1,)),  # nothing of it is used: the layer is planted
    target=tiny_openclip.Config(),
    protocol="heldout_stimuli",
    settings={"study": {"n_samples": 6000, "n_steps": 600, "n_null": 9}},
)
SMOKE = ('settings.study={"n_samples": 2400, "n_steps": 200, "n_null": 3}',)


def main(recipe, data_dir, out_dir):
    settings = inside_circuits.Settings(**{**recipe.settings["study"], "seed": recipe.seed})
    return inside_circuits.circuit_study(settings, protocol=recipe.protocol)
