"""A new person's voxels from few examples: a transformer taught on other people gives their weights without a fit.

It reads pairs of a picture's embedding and a voxel's response and puts out the weights of that voxel's encoding model.
Beside it stand ridge of the new person's own, and the closed form of the same question (empirical Bayes).

Systems    E7 BraInCoRL (Yu et al. 2025, arXiv:2505.15813)
Run        braindec run voxels_in_context --out runs/voxels_in_context
Smoke      braindec run voxels_in_context --smoke: held-out responses of a new person with r 0.102 [0.01, 0.19] after
           10 examples and 0.185 [0.08, 0.29] after 40 (n 20 scenes; taught and shown shuffled pairs -0.11 and -0.14;
           another voxel's examples 0.00 and 0.01). Two people with 80 scenes teach too little to help: ridge of its
           own 0.132 and 0.238, empirical Bayes 0.132 and 0.206
Needs      nothing: data are generated, weights are shipped
Published  none that can be compared: NSD and BOLD5000, explained variance of voxels of higher visual cortex
Measured   171 voxels of each of three new people, 200 scenes, mean correlation after 10, 30 and 100 examples:
           0.067, 0.143 and 0.216 (first person [0.05, 0.10], [0.12, 0.17], [0.20, 0.25]; shuffled pairs -0.005,
           0.004 and 0.005, another voxel's examples -0.006 to 0.008); ridge of its own 0.059, 0.122 and 0.198;
           empirical Bayes, the closed form, 0.078, 0.151 and 0.228; 543 s of one core
Tried      nothing yet
"""

from dataclasses import replace

from braindec.data.preprocessing import Preprocessing, Standardise
from braindec.encoding import in_context
from braindec.evaluate import encode_in_context
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip

RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(1, 2, 3, 4, 7, 8)),
    target=tiny_openclip.Config(),
    protocol="heldout_stimuli",
    settings={
        "world": "new_subject",
        "newcomers": [4, 7, 8],
        "study": encode_in_context.Settings(sizes=(10, 30, 100), model=in_context.Config(n_steps=1500)),
    },
)
SMOKE = (
    "data.subjects=[1,2,4]",
    "settings.world=small_people",
    "settings.newcomers=[4]",
    "settings.study.sizes=[10,40]",
    "settings.study.n_features=16",
    "settings.study.n_null=1",
    "settings.study.model.n_steps=100",
    "settings.study.model.examples=[5,40]",
    "settings.study.model.n_queries=15",
    "settings.study.model.n_blocks=2",
)


def main(recipe, data_dir, out_dir):
    dataset, told = recipe.data.read(data_dir), recipe.settings
    embeddings = recipe.embed(dataset, data_dir)
    steps = Preprocessing((Standardise(unit="session", scope="unit_train_rows"),))
    return encode_in_context.in_context_study(
        dataset,
        embeddings,
        told["newcomers"],
        preprocessing=steps,
        settings=replace(told["study"], seed=recipe.seed),
        protocol=recipe.protocol,
    )
