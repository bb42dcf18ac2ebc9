"""Do scenes hang together alike in a network and in a brain? Curvature of graphs of neighbours, and its communities.

Each scene is joined to its nearest ones, by a network's features and by a region's responses. Ricci flow cuts the
network's graph into communities, and edges inside of communities are curved more positively than bridges: do the
brain's own neighbours keep to them?

Systems    F4 Ollivier-Ricci curvature and flow
Run        braindec run curvature --out runs/curvature
Smoke      braindec run curvature --smoke: modularity of the network's communities in the graphs of three people 0.030,
           0.029, 0.024 (50 to 60 scenes, permuted -0.019 to -0.016, p 0.005, 0.02, 0.08 of 199)
Needs      nothing: data are generated, weights are shipped; a minute of one core
Published  none to compare with
Measured   modularity of the network's communities in four people's graphs 0.019 [-0.01, 0.05], 0.011 [-0.01, 0.03],
           0.018 [-0.03, 0.06], 0.046 [0.02, 0.07] (200 scenes; permuted -0.008 to -0.007, p 0.005 to 0.025 of 199; as
           many groups by average linkage 0.024, 0.009, 0.025, 0.053; in the network itself 0.20 to 0.32): there, small,
           and no better than linkage. Curved edges are shared by one of four (0.61, p 0.035; others 0.47 to 0.53); 26 s
Tried      nothing yet
"""

from braindec.evaluate import compare_curvature
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip

RECIPE = Recipe(
    data=NeuralData("simulated", modalities=("fmri",)),
    target=tiny_openclip.Config(),
    protocol="heldout_stimuli",
    settings={
        "network": "tiny_openclip",
        "region": "high",
        "n_conditions": 200,
        "n_neighbours": 5,
        "n_rounds": 8,
    },
)
SMOKE = ("settings.n_conditions=60",)


def main(recipe, data_dir, out_dir):
    settings = compare_curvature.Settings(seed=recipe.seed, **recipe.settings)
    return compare_curvature.curvature_study(data_dir, settings, protocol=recipe.protocol)
