"""Takagi and Nishimoto: ridge to latents from early voxels and to text conditioning from high ones; what else helps.

Two simulated fMRI subjects. To latents and conditioning (2023, CVPR) are added, one by one and together: captions
written from decoded vision tokens, structure searched with decoded features, and decoded depth (2023, second paper).

Systems    A8 Takagi & Nishimoto (2023, doi:10.1109/CVPR52729.2023.01389) with multiple decoded inputs
           (arXiv:2306.11536)
Run        braindec run takagi --out runs/takagi
Smoke      braindec run takagi --smoke: 12 pictures: pixel correlation 0.47 [0.33, 0.60] (shuffled 0.20), SSIM 0.52
           (0.28), two-way 0.60 [0.45, 0.73] (0.51)
Needs      nothing: data are generated, weights are shipped (extra models); minutes on 2 cores
Published  NSD, first paper, recomputed by MindEye2's authors: pixel correlation 0.246, SSIM 0.410, two-way AlexNet-2
           and -5 78.9 and 85.6 %, Inception 83.8 %, CLIP 82.1 %; captions of the decoded inputs (BrainHub, subject
           1): METEOR 10.0, CIDEr 13.8
Measured   not measured: needs NSD, Stable Diffusion 1.4, BLIP and a depth model; simulated, two people, 50
           pictures: two-way 0.840 [0.78, 0.89] and 0.871 [0.81, 0.92] (shuffled 0.48 and 0.51), pixel correlation
           0.59 and 0.60 (0.10 and 0.03); conditioning adds 0.175 [0.10, 0.25] of two-way to latents in the first,
           latents add 0.163 [0.11, 0.23] of pixel correlation to conditioning; captions and structure add nothing
Tried      twenty pictures are too few to rank the inputs
"""

from dataclasses import replace

from braindec import evaluate, registry
from braindec.adapters import linear
from braindec.backbones import linear as backbone
from braindec.captioners import Writing, prefix
from braindec.data.preprocessing import Standardise, Whiten
from braindec.evaluate import captioned, low_level, multiple_inputs, panels, structure
from braindec.evaluate.parts import fit_parts
from braindec.generators import embedded_unclip
from braindec.losses import mse
from braindec.recipe import NeuralData, Recipe
from braindec.targets import caption_text, tiny_openclip, vae
from braindec.types import Report

FEATURES = tiny_openclip.Config(tokens="patches", layer=3, normalised=False)
RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(1, 2)),
    target=caption_text.Config(encoder="tiny_openclip"),  # what the generator is told: c
    targets={
        "latents": vae.Config(model="shipped", size=64, layout="flat"),  # what it starts from: z
        "tokens": tiny_openclip.Config(tokens="patches", layer=5, normalised=False),
        "features": FEATURES,
        "pictures": tiny_openclip.Config(),
    },
    # A recipe names a decoder too; this one is solved part by part.
    adapter=linear.Config(shared_dim=8),
    backbone=backbone.Config(),
    loss=mse.Config(),
    generator=embedded_unclip.Config(n_steps=20, guidance=1.0, strength=0.8),
    preprocessing=(Standardise(unit="session", scope="unit_train_rows"), Whiten(noise="repeats")),
    protocol="heldout_stimuli",
    plan=evaluate.Plan(n_null=5, n_jobs=1, progress=False),
    settings={
        "world": "demo",
        "early": "early",  # region that latents are decoded from; of NSD's streams "early"
        "high": "high",  # and conditioning; of NSD's streams "ventral"
        "captioner": prefix.Config(
            mapping="tokens", width=96, depth=2, noise=0.5, n_steps=1000, writing=Writing(n_tokens=38)
        ),
        "structure": structure.Settings(),
        "n_images": 50,
        "n_samples": 4,
    },
)
SMOKE = (
    "data.subjects=[1]",
    "generator.n_steps=3",
    "plan.n_null=1",
    "settings.world=small_fmri",
    "settings.captioner.width=32",
    "settings.captioner.depth=1",
    "settings.captioner.n_steps=50",
    "settings.captioner.batch_size=32",
    "settings.captioner.lr=5e-3",
    "settings.captioner.writing.n_tokens=24",
    "settings.structure.n_steps=3",
    "settings.n_images=12",
    "settings.n_samples=2",
)


def main(recipe, data_dir, out_dir):
    lap, told = evaluate.Laps(), recipe.settings
    dataset = recipe.data.read(data_dir)
    early = replace(recipe.data, region=told["early"]).read(data_dir)
    high = replace(recipe.data, region=told["high"]).read(data_dir)
    embeddings = recipe.embed_each(dataset, data_dir, everything=True)
    embeddings["depth"] = low_level.scene_maps(data_dir, dataset)
    training = evaluate.training_part(recipe, dataset, embeddings["main"])
    captioner = captioned.captioner_of(told["captioner"], dataset, embeddings["tokens"], recipe.seed)
    lap("captioner")
    seen = {"main": high, "latents": early, "features": early, "tokens": dataset, "depth": dataset}
    parts, nulls = fit_parts(recipe, seen, embeddings, recipe.plan.n_null)
    lap("ridge and nulls")
    inputs = multiple_inputs.Inputs(
        recipe.build_generator(),
        captioner,
        registry.load("targets", "tiny_openclip").build(tiny_openclip.Config()),
        embeddings,
        registry.load("targets", "tiny_openclip").build(FEATURES),
        training.stimulus_ids,
        told["structure"],
        told["n_samples"],
        recipe.seed,
    )
    scores, gains, pages = multiple_inputs.ablation(
        inputs, parts, nulls, recipe, dataset, n_images=told["n_images"]
    )
    lap("pictures")
    return Report(
        tuple(scores),
        {
            "title": "Latents, conditioning, and what else is decoded",
            "summary": "Ridge to an autoencoder's latents and to text conditioning, drawn by one generator; captions, "
            "structure and depth added one by one, with paired intervals.",
            "comparisons": gains,
            "captioner": captioner.identity(),
            **lap.record(),
        },
        (
            *pages,
            panels.comparisons(gains, "What each input adds to latents and conditioning"),
            panels.limits(
                panels.SIMULATED,
                "Depth chooses among drawings here; a generator with a control branch is told it.",
            ),
        ),
    )
