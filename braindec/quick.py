"""From one's own trials to a believable score in a few lines: a decoder with `fit`, `predict`, `retrieve` and `score`.

Nothing here is new: data, decoder, evaluation and report are those of recipes, with settings for a first look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks, evaluate, seeding
from braindec.adapters import linear as adapter
from braindec.backbones import linear as backbone
from braindec.data import NeuralDataset, Split, splits
from braindec.data.preprocessing import Standardise
from braindec.data.usual_steps import usual_steps
from braindec.decoder import BrainDecoder, Prediction, Settings, decoding
from braindec.evaluate import Evaluation, class_panels, panels
from braindec.evaluate.time_told import TIMES
from braindec.losses import mse
from braindec.recipe import NeuralData, Recipe
from braindec.targets import category_prototypes
from braindec.types import Embeddings, Report, Score, Trials

__all__ = ["QuickDecoder", "first_settings"]

STANDARDISED = (Standardise(),)
MAX_SHARED = 256  # directions of the embedding that responses are mapped to
MAX_CALIBRATED, MIN_CALIBRATED = (
    1024,
    60,
)  # values of an embedding; training stimuli, a third of them left out in turn
HELD_OUT = {"stimulus": "heldout_stimuli", "concept": "heldout_concepts"}
EACH_ONCE = {
    "stimulus": "heldout_stimuli_folds_without_classes",
    "run": "leave_one_run_out",
    "session": "leave_one_session_out",
}
OF_CLASSES, AUC = {"run": "leave_one_run_out_categories"}, "leave_one_run_out_auc"
NOT_TOLD = (
    "No nuisance columns were told: whether position, time or motion alone tell the stimuli was not tested."
)
TIMED = (
    "The nuisance decoder of classes is linear in its columns, or says what other runs show at a trial's time where "
    "that tells training runs clearly better; the audit's check of classes and time asks the latter alone."
)


def first_settings(
    embeddings: Embeddings, n_stimuli: int, *, preprocessing: Any = STANDARDISED, seed: int = 0
) -> Settings:
    """Settings of a first decoder: ridge regression solved in closed form, its penalty chosen inside of training.

    Parameters
    ----------
    embeddings : Embeddings
        What is decoded; up to 256 directions of it.
    n_stimuli : int
        In training. Predictions are calibrated on stimuli that are left out of training in turn where there are 60,
        and as many as an embedding has values, of which there may be 1,024.
    preprocessing : tuple of steps, or dict of such by modality
    seed : int
    """
    n_values = int(np.prod(embeddings.info.shape))
    calibrate = n_values <= MAX_CALIBRATED and n_stimuli >= max(MIN_CALIBRATED, n_values)
    return Settings(
        adapter.Config(shared_dim=min(MAX_SHARED, n_values)), backbone.Config(), mse.Config(),
        preprocessing=preprocessing, fit="closed_form", seed=seed,
        calibrate=calibrate, n_folds=3 if calibrate else 0,
    )  # fmt: skip


class QuickDecoder:
    """A first decoder of one's own trials, judged beside ridge regression, nuisance columns, refitted nulls and chance.

    Parameters
    ----------
    nuisance : sequence of str
        Columns of the trial table that a decoder without a brain is told (``("run", "onset_s")``): what it reaches is
        the bar, not chance. ``()`` says that nothing is known, and so does the report. It must be said.
    label_column : str, optional
        Column with each trial's class: classes are decoded, and no embeddings are needed.
    preprocessing : tuple of steps, or dict of such by modality
        Fitted on training trials alone; by default what `data.usual_steps.usual_steps` says: every voxel is
        standardised, epochs of EEG and MEG are cropped at onset, clipped and averaged in time before that. Epochs that
        reach into the next trial need a shorter window: ``(Crop(0, 0.5), ClipMad(5), AverageTime(4), Standardise())``.
    settings : decoder.Settings, optional
        Another decoder than `first_settings` makes; its own preprocessing counts then.
    n_null : int
        Times that everything is fitted again with shuffled pairs, >= 1; 19 give p = 0.05 at best.
    seed : int
    progress : bool
        Show how far the refits are, on the error stream.

    Attributes
    ----------
    decoder : BrainDecoder or None
        After `fit`; `cross_validate` leaves none, for each fold had one of its own.
    """

    def __init__(
        self,
        *,
        nuisance: Sequence[str] | None = None,
        label_column: str | None = None,
        preprocessing: Any = None,
        settings: Settings | None = None,
        n_null: int = 19,
        seed: int = 0,
        progress: bool = True,
    ):
        if nuisance is None:
            raise checks.ConfigError(
                "nuisance must be said: the columns that could tell the stimuli without a brain, e.g. "
                'nuisance=("run", "onset_s"), or nuisance=() where none is known.'
            )
        if isinstance(nuisance, str):
            raise TypeError(
                f"nuisance must be a sequence of column names, got {nuisance!r}; write ({nuisance!r},)."
            )
        checks.at_least("n_null", n_null, 1)
        self.nuisance, self.label_column = tuple(nuisance), label_column
        self.preprocessing, self.settings = preprocessing, settings
        self.n_null, self.seed, self.progress = n_null, seed, progress
        self.decoder: BrainDecoder | None = None
        self._scored: Report | None = None
        self._dataset: NeuralDataset | None = None
        self._embeddings: Embeddings | None = None

    def fit(self, dataset: NeuralDataset, embeddings: Embeddings | None = None) -> QuickDecoder:
        """Itself, fitted on the train part of the dataset's split.

        Parameters
        ----------
        dataset : NeuralDataset
            Whole, with a split: ``dataset.hold_out("stimulus", 0.2)``; of classes ``hold_out("run", [...])``.
        embeddings : Embeddings, optional
            Of every stimulus; needed without `label_column`, refused with it.

        Raises
        ------
        ConfigError
            If there is no split, or a column that is named is not in the table.
        LeakageError
            If train and test part share what they must not.
        """
        if dataset.split is None:
            raise checks.ConfigError(
                'the dataset has no split; say what is held out: dataset.hold_out("stimulus", 0.2), or '
                '.hold_out("run", ["3"]).'
            )
        target = self._target(dataset, embeddings)
        recipe = self._recipe(
            dataset, target, dataset.split.unit, OF_CLASSES if self.label_column else HELD_OUT
        )
        part = evaluate.training_part(recipe, dataset, target, label_column=self.label_column)
        built = BrainDecoder.build(recipe, dataset.info, target.info)
        self.decoder = built.fit(part, target, prior=False, progress=False)
        self._dataset, self._embeddings, self._scored = dataset, target, None
        return self

    def predict(self, trials: Trials | np.ndarray | None = None) -> Prediction:
        """Embeddings predicted from responses: ``.ids`` and ``.values`` (n, n_tokens, n_dims).

        Parameters
        ----------
        trials : Trials, or array of responses (n_trials, ...), optional
            Of a subject that was fitted; an array where that is the only one. None takes the test part, where that is
            of one subject. Repeats of a stimulus are averaged first; of classes each trial stands alone.
        """
        decoder, _, _ = self._fitted()
        return decoder.predict(self._trials(trials), repeats="none" if self.label_column else "before")

    def retrieve(self, k: int = 5, trials: Trials | None = None) -> dict[str, tuple[str, ...]]:
        """For each stimulus of the test part the `k` stimuli of that part that fit its response best, best first.

        Parameters
        ----------
        k : int
            1 .. number of test stimuli.
        trials : Trials, optional
            As in `predict`.
        """
        decoder, _, embeddings = self._fitted()
        if self.label_column is not None:
            raise checks.ConfigError("this decoder tells classes apart; use classify().")
        shown = self._trials(trials)
        ids = tuple(np.unique(shown.table["stimulus_id"]).tolist())
        gallery = Embeddings.from_arrays(ids, embeddings.of(ids), embeddings.space)
        found, _ = decoder.retrieve(shown, gallery, k, repeats="before")
        return dict(zip(self.predict(shown).ids, found, strict=True))

    def classify(self, trials: Trials | np.ndarray | None = None) -> np.ndarray:
        """The class that fits each trial best, text (n_trials,), in the order of the trials.

        Parameters
        ----------
        trials : Trials, optional
            As in `predict`.
        """
        return self._fitted()[0].classify(self._trials(trials))

    def score(self) -> Report:
        """Scores on the test part, each with n, chance, a refitted null and an interval, beside the baselines.

        Of embeddings these are retrieval among the test stimuli: one decoder predicts them all, so that one gallery
        holds them. Of two classes there is the area under the ROC beside accuracy, which takes the refits once more.
        ``print(report)`` is a table of them, ``braindec.report.write(report, folder)`` a page.
        """
        decoder, dataset, embeddings = self._fitted()
        split = dataset.split
        if split is None:
            raise ValueError("the dataset lost its split.")
        recipe = self._recipe(dataset, embeddings, split.unit, OF_CLASSES if self.label_column else HELD_OUT)
        label, plan = self.label_column, recipe.plan
        found = evaluate.held_out(decoder, recipe, dataset, embeddings, plan=plan, label_column=label)
        area: tuple[Score, ...] = ()
        if _two_classes(dataset, [split], label):
            two = replace(recipe, protocol=AUC)
            area = evaluate.held_out(decoder, two, dataset, embeddings, plan=plan, label_column=label).scores
        self._scored = self._report(found, dataset, f"Held out by {split.unit}", area)
        return self._scored

    def save_pretrained(self, folder: str | Path, *, licence: str | None = None) -> Path:
        """The fitted decoder as a folder that ``BrainDecoder.from_pretrained(folder)`` loads.

        Its card has the scores, where `score` was called. `cross_validate` leaves no decoder: each fold had its own.

        Parameters
        ----------
        folder : path
        licence : str, optional
            Of the weights, as the hub spells it.
        """
        return self._fitted()[0].save_pretrained(folder, self._scored, licence=licence)

    def cross_validate(
        self,
        dataset: NeuralDataset,
        embeddings: Embeddings | None = None,
        *,
        by: str,
        n_folds: int | None = None,
    ) -> Report:
        """Scores of decoders that never saw what they are tested on: everything is tested once.

        Of embeddings this is pairwise identification and no retrieval: each fold has a decoder of its own, whose
        predictions are only comparable among each other, and a gallery of one fold would change with its size, which
        the share of pairs (chance 0.5) does not. For retrieval hold stimuli out once: `fit` and `score`. Of two classes
        there is the area under the ROC, within held-out runs, beside accuracy; it takes the refits once more.

        Parameters
        ----------
        dataset : NeuralDataset
            Whole; a split of its own is not looked at.
        embeddings : Embeddings, optional
            As in `fit`.
        by : str
            ``"stimulus"``, ``"run"`` or ``"session"``; of classes ``"run"``.
        n_folds : int, optional
            Groups that the values are dealt into; None holds each value out alone.
        """
        target = self._target(dataset, embeddings)
        recipe = self._recipe(dataset, target, by, OF_CLASSES if self.label_column else EACH_ONCE)
        folds = _folds(dataset, by, n_folds, self.seed)
        label, plan = self.label_column, recipe.plan
        found = evaluate.cross_validate(recipe, dataset, target, folds, plan=plan, label_column=label)
        area: tuple[Score, ...] = ()
        if _two_classes(dataset, folds, label):
            two = replace(recipe, protocol=AUC)
            area = evaluate.cross_validate(two, dataset, target, folds, plan=plan, label_column=label).scores
        return self._report(found, dataset, f"{len(folds)} folds by {by}", area)

    def _fitted(self) -> tuple[BrainDecoder, NeuralDataset, Embeddings]:
        if self.decoder is None or self._dataset is None or self._embeddings is None:
            raise ValueError(
                "this decoder is not fitted: call fit(dataset, embeddings); cross_validate leaves no decoder behind."
            )
        return self.decoder, self._dataset, self._embeddings

    def _trials(self, trials: Trials | np.ndarray | None) -> Trials:
        if trials is not None:
            return decoding.as_trials(self._fitted()[0], trials)
        found = list(self._fitted()[1].part("test").trials.values())
        if len(found) > 1:
            keys = [t.key for t in found]
            raise checks.ConfigError(
                f'the test part holds {keys}; name one: dataset.part("test").trials[{keys[0]!r}].'
            )
        return found[0]

    def _target(self, dataset: NeuralDataset, embeddings: Embeddings | None) -> Embeddings:
        """The embeddings that were given, or prototypes of the classes."""
        if (embeddings is None) == (self.label_column is None):
            raise checks.ConfigError(
                "say what is decoded: embeddings of the stimuli, or classes (label_column), not both."
            )
        if embeddings is not None:
            return decoding.embeddings_of("embeddings", embeddings)
        labels = dataset.unit_labels("stimulus", str(self.label_column))
        unlabelled = [i for i, label in labels.items() if label in splits.MISSING]
        if unlabelled:
            first = next(iter(dataset.trials.values()))
            raise checks.ConfigError(
                f"column {self.label_column!r} tells no class of {len(unlabelled)} of {len(labels)} stimuli, first "
                f"{unlabelled[0]!r} ({labels[unlabelled[0]]!r}). Name their classes, or leave them out: "
                f"{splits.without(first, str(self.label_column), splits.MISSING)}."
            )
        target = category_prototypes.build(category_prototypes.Config(tuple(sorted(set(labels.values())))))
        made = Embeddings.from_arrays(list(labels), target.embed(list(labels.values())), target.space)
        return Embeddings(made.ids, made.values, made.space, target.identity(), made.provenance)

    def _recipe(
        self, dataset: NeuralDataset, embeddings: Embeddings, unit: str, protocols: dict[str, str]
    ) -> Recipe:
        """What this evaluation is, as recipes say it."""
        if self.label_column and unit not in protocols:
            raise checks.ConfigError(
                f"what is held out must be 'run' where classes are decoded, got {unit!r}: trials of one run share slow "
                "noise and often a class, which would tell the class of a trial held out within it. Use "
                'dataset.hold_out("run", [...]) or cross_validate(dataset, by="run"); where new stimuli are the '
                "question, decode embeddings of them."
            )
        protocol = protocols[checks.one_of("what is held out", unit, list(protocols))]
        for trials in dataset.trials.values():
            for column in self.nuisance:
                checks.one_of(
                    "nuisance", column, [c for c in trials.table if c not in ("stimulus_id", "repeat")]
                )
        split = dataset.split
        n = len(dataset.stimulus_ids) if split is None or unit != "stimulus" else len(split.values("train"))
        n = 0 if self.label_column else n  # a few classes leave no error to learn, and runs are few
        steps = usual_steps(dataset.info) if self.preprocessing is None else self.preprocessing
        settings = self.settings or first_settings(embeddings, n, preprocessing=steps, seed=self.seed)
        plan = evaluate.Plan(self.n_null, self.n_null, self.nuisance, progress=self.progress)
        chosen = {f.name: getattr(settings, f.name) for f in fields(Settings)}
        return Recipe(
            NeuralData(dataset.name), None, protocol, plan=plan, label_column=self.label_column, **chosen
        )

    def _report(
        self, found: Evaluation, dataset: NeuralDataset, how: str, further: tuple[Score, ...] = ()
    ) -> Report:
        scores = tuple(s for s in found.scores + further if self.nuisance or s.system != "nuisance")
        said = ["A held-out score tells of further trials of these people, not of other people."]
        said += [] if self.nuisance else [NOT_TOLD]
        said += [TIMED] if self.label_column and set(self.nuisance) & set(TIMES) else []
        alone = [key for key in dataset.trials if key not in found.judged["braindec"].decoded]
        said += [f"Not judged: {', '.join(alone)}, of which nothing is held out."] if alone else []
        n_trials = ", ".join(f"{t.n_trials} trials of {key}" for key, t in dataset.trials.items())
        run = {
            "title": "A first look", "summary": f"{how}; {n_trials}.", "comparisons": list(found.comparisons),
            "nuisance": list(self.nuisance), **found.record,
        }  # fmt: skip
        if self.nuisance:
            told = f"a decoder that is told {', '.join(self.nuisance)} and sees no brain"
            run["words"] = {"systems": {"nuisance": told}}
        metric = next(iter(next(iter(found.judged["braindec"].measured.values()))))
        shown: list[Any] = [
            *(
                [class_panels.confusion(found.judged["braindec"], dataset, self.label_column)]
                if self.label_column
                else []
            ),
            panels.comparisons(found.comparisons, "The decoder against closed-form ridge"),
            *class_panels.nulls(found.judged["braindec"], metric),
            class_panels.said("About these numbers", *said),
        ]
        return Report(scores, run, tuple(shown))


def _two_classes(dataset: NeuralDataset, folds: Sequence[Split], column: str | None) -> bool:
    """Whether there are two classes and every test part of every subject shows both, so that areas can be told."""
    if column is None:
        return False
    for trials in dataset.trials.values():
        labels = splits.stimulus_column(trials, dataset.stimuli, column).astype(str)
        shown = [np.unique(labels[s.members(trials, dataset.stimuli, "test")]) for s in folds]
        if len(np.unique(labels)) != 2 or any(len(classes) == 1 for classes in shown):
            return False
    return True


def _folds(dataset: NeuralDataset, by: str, n_folds: int | None, seed: int) -> list[Split]:
    if n_folds is None:
        return splits.leave_one_out(dataset, by)
    return splits.k_fold(dataset, by, n_folds, seeding.numpy_generator(seed, "folds", by))
