"""A new subject with little data: the shared decoder adapted, against the same recipe from scratch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from braindec.data import NeuralDataset
from braindec.decoder import BrainDecoder
from braindec.evaluate.audit import audited
from braindec.evaluate.exam import Exam, in_memory
from braindec.evaluate.measures import protocol_named
from braindec.evaluate.rules import training_rules
from braindec.evaluate.scoring import Ceilings, compare, judge, scores_of
from braindec.evaluate.systems import Fitter, NuisanceFitter, decoder_fitter
from braindec.evaluate.whole import Evaluation, Plan
from braindec.train import Config as TrainConfig
from braindec.types import Embeddings


def adaptation(
    decoder: BrainDecoder,
    recipe: Any,
    newcomer: NeuralDataset,
    embeddings: Embeddings,
    *,
    settings: TrainConfig | None = None,
    plan: Plan | None = None,
    ceilings: Ceilings | None = None,
) -> Evaluation:
    """Judges `adapted`, `scratch` and `nuisance` on the new subject's test stimuli; the first two also paired.

    Parameters
    ----------
    decoder : BrainDecoder
        Fitted on other subjects.
    recipe : Recipe
        What `scratch` is fitted with, on the same trials.
    newcomer : NeuralDataset
        Whole, of subjects that the decoder does not know.
    settings : train.Config, optional
        For both; the recipe's own by default.
    """
    plan, protocol = plan or Plan(), protocol_named(recipe.protocol)
    chosen = settings or recipe.train

    def adapt(part: NeuralDataset, e: Embeddings, seed: int) -> BrainDecoder:
        return decoder.adapt(part, e, settings=chosen, progress=False)

    fits: dict[str, tuple[Fitter, int]] = {
        "adapted": (adapt, plan.n_null),
        "scratch": (decoder_fitter(replace(recipe, train=chosen)), plan.n_null),
        "nuisance": (NuisanceFitter(), plan.n_null_baselines),
    }
    split = newcomer.split
    if split is None:
        raise ValueError("the new subject's dataset has no split; give it one with with_split(...).")
    audit = audited(recipe, newcomer, embeddings, [split])
    exam = Exam(
        in_memory(newcomer),
        embeddings,
        [split],
        protocol,
        recipe.seed,
        n_jobs=plan.n_jobs,
        progress=plan.progress,
    )
    judged = {name: judge(name, fit, exam, n_null) for name, (fit, n_null) in fits.items()}
    scores = [
        s
        for name, j in judged.items()
        for s in scores_of(j, protocol, ceilings=None if name == "nuisance" else ceilings)
    ]
    rows = [
        c for m in protocol.metrics for c in compare(judged["adapted"], judged["scratch"], m, recipe.seed)
    ]
    rules = training_rules(replace(recipe, train=chosen), newcomer, [split])["braindec"]
    n_trials = {key: t.n_trials for key, t in newcomer.part("train").trials.items()}
    return Evaluation(
        tuple(scores),
        judged,
        tuple(rows),
        {
            "n_training_trials": n_trials,
            "audit": audit.to_json(),
            "rules": {"adapted": rules, "scratch": rules},
        },
    )
