"""Two runs beside each other: paired by name of the sample, over seeds, and refused where they cannot be paired."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from braindec import report
from braindec.decoder import searched, validation_of
from braindec.report import comparison
from braindec.types import Report, Score

N = 120


def _run(
    offset,
    seed=0,
    *,
    ids=None,
    order=None,
    dataset="world",
    subjects=(1, 2),
    pictures=False,
    direction="higher",
):
    """A report whose scores share per-stimulus difficulty with every other run, plus `offset`."""
    difficulty = np.random.default_rng(7).random(N)
    own = np.random.default_rng(100 + seed)
    names = np.array([f"s{i:03d}" for i in range(N)] if ids is None else ids)
    order = np.arange(N) if order is None else order
    scores = []
    for subject in subjects:
        values = difficulty + offset + 0.02 * own.standard_normal(N)
        scores.append(
            Score("ssim", "braindec", "p", subject, "fmri", float(values.mean()), (0.0, 1.0), 0.1, 0.1, N,
                  direction, per_sample=values[order], sample_ids=tuple(names[order].tolist()))
        )  # fmt: skip
    panels = ()
    if pictures:
        drawn = np.random.default_rng(seed).integers(0, 255, (4, 8, 8, 3), dtype=np.uint8)
        gallery = {
            "ids": np.array(["s000", "s001", "s002", "s003"]),
            "presented": drawn,
            "reconstructed": drawn[::-1].copy(),
        }
        panels = (("sub-01 fmri", "image_grid", {"rows": {"presented": drawn[:2]}, "gallery": gallery}),)
    run = {
        "dataset": dataset,
        "protocol": "p",
        "seed": seed,
        "recipe": "r",
        "smoke": False,
        "config": {"lr": offset},
        "rules": {"braindec": _rules(seed)},
    }
    return Report(tuple(scores), run, panels)


def _rules(seed):
    return {
        "search": searched({}),
        "validation": validation_of([[f"s{seed}"], ["s9"]], "stimulus"),
        "stopping": {"rule": "looks", "train.n_steps": 40},
    }


def _runs(name, offset, n_seeds=1, **more):
    reports = tuple(_run(offset, seed, **more) for seed in range(n_seeds))
    return comparison.Runs(name, reports, folder=f"runs/{name}")


def test_a_small_difference_shows_because_samples_are_paired():
    a, b = _runs("a", 0.02), _runs("b", 0.0)
    made = comparison.compare(a, b)
    row = made.run["comparisons"][0]
    assert row["difference"] == pytest.approx(0.02, abs=0.006)
    assert row["interval"][0] > 0 and row["p_holm"] < 0.01
    spread = a.reports[0].scores[0].per_sample.std() / np.sqrt(N)
    assert row["difference"] < 2 * spread  # unpaired, nobody would have seen it


def test_equal_systems_are_not_told_apart():
    made = comparison.compare(_runs("a", 0.0), comparison.Runs("b", (_run(0.0, seed=5),)))
    for row in made.run["comparisons"]:
        assert row["interval"][0] <= 0 <= row["interval"][1]


def test_samples_are_paired_by_name_and_not_by_place():
    order = np.random.default_rng(3).permutation(N)
    straight = comparison.compare(_runs("a", 0.02), _runs("b", 0.0))
    moved = comparison.compare(_runs("a", 0.02), _runs("b", 0.0, order=order))
    assert [r["difference"] for r in moved.run["comparisons"]] == pytest.approx(
        [r["difference"] for r in straight.run["comparisons"]]
    )


def test_other_samples_another_dataset_and_equal_seeds_are_refused(tmp_path):
    other = [f"t{i:03d}" for i in range(N)]
    with pytest.raises(ValueError, match="not measured on the same samples"):
        comparison.compare(_runs("a", 0.0), _runs("b", 0.0, ids=other))
    with pytest.raises(ValueError, match="differ in dataset"):
        comparison.compare(_runs("a", 0.0), _runs("b", 0.0, dataset="elsewhere"))
    for name in ("seed-0", "seed-1"):
        report.write(_run(0.0, 0), tmp_path / name)
    with pytest.raises(ValueError, match="two runs of one seed"):
        comparison.read_runs(tmp_path)
    with pytest.raises(FileNotFoundError, match="seed-"):
        comparison.read_runs(tmp_path / "nothing")


def test_seeds_are_a_component_of_variance_and_everything_survives_the_files(tmp_path):
    for name, offset in (("one", 0.05), ("two", 0.0)):
        for seed in range(5):
            report.write(_run(offset, seed, pictures=True), tmp_path / name / f"seed-{seed}")
    made = comparison.compare(*(comparison.read_runs(tmp_path / name) for name in ("one", "two")))
    over = made.run["over_seeds"][0]
    assert (over["n_subjects"], over["n_seeds"]) == (2, 5)
    assert over["interval"][0] <= over["difference"] <= over["interval"][1]
    assert set(over["variance"]) == {"subject", "seed", "residual"}
    assert ["lr", "0.05", "0.0"] in made.run["differs"]
    kinds = [title for title, _, _ in made.panels]
    assert "sub-01 fmri: side by side" in kinds and "Where ssim differs" in kinds
    page = report.write(made, tmp_path / "compared").read_text()
    assert "one against two" in page and "a: one" in page


def test_subjects_and_steps_are_named_as_a_reader_names_them():
    a, b = _run(0.05), _run(0.0)
    a.run["config"]["preprocessing"] = {"all": [{"step": "Standardise", "unit": "run", "scale": False}]}
    b.run["config"]["preprocessing"] = {"all": []}
    made = comparison.compare(comparison.Runs("a", (a,)), comparison.Runs("b", (b,)))
    assert [row["key"] for row in made.run["comparisons"]] == ["sub-01 fmri", "sub-02 fmri"]
    assert ["preprocessing.all", "Standardise(unit=run, scale=False)", "none"] in made.run["differs"]


def test_a_verdict_takes_equal_rules_and_five_seeds_in_common():
    told = comparison.compare(_runs("a", 0.05, n_seeds=5), _runs("b", 0.0, n_seeds=5)).run
    assert told["lacking"] == []
    assert [v["verdict"] for v in told["verdicts"]] == ["a above b"]
    assert "trained from 5 seeds" in told["summary"]
    same = comparison.compare(_runs("a", 0.0, n_seeds=5), _runs("b", 0.0, n_seeds=5)).run
    assert [v["verdict"] for v in same["verdicts"]] == ["not told apart"]


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("search space", {"search": searched({"train.lr": (1e-3, 1e-4)})}),
        ("validation split", {"validation": validation_of([["other"]], "stimulus")}),
        ("stopping rule", {"stopping": {"rule": "looks", "train.n_steps": 400}}),
    ],
)
def test_unequal_rules_withhold_the_verdict_and_name_the_way_out(what, change):
    a, b = _runs("a", 0.05, n_seeds=5), _runs("b", 0.0, n_seeds=5)
    for one in b.reports:
        one.run["rules"]["braindec"].update(change)
    made = comparison.compare(a, b)
    assert [r["condition"] for r in made.run["lacking"]] == [f"one {what}"]
    assert [v["verdict"] for v in made.run["verdicts"]] == ["withheld"]
    assert "differences of these fitted decoders, not of the systems" in made.run["summary"]
    assert made.run["comparisons"][0]["interval"][0] > 0  # the difference is still shown
    (row,) = made.run["lacking"]
    wanted = {"search space": "evaluate.contest", "stopping rule": "--set train.n_steps=40"}.get(
        what, "--seeds 5"
    )
    assert wanted in row["way_out"]
    assert "above" not in str([p for t, _, p in made.panels if t != "Verdict withheld"])


def test_few_seeds_and_runs_without_a_record_withhold_the_verdict():
    a = _runs("a", 0.05, n_seeds=7)
    two = comparison.compare(a, _runs("b", 0.0, n_seeds=2)).run
    assert [r["condition"] for r in two["lacking"]] == ["5 seeds"]
    assert "2 seeds in common" in two["lacking"][0]["why"]
    assert two["lacking"][0]["way_out"] == "braindec run r --data DIR --seeds 5 --out runs/b"
    assert "of these fitted decoders" in two["summary"]
    one = comparison.compare(_runs("a", 0.05), _runs("b", 0.0)).run
    assert "differences of these two fitted decoders, not of the systems" in one["summary"]
    old = _runs("b", 0.0, n_seeds=5)
    for report_of_b in old.reports:
        del report_of_b.run["rules"]
    assert [r["condition"] for r in comparison.compare(a, old).run["lacking"]] == ["recorded rules"]


def test_seeds_are_paired_by_their_number_and_widen_the_interval_of_one_subject():
    few = {"subjects": (1,)}
    a, b = _runs("a", 0.02, n_seeds=6, **few), _runs("b", 0.0, n_seeds=6, **few)
    moved = comparison.Runs("b", b.reports[::-1])
    straight, turned = (comparison.compare(a, other).run["over_seeds"][0] for other in (b, moved))
    assert straight == turned
    assert (straight["n_rows"], straight["n_seeds"], straight["rows"]) == (N, 6, "stimulus")
    lucky = [
        _run(0.02 + 0.05 * (seed % 2), seed, **few) for seed in range(6)
    ]  # every other training is lucky
    wide = comparison.compare(comparison.Runs("a", tuple(lucky)), b).run["over_seeds"][0]
    width = [r["interval"][1] - r["interval"][0] for r in (straight, wide)]
    assert width[1] > 3 * width[0]
    assert wide["variance"]["seed"] > 10 * straight["variance"]["seed"]
    assert wide["seed_sd_a"] == pytest.approx(0.027, abs=0.004)


def test_lower_is_better_where_the_metric_says_so():
    a, b = _runs("a", 0.05, n_seeds=5, direction="lower"), _runs("b", 0.0, n_seeds=5, direction="lower")
    (verdict,) = comparison.compare(a, b).run["verdicts"]
    assert verdict["verdict"] == "b above a (lower is better)"


def test_a_score_as_published_beside_the_corrected_one_is_not_compared():
    a, b = _runs("a", 0.02), _runs("b", 0.0)
    alone = comparison.compare(a, b).run["comparisons"]
    beside = [
        replace(runs, reports=tuple(
            replace(r, scores=(*r.scores, *(
                replace(s, protocol="p_as_published_by_x", details={"as_published_by": "x"}) for s in r.scores
            ))) for r in runs.reports
        )) for runs in (a, b)
    ]  # fmt: skip
    assert comparison.compare(*beside).run["comparisons"] == alone
