"""Trained beside its task to lie as another does, layer by layer: CKA to a network's layers, or to a brain's regions.

A fully connected network on pictures names the shape of the largest object, which it does badly. Its three layers are
drawn by CKA to three of a guide: of a trained network, of the same untrained, of early to high regions of a simulated
brain. Beside each stands the same network guided by other pictures' geometry.

Systems    F8 guidance by representational alignment (Subramaniam et al. 2024)
Run        braindec run guided_by_alignment --out runs/guided_by_alignment
Smoke      braindec run guided_by_alignment --smoke: layers lie on new scenes as the guide's do, more than layers guided
           by permuted scenes; 60 scenes teach no shapes, guided or not
Needs      nothing: data are generated, weights are shipped; minutes on 2 cores
Published  Subramaniam et al. 2024: fully connected networks on ImageNet stop overfitting when guided, by untrained
           networks too; not here
Measured   3 networks of each kind, 200 new scenes: CKA with a network 0.224 (permuted 0.119), it untrained 0.898
           (0.495), a brain 0.192 (0.130); shapes named 0.257, 0.222, 0.245 (permuted 0.24, no guide 0.252,
           commonest 0.17): guides are followed, and no shape is named better for it (a network's +0.005 [-0.03, 0.04])
Tried      more weight on guidance (3) and fewer steps (200), two networks of each kind: shapes named 0.18 to 0.24 of
           200 new scenes, guided by anything or by nothing (commonest 0.17); the guide is followed (CKA 0.37, 0.91 and
           0.21 of new scenes; permuted 0.11, 0.47 and 0.13)
"""

import numpy as np

from braindec.evaluate import compare_sources, guided_training, study
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip

RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(1,)),
    target=tiny_openclip.Config(),
    protocol="heldout_stimuli",
    settings={
        "world": "development",
        "inputs": "pixels:height=16,width=16,colour=rgb",
        "column": "category",
        "layers": ["tiny_openclip@visual.layer1", "tiny_openclip@visual.layer3", "tiny_openclip"],
        "regions": ["early", "intermediate", "high"],
        "training": {},
    },
)
SMOKE = (
    "settings.world=small_fmri",
    'settings.training={"n_networks": 2, "n_steps": 60, "width": 64, "strength": 5.0}',
)


def main(recipe, data_dir, out_dir):
    told, cache = recipe.settings, data_dir / "embeddings"
    dataset = recipe.data.read(data_dir)
    ids = dataset.stimulus_ids
    inputs = study.features(dataset, [told["inputs"]], cache, recipe.seed)[told["inputs"]]
    guides = guided_training.network_guides(dataset, told["layers"], cache, recipe.seed)
    guides["a brain"] = guided_training.brain_guide(recipe.data, data_dir, told["regions"], ids, recipe.seed)
    train = np.isin(ids, dataset.part("train").stimulus_ids)
    labels = compare_sources.label_of(dataset, told["column"], ids)
    settings = guided_training.Settings(seed=recipe.seed, **told["training"])
    return guided_training.guided_study(inputs, labels, guides, train, settings, protocol=recipe.protocol)
