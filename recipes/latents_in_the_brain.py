"""Latents of sparse autoencoders in simulated brains: fMRI says where they are read, EEG says when.

Systems    none: when and where latents of sparse autoencoders are read
Run        braindec run latents_in_the_brain --out runs/latents_in_the_brain
Smoke      braindec run latents_in_the_brain --smoke: the order of levels is found, after permuting it is not
Needs      nothing: data are generated; about three minutes on 2 cores
Published  none: the analysis is ours
Measured   planted and recovered latencies of levels correlate with rho 0.95 [0.71, 0.95] (four pairs of simulated
           people; permuted -0.04, p 0.025 of 39); 159 s
Tried      latencies of single latents, an RDM fusion (0.05), the demo's one noisy EEG subject (0.57, p 0.05)
"""

from braindec.evaluate import inside_latents, inside_report, inside_timing
from braindec.recipe import NeuralData, Recipe
from braindec.sparse import readers
from braindec.targets import tiny_openclip

RECIPE = Recipe(
    data=NeuralData("simulated"),
    target=tiny_openclip.Config(),
    protocol="heldout_stimuli",
    settings={
        "world": "latents",
        "truth": "sub-03_eeg",
        "n_latents": 64,
        "n_active": 4,
        "n_null": 39,
        "n_draws": 199,
    },
)
SMOKE = ("settings.world=latents_smoke", "settings.n_null=3", "settings.n_draws=39")


def main(recipe, data_dir, out_dir):
    dataset, told = recipe.data.read(data_dir), recipe.settings
    planted = inside_timing.planted_latents(
        data_dir, told["truth"], n_latents=told["n_latents"], n_active=told["n_active"], seed=recipe.seed
    )
    reading = readers.Settings(n_folds=4, n_inner=3, alphas=(1e2, 1e3, 1e4))
    settings = inside_latents.Settings(reading=reading, n_null_places=told["n_null"], seed=recipe.seed)
    found = inside_timing.timing(dataset, planted, settings=settings, n_draws=told["n_draws"])
    return inside_report.timing_report(found, dataset, planted.level, settings, recipe.protocol)
