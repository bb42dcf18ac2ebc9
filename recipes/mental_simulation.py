"""Does a brain go on with what it no longer sees? Networks that foretell films, beside planted brains.

A ball crosses the field, bounces, and goes behind an occluder. One planted brain simulates it there, with errors that
grow; another holds on to where it was last seen. Frames, a static picture network, recurrent networks that learned to
foretell pixels or latents (or nothing), and both planted places predict the brains' responses while nothing is seen,
and their errors at the end.

Systems    E10 future prediction of latents, Mental-Pong (Nayebi et al. 2023, arXiv:2305.11772)
Run        braindec run mental_simulation --out runs/mental_simulation
Smoke      braindec run mental_simulation --smoke: of its ceiling the network that foretells latents
           predicts hidden frames at 0.388 [0.28, 0.50] (films shuffled -0.058) and 0.267 [0.12, 0.41] (-0.183) of the
           brain that simulates and the one that holds, no better than untrained after 40 steps;
           own state (true place; place last seen) less the other brain's is +0.157 [0.06, 0.25] (p 0.0005;
           shuffled -0.029) and +0.546 [0.41, 0.68] (p 0.0005; shuffled +0.053): above zero, its own predicts best
Needs      nothing: films are generated, weights are shipped
Published  none to compare with: macaque neurons and errors in Mental-Pong, large networks of videos
Measured   96 films, ball hidden, own state less the other's (above zero: predicted best by its own): the brain that
           simulates 0.912 of its ceiling by the true place, 0.702 by the place last seen, +0.210 [0.14, 0.28]
           (films shuffled +0.078); the one that holds 1.000 by the place last seen, 0.459 by the true one, +0.541
           [0.43, 0.66] (shuffled +0.131). Foretold latents 0.495 [0.38, 0.61] (shuffled 0.180) and 0.351 [0.25,
           0.45] (shuffled 0.068): +0.015 [-0.10, 0.13] and -0.162 [-0.25, -0.07] to the untrained network, when
           long hidden +0.159 [0.01, 0.30] and -0.075 [-0.20, 0.05] (p by signs of films 0.0005 of both own states,
           0.68 and 0.0005 of what foretelling adds, 0.014 and 0.12 when long hidden). Errors agree with another
           simulation's at 0.853 and 0.626, with the place last seen at 0.760 and 0.983, with the network's at 0.054
           and -0.036 (shuffled 0.058, -0.030); 81 s of processor time
Tried      half of the training films and 2500 steps (films of seed 0): nothing added to the untrained network, -0.008
           [-0.06, 0.05] and -0.012 [-0.09, 0.06]; one frame ahead alone loses what an untrained network remembers. The
           later half was set apart after these films, before those of seed 1 were drawn. Answers read by a readout
           fitted to seen frames alone (also on films of seed 1): place fields beyond the occluder's edge never fire
           there, and the true place errs
"""

from dataclasses import replace

from braindec.evaluate import simulation_study
from braindec.recipe import NO_DATA, NeuralData, Recipe
from braindec.targets import tiny_openclip

RECIPE = Recipe(
    data=NeuralData(NO_DATA),
    target=tiny_openclip.Config(),  # the static network, whose latents are foretold
    protocol="heldout_stimuli",
    settings={"study": simulation_study.Settings()},
    seed=1,  # films of seed 0 were looked at while this was built
)
SMOKE = (
    "settings.study.n_films=32",
    "settings.study.n_training_films=20",
    "settings.study.n_units=15",
    "settings.study.n_null=3",
    "settings.study.n_folds=3",
    "settings.study.n_times=14",
    "settings.study.network.n_steps=40",
)


def main(recipe, data_dir, out_dir):
    settings = replace(recipe.settings["study"], seed=recipe.seed)
    return simulation_study.simulation_study(recipe.target, settings, protocol=recipe.protocol)
