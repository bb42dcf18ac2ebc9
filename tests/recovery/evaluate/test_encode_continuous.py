"""Encoding models of continuous runs find what was planted with a lag, nothing in slow noise, and cross no run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from braindec import encoding
from braindec.data import NeuralDataset, Split
from braindec.evaluate import encode, encode_continuous, encode_report, encode_text
from braindec.types import ArraySpace, Embeddings, StimulusSet, Table, Trials

QUICK = encode.Settings(n_folds=3, n_null=5, n_permutations=99)
KEY, STEP, LAG = "sub-01_fmri", 2.0, 4.0
RUNS = ("one", "two", "three", "last", "last-again")


def slow(rng, n, n_columns):
    """Noise that drifts: neighbours correlate at 0.9."""
    out = rng.standard_normal((n, n_columns))
    for i in range(1, n):
        out[i] = 0.9 * out[i - 1] + (1 - 0.81) ** 0.5 * out[i]
    return out


def world(n=120, n_voxels=20, planted=True, seed=0):
    """Four films of drifting features; the last was shown twice, and half of the voxels follow 6 s after."""
    rng = np.random.default_rng(seed)
    film = {name: slow(rng, n, 6) for name in RUNS[:4]}
    weights = rng.standard_normal((6, n_voxels // 2))
    responses, columns = [], {"stimulus_id": [], "run": [], "repeat": [], "onset_s": []}
    for name in RUNS:
        medium = name.removesuffix("-again")
        y = slow(rng, n, n_voxels)
        if planted:
            late = np.concatenate(
                [np.zeros((1, 6)), film[medium][:-1]]
            )  # trials come 4 s after: one volume more
            y[:, : n_voxels // 2] += late @ weights
        responses.append(y)
        columns["stimulus_id"] += [f"{medium}-{i:03d}" for i in range(n)]
        columns["run"] += [name] * n
        columns["repeat"] += [int(name != medium)] * n
        columns["onset_s"] += (STEP * np.arange(n)).tolist()
    order = rng.permutation(5 * n)  # the table is not in the order of time
    table = {name: np.array(values)[order] for name, values in columns.items()}
    table |= {
        "session": np.ones(5 * n, int),
        "acquisition_order": order,
        "exchangeability_block": table["run"],
    }
    y = np.concatenate(responses)[order].astype(np.float32)
    trials = Trials(y, Table(table), ArraySpace(n_voxels), "z", 1, "fmri")
    ids = tuple(f"{name}-{i:03d}" for name in film for i in range(n))
    parts = {p: tuple(i for i in ids if i.startswith("last") == (p == "test")) for p in ("train", "test")}
    data = NeuralDataset.from_trials(
        [trials], StimulusSet(ids, "none"), Split("s", "stimulus", parts), name="films"
    )
    values = np.concatenate(list(film.values()))[:, None].astype(np.float32)
    return replace(data, about={"hrf_lag_s": LAG}), Embeddings(
        ids, values, "film", {"model": "film"}, "0" * 64
    )


@pytest.mark.parametrize("shift", ["block", "circular"])
def test_voxels_that_follow_a_film_are_found_in_another_film_and_drifting_noise_is_not(shift):
    data, film = world()
    timing = encode_continuous.Timing(shift=shift)
    (e,) = encode_continuous.encode_continuous(data, {"film": film}, timing=timing, settings=QUICK).values()
    assert e.best[:10].mean() > 0.7 and abs(e.best[10:].mean()) < 0.2
    assert (e.tested.p_max[:10] < 0.05).sum() >= 8 and (e.tested.p_max[10:] < 0.05).sum() == 0
    assert abs(e.null.mean()) < 0.2 < e.best[:10].mean() - e.null[:, :10].mean()
    assert (
        e.responses.shape == (120, 20) and len(np.unique(e.blocks)) == 15
    )  # the last film once; pieces of 16 s
    assert e.ceilings.repeats_of == "test"
    scores = encode_report.scores({KEY: e}, "heldout_stimuli")
    assert scores[0].n == 15


def test_shuffling_single_volumes_would_call_drifting_noise_a_finding():
    data, film = world(planted=False)
    (e,) = encode_continuous.encode_continuous(data, {"film": film}, settings=QUICK).values()
    assert (e.tested.p < 0.05).mean() < 0.25
    prediction, truth = (torch.from_numpy(v) for v in (e.predictions, e.responses))
    wrong = encoding.significance(prediction, truth, 99, np.random.default_rng(0))
    assert (wrong.p < 0.05).sum() > (e.tested.p < 0.05).sum()


def test_features_of_one_run_never_reach_into_the_next():
    data, film = world()
    timing = encode_continuous.Timing(delays_s=(8.0,))  # two volumes after the trial's own stretch
    names = np.array([i[:-4] for i in film.ids])
    marked = film.values.copy()
    marked[np.flatnonzero(names == "one")[-4:]] = 50.0  # the end of the first film
    rows = timeline(data, timing)
    a, b = (
        encode_continuous._task(KEY, rows, {"f": space}, {}, timing, QUICK)["layers"]["f"][0][:, 0].numpy()
        for space in (film, replace(film, values=marked))
    )
    of = np.array([i[:-4] for i in np.array(rows.ids)[rows.part == "train"]])
    ends = np.sort(b)[-2:]
    assert (b[of == "one"][-2:] == ends).all()  # marks move two rows: two of four stay inside
    for name in ("two", "three"):
        x, z = a[of == name], b[of == name]
        assert x[0] == x[1] and z[0] == z[1]  # nothing is known of what came before
        assert np.corrcoef(x[2:], z[2:])[0, 1] == pytest.approx(1.0, abs=1e-5)


def timeline(data, timing):
    trials = data.trials[KEY]
    parts = {p: data.split.members(trials, data.stimuli, p) for p in ("train", "test")}
    return encode_continuous._timeline(trials, torch.from_numpy(trials.responses), parts, LAG, timing)


def test_the_canonical_response_finds_a_lag_of_its_own_and_the_wrong_lag_predicts_less():
    data, film = world()
    found = {
        name: encode_continuous.encode_continuous(
            data, {"film": film}, timing=encode_continuous.Timing(**told), settings=replace(QUICK, n_null=0)
        )[KEY].best[:10].mean()
        for name, told in {"hrf": {"model": "hrf"}, "fir": {}, "early": {"delays_s": (-20.0,)}}.items()
    }  # fmt: skip
    assert found["fir"] > found["hrf"] > 0.5 > 0.3 > found["early"]


def test_levels_of_whole_runs_teach_nothing_which_no_order_inside_of_runs_could_undo():
    data, film = world(planted=False)
    run = data.trials[KEY].table["run"]
    level = {name: 10.0 * i for i, name in enumerate(("one", "two", "three"))}
    responses = data.trials[KEY].responses + np.array([level.get(r, 0.0) for r in run], np.float32)[:, None]
    data = replace(data, trials={KEY: replace(data.trials[KEY], responses=responses)})
    values = film.values.copy()
    values[:, 0, 0] += [level.get(i[:-4], 0.0) for i in film.ids]
    settings = replace(QUICK, n_null=10)
    layers = {"film": replace(film, values=values)}
    (e,) = encode_continuous.encode_continuous(data, layers, settings=settings).values()
    assert abs(e.best.mean()) < 0.2 and abs(e.null.mean()) < 0.1
    assert all((model.cv_score < 0.3).all() for model in e.layers.values())


def test_a_clip_that_is_played_again_in_its_run_is_resampled_with_itself():
    pieces = encode_continuous._pieces(np.zeros(8, int), 2)
    assert pieces.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert encode_continuous._joined(pieces, list("abcdabcd")).tolist() == [0, 0, 1, 1, 0, 0, 1, 1]
    assert len(set(encode_continuous._joined(pieces, list("abcdefgh")).tolist())) == 4


def test_a_ceiling_is_that_of_the_rows_that_are_predicted():
    data, film = world()
    settings = replace(QUICK, n_null=0)
    (twice,) = encode_continuous.encode_continuous(data, {"film": film}, settings=settings).values()
    # The second showing begins one stretch later: it is another run, and its rows stay single.
    table = data.trials[KEY].table
    kept = ~((table["run"] == "last-again") & (table["stimulus_id"] == "last-000"))
    single = replace(data.trials[KEY], responses=data.trials[KEY].responses[kept], table=table.take(kept))
    (once,) = encode_continuous.encode_continuous(
        replace(data, trials={KEY: single}), {"film": film}, settings=settings
    ).values()
    assert len(twice.test_ids) == 120 and len(once.test_ids) == 239 and len(np.unique(once.blocks)) <= 15
    assert (once.ceiling[:10] < twice.ceiling[:10]).all()


@pytest.mark.parametrize("level", [lambda name: 8.0 * ("two" in name), lambda name: 8.0 * ("again" in name)])
def test_the_level_of_a_run_neither_lifts_nor_lowers_a_ceiling(level):
    """Responses are predicted about their run's mean: levels of films are no signal, those of repeats no noise."""
    data, film = world(n_voxels=12)
    parts = {
        p: tuple(i for i in film.ids if i.startswith(("two", "last")) == (p == "test"))
        for p in ("train", "test")
    }
    data = replace(data, split=Split("s", "stimulus", parts))
    (trials,) = data.trials.values()
    ceilings = []
    for level_of in (lambda name: 0.0, level):
        up = np.array([level_of(r) for r in trials.table["run"]], np.float32)[:, None]
        moved = replace(data, trials={KEY: replace(trials, responses=trials.responses + up)})
        settings = replace(QUICK, n_null=0, n_permutations=1)
        ceilings.append(
            encode_continuous.encode_continuous(moved, {"film": film}, settings=settings)[KEY].ceilings
        )
    for kind in ceilings[0].test:
        np.testing.assert_allclose(ceilings[1].test[kind], ceilings[0].test[kind], atol=1e-3)


def test_training_volumes_near_a_test_volume_of_the_same_run_are_left_out():
    data, film = world()
    test = tuple(f"two-{i:03d}" for i in range(60, 120))
    train = tuple(i for i in film.ids if i not in test and not i.startswith("last"))
    data = replace(data, split=Split("halves", "stimulus", {"train": train, "test": test}))
    (e,) = encode_continuous.encode_continuous(
        data, {"film": film}, settings=replace(QUICK, n_null=0)
    ).values()
    assert e.n_train == 120 + 52 + 120 and len(e.test_ids) == 60
    assert next(iter(e.layers.values())).about["left_out"] == 8


def test_trials_at_uneven_distances_and_datasets_that_tell_no_lag_are_refused():
    data, film = world(n=20)
    with pytest.raises(ValueError, match="lag_s"):
        encode_continuous.encode_continuous(replace(data, about={}), {"film": film})
    trials = data.trials[KEY]
    onset = np.where(trials.table["stimulus_id"] == "one-003", 7.0, trials.table["onset_s"])
    columns = {name: trials.table[name] for name in trials.table} | {"onset_s": onset}
    uneven = replace(data, trials={KEY: replace(trials, table=Table(columns))})
    with pytest.raises(ValueError, match="one distance"):
        encode_continuous.encode_continuous(uneven, {"film": film})


def test_words_become_counts_and_context_stays_in_its_story():
    words = {"a-0": "the cat", "a-1": "", "a-2": "sat", "b-0": "dogs"}
    assert encode_text.word_rate(words).values[:, 0].tolist() == [[2, 6], [0, 0], [1, 3], [1, 4]]
    spelled = encode_text.letters(words).values[:, 0]
    assert spelled.shape == (4, 26) and spelled[0, encode_text.LETTERS.index("t")] == 2
    texts = encode_text._in_context(tuple(words), list(words.values()), 2)
    assert texts == ["the cat", "the cat", "the cat sat", "dogs"]
