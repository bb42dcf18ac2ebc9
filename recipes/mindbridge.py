"""MindBridge: one model for people of different voxel counts, tied by a cycle, and a new person by reset-tuning.

Signals of any length are pooled to one, a small network of the subject's own follows. Each subject's shared values must
tell its signal, and survive being built into another subject's (a response that nobody measured). A new person gets a
pooled adapter and first layers drawn anew; what lies behind them stays frozen. Pictures and captions are both taught.

Systems    A3 MindBridge (Wang et al. 2024, arXiv:2404.07850)
Run        braindec run mindbridge --out runs/mindbridge
Smoke      braindec run mindbridge --smoke: a new person finds 0.50 of 20 scenes (chance 0.05, adapted to shuffled
           scenes 0.00, ridge 0.65, the same recipe from scratch 0.35)
Needs      nothing: data are generated, weights are shipped; minutes on 2 cores
Published  none at hand: on NSD, one model of four people
Measured   not measured: needs NSD, CLIP ViT-L/14 and Versatile Diffusion; simulated: a new person with a tenth of
           the data finds 0.290 [0.23, 0.36] of 200 scenes (chance 0.005, adapted to shuffled scenes 0.000), no more
           than ridge (0.330 [0.27, 0.40]), more than the same recipe from scratch (0.185 [0.14, 0.24]); 183 s of
           one core
Tried      nothing yet
"""

from dataclasses import replace

from braindec import evaluate
from braindec.adapters import adaptive_pooling
from braindec.backbones import mlp
from braindec.data.preprocessing import Standardise, Whiten
from braindec.decoder import cycle
from braindec.evaluate import outputs, panels
from braindec.losses import soft_clip
from braindec.recipe import NeuralData, Recipe
from braindec.targets import caption_text, tiny_openclip
from braindec.train import Config as Train
from braindec.types import Report

CONTRAST = soft_clip.Config(mixco_fraction=0.0, temperature_start=0.05, temperature_end=0.05)
RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(1, 2, 3)),
    target=tiny_openclip.Config(),
    targets={"text": caption_text.Config(encoder="tiny_openclip")},
    # As long as the longest signal: a shorter one is stretched, none of these loses a voxel to its neighbour.
    adapter=adaptive_pooling.Config(length=280, pool="mean", shared_dim=192, bottleneck=32),
    backbone=mlp.Config(width=256, n_blocks=2, dropout=0.2),
    loss={"main": CONTRAST, "text": CONTRAST},
    cycle=cycle.Config(),
    preprocessing=(Standardise(unit="session", scope="unit_train_rows"), Whiten(noise="repeats")),
    train=Train(n_steps=300, batch_size=256, lr=5e-4, validate_every=100),
    n_folds=3,
    protocol="heldout_stimuli",
    plan=evaluate.Plan(n_null=3, n_jobs=1, progress=False),
    settings={"world": "demo", "newcomer": 4, "mode": "reset"},
)
SMOKE = (
    "data.subjects=[1,2]",
    "adapter.length=120",
    "adapter.shared_dim=64",
    "backbone.width=64",
    "backbone.n_blocks=1",
    "train.n_steps=20",
    "train.batch_size=90",
    "train.lr=1e-3",
    "train.validate_every=20",
    "n_folds=2",
    "plan.n_null=1",
    "settings.world=small_people",
    "calibrate=false",
)


def main(recipe, data_dir, out_dir):
    lap, told, n_null = evaluate.Laps(), recipe.settings, recipe.plan.n_null
    dataset = recipe.data.read(data_dir)
    embeddings = recipe.embed_each(dataset, data_dir, everything=True)
    training = evaluate.training_part(recipe, dataset, embeddings["main"])
    decoder = outputs.fit_outputs(recipe, training, embeddings, out_dir / "logs", progress=False)
    lap("one model of several people")
    newcomer = replace(recipe.data, subjects=(told["newcomer"],)).read(data_dir)
    few = evaluate.training_part(recipe, newcomer, embeddings["main"])
    adapted, nulls, scratch = outputs.adapt_outputs(
        decoder, recipe, few, embeddings, mode=told["mode"], n_null=n_null
    )
    lap("a new person")
    metrics = ("image_retrieval_top1", "brain_retrieval_top1")
    judged = outputs.by_output(adapted, nulls, recipe, newcomer, embeddings, "main", metrics, scratch=scratch)
    lap("retrieval")
    report = Report(
        judged.scores,
        {
            "title": "MindBridge: one model for several people, and a new one by reset-tuning",
            "summary": "Signals of different lengths are pooled to one and tied by a cycle; a new person's adapter and "
            "the first layers are learnt anew, against the same recipe from scratch and ridge.",
            "comparisons": list(judged.comparisons),
            **judged.record,
            **lap.record(),
        },
        (
            panels.comparisons(judged.comparisons, "Retrieval for the new person, on the same queries"),
            *panels.curves(adapted),
            panels.limits(panels.SIMULATED),
        ),
    )
    adapted.save_pretrained(out_dir / "decoder", report)
    return report
