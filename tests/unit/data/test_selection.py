"""What repeats is kept, what does not is left out, by training rows that an audit can see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from braindec import checks
from braindec.data import NeuralDataset, Split, leakage, reliability, repeats
from braindec.data.preprocessing import (
    FittedPreprocessing,
    Preprocessing,
    SelectRegion,
    SelectReliable,
    Standardise,
)
from braindec.types import SensorSpace, StimulusSet, Table, Trials, VoxelSpace

N_STIMULI, N_REPEATS, N_VOXELS = 60, 4, 40
RELIABLE = np.arange(N_VOXELS) % 4 == 1


def table(n_stimuli=N_STIMULI, n_repeats=N_REPEATS) -> Table:
    n = n_stimuli * n_repeats
    return Table(
        {
            "stimulus_id": np.tile([f"s{i:03d}" for i in range(n_stimuli)], n_repeats),
            "session": np.full(n, "1"),
            "run": np.repeat(np.arange(n_repeats), n_stimuli).astype(str),
            "repeat": np.repeat(np.arange(n_repeats), n_stimuli),
            "onset_s": np.arange(n) * 2.0,
            "acquisition_order": np.arange(n),
            "exchangeability_block": np.full(n, "1"),
        }
    )


@pytest.fixture
def planted(rng) -> Trials:
    """Voxels 1, 5, 9, .. answer to stimuli with as much signal as noise, the others are noise of larger variance."""
    signal = rng.standard_normal((N_STIMULI, N_VOXELS)) * RELIABLE
    values = np.tile(signal, (N_REPEATS, 1)) + rng.standard_normal((N_STIMULI * N_REPEATS, N_VOXELS))
    values[:, ~RELIABLE] *= 5
    regions = {
        "good": RELIABLE & (np.arange(N_VOXELS) < 20),
        "bad": ~RELIABLE,
        "mixed": np.arange(N_VOXELS) < 8,
    }
    space = VoxelSpace(np.ones((2, 4, 5), dtype=bool), np.eye(4), regions)
    return Trials(values.astype(np.float32), table(), space, "a.u.", 1, "fmri")


@pytest.mark.parametrize("measure", ["ncsnr", "split_half"])
def test_the_voxels_that_repeat_are_kept_with_their_places(planted, measure):
    chain = Preprocessing((SelectReliable(10, measure=measure),)).fit(planted)
    assert np.array_equal(chain.states[0]["members"], RELIABLE)
    assert np.array_equal(chain.apply(planted), planted.responses[:, RELIABLE])
    assert np.array_equal(np.flatnonzero(chain.signal.space.mask.ravel()), np.flatnonzero(RELIABLE))
    by_threshold = Preprocessing((SelectReliable(threshold=0.6, measure=measure),)).fit(planted)
    assert np.array_equal(by_threshold.states[0]["members"], RELIABLE)
    assert by_threshold.sized.steps == (SelectReliable(10, measure=measure),)


def test_stimuli_of_another_trial_make_no_voxel_reliable(planted, rng):
    shuffled = replace(
        planted, table=planted.table.replace(stimulus_id=rng.permutation(planted.table["stimulus_id"]))
    )
    members = Preprocessing((SelectReliable(10),)).fit(shuffled).states[0]["members"]
    assert (members & RELIABLE).sum() <= 6  # 2.5 expected; 7 or more of 10 by chance once in 400
    with pytest.raises(ValueError, match="nothing reaches"):
        Preprocessing((SelectReliable(threshold=0.9),)).fit(shuffled)


def test_whole_regions_are_kept_by_their_mean(planted):
    chain = Preprocessing((SelectReliable(1, level="region"),)).fit(planted)
    assert np.array_equal(chain.states[0]["members"], planted.space.regions["good"])
    assert chain.sized.steps == chain.steps
    two = Preprocessing((SelectReliable(2, level="region"),)).fit(planted).states[0]["members"]
    assert np.array_equal(two, planted.space.regions["good"] | planted.space.regions["mixed"])


def test_channels_are_kept_by_their_responses_not_by_what_all_stimuli_share(rng):
    names = ("A", "B", "C")
    evoked = 20 * np.sin(np.arange(30) / 4) * np.array([0.0, 0.0, 1.0])[:, None]  # the same for all stimuli
    own = rng.standard_normal((N_STIMULI, 3, 30)) * np.array([0.1, 1.0, 0.1])[:, None]
    values = np.tile(own + evoked, (N_REPEATS, 1, 1)) + rng.standard_normal((N_STIMULI * N_REPEATS, 3, 30))
    space = SensorSpace(names, np.full((3, 3), np.nan), ("eeg",) * 3)
    trials = Trials(values.astype(np.float32), table(), space, "V", 1, "eeg", 100.0, 0.0)
    for measure in ("ncsnr", "split_half"):
        chain = Preprocessing((SelectReliable(1, measure=measure),)).fit(trials)
        assert chain.signal.space.names == ("B",) and chain.apply(trials).shape == (240, 1, 30)


def test_the_measures_are_those_of_the_reliability_maps(planted):
    values = repeats.snr(planted.responses, planted.table["stimulus_id"])
    per_session = reliability.ncsnr(planted, per_session=False)
    assert values == pytest.approx(per_session, rel=1e-5)


def test_held_out_rows_do_not_move_the_choice_and_the_audit_sees_rows_that_did(planted):
    split = Split("runs", "run", {"train": ("0", "1", "2"), "test": ("3",)})
    ids = tuple(np.unique(planted.table["stimulus_id"]).tolist())
    dataset = NeuralDataset.from_trials([planted], StimulusSet(ids, "none"), split)
    train, test = dataset.part("train"), dataset.part("test")
    chain = Preprocessing((Standardise(), SelectReliable(10)))
    (honest_rows,), (test_rows,) = (tuple(p.trials.values()) for p in (train, test))
    honest = chain.fit(honest_rows)
    spoiled = replace(
        planted, responses=np.where((planted.table["run"] == "3")[:, None], 1e3, planted.responses)
    )
    (again,) = dataset.from_trials([spoiled], dataset.stimuli, split).part("train").trials.values()
    assert np.array_equal(chain.fit(again).states[1]["members"], honest.states[1]["members"])
    leakage.check_fitted(train, test, {planted.key: honest}, {})
    with pytest.raises(checks.LeakageError, match="60 of 60 test trials"):
        leakage.check_fitted(train, test, {planted.key: chain.fit(planted)}, {})
    assert test_rows.n_trials == 60


def test_a_fold_keeps_as_many_as_the_whole_did(planted):
    whole = Preprocessing((SelectReliable(threshold=0.6),)).fit(planted)
    fewer, x = whole.sized.fit_apply(planted, np.arange(120))
    assert fewer.signal.shape == whole.signal.shape == x.shape[1:]


def test_a_selection_is_saved_bit_for_bit(planted):
    for steps in ((SelectRegion("mixed"), SelectReliable(3)), (SelectReliable(2, level="region"),)):
        chain = Preprocessing(steps).fit(planted)
        again = FittedPreprocessing.from_arrays(chain.config, chain.to_arrays())
        assert np.array_equal(again.apply(planted), chain.apply(planted))
        assert np.array_equal(again.signal.space.mask, chain.signal.space.mask) and again.steps == steps


def test_a_region_is_cut_without_looking_at_responses(planted):
    chain = Preprocessing((SelectRegion(("good", "mixed")),)).fit(planted)
    members = planted.space.regions["good"] | planted.space.regions["mixed"]
    assert not chain.learnt and np.array_equal(chain.apply(planted), planted.responses[:, members])
    with pytest.raises(checks.ConfigError, match="Did you mean 'good'"):
        Preprocessing((SelectRegion("goods"),)).fit(planted)


def test_settings_that_choose_nothing_are_refused(planted):
    for settings in ({}, {"n": 3, "threshold": 0.2}):
        with pytest.raises(checks.ConfigError, match="one of n and threshold"):
            SelectReliable(**settings)
    with pytest.raises(ValueError, match="n of 40"):
        Preprocessing((SelectReliable(41),)).fit(planted)
    alone = planted.take(np.arange(N_STIMULI))
    with pytest.raises(ValueError, match="repeats"):
        Preprocessing((SelectReliable(3),)).fit(alone)


def test_regions_have_the_ceilings_of_what_was_planted(planted):
    import torch

    found = reliability.by_region(planted, torch.Generator().manual_seed(0), per_session=False)
    rows = {name: i for i, name in enumerate(found["region"])}
    assert found["n_features"].tolist() == [5, 30, 8, 40]
    good, bad = rows["good"], rows["bad"]
    assert found["ncsnr"][good] == pytest.approx(1.0, abs=0.2) and found["ncsnr"][bad] < 0.3
    assert found["noise_ceiling"][good] == pytest.approx(1 / (1 + 1 / N_REPEATS), abs=0.06)
    assert found["split_half"][good] == pytest.approx(1 / (1 + 1 / N_REPEATS), abs=0.06)
    single = reliability.noise_ceiling(planted, 1, per_session=False)[RELIABLE]
    assert np.median(single) == pytest.approx(0.5, abs=0.1) and found["split_half"][bad] < 0.2
