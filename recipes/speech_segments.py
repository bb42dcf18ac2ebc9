"""Which three seconds of speech did a person hear? MEG of several people contrasted to wav2vec 2.0, sample by sample.

Sensors are merged by their place into virtual channels, each person has a matrix of their own over these, dilated
convolutions keep time, and a contrastive loss finds a segment's features, 360 time steps of them, among the batch. Held
out are stretches of sound that nobody was trained on. The published shift of the brain by 150 ms is left to the
convolutions, which see more than that. Other datasets whose windows begin before a word: `--set data.dataset=...`.

Systems    D1 Speech from MEG and EEG (Défossez et al. 2023, doi:10.1038/s42256-023-00714-5)
Run        braindec prepare gwilliams2022 --raw DIR --out prepared/gwilliams2022 --set keep_sound=true
           braindec run speech_segments --data prepared/gwilliams2022 --out runs/speech_segments
Smoke      braindec run speech_segments --smoke: 0.62 [0.45, 0.76] and 0.80 [0.64, 0.90] of 25 held-out segments of
           generated sound, two people (chance 0.04, shuffled 0.06, ridge 0.15); the target is loudness in bands, not
           wav2vec 2.0
Needs      datasets/gwilliams2022 with its sound (60 GB); wav2vec2-large-xlsr-53, downloaded once (docs/targets.md); one
           GPU and 64 GB of memory
Published  MEG-MASC, 27 people: 70.7 % of segments among the first 10 (journal; 72.5 % and 44 % first of 1,594 in the
           preprint), windows at every word, so that candidates share sound; here
           windows lie apart
Measured   not measured: needs MEG-MASC, wav2vec2-large-xlsr-53 and a GPU
Tried      nothing yet
"""

from braindec import evaluate
from braindec.adapters import spatial_merger
from braindec.backbones import dilated_conv
from braindec.data.preprocessing import Baseline, RobustScale
from braindec.decoder import BrainDecoder
from braindec.evaluate import class_panels, panels
from braindec.losses import clip
from braindec.recipe import NeuralData, Recipe
from braindec.targets import transformers_audio
from braindec.train import Config as Train
from braindec.types import Report

RECIPE = Recipe(
    data=NeuralData("gwilliams2022"),
    target=transformers_audio.Config(n_times=360),  # a token a sample of 3 s at 120 Hz
    preprocessing=(Baseline(-0.5, 0.0), RobustScale(clamp=20.0)),
    adapter=spatial_merger.Config(n_virtual=270, n_frequencies=32),
    backbone=dilated_conv.Config(width=320, n_layers=10),
    loss=clip.Config(temperature=1.0, direction="to_target", normalise="target", repeats="negatives"),
    train=Train(n_steps=24_000, batch_size=256, lr=3e-4, validate_every=1200, repeats="single"),
    n_folds=0,
    calibrate=False,  # cosines as they are
    protocol="segment_retrieval",
    plan=evaluate.Plan(n_null=19, n_null_baselines=19),
    settings={
        "synthetic": {"subjects": [1, 2], "tasks": ["2"], "seconds": 300.0, "noise": 10.0},
        "prepared": {"keep_sound": True, "sfreq": 20.0},
    },
)
SMOKE = (
    "target=mel",  # loudness in bands: no network to download
    "target.rate=20",
    "target.n_times=60",
    "target.window_s=0.1",
    "target.n_bands=16",
    "adapter.n_virtual=12",
    "adapter.n_frequencies=4",
    "backbone.width=24",
    "backbone.n_layers=3",
    "loss.temperature=0.1",
    "loss.normalise=both",
    "train.n_steps=40",
    "train.batch_size=96",
    "train.lr=3e-3",
    "train.validate_every=40",
    "plan.n_null=1",
    "plan.n_null_baselines=1",
)


def main(recipe, data_dir, out_dir):
    dataset = recipe.data.read(data_dir)
    embeddings = recipe.embed(dataset, data_dir)
    decoder = BrainDecoder.build(recipe, dataset.info, embeddings.info)
    decoder.fit(evaluate.training_part(recipe, dataset, embeddings), embeddings, out_dir / "logs")
    judged = evaluate.held_out(decoder, recipe, dataset, embeddings, plan=recipe.plan)
    report = Report(
        judged.scores,
        {
            "title": "Which three seconds of speech were heard",
            "summary": "People who listened share one network but for a matrix each; what is decoded from one "
            "hearing of a segment is looked for among all segments of held-out sound.",
            "comparisons": list(judged.comparisons),
            **judged.record,
        },
        (
            panels.comparisons(judged.comparisons, "The decoder against closed-form ridge"),
            *evaluate.neighbours(judged.judged["braindec"], dataset),
            *panels.curves(decoder),
            class_panels.said(
                "What this does not show",
                "Finding which of some segments was heard is not reading speech: the candidates are known, and a "
                "longer list lowers every score.",
            ),
        ),
    )
    decoder.save_pretrained(out_dir / "decoder", report)
    return report
