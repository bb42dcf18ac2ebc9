"""Does foretelling shape what learning makes of a representation, and does a recording show whose learning it was?

Networks learn what the actions in a maze of two rooms are worth, half of them with an auxiliary aim: to tell which
states are met later. Recordings before and after learning are planted from each; networks of both kinds with other
first weights are compared with them by the change of their RDMs. Beside it: are states near in steps near in the
representation, and does it collapse?

Systems    E10 predictive auxiliary objectives (Fang and Stachenfeld 2023, arXiv:2310.06089)
Run        braindec run predictive_learning --out runs/predictive_learning
Smoke      braindec run predictive_learning --smoke: the kind is named for 0.900 [0.60, 0.98] of 10
           recordings (chance 0.5, states permuted 0.474); changes correlate 0.507 and 0.638 with those of their own
           kind (permuted 0.002), 0.422 and 0.490 with the other's
Needs      nothing: mazes and recordings are generated
Published  none to compare with: agents of deep reinforcement learning, hippocampus and visual cortex by figures
Measured   32 recordings, 16 networks of each kind: changes correlate 0.599 [0.57, 0.63] (values alone) and 0.655 [0.63,
           0.68] (and foretelling) with those of other networks of the kind, 0.417 and 0.466 with the other kind's,
           0.206 and 0.129 with untrained geometry (states permuted 0.001 and 0.003); the kind is named for 1.000 [0.89,
           1.00] (chance 0.5, permuted 0.501). Distance goes with steps at 0.271 and 0.611 (in recordings 0.208 and
           0.490, permuted -0.003), 4.63 and 5.45 of 8.51 dimensions are left; 10 s of processor time
Tried      first weights twice as large (6 of each kind): networks then change little, values alone in ways of their own
           each, and the kind is named for half of their recordings (chance 0.5) and for all of those that foretell
"""

from dataclasses import replace

from braindec.evaluate import learning_study
from braindec.recipe import NO_DATA, NeuralData, Recipe

RECIPE = Recipe(
    data=NeuralData(NO_DATA),
    target=None,  # nothing is decoded
    protocol="heldout_stimuli",
    settings={"study": learning_study.Settings()},
)
SMOKE = (
    "settings.study.n_networks=5",
    "settings.study.n_null=19",
    "settings.study.networks.checkpoints=[0, 30, 150]",
)


def main(recipe, data_dir, out_dir):
    settings = replace(recipe.settings["study"], seed=recipe.seed)
    return learning_study.learning_study(settings, protocol=recipe.protocol)
