"""The nouns refuse what cannot be: lengths that differ, names twice, axes that do not match."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec import checks
from braindec.types import (
    ArraySpace,
    Embeddings,
    Report,
    Score,
    SensorSpace,
    SignalInfo,
    StimulusSet,
    Table,
    Trials,
    VertexSpace,
    VoxelSpace,
    signal_key,
)
from braindec.types.trials import REQUIRED


def table(n=4, **further):
    text = ("stimulus_id", "session", "run", "exchangeability_block")
    columns = {name: np.full(n, "1") if name in text else np.arange(n) for name in REQUIRED}
    return Table({**columns, **further})


def trials(shape=(4, 3), **further):
    return Trials(np.zeros(shape), table(shape[0]), ArraySpace(shape[1]), "z", 1, "fmri", **further)


def test_a_table_cannot_be_written_to_and_does_not_follow_its_source():
    source = np.arange(3)
    kept = Table({"a": source})
    source[0] = 99
    assert kept["a"].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="read-only"):
        kept["a"][0] = 1


def test_a_table_takes_rows_by_mask_and_by_position():
    kept = Table({"a": np.arange(4), "b": np.array(["w", "x", "y", "z"])})
    assert kept.take(np.array([3, 0, 0]))["b"].tolist() == ["z", "w", "w"]
    assert kept.take(np.array([True, False, True, False]))["a"].tolist() == [0, 2]
    assert kept.replace(a=np.zeros(4))["a"].tolist() == [0] * 4 and kept["a"][3] == 3


def test_a_table_knows_its_columns():
    kept = Table({"category": np.arange(2)})
    assert "category" in kept and "missing" not in kept
    with pytest.raises(checks.ConfigError, match="Did you mean 'category'"):
        kept["categry"]


@pytest.mark.parametrize("column", [[[1, 2]], [object(), object()], np.zeros((2, 2))])
def test_columns_that_are_no_column_are_refused(column):
    with pytest.raises(ValueError, match="column 'a'"):
        Table({"a": column})


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="a has 2 along axis 'row' but b has 3"):
        Table({"a": [1, 2], "b": [1, 2, 3]})


@pytest.mark.parametrize("column", REQUIRED)
def test_trials_need_every_required_column(column):
    lacking = Table({name: values for name, values in table().items() if name != column})
    with pytest.raises(ValueError, match=f"{column!r} is missing"):
        Trials(np.zeros((4, 3)), lacking, ArraySpace(3), "z", 1, "fmri")


def test_trials_refuse_axes_that_do_not_match():
    with pytest.raises(ValueError, match="axis 'trial'"):
        Trials(np.zeros((5, 3)), table(4), ArraySpace(3), "z", 1, "fmri")
    with pytest.raises(ValueError, match="axis 1"):
        Trials(np.zeros((4, 3)), table(4), ArraySpace(2), "z", 1, "fmri")
    with pytest.raises(ValueError, match="need sfreq"):
        trials((4, 3, 10))
    with pytest.raises(checks.ConfigError, match="modality"):
        Trials(np.zeros((4, 3)), table(4), ArraySpace(3), "z", 1, "fmir")


def test_epochs_know_their_times_and_keys():
    epochs = trials((4, 3, 10), sfreq=100.0, tmin=-0.05)
    assert epochs.times == pytest.approx(np.arange(-5, 5) / 100)
    assert epochs.key == signal_key(1, "fmri") == "sub-01_fmri" == epochs.signal.key
    assert SignalInfo({epochs.key: epochs.signal}).of("sub-01_fmri").shape == (3, 10)
    with pytest.raises(checks.ConfigError, match="signal"):
        SignalInfo({}).of("sub-01_fmri")


def test_spaces_count_their_features_and_check_their_regions():
    mask = np.zeros((2, 3, 4), dtype=bool)
    mask[1, :2] = True
    assert VoxelSpace(mask, np.eye(4)).n_features == 8
    assert VertexSpace("fsaverage5", np.arange(3), np.arange(2)).n_features == 5
    assert SensorSpace(("a", "b"), np.zeros((2, 3)), ("eeg", "eeg")).n_features == 2
    with pytest.raises(ValueError, match="region 'v1'"):
        ArraySpace(3, {"v1": np.array([1, 0, 1])})
    with pytest.raises(ValueError, match="channel names must be unique"):
        SensorSpace(("a", "a"), np.zeros((2, 3)), ("eeg", "eeg"))
    with pytest.raises(ValueError, match="mask must be bool"):
        VoxelSpace(mask.astype(int), np.eye(4))


def test_stimuli_are_unique_and_say_when_there_are_no_images():
    with pytest.raises(ValueError, match="'a' occurs more than once"):
        StimulusSet(("a", "a"), "none")
    with pytest.raises(ValueError, match="axis 'stimulus'"):
        StimulusSet(("a", "b"), "none", table=Table({"x": [1]}))
    with pytest.raises(ValueError, match="holds no images"):
        StimulusSet(("a",), "none").images(["a"])


def test_embeddings_are_given_by_id_in_any_order_and_single_precision(rng):
    values = rng.standard_normal((5, 2, 3)).astype(np.float16)
    embeddings = Embeddings(tuple("abcde"), values, "space", {}, "hash")
    found = embeddings.of(["e", "a", "e"])
    assert found.dtype == np.float32 and np.array_equal(found, values[[4, 0, 4]].astype(np.float32))
    assert embeddings.info.shape == (2, 3) and embeddings.of([]).shape == (0, 2, 3)
    with pytest.raises(ValueError, match="first 'x'"):
        embeddings.of(["a", "x"])


def score(**further):
    given = {
        "name": "acc",
        "system": "braindec",
        "protocol": "p",
        "subject": 1,
        "modality": "fmri",
        "value": 0.5,
    }
    return Score(**(given | {"interval": (0.4, 0.6), "chance": 0.1, "null": 0.1, "n": 10} | further))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"system": "ours"}, "system"),
        ({"value": float("nan")}, "finite"),
        ({"interval": (0.1, float("inf"))}, "two finite numbers"),
        ({"ceiling": 0.9}, "come together"),
        ({"ceiling": 0.9, "ceiling_kind": "magic"}, "ceiling_kind"),
        ({"n": 0}, "at least 1"),
        ({"direction": "up"}, "direction"),
    ],
)
def test_a_score_is_never_less_than_whole(fault, message):
    with pytest.raises(ValueError, match=message):
        score(**fault)


def test_a_report_finds_its_one_score():
    report = Report((score(), score(system="ridge"), score(subject=2)), {})
    assert report.score("acc", "ridge").system == "ridge" and report.score("acc", subject=2).subject == 2
    with pytest.raises(ValueError, match="2 scores match"):
        report.score("acc")
    assert [row["interval"] for row in report.to_json()["scores"]] == [[0.4, 0.6]] * 3


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_embeddings_are_made_of_tensors_that_numpy_does_not_take(dtype):
    vectors = torch.arange(6.0).reshape(3, 2).to(getattr(torch, dtype)).requires_grad_()
    made = Embeddings.from_arrays(["a", "b", "c"], vectors, "mine")
    plain = Embeddings.from_arrays(["a", "b", "c"], np.arange(6.0).reshape(3, 2), "mine")
    assert made.values.dtype == np.float32 and made.provenance == plain.provenance
    np.testing.assert_array_equal(made.values, plain.values)


def test_many_stimuli_and_embeddings_are_shown_in_a_line(rng):
    ids = tuple(f"picture-{i:04d}" for i in range(500))
    table = Table({"category": np.array(["a"] * 500)})
    stimuli = StimulusSet(ids, "none", captions=dict.fromkeys(ids, "a red circle"), table=table)
    assert repr(stimuli) == "StimulusSet(500 of kind 'none'; 500 with captions; columns category)"
    made = Embeddings.from_arrays(ids, rng.standard_normal((500, 8)), "mine")
    assert repr(made) == "Embeddings(500 of 'mine', 1 x 8 each)"
