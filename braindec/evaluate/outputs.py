"""Outputs of one decoder as systems of their own: by one it retrieves, from another it reconstructs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from braindec import checks, seeding
from braindec.data import NeuralDataset
from braindec.decoder import BrainDecoder, Direction, Mode, Prediction, Repeats
from braindec.evaluate.audit import audited
from braindec.evaluate.exam import Exam, in_memory
from braindec.evaluate.measures import protocol_named
from braindec.evaluate.nulls import permuted
from braindec.evaluate.scoring import compare, judge, scores_of
from braindec.evaluate.systems import Fitter, RidgeFitter, System, signal_features
from braindec.evaluate.whole import Evaluation
from braindec.maths import nearest
from braindec.types import Embeddings

# System of a score -> what it is here.
NAMES = {
    "braindec": "the output that is contrasted",
    "contender": "the output that pictures are drawn from",
    "scratch": "the contrasted output, from scratch",
    "ridge": "closed-form ridge",
    "shuffled": "the contrasted output, shuffled stimuli",
}


@dataclass(frozen=True, eq=False)
class OutputSystem:
    """One output of a decoder; candidates are compared by the cosine about the training stimuli's mean."""

    decoder: BrainDecoder
    output: str

    def predict(self, trials: Any, *, repeats: Repeats) -> Prediction:
        """This output's embeddings."""
        return self.decoder.predict(trials, repeats=repeats, output=self.output)

    def similarity(
        self, prediction: Prediction, candidates: np.ndarray, direction: Direction = "image"
    ) -> Tensor:
        """Cosine, in both directions."""
        query, gallery = (self.decoder.centred(v, self.output) for v in (prediction.values, candidates))
        return nearest.similarity(query, gallery)


def fit_outputs(
    recipe: Any,
    part: NeuralDataset,
    embeddings: Mapping[str, Embeddings],
    out_dir: Path | None = None,
    *,
    progress: bool = True,
) -> BrainDecoder:
    """The recipe's decoder with an output for each of these embeddings, fitted with its prior.

    Parameters
    ----------
    recipe : Recipe
    part : NeuralDataset
        ``dataset.part("train")``.
    embeddings : mapping of str to Embeddings
        ``recipe.embed_each(...)``; the first one is the main output.
    out_dir : path, optional
        Where logs and checkpoints go.
    """
    info = {name: e.info for name, e in embeddings.items()}
    return BrainDecoder.build(recipe, part.info, info).fit(part, embeddings, out_dir, progress=progress)


def by_output(
    decoder: BrainDecoder,
    nulls: Sequence[BrainDecoder],
    recipe: Any,
    dataset: NeuralDataset,
    embeddings: Mapping[str, Embeddings],
    output: str,
    metrics: Sequence[str],
    *,
    ridge: Any = None,
    scratch: BrainDecoder | None = None,
) -> Evaluation:
    """Judges retrieval by one output beside the main output of the same decoder and ridge.

    Parameters
    ----------
    decoder : BrainDecoder
        Fitted on ``dataset.part("train")``.
    nulls : sequence of BrainDecoder
        The same fitted to permuted stimuli (`fit_nulls`): the null, and the first the shown control.
    recipe : Recipe
    dataset : NeuralDataset
        Whole, with the split in use.
    embeddings : mapping of str to Embeddings
        By output; those of `output` are what is retrieved.
    output : str
    metrics : sequence of str
        Of the protocol, for the paired differences.
    ridge : preprocessing, optional
        Of closed-form ridge; the recipe's by default.
    scratch : BrainDecoder, optional
        Another decoder with this output, of the same trials alone: judged beside.
    """
    checks.one_of("output", output, list(decoder.outputs))
    checks.at_least("number of nulls", len(nulls), 1)
    protocol, split = protocol_named(recipe.protocol), dataset.split
    if split is None:
        raise ValueError("the dataset has no split; give it one with with_split(...).")
    told = embeddings[output]
    audit = audited(recipe, dataset, told, [split], decoder=decoder)
    exam = Exam(in_memory(dataset), told, [split], protocol, recipe.seed, n_jobs=recipe.plan.n_jobs,
                progress=recipe.plan.progress)  # fmt: skip
    ready = [OutputSystem(one, output) for one in nulls]
    fits: dict[str, Fitter] = {
        "braindec": _always(OutputSystem(decoder, output)),
        "ridge": RidgeFitter(signal_features(recipe.preprocessing if ridge is None else ridge)),
        "shuffled": _always(ready[0]),
    }
    if told.space == decoder.outputs[decoder.main].space:
        fits["contender"] = _always(decoder)
    if scratch is not None:
        fits["scratch"] = _always(OutputSystem(scratch, output))
    judged = {
        name: judge(name, fit, exam, len(ready) if name == "braindec" else 0, ready)
        for name, fit in fits.items()
    }
    null = judged["braindec"].null
    scores = [s for j in judged.values() for s in scores_of(j, protocol, null=null)]
    rows = [
        row | {"a": NAMES["braindec"], "b": NAMES[other]}
        for other in ("contender", "scratch", "ridge")
        if other in judged
        for metric in metrics
        for row in compare(judged["braindec"], judged[other], metric, recipe.seed)
    ]
    return Evaluation(tuple(scores), judged, tuple(rows), {"audit": audit.to_json(), "output": output})


def adapt_outputs(
    decoder: BrainDecoder,
    recipe: Any,
    part: NeuralDataset,
    embeddings: Mapping[str, Embeddings],
    *,
    mode: Mode = "all",
    n_null: int = 1,
) -> tuple[BrainDecoder, list[BrainDecoder], BrainDecoder]:
    """A decoder of several subjects adapted to a new one; the same to permuted stimuli; and the outputs from scratch.

    Parameters
    ----------
    decoder : BrainDecoder
        Fitted on other subjects; its prior serves the new one unchanged.
    recipe : Recipe
    part : NeuralDataset
        Training trials of the new subject alone.
    embeddings : mapping of str to Embeddings
        By output.
    mode : ``"adapter"``, ``"reset"`` or ``"all"``
        What is trained; MindEye2 trains all.
    n_null : int
    """
    protocol = protocol_named(recipe.protocol)

    def adapted(trials: NeuralDataset) -> BrainDecoder:
        return decoder.adapt(trials, embeddings, mode=mode, progress=False)

    draws = (seeding.numpy_generator(recipe.seed, "null", number) for number in range(n_null))
    nulls = [adapted(permuted(in_memory(part), draw, protocol)) for draw in draws]
    # From scratch it retrieves by cosines alone: no prior and no calibration, and none of the fits on folds for these.
    plain = replace(recipe, prior=None, calibrate=False)
    return adapted(part), nulls, fit_outputs(plain, part, embeddings, progress=False)


def _always(system: System) -> Fitter:
    return lambda *_: system
