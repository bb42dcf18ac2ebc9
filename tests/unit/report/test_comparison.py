"""Two runs beside each other: paired by name of the sample, over seeds, and refused where they cannot be paired."""

from __future__ import annotations

import numpy as np
import pytest

from braindec import report
from braindec.report import comparison
from braindec.types import Report, Score

N = 120


def _run(offset, seed=0, *, ids=None, order=None, dataset="world", subjects=(1, 2), pictures=False):
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
                  per_sample=values[order], sample_ids=tuple(names[order].tolist()))
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
    }
    return Report(tuple(scores), run, panels)


def _runs(name, offset, n_seeds=1, **more):
    return comparison.Runs(name, tuple(_run(offset, seed, **more) for seed in range(n_seeds)))


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


def test_few_seeds_and_another_rule_of_training_are_said():
    a, b = _runs("a", 0.05, n_seeds=5), _runs("b", 0.0, n_seeds=5)
    assert "Fewer than" not in comparison.compare(a, b).run["summary"]
    assert "one rule" not in comparison.compare(a, b).run["summary"]
    for report_of_b in b.reports:
        report_of_b.run["config"]["train"] = {"n_steps": 400}
    assert "not trained by one rule: train.n_steps differ" in comparison.compare(a, b).run["summary"]
    assert "Fewer than 5 seeds" in comparison.compare(a, _runs("b", 0.0)).run["summary"]
