"""Systems under one set of rules: chosen within training, declared first, told apart over seeds."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from braindec import evaluate
from braindec.adapters import linear as linear_adapter
from braindec.backbones import linear
from braindec.checks import ConfigError
from braindec.data import Split
from braindec.data.preprocessing import Standardise
from braindec.evaluate import Contender, Rules
from braindec.losses import mse
from braindec.report import comparison
from braindec.train import Config
from braindec.types import StimulusSet, Table

NONE = {"rule": "solved in closed form: no steps"}
SPACE = {"noise": (8.0, 0.0, 4.0)}


def ridge(extra=0.0, seen=None):
    """Ridge on signals with as much noise added as the configuration, and the system's own nature, say."""

    def configure(choice):
        def fit(part, embeddings, seed):
            if seen is not None:
                seen.append(part)
            amount = choice.get("noise", 0.0) + extra
            draw = np.random.default_rng(seed)

            def features(trials):
                return lambda other: (
                    np.asarray(other.responses[:], np.float32)
                    + amount * draw.standard_normal(other.responses.shape).astype(np.float32)
                )

            return evaluate.RidgeFitter(features)(part, embeddings, seed)

        return fit

    return configure


def exam_of(planted, **more):
    protocol = evaluate.protocol_named("heldout_stimuli")
    return evaluate.Exam(
        planted.dataset, planted.embeddings, [planted.dataset.split], protocol, progress=False, **more
    )


@pytest.fixture(scope="module")
def held(planted, tmp_path_factory):
    out = tmp_path_factory.mktemp("contest")
    entries = [Contender("clear", ridge(), NONE), Contender("noisy", ridge(2.5), NONE)]
    exam = exam_of(planted)
    exam = replace(exam, dataset=exam.dataset.select(["sub-01_fmri"]))
    return evaluate.contest(entries, exam, Rules(SPACE), out=out), out


def test_each_contender_finds_the_planted_configuration_on_every_seed(held):
    found, _ = held
    assert found.chosen == {name: {s: [{"noise": 0.0}] for s in range(5)} for name in ("clear", "noisy")}


def test_the_better_system_is_above_the_other_under_one_set_of_rules(held):
    found, _ = held
    runs = [comparison.Runs(n, found.reports[n], "contender") for n in ("noisy", "clear")]
    made = comparison.compare(*runs, metrics=["bits_per_trial"]).run
    assert made["lacking"] == []
    assert [v["verdict"] for v in made["verdicts"]] == ["clear above noisy"]
    assert made["over_seeds"][0]["n_seeds"] == 5 and made["over_seeds"][0]["seed_sd_a"] > 0


def test_a_system_is_not_told_apart_from_itself(planted):
    entries = [Contender("one", ridge(1.0), NONE), Contender("two", ridge(1.0), NONE)]
    exam = exam_of(planted)
    found = evaluate.contest(entries, exam, Rules())
    # Other draws of the same noise: the second system's seeds are as good as the first one's.
    moved = tuple(replace(r, run={**r.run, "seed": (r.run["seed"] + 1) % 5}) for r in found.reports["two"])
    runs = (
        comparison.Runs("one", found.reports["one"], "contender"),
        comparison.Runs("two", moved, "contender"),
    )
    made = comparison.compare(*runs, metrics=["image_retrieval_top1"]).run
    assert [v["verdict"] for v in made["verdicts"]] == ["not told apart"]


def test_rules_are_declared_before_anything_is_fitted(planted, tmp_path):
    def configure(choice):
        def fit(part, embeddings, seed):
            assert (
                json.loads((tmp_path / "declared.json").read_text())["rules"]["search"]["n_configurations"]
                == 3
            )
            raise KeyboardInterrupt

        return fit

    with pytest.raises(KeyboardInterrupt):
        evaluate.contest([Contender("any", configure, NONE)], exam_of(planted), Rules(SPACE), out=tmp_path)


def test_what_chooses_holds_no_test_trial_and_shares_no_unit_with_the_rest(planted):
    seen = []
    found = evaluate.contest(
        [Contender("any", ridge(seen=seen), NONE)], exam_of(planted), Rules(SPACE, seeds=(0,))
    )
    test = set(planted.dataset.split.values("test"))
    assert (
        len(seen) == 4
    )  # three configurations without the validation units, the chosen one on all of training
    assert not any(test & set(part.stimulus_ids) for part in seen)
    assert [len(part.stimulus_ids) for part in seen] == [108, 108, 108, 120]
    held_out = set(seen[-1].part("test").stimulus_ids)  # the whole train part carries the declared validation
    assert len(held_out) == 12
    assert not any(held_out & set(part.stimulus_ids) for part in seen[:3])
    validation = found.declared["rules"]["validation"]
    assert (validation["unit"], validation["n_units"]) == ("stimulus", 12)


def test_validation_is_of_other_concepts_where_the_protocol_holds_out_concepts(planted):
    data = planted.dataset
    ids = data.stimuli.ids
    stimuli = StimulusSet(
        ids, "none", table=Table({"concept": np.array([f"c{i // 4:02d}" for i in range(len(ids))])})
    )
    parts = {
        "train": tuple(f"c{i:02d}" for i in range(30)),
        "test": tuple(f"c{i:02d}" for i in range(30, 40)),
    }
    data = replace(data, stimuli=stimuli).with_split(Split("new", "concept", parts))
    exam = replace(
        exam_of(planted),
        dataset=data,
        folds=[data.split],
        protocol=evaluate.protocol_named("heldout_concepts"),
    )
    found = evaluate.contest([Contender("any", ridge(), NONE)], exam, Rules(SPACE, seeds=(0,)))
    assert found.declared["rules"]["validation"]["unit"] == "concept"
    with pytest.raises(ConfigError, match="validation by stimulus"):
        evaluate.contest([Contender("any", ridge(), NONE)], exam, Rules(SPACE, unit="stimulus"))


@dataclass(frozen=True)
class Mini:
    """The fields of a recipe that a decoder needs."""

    adapter: Any = linear_adapter.Config(shared_dim=16)  # noqa: RUF009
    backbone: Any = linear.Config()  # noqa: RUF009
    loss: Any = mse.Config()  # noqa: RUF009
    preprocessing: Any = (Standardise(),)
    train: Config = Config(n_steps=2, validate_every=1, device="cpu")  # noqa: RUF009
    n_folds: int = 2
    calibrate: bool = False
    seed: int = 0


def test_recipes_enter_and_another_stopping_rule_is_refused(planted):
    longer = replace(Mini(), train=Config(n_steps=3, validate_every=1, device="cpu"))
    entries = [Contender.of_recipe("short", Mini()), Contender.of_recipe("long", longer)]
    with pytest.raises(ConfigError, match="stop by one rule"):
        evaluate.contest(entries, exam_of(planted), Rules(seeds=(0,)))
    with pytest.raises(ConfigError, match="stop by one rule"):
        evaluate.contest([entries[0], Contender("ridge", ridge(), NONE)], exam_of(planted), Rules(seeds=(0,)))
    named = Rules({"train.n_steps": (1, 2)}, seeds=(0, 1))  # then validation chooses it for both
    found = evaluate.contest(entries, exam_of(planted), named)
    assert found.declared["rules"]["stopping"]["train.validate_every"] == 1
    assert [r.run["seed"] for r in found.reports["long"]] == [0, 1]
    first, second = (r.score("bits_per_trial", "contender", 1) for r in found.reports["long"])
    assert first.value > 2 and not np.array_equal(
        first.per_sample, second.per_sample
    )  # the seed reaches the decoder
