"""Music from fMRI: a clip's embedding is decoded, looked up among other music, and predicts voxels beside its genre.

Ridge in closed form from the mean response to a clip to its sound embedding, the mean over windows of it. What is
decoded is looked for among the test clips, and in a gallery without their tracks: the training clips, or a folder of
music. The other way round, encoding models are told the sound, words, or both. No music is generated: no generator of
music is shipped, and what it draws says no more of the brain than what is retrieved.

Systems    B6 Brain2Music (Denk et al. 2023, arXiv:2307.11078)
Run        braindec prepare nakai2022 --raw DIR --out prepared/nakai2022
           braindec run brain2music --data prepared/nakai2022 --out runs/brain2music
Smoke      braindec run brain2music --smoke: generated tracks, loudness in bands, one person; told apart 0.974 [0.95,
           0.99] (n 60, chance 0.5, null 0.55 of 40 refits, nuisance 0.507); genre of the clip retrieved 0.650 [0.52,
           0.76] (chance 0.1, nuisance 0.133, the clip's own embedding 0.733)
Needs      datasets/nakai2022 prepared; GTZAN as WAV, genres/<genre>/<genre>.00000.wav below `--set settings.music=DIR`;
           laion/clap-htsat-unfused, downloaded once (docs/targets.md); 16 GB of memory. Music to retrieve from (FMA)
           as WAV, <genre>/<name>.wav below `--set settings.gallery=DIR`; without it the training clips
Published  none to compare with: MuLan, which it decodes into, is not to be had
Measured   not measured: needs nakai2022, GTZAN and CLAP
Tried      pairs exchanged within runs as the null: 0.553 (SE 0.014) of 40 refits; over all runs 0.486 (see the notes)
"""

from braindec import evaluate
from braindec.adapters import linear
from braindec.backbones import linear as backbone
from braindec.data.preprocessing import Standardise
from braindec.evaluate import class_panels, encode, heard, heard_encoding, heard_sounds
from braindec.losses import mse
from braindec.recipe import NeuralData, Recipe
from braindec.targets import transformers_audio
from braindec.types import Report

RECIPE = Recipe(
    data=NeuralData("nakai2022"),
    target=transformers_audio.Config(model="laion/clap-htsat-unfused", layers=(), pooling="model"),
    preprocessing=(Standardise(),),
    adapter=linear.Config(shared_dim=512),
    backbone=backbone.Config(),
    loss=mse.Config(),
    fit="closed_form",
    n_folds=0,  # nothing is calibrated, no prior is told predictions
    calibrate=False,  # cosines as they are
    protocol="heldout_stimuli",
    plan=evaluate.Plan(n_null=19, n_null_baselines=19),
    settings={
        "music": "music",  # folder of the presented tracks, from the prepared one
        "gallery": None,  # folder of other music; none: the training clips
        "listening": heard_sounds.Listening(),
        "encoding": {"n_null": 19, "n_permutations": 999},
        "words": "genre",  # or a text target: transformers_text, minilm
        "listen": {"n": 6, "seconds": 4.0},  # excerpts in the report; n 0: none
        "synthetic": {"n_voxels": 40, "music": True},
    },
)
SMOKE = (
    "target=mel",  # loudness in bands: no network to download
    "target.n_bands=12",
    "target.rate=0.2",
    "target.n_times=1",
    "target.window_s=5",
    "target.sfreq=1000",
    "adapter.shared_dim=12",
    "plan.n_null=2",
    "plan.n_null_baselines=1",
    "plan.progress=false",
    "settings.music=../raw-smoke/ds003720",
    "settings.listening.sfreq=1000",
    "settings.encoding.n_null=3",
    "settings.encoding.n_permutations=199",
)


def main(recipe, data_dir, out_dir):
    lap, told = evaluate.Laps(), recipe.settings
    how = told["listening"]
    dataset = heard_sounds.with_music(recipe.data.read(data_dir), told["music"], data_dir, how)
    embeddings = heard_sounds.music_embeddings(recipe, dataset, data_dir, how)
    gallery = heard_sounds.gallery(recipe, dataset, embeddings, data_dir, how, told["gallery"])
    lap("embeddings")
    training = evaluate.training_part(recipe, dataset, embeddings)
    decoder, nulls = evaluate.fit_with_nulls(
        recipe, training, embeddings, recipe.plan.n_null, out_dir / "logs", progress=recipe.plan.progress
    )
    judged = evaluate.held_out(decoder, recipe, dataset, embeddings, nulls=nulls, plan=recipe.plan)
    found = heard.heard(recipe, dataset, embeddings, judged, nulls, gallery)
    lap("decoding, nulls")
    words = heard_encoding.words_space(dataset, told["words"])
    settings = encode.Settings(seed=recipe.seed, **told["encoding"])
    encoded = heard_encoding.compare(dataset, embeddings, words, settings=settings)
    heard_encoding.write_maps(encoded, out_dir / "maps")
    lap("encoding models")
    report = Report(
        (*found.scores, *judged.scores, *heard_encoding.scores(encoded, recipe.protocol)),
        {
            "title": "Music that was heard",
            "summary": "A clip's embedding is decoded from fMRI and looked up among the test clips and in music that "
            "nobody was presented in the test; voxels are predicted from the sound, from words, and from both.",
            "words": heard.WORDS,
            "comparisons": list(judged.comparisons),
            **judged.record,
            **lap.record(),
        },
        (
            *heard.panels(found, dataset, **told["listen"]),
            *heard_encoding.panels(encoded),
            class_panels.said("What this does not show", *heard.LIMITS),
        ),
    )
    decoder.save_pretrained(out_dir / "decoder", report)
    return report
