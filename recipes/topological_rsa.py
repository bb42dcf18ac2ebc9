"""Geometry or topology: under which transform of distances is a brain region recognised best? tRSA, simulated brains.

Systems    F2 topological RSA (Lin and Kriegeskorte 2024)
Run        braindec run topological_rsa --out runs/topological_rsa
Smoke      braindec run topological_rsa --smoke: regions are recognised in 0.772, 0.386 and 0.368 of questions, three
           people (chance 0.333, scenes permuted 0.228, 0.298 and 0.351, p 0.05, 0.35 and 0.35 of 19): in one of them
           above chance
Needs      nothing: data are generated; a minute on 2 cores
Published  Lin and Kriegeskorte 2024: regions and layers told apart as well as by RSA, more robust to noise and
           individual differences
Measured   regions recognised in 0.855 [0.69, 0.94], 0.822, 0.832, 0.884 of questions (four simulated people, chance
           0.333, permuted 0.342, p 0.025 of 39); distances as they are 0.808 together, 0.848 transformed; 10 s
Tried      cutting off small distances (about 0.72); shortest paths lose more
"""

from braindec.evaluate import compare_topology
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip

RECIPE = Recipe(
    data=NeuralData("simulated", modalities=("fmri",)),
    target=tiny_openclip.Config(),
    protocol="heldout_stimuli",
    settings={"n_conditions": 20, "n_deals": 39, "geodesics": True},
)
SMOKE = ("settings.n_conditions=12", "settings.n_deals=19", "settings.geodesics=false")


def main(recipe, data_dir, out_dir):
    settings = compare_topology.Settings(seed=recipe.seed, **recipe.settings)
    return compare_topology.topology_study(data_dir, settings, protocol=recipe.protocol)
