"""Models beside each other, spaces that share, growth with trials: planted truths are found, and nulls are at zero."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from braindec import checks
from braindec.evaluate import encode, encode_partition, encode_scaling, encode_scan

QUICK = encode.Settings(n_null=3, n_permutations=9, shares=(0.5,))


def with_values(embeddings, values, name):
    return replace(embeddings, values=values.astype(np.float32), space=name, provenance=name)


@pytest.fixture(scope="module")
def spaces(planted):
    """The planted features, their first and second halves with a common part, and noise."""
    x, rng = np.asarray(planted.embeddings.values), np.random.default_rng(5)
    made = {
        "all": x, "first": x[:, :, :10], "second": x[:, :, 6:], "weak": x[:, :, :4],
        "noise": rng.standard_normal((len(x), 1, 16)), "low": rng.standard_normal((len(x), 1, 6)),
    }  # fmt: skip
    return {name: with_values(planted.embeddings, v, name) for name, v in made.items()}


@pytest.fixture(scope="module")
def scan(planted, spaces, tmp_path_factory):
    cache = tmp_path_factory.mktemp("scan")
    low = {"low": spaces["low"]}
    found = {
        name: encode_scan.scan_spaces(planted.dataset, {name: spaces[name]}, low, QUICK, None, cache)
        for name in ("all", "weak", "noise")
    }
    return encode_scan.Scan(found, QUICK), cache


def test_models_are_ordered_as_planted_for_every_subject_and_in_the_group(scan):
    scan, _ = scan
    for key in scan.keys:
        values = {model: scan.mean_r(model, key) for model in scan.models}
        assert values["all"] > 0.6 > values["weak"] > 0.15
        assert abs(values["noise"]) < 0.12 and abs(values[encode_scan.LOW_LEVEL]) < 0.12
        assert scan.difference("all", "weak", key)[1] > 0
        low, high = scan.difference("noise", encode_scan.LOW_LEVEL, key)[1:]
        assert low < 0.1 and high > -0.1
    value, low, high = scan.group_difference("all", "noise")
    assert low < value < high and value > 0.5
    names = {s.name for s in encode_scan.scores(scan, "p")}
    assert names == {"encoding_correlation", "encoding_correlation:weak", "encoding_correlation:noise"}
    ours = next(s for s in encode_scan.scores(scan, "p") if s.system == "braindec" and s.ceiling is not None)
    assert ours.interval[0] < ours.value < ours.interval[1] < float(ours.ceiling or 0) + 0.1
    assert abs(ours.null) < 0.1 and ours.null_n == 3


def test_a_scan_goes_on_from_its_cache_and_refits_where_conditions_differ(scan, planted, spaces, monkeypatch):
    done, cache = scan
    low = {"low": spaces["low"]}

    def refuse(*given, **more):
        raise RuntimeError("fitted again")

    monkeypatch.setattr(encode, "encode", refuse)
    again = encode_scan.scan_spaces(planted.dataset, {"all": spaces["all"]}, low, QUICK, None, cache)
    for key, one in done.found["all"].items():
        assert all(np.array_equal(getattr(one, n), getattr(again[key], n)) for n in encode_scan.ARRAYS)
        assert again[key].n_train == one.n_train
    for changed in (
        (planted.dataset, {"all": spaces["weak"]}, low, QUICK),
        (planted.dataset, {"all": spaces["all"]}, low, replace(QUICK, seed=1)),
        (planted.dataset.select([planted.dataset.keys[0]]), {"all": spaces["all"]}, low, QUICK),
    ):
        with pytest.raises(RuntimeError, match="fitted again"):
            encode_scan.scan_spaces(*changed, None, cache)


def test_resampled_correlations_are_numpys_of_the_rows_drawn(rng):
    a, b = rng.standard_normal((2, 12, 3))
    rows = rng.integers(0, 12, 12)
    weights = np.bincount(rows, minlength=12)[None] / 12
    found = encode_scan.correlations(a, b, weights)[0]
    expected = [np.corrcoef(a[rows, v], b[rows, v])[0, 1] for v in range(3)]
    assert np.allclose(found, expected)
    assert np.allclose(
        encode_scan.correlations(a, b), [np.corrcoef(a[:, v], b[:, v])[0, 1] for v in range(3)]
    )


def test_spaces_divide_what_they_explain_and_noise_explains_nothing(planted, spaces):
    given = {name: spaces[name] for name in ("first", "second")}
    found = encode_partition.encode_partition(
        planted.dataset, given, settings=QUICK, preprocessing=None, n_null=2
    )
    for one in found.values():
        first, second = one.mean("first"), one.mean("second")
        # 6 of the 16 planted dimensions are in one space alone, 4 in both.
        assert first[0] > first[1] > 0.05 and second[0] > second[1] > 0.05
        shared = one.mean("first", "second")[0]
        assert 0.05 < shared < first[0]
        assert sum(float(p[one.kept].mean()) for p in one.partition.parts().values()) == pytest.approx(
            float(one.partition.r2["first", "second"][one.kept].mean()), abs=1e-5
        )
        assert max(v.max() for v in one.null.values()) < 0.03
    rows = encode_partition.table(found)["rows"]
    assert [row[0] for row in rows] == ["first alone", "second alone", "shared by first and second"]
    nothing = encode_partition.encode_partition(
        planted.dataset,
        {"all": spaces["all"], "noise": spaces["noise"]},
        settings=QUICK,
        preprocessing=None,
        n_null=1,
    )
    for one in nothing.values():
        assert one.mean("noise")[0] < 0.02 and abs(one.mean("all", "noise")[0]) < 0.1


def test_prediction_grows_with_trials_and_shuffled_pairs_do_not(planted, spaces):
    found = encode_scaling.encode_scaling(
        planted.dataset, spaces["all"], (0.15, 0.4, 1.0), settings=QUICK, preprocessing=None
    )
    for one in found.values():
        assert np.diff(np.nanmean(one.r, 1)).min() > 0
        assert one.n_trials.tolist() == [54, 144, 360]
        low, high = one.slope_interval
        assert 0 < low < one.slope < high
        assert np.abs(one.null_slope).max() < one.slope / 2
        assert one.ceiling > one.r[-1, 0]
    none = encode_scaling.encode_scaling(
        planted.dataset, spaces["noise"], (0.3, 1.0), n_draws=1, settings=QUICK, preprocessing=None
    )
    assert all(one.slope_interval[0] < 0.05 for one in none.values())


def test_mistakes_are_named(planted, spaces):
    with pytest.raises(ValueError, match="fractions must rise"):
        encode_scaling.encode_scaling(planted.dataset, spaces["all"], (1.0, 0.3))
    with pytest.raises(ValueError, match="number of feature spaces"):
        encode_partition.encode_partition(planted.dataset, {"all": spaces["all"]})
    with pytest.raises(ValueError, match="have no caption"):
        encode_partition.caption_space(planted.dataset, "tiny_openclip")
    with pytest.raises(checks.ConfigError, match="model must be one of"):
        encode_scan.Scan({"a": {}}, QUICK)._one("b", "sub-01_fmri")
