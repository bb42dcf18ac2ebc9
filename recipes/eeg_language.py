"""Words' EEG and sentences' texts, drawn to each other: sentiment and relations from either side, and from both.

A transformer reads the EEG of a sentence's fixated words, another one its text; canonical correlations or optimal
transport draw what comes out together, and one layer tells the label from either. Sentences are held out by their text,
for everybody has read the same; noise and the eye's movements alone are fed to the same network.

Systems    D3 MTAM (Han et al. 2023, arXiv:2208.06348)
Run        braindec prepare zuco --raw DIR --out prepared/zuco
           braindec run eeg_language --data prepared/zuco --out runs/eeg_language
Smoke      braindec run eeg_language --smoke: macro F1 of sentiment from EEG 0.553 [0.42, 0.69] (48 generated sentences,
           chance 0.333, refitted to exchanged readings 0.323, noise 0.313, eye and lengths 0.292, text 0.791); of
           relations that no EEG carries 0.430 [0.31, 0.54] (text 0.773); with text, weighed, EEG adds 0.000 to either
Needs      datasets/zuco prepared with its tables of labels; extra `captions` (MiniLM); hours of a processor (no GPU)
Published  Han et al. report that EEG adds to text; not comparable here: sentences are held out by their text
Measured   not measured: needs the recordings of ZuCo. Planted (4 people, 120 sentences, 3 folds, 80 steps, 3 nulls):
           sentiment from EEG 0.768 [0.71, 0.82] (null 0.359, noise 0.300), text 0.794 [0.72, 0.87], EEG adds 0.069
           [0.03, 0.12]; relations, not planted, 0.348 [0.29, 0.40] (null 0.329), text 0.790, EEG adds 0.004
           [0.00, 0.01]; see the notes
Tried      the mean of both sides in the shared space: EEG that knows nothing takes 0.181 [0.10, 0.27] from the text
"""

from braindec import evaluate
from braindec.evaluate import eeg_language, eeg_language_report
from braindec.evaluate.eeg_language import Question
from braindec.evaluate.sentence_alignment import Aligner
from braindec.losses import cca, sinkhorn
from braindec.recipe import NeuralData, Recipe
from braindec.targets import minilm

RECIPE = Recipe(
    data=NeuralData("zuco"),
    target=minilm.Config(),
    protocol="heldout_stimuli",
    plan=evaluate.Plan(n_null=19),
    settings={
        "questions": {
            "sentiment": Question(("SR",), "sentiment"),
            "relation": Question(("TSR",), "relation"),
        },
        "alignments": {
            "none": None,
            "cca": cca.Config(),
            "wasserstein": sinkhorn.Config(align="clouds", n_iterations=50),  # MTAM's: it knows no pairs
            "transport of pairs": sinkhorn.Config(n_iterations=50),
        },
        "main": "transport of pairs",
        "beside": ("none", "cca", "wasserstein"),
        "aligner": Aligner(),
        "n_folds": 5,
        "synthetic": {"subjects": (1, 2), "n_sentences": 48, "noise": 1.0, "sentiment": 0.1},
    },
)
SMOKE = (
    "plan.n_null=1",
    "settings.aligner.width=32",
    "settings.aligner.n_layers=1",
    "settings.aligner.shared_dim=16",
    "settings.aligner.n_steps=10",
    "settings.aligner.lr=1e-2",
    'settings.beside=["none"]',
    "settings.n_folds=2",
)


def main(recipe, data_dir, out_dir):
    lap, told = evaluate.Laps(), recipe.settings
    dataset = recipe.data.read(data_dir)
    evaluate.audited_split(dataset)
    found = eeg_language.judge_all(
        dataset, recipe.target, told["questions"], told["alignments"], told["main"], told["aligner"],
        beside=told["beside"], n_folds=told["n_folds"], n_null=recipe.plan.n_null, seed=recipe.seed,
    )  # fmt: skip
    lap("all fits")
    return eeg_language_report.report(
        found, told["main"], protocol=recipe.protocol, seed=recipe.seed, **lap.record()
    )
