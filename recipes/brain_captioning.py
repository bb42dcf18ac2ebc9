"""Brain Captioning: ridge to a captioner's vision tokens, which it then describes; depth and low level decoded apart.

Two simulated fMRI subjects. The captioner learns to describe true vision tokens of training pictures, as GIT did of web
pictures; then it is told decoded ones. With a folder of GIT or BLIP: captioners.vision_tokens and its own tower.

Systems    A7 Brain Captioning (Ferrante et al. 2023, arXiv:2305.11560)
Run        braindec run brain_captioning --out runs/brain_captioning
Smoke      braindec run brain_captioning --smoke: ROUGE-L 0.60 [0.56, 0.64] (n 20, shuffled 0.51), depth 0.57 (0.14),
           pictures two-way 0.70 [0.61, 0.78] (0.51), pixel correlation 0.51 (0.08)
Needs      nothing: data are generated, weights are shipped (extras models, captions); minutes on 2 cores
Published  NSD, one person, notebook output of the authors: METEOR 0.304, BLEU-4 0.112 against GIT's captions of the
           pictures
Measured   not measured: needs NSD, GIT-base-coco, a ControlNet for depth, and VDVAE or another autoencoder of
           photographs; simulated, two people, 100 captions: ROUGE-L 0.747 [0.72, 0.77] and 0.777 [0.76, 0.80]
           (captions exchanged 0.522 and 0.526, shuffled pairs 0.500 and 0.529); depth correlates 0.655 [0.63, 0.68]
           and 0.667 over 200 scenes (shuffled 0.066 and 0.188), blurry pictures 0.580 and 0.608 (0.125 and 0.133),
           two-way 0.608 [0.58, 0.63] and 0.614 (0.499 and 0.503); 280 s of one core
Tried      so small a captioner adds nothing to the caption of the nearest training picture
"""

from braindec import evaluate
from braindec.adapters import linear
from braindec.backbones import linear as backbone
from braindec.captioners import Writing, prefix
from braindec.data.preprocessing import Standardise, Whiten
from braindec.evaluate import captioned, low_level, panels
from braindec.evaluate.parts import decoded_pictures, fit_parts, predictors
from braindec.losses import mse
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip, vae
from braindec.types import Report

RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(1, 2)),
    target=tiny_openclip.Config(tokens="patches", layer=5, normalised=False),  # the captioner's vision tokens
    targets={"low_level": vae.Config(model="shipped", size=64, layout="flat")},
    # A recipe names a decoder too; this one is solved part by part.
    adapter=linear.Config(shared_dim=8),
    backbone=backbone.Config(),
    loss=mse.Config(),
    preprocessing=(Standardise(unit="session", scope="unit_train_rows"), Whiten(noise="repeats")),
    protocol="heldout_stimuli",
    plan=evaluate.Plan(n_null=19, n_jobs=1, progress=False),
    settings={
        "world": "demo",
        "captioner": prefix.Config(
            mapping="tokens", width=96, depth=2, noise=0.5, n_steps=1000, writing=Writing(n_tokens=48)
        ),
        "restandardised": [],
        "side": 16,
        "n_images": 100,
    },
)
SMOKE = (
    "data.subjects=[1]",
    "plan.n_null=1",
    "settings.world=small_fmri",
    "settings.captioner.width=48",
    "settings.captioner.depth=1",
    "settings.captioner.n_steps=100",
    "settings.captioner.batch_size=32",
    "settings.captioner.lr=5e-3",
    "settings.captioner.writing.n_tokens=30",
)


def main(recipe, data_dir, out_dir):
    lap, told = evaluate.Laps(), recipe.settings
    dataset = recipe.data.read(data_dir)
    embeddings = recipe.embed_each(dataset, data_dir, everything=True)
    embeddings["depth"] = low_level.scene_maps(data_dir, dataset, side=told["side"])
    evaluate.training_part(recipe, dataset, embeddings["main"])
    captioner = captioned.captioner_of(told["captioner"], dataset, embeddings["main"], recipe.seed)
    lap("captioner")
    parts, nulls = fit_parts(
        recipe, dict.fromkeys(embeddings, dataset), embeddings, recipe.plan.n_null,
        restandardised=told["restandardised"],
    )  # fmt: skip
    lap("ridge and nulls")
    found = captioned.captioned(
        *predictors(parts, nulls, "main"),
        captioner,
        recipe,
        dataset,
        embeddings["main"],
        n_most=told["n_images"],
    )
    lap("captions")
    depth, maps = low_level.map_scores(
        *predictors(parts, nulls, "depth"), recipe, dataset, embeddings["depth"], "depth_correlation"
    )
    pictures, grids = decoded_pictures(parts, nulls, recipe, dataset, embeddings["low_level"], maps)
    lap("depth and low level")
    return Report(
        (*found.scores, *depth, *pictures),
        {
            "title": "Brain Captioning: words written from vision tokens",
            "summary": "Ridge to the vision tokens of a captioner, to depth and to an autoencoder's latents; captions "
            "are written from the decoded tokens, beside what the captioner writes of true ones.",
            "comparisons": list(found.comparisons),
            "not_computed": dict(found.not_computed),
            "captioner": captioner.identity(),
            **lap.record(),
        },
        (
            *captioned.panels(found),
            *grids,
            panels.comparisons(found.comparisons, "Captions written from the brain against controls"),
            panels.limits(panels.SIMULATED),
        ),
    )
