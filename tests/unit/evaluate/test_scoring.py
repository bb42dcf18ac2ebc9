"""Protocols run: what is refitted, what is permuted, what is refused."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from braindec import evaluate
from braindec.adapters import linear as linear_adapter
from braindec.backbones import linear
from braindec.data import splits
from braindec.data.preprocessing import Standardise
from braindec.decoder import BrainDecoder
from braindec.evaluate.exam import in_memory
from braindec.evaluate.scoring import group_scores
from braindec.losses import mse
from braindec.train import Config
from braindec.types import Score


@dataclass(frozen=True)
class MiniRecipe:
    """The fields of a recipe that judging needs."""

    adapter: Any = linear_adapter.Config(shared_dim=16)  # noqa: RUF009
    backbone: Any = linear.Config()  # noqa: RUF009
    loss: Any = mse.Config()  # noqa: RUF009
    preprocessing: Any = (Standardise(),)
    train: Config = Config(n_steps=0, device="cpu")  # noqa: RUF009
    n_folds: int = 0
    calibrate: bool = False
    protocol: str = "heldout_stimuli"
    seed: int = 0


PLAN = evaluate.Plan(n_null=3, n_null_baselines=19, progress=False)


@pytest.fixture(scope="module")
def outcome(planted):
    decoder = BrainDecoder.build(MiniRecipe(), planted.dataset.info, planted.embeddings.info)
    decoder.fit(planted.dataset.part("train"), planted.embeddings, progress=False)
    ceilings = {"sub-01_fmri": {"oracle_linear": {"image_retrieval_top1": 0.9}}}
    return evaluate.held_out(
        decoder, MiniRecipe(), planted.dataset, planted.embeddings, plan=PLAN, ceilings=ceilings
    )


def score(outcome, system, name="image_retrieval_top1", subject=1):
    (found,) = [s for s in outcome.scores if (s.system, s.name, s.subject) == (system, name, subject)]
    return found


def test_every_system_is_scored_on_every_metric_for_every_subject(outcome):
    rows = {(s.system, s.name, s.subject) for s in outcome.scores}
    metrics = ("image_retrieval_top1", "image_retrieval_top5", "brain_retrieval_top1", "bits_per_trial",
               "top1_of_10000_predicted", "unique_nearest_share")  # fmt: skip
    systems = ("braindec", "ridge", "nuisance", "mean", "shuffled")
    assert rows == {(s, m, k) for s in systems for m in metrics for k in (1, 2, "group")}


def test_collapse_is_told_beside_every_retrieval_and_a_constant_names_one_thing(outcome):
    ours, constant = (score(outcome, system, "unique_nearest_share") for system in ("braindec", "mean"))
    assert constant.value == pytest.approx(1 / 40) and ours.value > 0.5
    assert ours.chance == pytest.approx(1 - (1 - 1 / 40) ** 40) and ours.null_n == 3
    ranks = {
        s: score(outcome, s, "unique_nearest_share").details["effective rank"] for s in ("braindec", "mean")
    }
    assert ranks["mean"]["predictions"] == 0 < 1 < ranks["braindec"]["predictions"]
    assert ranks["braindec"]["truths"] == ranks["mean"]["truths"]
    ((_, kind, payload),) = evaluate.panels.collapse(outcome.scores)
    of_mean = next(row for row in payload["rows"] if row[1] == "mean")
    assert kind == "table" and of_mean[:4] == ["sub-01 fmri", "mean", "0.025", "0.0"]


def test_the_decoder_beats_its_null_and_the_controls_do_not(outcome):
    assert score(outcome, "braindec").value > 0.5
    assert score(outcome, "braindec").p is None  # three refits cannot say more than 1/4
    assert score(outcome, "braindec").null < 0.2
    assert score(outcome, "ridge").p == pytest.approx(1 / 20)  # (0 + 1) / (19 + 1): better than all refits
    for control in ("shuffled", "nuisance"):
        assert score(outcome, control).value < 0.2
    assert score(outcome, "mean").value == pytest.approx(1 / 40)


def test_no_score_lacks_chance_null_interval_or_n(outcome):
    for s in outcome.scores:
        row = s.to_json()
        assert all(row[k] is not None for k in row if k not in ("ceiling", "ceiling_kind", "p")), row
        assert row["interval"][0] <= row["value"] <= row["interval"][1]


def test_a_ceiling_stands_beside_the_scores_of_its_subject_only(outcome):
    assert score(outcome, "braindec").ceiling == 0.9
    assert score(outcome, "braindec").ceiling_kind == "oracle_linear"
    assert score(outcome, "braindec", subject=2).ceiling is None
    assert score(outcome, "nuisance").ceiling is None


def test_ridge_and_a_decoder_of_no_steps_are_told_to_be_equal(outcome):
    rows = [c for c in outcome.comparisons if c["metric"] == "image_retrieval_top1"]
    assert len(rows) == 2
    for row in rows:
        assert row["interval"][0] <= 0 <= row["interval"][1]


def test_permuting_keeps_repeats_together_and_changes_the_pairing(planted, rng):
    part = planted.dataset.part("train")
    moved = evaluate.permuted(part, rng, evaluate.protocol_named("heldout_stimuli"))
    for key, trials in part.trials.items():
        old, new = trials.table["stimulus_id"], moved.trials[key].table["stimulus_id"]
        assert (old != new).mean() > 0.9
        assert len(set(zip(old.tolist(), new.tolist(), strict=True))) == len(set(old.tolist()))


def test_repeats_that_span_sessions_hardly_ever_keep_their_own_stimulus(planted, rng):
    part = planted.dataset.part("train")
    trials = {
        k: replace(t, table=t.table.replace(exchangeability_block=rng.integers(0, 8, t.n_trials)))
        for k, t in part.trials.items()
    }
    moved = evaluate.permuted(replace(part, trials=trials), rng, evaluate.protocol_named("heldout_stimuli"))
    for key, t in trials.items():
        old, new = t.table["stimulus_id"], moved.trials[key].table["stimulus_id"]
        assert (old == new).mean() < 0.05  # one in 120 is expected
        assert len(set(zip(old.tolist(), new.tolist(), strict=True))) == len(set(old.tolist()))


def test_permuting_runs_moves_single_trials_within_blocks(planted, rng):
    part = planted.dataset.part("train")
    blocks = {k: t.table["run"] for k, t in part.trials.items()}
    trials = {
        k: replace(t, table=t.table.replace(exchangeability_block=blocks[k])) for k, t in part.trials.items()
    }
    moved = evaluate.permuted(
        replace(part, trials=trials), rng, evaluate.protocol_named("leave_one_run_out_auc")
    )
    for key, t in trials.items():
        for run in np.unique(blocks[key]):
            rows = blocks[key] == run
            old, new = (x.table["stimulus_id"][rows] for x in (t, moved.trials[key]))
            assert sorted(old.tolist()) == sorted(new.tolist())


def exam(planted, **settings):
    protocol = evaluate.protocol_named("heldout_stimuli")
    return evaluate.Exam(
        planted.dataset, planted.embeddings, [planted.dataset.split], protocol, progress=False, **settings
    )


def test_where_one_metric_is_asked_for_no_other_is_computed(planted):
    top1 = "image_retrieval_top1"
    whole, some = (
        evaluate.scoring.judge("mean", evaluate.fit_mean, exam(planted, only=only), 1)
        for only in (None, (top1,))
    )
    for key, found in some.measured.items():
        assert list(found) == list(some.null[key]) == [top1]
        assert len(whole.measured[key]) > 1
        assert found[top1].value == whole.measured[key][top1].value
        assert some.null[key][top1] == whole.null[key][top1]


def test_the_null_refits_on_permuted_training_pairs_only(planted):
    """Test pairs are never permuted, and each refit sees another pairing."""
    seen: list[tuple[str, ...]] = []

    def fit(part, embeddings, seed):
        seen.append(tuple(part.trials["sub-01_fmri"].table["stimulus_id"].tolist()))
        return evaluate.fit_mean(part, embeddings, seed)

    evaluate.null_values("x", fit, exam(planted), 3)
    assert len(set(seen)) == 3
    true = planted.dataset.part("train").trials["sub-01_fmri"].table["stimulus_id"]
    assert all(sorted(s) == sorted(true.tolist()) for s in seen)
    assert tuple(true.tolist()) not in seen


def test_refits_in_processes_of_their_own_give_the_same_null(planted):
    fit = evaluate.decoder_fitter(MiniRecipe())
    alone, together = (evaluate.null_values("x", fit, exam(planted, n_jobs=n), 3) for n in (1, 2))
    assert alone.keys() == together.keys()
    for key, metrics in alone.items():
        for name, values in metrics.items():
            np.testing.assert_allclose(together[key][name], values, atol=1e-6)


def test_a_refit_that_fails_in_its_process_says_why(planted):
    def fit(part, embeddings, seed):
        raise ValueError("no luck")

    with pytest.raises(ValueError, match="no luck"):
        evaluate.null_values("x", fit, exam(planted, n_jobs=2), 2)


def test_decoders_fitted_on_permuted_pairs_are_the_first_refits_of_the_null(planted):
    part = planted.dataset.part("train")
    ready = evaluate.fit_nulls(MiniRecipe(), part, planted.embeddings, 2, n_jobs=2, progress=False)
    fit = evaluate.decoder_fitter(MiniRecipe())
    fresh = evaluate.null_values("x", fit, exam(planted), 3)
    reused = evaluate.null_values("x", fit, exam(planted), 3, ready)
    for key, metrics in fresh.items():
        for name, values in metrics.items():
            np.testing.assert_allclose(reused[key][name], values, atol=1e-6)


def test_a_transductive_step_is_refused_where_the_protocol_does_not_allow_it():
    from braindec.data.preprocessing import Preprocessing

    steps = Preprocessing((Standardise(unit="run", scope="unit_unlabelled"),))
    with pytest.raises(ValueError, match="unit_unlabelled"):
        evaluate.check_scopes(evaluate.protocol_named("heldout_stimuli"), steps)
    assert evaluate.check_scopes(evaluate.protocol_named("leave_one_run_out_categories"), steps)


def test_folds_predict_every_trial_once_and_never_from_its_own_unit(planted):
    folds = splits.k_fold(planted.dataset, "stimulus", 5, np.random.default_rng(0))
    protocol = evaluate.protocol_named("heldout_stimuli_folds")
    fits = []

    def fit(part, embeddings, seed):
        fits.append(set(part.stimulus_ids))
        return evaluate.fit_mean(part, embeddings, seed)

    decoded = evaluate.cross_decode(fit, planted.dataset, planted.embeddings, folds, protocol, 0)[
        "sub-01_fmri"
    ]
    n = planted.dataset.trials["sub-01_fmri"].n_trials
    assert sorted(decoded.table["acquisition_order"].tolist()) == list(range(n))
    for stimulus, fold in zip(decoded.ids, decoded.fold.tolist(), strict=True):
        assert stimulus not in fits[fold]


def test_classes_are_told_apart_by_the_label_of_their_stimuli(planted):
    """A system that knows each stimulus' class scores 1 on it, and one that is told the other class scores 0."""
    protocol = evaluate.protocol_named("leave_one_run_out_categories")
    names, number = np.unique(planted.dataset.stimuli.table["category"], return_inverse=True)
    prototypes = replace(planted.embeddings, values=np.eye(2, dtype=np.float32)[number][:, None])

    @dataclass(frozen=True)
    class Knowing:
        flip: bool

        def predict(self, trials, *, repeats):
            from braindec.decoder import Prediction

            ids = tuple(trials.table["stimulus_id"].tolist())
            values = prototypes.of(ids)
            return Prediction(
                ids, values[..., ::-1] if self.flip else values, trials.table, np.ones(len(ids), int)
            )

        def similarity(self, prediction, candidates):
            return torch.from_numpy(prediction.values[:, 0] @ candidates[:, 0].T)

    folds = splits.leave_one_out(planted.dataset, "run")[:2]
    for flip, expected in ((False, 1.0), (True, 0.0)):
        decoded = evaluate.cross_decode(
            lambda *_, flip=flip: Knowing(flip), planted.dataset, prototypes, folds, protocol, 0, "category"
        )["sub-01_fmri"]
        labels = names[number][[planted.dataset.stimuli.ids.index(i) for i in decoded.ids]]
        found = evaluate.measure(decoded, protocol, labels, np.random.default_rng(0))["category_accuracy"]
        assert found.value == expected


@pytest.mark.parametrize("name", ["n_null", "n_null_baselines", "n_null_pictures", "n_jobs"])
def test_a_plan_of_fewer_than_no_refits_is_refused(name):
    with pytest.raises(ValueError, match=rf"plan.{name} must be at least 0, got -3"):
        evaluate.Plan(**{name: -3})


def test_an_unknown_protocol_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'heldout_stimuli'"):
        evaluate.protocol_named("heldout_stimulus")


def test_the_area_under_the_roc_ranks_trials_by_how_far_they_lie_from_the_classes(planted):
    """Three trials of each class on the right side and two on the wrong one, but nearer to the middle."""
    protocol = evaluate.protocol_named("leave_one_run_out_auc")
    names, number = np.unique(planted.dataset.stimuli.table["category"], return_inverse=True)
    prototypes = replace(planted.embeddings, values=np.eye(2, dtype=np.float32)[number][:, None])

    class Graded:
        def predict(self, trials, *, repeats):
            from braindec.decoder import Prediction

            ids = tuple(trials.table["stimulus_id"].tolist())
            truth = prototypes.of(ids)
            strength = np.where(np.arange(len(ids)) % 5 < 3, 1.0, -0.2)[:, None, None]
            values = (0.5 + strength * (truth - 0.5)).astype(np.float32)
            return Prediction(ids, values, trials.table, np.ones(len(ids), int))

        def similarity(self, prediction, candidates):
            raise AssertionError("this protocol compares by distance")

    folds = splits.leave_one_out(planted.dataset, "run")[:2]
    decoded = evaluate.cross_decode(
        lambda *_: Graded(), planted.dataset, prototypes, folds, protocol, 0, "category"
    )["sub-01_fmri"]
    labels = names[number][[planted.dataset.stimuli.ids.index(i) for i in decoded.ids]]
    found = evaluate.measure(decoded, protocol, labels, np.random.default_rng(0))["roc_auc"]
    # Of the pairs, those of two wrong-sided trials are lost: near (2/5)^2. Signs alone would tie, and lose more.
    assert found.value == pytest.approx(1 - 0.16, abs=0.02)
    assert found.value == pytest.approx(found.per_sample.mean())
    assert found.interval[0] < found.value < found.interval[1]
    # The values of single trials carry DeLong's error, so that a paired difference has the right width.
    half = found.per_sample.std() / np.sqrt(found.n) * 1.96
    assert half == pytest.approx((found.interval[1] - found.interval[0]) / 2, rel=0.1)


def test_responses_are_read_once_for_all_refits_where_they_are_small(planted, monkeypatch):
    kept = in_memory(planted.dataset)
    for key, trials in planted.dataset.trials.items():
        assert isinstance(kept.trials[key].responses, np.ndarray)
        np.testing.assert_array_equal(kept.trials[key].responses, np.asarray(trials.responses[:]))
    assert kept.split is planted.dataset.split
    monkeypatch.setattr("braindec.evaluate.exam.IN_MEMORY", 1)
    assert in_memory(planted.dataset) is planted.dataset


def test_stages_are_timed_by_the_clock_and_by_the_processor():
    lap = evaluate.Laps()
    time.sleep(0.05)
    lap("asleep")
    lap("nothing")
    said = lap.record()
    assert list(said["stages"]) == ["asleep", "nothing"]
    assert said["stages"]["asleep"] >= 0.05 > said["stages_cpu"]["asleep"]
    assert said["stages"]["nothing"] < 0.05


def test_the_interval_of_two_subjects_stays_among_possible_values():
    rows = [
        Score("image_retrieval_top5", "braindec", "p", subject, "fmri", value, (0.7, 1.0), 0.025, 0.025, 40)
        for subject, value in ((1, 0.8), (2, 1.0))
    ]
    (group,) = group_scores(rows)
    assert group.value == pytest.approx(0.9) and group.interval == (0.0, 1.0)
    bits = [replace(row, name="bits_per_trial", value=row.value * 8) for row in rows]
    (group,) = group_scores(bits)
    assert group.interval[1] > 8  # nothing bounds bits
    (group,) = group_scores([replace(row, name="category_top1") for row in rows])  # a share of a study
    assert group.interval == (0.0, 1.0)


BRIEF = evaluate.Plan(n_null=1, n_null_baselines=1, progress=False)


def test_a_score_of_weights_that_no_step_changed_says_so(planted, capsys):
    """As under a loss of the wrong sign: folds choose the start, and what it scores is no work of training."""
    still = MiniRecipe(train=Config(n_steps=4, lr=0.0, validate_every=2, device="cpu"), n_folds=2)
    decoder = BrainDecoder.build(still, planted.dataset.info, planted.embeddings.info)
    decoder.fit(planted.dataset.part("train"), planted.embeddings, progress=False)
    found = evaluate.held_out(decoder, still, planted.dataset, planted.embeddings, plan=BRIEF)
    assert score(found, "braindec").value > 0.5
    told = found.record["training"]
    assert told["n_steps"] == 4 and told["steps_chosen"] == [0]
    assert "0 of 4 steps were chosen" in told["warning"] and "ridge_start=true" in told["warning"]
    assert f"warning: {told['warning']}" in capsys.readouterr().err
    _, record = evaluate.unseen(decoder, still, planted.dataset.part("test"), planted.embeddings)
    assert record["training"] == told and told["warning"] in capsys.readouterr().err


def test_a_score_of_steps_that_were_chosen_says_how_many(planted, capsys):
    learns = MiniRecipe(
        train=Config(n_steps=40, batch_size=64, lr=3e-2, validate_every=40, ridge_start=False, device="cpu"),
        n_folds=2, protocol="heldout_stimuli_folds",
    )  # fmt: skip
    folds = splits.k_fold(planted.dataset, "stimulus", 2, np.random.default_rng(0))
    found = evaluate.cross_validate(
        learns, planted.dataset, planted.embeddings, folds, plan=BRIEF, label_column="category"
    )
    assert found.record["training"] == {"n_steps": 40, "steps_chosen": [40, 40]}
    assert "warning: Training" not in capsys.readouterr().err


def test_what_is_solved_or_told_to_make_no_step_has_none_to_choose(outcome):
    assert "training" not in outcome.record
