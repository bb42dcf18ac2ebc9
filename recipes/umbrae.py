"""UMBRAE: a brain's tokens in place of a multimodal model's image tokens; captions, and retrieval at granularities.

Two simulated fMRI subjects. A signal is cut into tokens that shared queries read (a perceiver); what comes out is
regressed onto image tokens, and a language model that knows true ones describes them. With a folder of LLaVA:
captioners.multimodal_tokens and its own tower.

Systems    A4 UMBRAE (Xia et al. 2024, arXiv:2404.07202)
Run        braindec run umbrae --out runs/umbrae
Smoke      braindec run umbrae --smoke: the very picture of 20 for 0.40 [0.22, 0.61] (chance 0.05, shuffled 0.05), its
           number of objects for 0.80 (0.25); ROUGE-L 0.57 [0.53, 0.61] (shuffled 0.55)
Needs      nothing: data are generated, weights are shipped (extras models, captions); minutes on 2 cores
Published  NSD, subject 1, all four people trained on: BLEU-1 59.4, BLEU-4 19.0, METEOR 19.5, ROUGE 43.7, CIDEr 61.1
Measured   not measured: needs NSD, CLIP ViT-L/14 and a multimodal model of its tokens (Shikra; LLaVA is of the same
           kind); grounding in boxes is not built; simulated, two people: 0.580 [0.51, 0.65] and 0.565 [0.50, 0.63]
           of 200 scenes (chance 0.005, shuffled 0.005), category 0.785 and 0.735 (shuffled 0.185 and 0.170),
           background 0.825 and 0.835 (0.210), count 0.865 and 0.870 (0.400 and 0.410); 100 captions ROUGE-L 0.743
           [0.72, 0.77] and 0.730 (captions exchanged 0.520, shuffled pairs 0.540); 31 minutes of one core
Tried      nothing else yet
"""

from braindec import evaluate
from braindec.adapters import perceiver
from braindec.backbones import linear as backbone
from braindec.captioners import Writing, prefix
from braindec.data.preprocessing import Standardise, Whiten
from braindec.decoder import BrainDecoder
from braindec.evaluate import captioned, granular, panels
from braindec.losses import mse
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip
from braindec.train import Config as Train
from braindec.types import Report

RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(1, 2)),
    target=tiny_openclip.Config(tokens="patches", layer=5, normalised=False),  # image tokens
    adapter=perceiver.Config(n_tokens=16, dim=96, n_latents=8, depth=2, n_heads=4, head_dim=24, dropout=0.3),
    backbone=backbone.Config(),
    loss=mse.Config(),
    preprocessing=(Standardise(unit="session", scope="unit_train_rows"), Whiten(noise="repeats")),
    train=Train(n_steps=1500, batch_size=256, lr=1e-3, validate_every=250),
    n_folds=2,
    calibrate=False,
    protocol="heldout_stimuli",
    plan=evaluate.Plan(n_null=3, n_jobs=1, progress=False),
    settings={
        "world": "demo",
        "captioner": prefix.Config(
            mapping="tokens", width=96, depth=2, noise=0.5, n_steps=1000, writing=Writing(n_tokens=48)
        ),
        "granularities": {
            "picture": None,
            "category": "category",
            "background": "background",
            "count": "n_objects",
        },
        "n_images": 100,
    },
)
SMOKE = (
    "data.subjects=[1]",
    "adapter.n_tokens=8",
    "adapter.dim=32",
    "adapter.n_latents=4",
    "adapter.depth=1",
    "adapter.head_dim=8",
    "adapter.token_rank=4",
    "train.n_steps=90",
    "train.batch_size=90",
    "train.lr=3e-3",
    "train.validate_every=90",
    "n_folds=0",
    "plan.n_null=1",
    "settings.world=small_fmri",
    "settings.captioner.width=48",
    "settings.captioner.depth=1",
    "settings.captioner.n_steps=80",
    "settings.captioner.batch_size=32",
    "settings.captioner.lr=5e-3",
    "settings.captioner.writing.n_tokens=30",
)


def main(recipe, data_dir, out_dir):
    lap, told, plan = evaluate.Laps(), recipe.settings, recipe.plan
    dataset = recipe.data.read(data_dir)
    embeddings = recipe.embed(dataset, data_dir, everything=True)
    training = evaluate.training_part(recipe, dataset, embeddings)
    captioner = captioned.captioner_of(told["captioner"], dataset, embeddings, recipe.seed)
    lap("captioner")
    decoder = BrainDecoder.build(recipe, dataset.info, embeddings.info)
    decoder.fit(training, embeddings, out_dir / "logs", progress=plan.progress)
    nulls = evaluate.fit_nulls(recipe, training, embeddings, plan.n_null, n_jobs=plan.n_jobs, progress=False)
    lap("fit and shuffled decoders")
    predict, *others = captioned.predictors([decoder, *nulls], recipe, dataset)
    found = captioned.captioned(
        predict, others, captioner, recipe, dataset, embeddings, n_most=told["n_images"]
    )
    retrieved = granular.granular_retrieval(
        predict, others, recipe, dataset, embeddings, told["granularities"]
    )
    lap("captions and retrieval")
    report = Report(
        (*retrieved, *found.scores),
        {
            "title": "UMBRAE: brain tokens for a language model",
            "summary": "A perceiver from every subject's voxels to image tokens; captions written from them, and "
            "retrieval of the picture, its category, its background and its number of objects.",
            "comparisons": list(found.comparisons),
            "not_computed": dict(found.not_computed),
            "captioner": captioner.identity(),
            **lap.record(),
        },
        (
            *captioned.panels(found),
            panels.comparisons(found.comparisons, "Captions written from the brain against controls"),
            *panels.curves(decoder),
            panels.limits(panels.SIMULATED),
        ),
    )
    decoder.save_pretrained(out_dir / "decoder", report)
    return report
