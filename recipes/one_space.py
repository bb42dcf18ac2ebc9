"""fMRI, EEG and MEG in one space: adapters end in one vector, and experts that a router weighs do the rest.

Two simulated fMRI subjects, one with EEG and one with MEG share a backbone of experts. Beside retrieving scenes, one
brain's predictions are looked for among another's of another modality: what both have in common, without an image.

Systems    C6 BrainFLORA
Run        braindec run one_space --out runs/one_space
Smoke      braindec run one_space --smoke: fMRI, EEG and MEG find 0.65, 0.95 and 0.85 of 20 scenes (chance 0.05,
           refitted to shuffled scenes 0.05, ridge the same); across brains 0.30, 0.70 and 0.65 (shuffled 0.05)
Needs      nothing: data are generated, weights are shipped; minutes on 2 cores
Published  THINGS: EEG 0.25 of 200, fMRI 0.28 of 100, MEG 0.07 of 200
Measured   not measured: needs THINGS-EEG2, -MEG and -fMRI; simulated: two people in fMRI find 0.900 [0.85, 0.93]
           and 0.855 [0.80, 0.90] of 200 scenes (ridge 0.845 and 0.850), one in EEG 0.700 [0.63, 0.76] (ridge
           0.455), one in MEG 0.160 [0.12, 0.22] (ridge 0.205; chance 0.005, shuffled 0.000 to 0.010); the response
           of another brain to the same scene is found by 0.065 to 0.390 of 200 over pairs of modalities (p 0.001,
           shuffled pairs 0.000 to 0.010), fMRI and EEG 0.285 to 0.390, EEG and MEG 0.065 and 0.075; 105 s of one
           core
Tried      calibration with 60 scenes may cost more than it gives
"""

from braindec import evaluate
from braindec.adapters import linear
from braindec.backbones import experts
from braindec.data.preprocessing import AverageTime, Crop, Standardise, Vectorise, Whiten
from braindec.decoder import BrainDecoder
from braindec.evaluate import one_space, panels
from braindec.losses import soft_clip
from braindec.recipe import NeuralData, Recipe
from braindec.targets import tiny_openclip
from braindec.train import Config as Train
from braindec.types import Report

RECIPE = Recipe(
    data=NeuralData("simulated", subjects=(1, 2, 5, 6)),
    target=tiny_openclip.Config(),
    adapter=linear.Config(shared_dim=192),
    backbone=experts.Config(width=128, dropout=0.2, balance=0.01),
    loss=soft_clip.Config(
        mixco_fraction=0.2, mixco_temperature=0.05, temperature_start=0.05, temperature_end=0.05
    ),
    preprocessing={
        "fmri": (Standardise(unit="session", scope="unit_train_rows"), Whiten(noise="repeats")),
        "eeg": (Crop(0.0, 0.5), AverageTime(3), Vectorise(), Whiten(noise="repeats")),
        "meg": (Crop(0.0, 0.5), AverageTime(3), Vectorise(), Whiten(noise="repeats")),
    },
    train=Train(n_steps=40, batch_size=512, lr=1e-4, validate_every=20),
    n_folds=3,
    protocol="heldout_stimuli",
    plan=evaluate.Plan(n_null=3, n_null_baselines=3, n_jobs=1, progress=False),
    settings={"world": "modalities"},
)
SMOKE = (
    "data.subjects=[1,5,6]",
    "train.n_steps=10",
    "train.validate_every=10",
    "n_folds=2",
    "calibrate=false",  # 60 scenes say too little about the error
    "plan.n_null=1",
    "plan.n_null_baselines=1",
    "settings.world=modalities_smoke",
)


def main(recipe, data_dir, out_dir):
    lap = evaluate.Laps()
    dataset = recipe.data.read(data_dir)
    embeddings = recipe.embed(dataset, data_dir, everything=True)
    training = evaluate.training_part(recipe, dataset, embeddings)
    decoder = BrainDecoder.build(recipe, dataset.info, embeddings.info)
    decoder.fit(training, embeddings, out_dir / "logs")
    lap("fit")
    nulls = evaluate.fit_nulls(recipe, training, embeddings, 1, n_jobs=1, progress=False)
    judged = evaluate.held_out(decoder, recipe, dataset, embeddings, nulls=nulls, plan=recipe.plan)
    lap("judging and nulls")
    across = one_space.across_brains(
        decoder, dataset, protocol=recipe.protocol, seed=recipe.seed, shuffled=nulls[0]
    )
    use = one_space.expert_use(decoder, dataset)
    report = Report(
        (*judged.scores, *across),
        {
            "title": "fMRI, EEG and MEG in one space",
            "summary": "One decoder for brains measured by fMRI, EEG and MEG: adapters end in one vector, experts are "
            "shared; scenes are retrieved, and one brain's predictions among another's.",
            "comparisons": list(judged.comparisons),
            "experts": use,
            **judged.record,
            **lap.record(),
        },
        (
            panels.comparisons(judged.comparisons, "The decoder against closed-form ridge"),
            one_space.use_panel(use),
            *evaluate.neighbours(judged.judged["braindec"], dataset),
            *panels.curves(decoder),
            panels.limits(panels.SIMULATED),
        ),
    )
    decoder.save_pretrained(out_dir / "decoder", report)
    return report
