"""Which stimuli tell models apart? Those on which fitted encoding models disagree, against as many drawn at random.

Brains are made of one model's features. All models are fitted to responses to some scenes; of the other scenes those
are shown on which the fitted models disagree most, and the model with the most evidence there is taken for true.

Systems    E9 choosing stimuli (controversial: Golan et al. 2020, doi:10.1073/pnas.1912334117, most discriminative: Burg
           et al. 2024, arXiv:2401.05342)
Run        braindec run telling_apart --out runs/telling_apart
Smoke      braindec run telling_apart --smoke: with one chosen scene the true one of two models is found for 0.88
           [0.79, 0.93] of 80 brains, with three for 0.96 (drawn at random 0.75 and 0.87, chance 0.5, responses
           shuffled 0.25 and 0.12)
Needs      nothing: scenes are generated, weights are shipped
Published  none to compare with: their stimuli are synthesised and their models others
Measured   choosing gains nothing among three models: with 1, 3, 10 and 30 chosen scenes the true one is found for 0.678
           [0.58, 0.77], 0.844 [0.76, 0.91], 0.933 [0.86, 0.97] and 0.978 [0.92, 0.99] of 90 brains, with as many drawn
           at random for 0.669, 0.837, 0.972 and 0.998 (99 draws, p 0.43, 0.53, 0.98, 1.00; chance 0.333, responses
           shuffled 0.111 to 0.000); 166 s of processor time
Tried      choosing by the disagreement that fits to both halves of the training scenes share: no better (0.94 against
           0.99 with three scenes); models that are fitted badly (60 noisy responses) disagree in noise, and choosing
           is no better than chance draws (0.40 against 0.47 with 20 scenes)
"""

from braindec.evaluate import encode_telling_apart as telling
from braindec.evaluate import study
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip

RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(1,)),  # its scenes alone: the brains are made here
    target=tiny_openclip.Config(),
    protocol="heldout_stimuli",
    settings={
        "models": ["tiny_openclip@visual.layer3", "tiny_openclip", "pixels:height=8,width=8,colour=rgb"],
        "design": telling.Design(),
    },
)
SMOKE = (
    "data.subjects=[1,2,4]",
    'settings.models=["tiny_openclip", "pixels:height=8,width=8,colour=rgb"]',
    "settings.design.n_train=100",
    "settings.design.sizes=[1,3,10]",
    "settings.design.n_brains=40",
    "settings.design.n_random=39",
)


def main(recipe, data_dir, out_dir):
    dataset, told = recipe.data.read(data_dir), recipe.settings
    models = study.features(dataset, told["models"], data_dir / "embeddings", recipe.seed)
    return telling.telling_apart_study(models, told["design"], protocol=recipe.protocol)
