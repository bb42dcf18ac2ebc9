"""Embeddings drawn to what people find alike: a linear map fitted to odd-one-out judgements, decoded from brains.

Simulated people say which of three scenes is the odd one; they look at shapes and textures more than at colours and
backgrounds. A metric is fitted to judgements of training scenes, becomes a target's own map (`aligned`), and both
spaces are decoded from simulated brains. All is judged on scenes, and triplets of them, that nothing was fitted on.

Systems    F7 aligning machine and human representations (Muttenthaler et al. 2023, two papers)
Run        braindec run human_aligned --out runs/human_aligned
Smoke      braindec run human_aligned --smoke: choices 0.55 of 2,000 on 20 scenes (chance 0.33, as it is 0.47,
           judgements of permuted scenes 0.42); from a brain 0.50 (as it is 0.47, permuted pairs 0.39)
Needs      nothing: data are generated, weights are shipped; about a minute on 2 cores
Published  Muttenthaler et al. 2023: linear maps bring networks nearer to the choices of THINGS, whose ceiling is 0.67;
           those judgements are not here
Measured   choices of 200 new scenes 0.593 [0.56, 0.62] (as it is 0.458, gain 0.135 [0.10, 0.17], judgements of permuted
           scenes 0.448 of 3, people agree 0.633 to 0.743, chance 0.333); decoded from two simulated brains 0.499 and
           0.485 (as it is 0.442 and 0.425, permuted pairs 0.35 of 5)
Tried      what the map gains in choices it loses in brains: top-1 of 200 scenes 0.64 and 0.73 (as it is 0.78 and
           0.81), likeness of distances to the brains' rho-a 0.125 (0.202): these brains see what people overlook
"""

from dataclasses import replace

from braindec import evaluate
from braindec.data.preprocessing import Standardise, Whiten
from braindec.evaluate import compare_geometries, human_aligned
from braindec.evaluate.parts import fit_parts
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip

RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(1, 2)),
    target=tiny_openclip.Config(normalised=False),
    preprocessing=(Standardise(unit="session", scope="unit_train_rows"), Whiten(noise="repeats")),
    protocol="heldout_stimuli",
    plan=evaluate.Plan(n_null=5, n_jobs=1, progress=False),
    settings={"world": "development", "people": {}, "n_draws": 500, "n_permutations": 999},
)
SMOKE = (
    "data.subjects=[1]",
    "plan.n_null=2",
    "settings.world=small_fmri",
    'settings.people={"n_judgements": 3000, "n_asked": 400, "penalties": [0.3], "n_components": 32, "n_null": 3}',
    "settings.n_draws=50",
    "settings.n_permutations=99",
)


def main(recipe, data_dir, out_dir):
    told = recipe.settings
    people = human_aligned.Settings(seed=recipe.seed, **told["people"])
    dataset = recipe.data.read(data_dir)
    plain = recipe.embed(dataset, data_dir)
    evaluate.training_part(recipe, dataset, plain)  # stops here where test trials are known to training
    learnt, asked = human_aligned.simulated_people(data_dir, dataset, people)
    aligned = human_aligned.align(plain, dataset, learnt, asked, people, protocol=recipe.protocol)
    map_file = aligned.save(out_dir / "human.safetensors")
    drawn = replace(recipe, target=replace(recipe.target, aligned=str(map_file)))
    spaces = {"as it is": plain, "mapped": drawn.embed(dataset, data_dir)}
    parts, nulls = fit_parts(recipe, dict.fromkeys(spaces, dataset), spaces, recipe.plan.n_null)
    brains = human_aligned.from_brains(aligned, parts, nulls, spaces, dataset, protocol=recipe.protocol)
    settings = compare_geometries.Settings(
        n_draws=told["n_draws"], n_permutations=told["n_permutations"], seed=recipe.seed
    )
    geometry = human_aligned.geometries(dataset.part("test"), spaces, settings)
    return human_aligned.report(aligned, brains, geometry, protocol=recipe.protocol)
