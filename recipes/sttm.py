"""See Through Their Minds: shallow subject adapters, a shared deep decoder, pictures and words as teachers, two paths.

Two simulated fMRI subjects. One decoder is taught the embeddings of pictures and of their captions, and latents of an
autoencoder; the low-level path is guided by the high-level one, and the pictures drawn last start from it.

Systems    A5 See Through Their Minds (Wang et al. 2024, arXiv:2403.06361, code unpublished)
Run        braindec run sttm --out runs/sttm
Smoke      braindec run sttm --smoke: 0.60 [0.39, 0.78] of 20 scenes (chance 0.05, refitted to shuffled scenes 0.05,
           ridge 1.00); 12 pictures two-way 0.58 (shuffled 0.52), pixel correlation 0.29 (0.22)
Needs      nothing: data are generated, weights are shipped; minutes on 2 cores
Published  none at hand: on NSD
Measured   not measured: needs NSD, CLIP and an image generator of that size; simulated, two people: 0.785 [0.72,
           0.84] and 0.850 [0.79, 0.89] of 200 scenes (chance 0.005, shuffled 0.005, ridge 0.805 and 0.865); 50
           pictures two-way 0.836 [0.77, 0.89] and 0.838 [0.78, 0.88] (shuffled 0.52 and 0.49), pixel correlation
           0.64 and 0.63 (0.00 and 0.17)
Tried      the guidance is the closed form of the idea, learnt from out-of-fold predictions: their code is not
           published
"""

from braindec import evaluate
from braindec.adapters import low_rank
from braindec.backbones import mlp
from braindec.data.preprocessing import Standardise, Whiten
from braindec.evaluate import guided, outputs, panels
from braindec.generators import embedded_unclip
from braindec.losses import mse, soft_clip
from braindec.recipe import NeuralData, Recipe
from braindec.targets import caption_text, tiny_openclip, vae
from braindec.train import Config as Train
from braindec.types import Report

CONTRAST = soft_clip.Config(
    mixco_fraction=0.2, mixco_temperature=0.05, temperature_start=0.05, temperature_end=0.05
)
RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(1, 2)),
    target=tiny_openclip.Config(),
    targets={
        "text": caption_text.Config(encoder="tiny_openclip"),
        "low_level": vae.Config(model="shipped", size=64, layout="flat"),
    },
    adapter=low_rank.Config(shared_dim=192, rank=64),
    backbone=mlp.Config(width=256, n_blocks=4, dropout=0.2),
    loss={"main": CONTRAST, "text": CONTRAST, "low_level": mse.Config()},
    generator=embedded_unclip.Config(n_steps=20, guidance=1.0, strength=0.8),
    preprocessing=(Standardise(unit="session", scope="unit_train_rows"), Whiten(noise="repeats")),
    train=Train(n_steps=600, batch_size=256, lr=1e-3, validate_every=150),
    n_folds=3,
    protocol="heldout_stimuli",
    plan=evaluate.Plan(n_null=3, n_jobs=1, progress=False),
    settings={"world": "demo", "n_images": 50},
)
SMOKE = (
    "data.subjects=[1]",
    "adapter.shared_dim=64",
    "adapter.rank=32",
    "backbone.width=64",
    "backbone.n_blocks=1",
    "train.n_steps=40",
    "train.batch_size=90",
    "train.lr=2e-3",
    "train.validate_every=20",
    "n_folds=2",
    "generator.n_steps=3",
    "plan.n_null=1",
    "settings.world=small_fmri",
    "settings.n_images=12",
    "calibrate=false",
)


def main(recipe, data_dir, out_dir):
    lap, told, plan = evaluate.Laps(), recipe.settings, recipe.plan
    dataset = recipe.data.read(data_dir)
    embeddings = recipe.embed_each(dataset, data_dir, everything=True)
    training = evaluate.training_part(recipe, dataset, embeddings["main"])
    decoder = outputs.fit_outputs(recipe, training, embeddings, out_dir / "logs", progress=plan.progress)
    nulls = evaluate.fit_nulls(recipe, training, embeddings, plan.n_null, n_jobs=plan.n_jobs, progress=False)
    lap("fit and shuffled decoders")
    metrics = ("image_retrieval_top1", "brain_retrieval_top1")
    judged = outputs.by_output(decoder, nulls, recipe, dataset, embeddings, "text", metrics)
    lap("retrieval by words")
    scores, gains, pages = guided.guided_pictures(
        [decoder, *nulls],
        recipe,
        dataset,
        embeddings["low_level"],
        output="low_level",
        n_images=told["n_images"],
    )
    lap("pictures")
    report = Report(
        (*judged.scores, *scores),
        {
            "title": "See Through Their Minds: two paths, the low one guided by the high one",
            "summary": "Shallow adapters and a shared deep decoder, taught pictures, captions and latents; what "
            "guidance adds to the low level, and the low level to the high one.",
            "comparisons": [*judged.comparisons, *gains],
            **judged.record,
            **lap.record(),
        },
        (
            *pages,
            panels.comparisons(gains, "What guidance and the low level add"),
            *panels.curves(decoder),
            panels.limits(panels.SIMULATED),
        ),
    )
    decoder.save_pretrained(out_dir / "decoder", report)
    return report
