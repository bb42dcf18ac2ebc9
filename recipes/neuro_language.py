"""Neuro-Vision to Language: cubes of volumes to several levels of vision; then captions, answers, and where words lie.

Two simulated fMRI subjects, and no layer of a subject's own: volumes are cut into cubes, one transformer reads them and
is aligned to a joint space of pictures and texts and to two layers below it. A small language model writes captions and
answers questions from what is decoded. Cubes that carry a concept are found by its text embedding, and silenced.

Systems    A11 Neuro-Vision to Language (Shen et al. 2024, arXiv:2404.19438)
Run        braindec run neuro_language --out runs/neuro_language
Smoke      braindec run neuro_language --smoke: answers 0.575 [0.42, 0.72] and 0.700 [0.52, 0.83] (20 pictures, chance
           0.333, shuffled 0.275 and 0.350, wording alone 0.450 and 0.325, true embeddings 0.85); silencing a concept's
           cubes costs 0.107 and 0.089 (random cubes 0.036 and 0.019, not settled)
Needs      nothing: data are generated, weights are shipped (extras models, captions); minutes on 2 cores
Published  captions and localisation on NSD; no number of it is judged here as it was there
Measured   simulated people, 100 of 200 held-out pictures, 793 questions of 8 kinds each: answers 0.483 [0.45, 0.51] and
           0.512 [0.48, 0.54] (chance 0.223, 5 shuffled refits 0.226 and 0.232, wording alone 0.250 and 0.233, true
           embeddings 0.692); captions ROUGE-L 0.675 and 0.675 (shuffled 0.500 and 0.495, nearest training caption 0.640
           and 0.634, true 0.826); silencing own cubes costs 0.107 [0.09, 0.13] and 0.102 [0.08, 0.12] of a contrast of
           0.190 and 0.174 (200 pictures; random cubes 0.016 and 0.020, shuffled decoders' 0.029 and 0.032)
Tried      a language model that learns from the training scenes alone answers from the wording (0.34 from true
           embeddings); this one never learns the background's colour (0.13 from true ones); pictures from noise,
           not from a draft, are worse where embeddings are true and alike where they are decoded; see the notes
"""

from braindec import evaluate
from braindec.adapters import volume_patches
from braindec.backbones import masked_transformer
from braindec.captioners import Writing, prefix
from braindec.data.preprocessing import Standardise
from braindec.data.simulated.questions import KINDS
from braindec.evaluate import answered, captioned, localised, panels
from braindec.generators import embedded_unclip
from braindec.losses import mse
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip
from braindec.train import Config as Train
from braindec.types import Report

RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(1, 2)),
    target=tiny_openclip.Config(),  # words are written from it, and texts have a place in it
    targets={f"layer {i}": tiny_openclip.Config(layer=i, normalised=False) for i in (3, 4)},
    adapter=volume_patches.Config(cubes=(3, 5, 3), side=2),
    backbone=masked_transformer.Config(patch=8, width=32, n_layers=1, n_heads=4, dropout=0.1, pool="all"),
    loss={"main": mse.Config(), "layer 3": mse.Config(), "layer 4": mse.Config()},
    preprocessing=(Standardise(unit="session", scope="unit_train_rows"),),
    train=Train(n_steps=300, batch_size=128, lr=2e-3, validate_every=300),
    n_folds=0,
    calibrate=False,
    generator=embedded_unclip.Config(n_steps=20, guidance=1.0, draft=True, strength=0.15),
    protocol="heldout_stimuli",
    plan=evaluate.Plan(n_null=5, n_jobs=1, progress=False),
    settings={
        "world": "demo",
        "captioner": prefix.Config(
            n_prefix=4, width=64, depth=2, noise=0.5, n_steps=2000, lr=4e-3, writing=Writing(n_tokens=48)
        ),
        "questions": KINDS[:8],  # so small a model does not learn in minutes to say whether a thing is there
        "concepts": localised.Settings(),
        "n_lessons": 3000,
        "n_images": 100,
        "n_drawn": 6,
    },
)
SMOKE = (
    "plan.n_null=1",
    "adapter.cubes=[2,6,2]",
    "backbone.width=24",
    "backbone.dropout=0.0",
    "train.n_steps=100",
    "train.batch_size=60",
    "train.lr=3e-3",
    "train.validate_every=100",
    "generator.n_steps=4",
    "generator.strength=0.5",
    "settings.world=small_people",
    "settings.captioner.width=32",
    "settings.captioner.depth=1",
    "settings.captioner.noise=0.3",
    "settings.captioner.n_steps=350",
    "settings.captioner.batch_size=32",
    "settings.captioner.lr=1e-2",
    "settings.captioner.writing.n_tokens=24",
    'settings.questions=["pattern", "count"]',
    "settings.n_lessons=300",
    "settings.n_drawn=3",
    'settings.concepts.concepts=["white background", "black background", "grey background"]',
    "settings.concepts.n_random=5",
)


def main(recipe, data_dir, out_dir):
    lap, told, plan = evaluate.Laps(), recipe.settings, recipe.plan
    dataset = recipe.data.read(data_dir)
    embeddings = recipe.embed_each(dataset, data_dir, everything=True)
    training = evaluate.training_part(recipe, dataset, embeddings["main"])
    asked = answered.exams(data_dir, dataset, recipe.seed, told["questions"])
    target = tiny_openclip.build(recipe.target)
    more = answered.lessons(told["n_lessons"], target, data_dir, dataset, recipe.seed, told["questions"])
    captioner = answered.answerer_of(told["captioner"], dataset, embeddings["main"], asked, recipe.seed, more)
    lap("language model")
    decoder, nulls = evaluate.fit_with_nulls(
        recipe,
        training,
        embeddings,
        plan.n_null,
        out_dir / "logs",
        n_jobs=plan.n_jobs,
        progress=plan.progress,
    )
    lap("fit and shuffled decoders")
    predict, *others = captioned.predictors([decoder, *nulls], recipe, dataset)
    given = (captioner, recipe, dataset, embeddings["main"])
    answers = answered.answered(predict, others, asked, *given, n_most=told["n_images"])
    lap("answers")
    texts = captioned.captioned(predict, others, *given, n_most=told["n_images"])
    lap("captions")
    drawn = answered.pictures(
        answers, predict, others[0], recipe.build_generator(), dataset, recipe.seed, told["n_drawn"]
    )
    lap("pictures")
    towards = localised.directions(target, training, told["concepts"].concepts)
    located = localised.locate(decoder, nulls, dataset, towards, told["concepts"])
    localised.save(located, dataset, told["concepts"], out_dir / "concepts")
    lap("where concepts lie")
    silenced = localised.comparisons(located, told["concepts"])
    report = Report(
        (*answers.scores, *texts.scores, *localised.scores(located, recipe, told["concepts"])),
        {
            "title": "Neuro-Vision to Language: answers from volumes",
            "summary": "One transformer over cubes of two people's volumes, with no layer of a person's own, "
            "aligned to three levels of vision; captions and answers written from it, and cubes that carry a concept.",
            "comparisons": [*answers.comparisons, *texts.comparisons, *silenced],
            "not_computed": dict(texts.not_computed),
            "captioner": captioner.identity(),
            **lap.record(),
        },
        (
            *drawn,
            *answered.panels(answers),
            panels.comparisons(answers.comparisons, "Answers from the brain against controls, over pictures"),
            *captioned.panels(texts),
            panels.comparisons(texts.comparisons, "Captions written from the brain against controls"),
            *localised.panels(located, dataset, told["concepts"]),
            panels.comparisons(silenced, "Silencing a concept's cubes against silencing others"),
            *panels.curves(decoder),
            panels.limits(panels.SIMULATED, answered.TAUGHT),
        ),
    )
    decoder.save_pretrained(out_dir / "decoder", report)
    return report
