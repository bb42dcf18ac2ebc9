"""Retrieval by one output beside the main one of the same decoder, for known and for new subjects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from braindec import train
from braindec.adapters import linear
from braindec.backbones import mlp
from braindec.data.preprocessing import Standardise
from braindec.evaluate import Plan, fit_nulls, outputs
from braindec.losses import clip, mse
from braindec.recipe import NeuralData, Recipe

RECIPE = Recipe(
    data=NeuralData("planted"),
    target=None,
    adapter=linear.Config(shared_dim=24),
    backbone=mlp.Config(width=24, n_blocks=1, dropout=0.0),
    loss={"main": mse.Config(), "found": clip.Config()},
    preprocessing=(Standardise(),),
    train=train.Config(n_steps=60, batch_size=120, lr=3e-3, validate_every=60, device="cpu"),
    n_folds=2,
    calibrate=False,
    protocol="heldout_stimuli",
    plan=Plan(n_null=2, progress=False),
)
METRIC = "image_retrieval_top1"


@pytest.fixture(scope="module")
def two(planted):
    """Embeddings by output: the planted ones, and for `found` their mirror image in a space of its own."""
    mirrored = replace(planted.embeddings, values=-planted.embeddings.values, space="mirrored")
    return {"main": planted.embeddings, "found": mirrored}


@pytest.fixture(scope="module")
def fitted(planted, two):
    part = planted.dataset.part("train")
    decoder = outputs.fit_outputs(RECIPE, part, two, progress=False)
    return decoder, fit_nulls(RECIPE, part, two, 2, progress=False)


def test_an_output_retrieves_in_its_own_space_above_its_refitted_null(fitted, planted, two):
    decoder, nulls = fitted
    found = outputs.by_output(decoder, nulls, RECIPE, planted.dataset, two, "found", (METRIC,))
    assert set(found.judged) == {"braindec", "ridge", "shuffled"}  # the main output lies in another space
    ours = [s for s in found.scores if (s.name, s.system) == (METRIC, "braindec") and s.subject != "group"]
    assert len(ours) == 2
    assert all(s.value > 0.3 > 0.15 > s.null and s.null_n == 2 for s in ours)
    twin = [
        s.value for s in found.scores if (s.name, s.system) == (METRIC, "shuffled") and s.subject != "group"
    ]
    assert max(twin) < 0.2


def test_the_main_output_of_one_space_stands_beside(fitted, planted, two):
    decoder, nulls = fitted
    found = outputs.by_output(decoder, nulls, RECIPE, planted.dataset, two, "main", (METRIC,))
    assert found.judged["contender"].measured["sub-01_fmri"][METRIC].value > 0.3
    assert {row["b"] for row in found.comparisons} == {outputs.NAMES["contender"], outputs.NAMES["ridge"]}


def test_predictions_and_candidates_are_of_the_output(fitted, planted, two):
    decoder, _ = fitted
    trials = planted.dataset.part("test").trials["sub-01_fmri"]
    made = outputs.OutputSystem(decoder, "found").predict(trials, repeats="before")
    main = decoder.predict(trials, repeats="before")
    truth = two["found"].of(made.ids)[:, 0]
    ours, other = (
        float(np.mean([np.corrcoef(p, t)[0, 1] for p, t in zip(values[:, 0], truth, strict=True)]))
        for values in (made.values, main.values)
    )
    assert ours > 0.5 > 0 > other  # the mirror image


def test_a_new_subject_is_adapted_and_nothing_of_the_decoder_changes(fitted, planted, two):
    decoder, _ = fitted
    before = {name: v.clone() for name, v in decoder.state_dict().items()}
    part = planted.newcomer.part("train")
    adapted, nulls, scratch = outputs.adapt_outputs(decoder, RECIPE, part, two, n_null=1)
    found = outputs.by_output(
        adapted, nulls, RECIPE, planted.newcomer, two, "found", (METRIC,), scratch=scratch
    )
    value = {name: j.measured["sub-03_fmri"][METRIC].value for name, j in found.judged.items()}
    assert min(value["braindec"], value["scratch"]) > 0.3 > 0.2 > value["shuffled"]
    assert all((decoder.state_dict()[name] == v).all() for name, v in before.items())
