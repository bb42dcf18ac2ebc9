"""Geometry or topology: under which transform of distances is a brain region recognised best? tRSA, simulated brains.

Rows    F2 topological RSA (Lin and Kriegeskorte 2024: on fMRI and networks, geo-topological distances tell regions and
        layers apart as well as RSA's and are more robust to noise and individual differences)
Run     braindec run topological_rsa --out runs/topological_rsa
Smoke   braindec run topological_rsa --smoke
Needs   nothing: data are generated; a minute on 2 cores
Expect  see recipes/README.md; about as good as RSA, as published, where regions differ in geometry
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
