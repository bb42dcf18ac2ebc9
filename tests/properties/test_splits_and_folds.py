"""Whatever is dealt into parts, folds, batches or ranks is dealt whole, once, and the same way again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from braindec import checks, config, seeding, train
from braindec.data import NeuralDataset, Split, splits
from braindec.maths import folds
from braindec.maths.order import Order
from braindec.ranks import Ranks
from braindec.stats.permutation import n_pairings, permute_within_blocks
from braindec.types import ArraySpace, StimulusSet, Table, Trials

pytestmark = pytest.mark.slow
SEEDS = st.integers(0, 2**32)


@st.composite
def datasets(draw):
    """A subject who saw 4 to 9 pictures, 1 to 3 times each, in 2 to 4 runs and 2 sessions."""
    n_stimuli, n_runs = draw(st.integers(4, 9)), draw(st.integers(2, 4))
    counts = draw(st.lists(st.integers(1, 3), min_size=n_stimuli, max_size=n_stimuli))
    ids = tuple(f"p{i}" for i in range(n_stimuli))
    shown = np.random.default_rng(draw(SEEDS)).permutation(np.repeat(np.arange(n_stimuli), counts))
    n = len(shown)
    assume(n >= n_runs)
    run = np.arange(n) * n_runs // n
    columns = {
        "stimulus_id": np.array(ids)[shown], "session": run % 2 + 1, "run": run + 1,
        "repeat": [int((shown[:i] == s).sum()) for i, s in enumerate(shown)],
        "onset_s": np.arange(n) * 2.0, "acquisition_order": np.arange(n), "exchangeability_block": run,
    }  # fmt: skip
    trials = Trials(np.zeros((n, 3), np.float32), Table(columns), ArraySpace(3), "a.u.", 1, "fmri")
    table = Table({"concept": np.array([f"c{i % 4}" for i in range(n_stimuli)])})
    images = np.zeros((n_stimuli, 2, 2, 3), np.uint8)
    stimuli = StimulusSet(ids, "image", lambda wanted: images[: len(wanted)], table=table)
    return NeuralDataset.from_trials([trials], stimuli, name="drawn")


UNITS = st.sampled_from(["stimulus", "concept", "run", "session"])


def of_part(dataset, split, part):
    """Acquisition orders of the trials in a part."""
    trials = dataset.trials["sub-01_fmri"]
    return set(np.flatnonzero(split.members(trials, dataset.stimuli, part)).tolist())


@given(datasets(), UNITS, st.floats(0, 1), SEEDS)
def test_what_is_held_out_and_what_is_left_share_nothing_and_lack_nothing(dataset, unit, fraction, seed):
    split = splits.hold_out(dataset, unit, fraction, np.random.default_rng(seed))
    train_rows, test_rows = of_part(dataset, split, "train"), of_part(dataset, split, "test")
    assert not train_rows & test_rows and train_rows and test_rows
    assert train_rows | test_rows == set(range(dataset.n_trials))


@given(datasets(), UNITS, st.integers(2, 4), SEEDS)
def test_every_trial_is_tested_in_exactly_one_fold(dataset, unit, n_folds, seed):
    assume(n_folds <= len(dataset.unit_values(unit)))
    found = splits.k_fold(dataset, unit, n_folds, np.random.default_rng(seed))
    tested = sorted(row for split in found for row in of_part(dataset, split, "test"))
    assert tested == list(range(dataset.n_trials))


@given(datasets(), st.integers(2, 4), SEEDS)
def test_stratified_folds_differ_by_one_of_a_stratum_at_most(dataset, n_folds, seed):
    labels = dataset.unit_labels("stimulus", "concept")
    found = splits.k_fold(dataset, "stimulus", n_folds, np.random.default_rng(seed), stratify="concept")
    for concept in set(labels.values()):
        counts = [sum(labels[v] == concept for v in split.parts["test"]) for split in found]
        assert max(counts) - min(counts) <= 1


@given(datasets(), UNITS)
def test_leaving_one_out_leaves_every_value_out_once(dataset, unit):
    found = splits.leave_one_out(dataset, unit)
    assert [split.parts["test"] for split in found] == [(v,) for v in dataset.unit_values(unit)]


@given(datasets(), UNITS, st.floats(0.1, 0.9), SEEDS)
def test_equal_seeds_split_alike_and_a_split_survives_json(dataset, unit, fraction, seed):
    a, b = (splits.hold_out(dataset, unit, fraction, np.random.default_rng(seed)) for _ in range(2))
    assert a == b and a.hash == b.hash == Split.from_json(a.name, a.to_json()).hash


@given(st.lists(st.sampled_from("abcdef"), min_size=1), st.lists(st.sampled_from("abcdef"), min_size=1))
def test_a_split_whose_parts_share_a_value_cannot_be_made(left, right):
    parts = {"train": tuple(dict.fromkeys(left)), "test": tuple(dict.fromkeys(right))}
    if set(left) & set(right):
        with pytest.raises(checks.LeakageError):
            Split("drawn", "stimulus", parts)
    else:
        assert Split("drawn", "stimulus", parts).values("test") == parts["test"]


@given(datasets(), UNITS, SEEDS)
def test_a_split_does_not_depend_on_the_order_of_trials(dataset, unit, seed):
    split = splits.hold_out(dataset, unit, 0.4, np.random.default_rng(seed))
    trials = dataset.trials["sub-01_fmri"]
    order = np.random.default_rng(seed).permutation(trials.n_trials)
    members = split.members(trials, dataset.stimuli, "test")
    assert np.array_equal(split.members(trials.take(order), dataset.stimuli, "test"), members[order])


# -------------------------------------------------------------------------------------------------------------- folds


@given(st.integers(2, 60), st.integers(2, 60), st.one_of(st.none(), SEEDS))
def test_folds_by_count_are_a_partition_into_nearly_equal_parts(n, n_folds, seed):
    assume(n_folds <= n)
    found = folds.folds_by_count(n, n_folds, None if seed is None else torch.Generator().manual_seed(seed))
    assert torch.cat(found).sort().values.tolist() == list(range(n))
    assert max(map(len, found)) - min(map(len, found)) <= 1


@given(st.lists(st.integers(0, 5), min_size=2, max_size=40))
def test_folds_by_group_never_divide_a_group(groups):
    assume(len(set(groups)) > 1)
    found = folds.folds_by_group(groups)
    assert torch.cat(found).sort().values.tolist() == list(range(len(groups)))
    assert [len({groups[i] for i in fold.tolist()}) for fold in found] == [1] * len(set(groups))


@given(st.integers(8, 60), st.integers(2, 4), st.integers(0, 3), st.integers(1, 2))
def test_nothing_is_learned_from_within_the_gap_of_a_block(n, n_folds, gap, n_runs):
    runs = np.arange(n) * n_runs // n
    try:
        found = folds.folds_by_block(n, n_folds, gap, runs)
    except ValueError:
        return
    for fold in found:
        for row in fold.test.tolist():
            near = [r for r in range(max(0, row - gap), min(n, row + gap + 1)) if runs[r] == runs[row]]
            assert not set(near) & set(fold.train.tolist())
    assert torch.cat([fold.test for fold in found]).sort().values.tolist() == list(range(n))


@given(st.integers(1, 50), st.data())
def test_a_fold_and_its_complement_are_all_rows(n, data):
    held = torch.tensor(sorted(data.draw(st.sets(st.integers(0, n - 1)))), dtype=torch.long)
    assert sorted([*held.tolist(), *folds.complement(n, held).tolist()]) == list(range(n))


@given(st.lists(st.sampled_from("abcdefgh"), min_size=2), st.floats(0, 0.5), SEEDS)
def test_rows_of_a_unit_stay_together_in_training_or_validation(units, fraction, seed):
    assume(len(set(units)) > 1)
    kept, held = train.split_rows(units, fraction, torch.Generator().manual_seed(seed))
    assert sorted([*kept.tolist(), *held.tolist()]) == list(range(len(units)))
    assert not {units[i] for i in kept} & {units[i] for i in held} and len(kept) > 0
    assert (len(held) > 0) == (fraction > 0)


# ------------------------------------------------------------------------------------------------- batches and ranks


@given(st.integers(1, 30), st.integers(1, 20), SEEDS)
def test_a_pass_shows_every_row_once_however_batches_cut_it(n_rows, per_step, seed):
    order, n_passes = Order(n_rows, per_step, seed), 2
    n_steps = -(-n_passes * n_rows // per_step)
    rows = torch.cat([order.rows(step) for step in range(n_steps)])
    for k in range(n_passes):
        assert sorted(rows[k * n_rows : (k + 1) * n_rows].tolist()) == list(range(n_rows))


@given(st.integers(1, 30), st.integers(1, 20), SEEDS, st.integers(0, 40))
def test_a_step_after_a_resumption_shows_what_it_would_have_shown(n_rows, per_step, seed, step):
    used = Order(n_rows, per_step, seed)
    for earlier in range(step):
        used.rows(earlier)
    assert torch.equal(used.rows(step), Order(n_rows, per_step, seed).rows(step))


@given(st.integers(0, 100), st.integers(1, 9))
def test_ranks_share_a_steps_rows_without_gap_and_overlap(n_rows, n):
    shares = [range(n_rows)[Ranks(n, rank).share(n_rows)] for rank in range(n)]
    assert [row for share in shares for row in share] == list(range(n_rows))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert [len(share) for share in shares] == Ranks(n).shares(n_rows)


@given(st.integers(), st.lists(st.text(max_size=5), max_size=3), st.lists(st.text(max_size=5), max_size=3))
def test_purposes_draw_seeds_of_their_own(seed, a, b):
    assert 0 <= seeding.derive(seed, *a) < 2**63
    assume("\x1f" not in "".join(a + b))
    assert (seeding.derive(seed, *a) == seeding.derive(seed, *b)) == (a == b)


# ------------------------------------------------------------------------------------------------------- permutations


@given(st.lists(st.integers(0, 3), min_size=2, max_size=30), SEEDS)
def test_a_permutation_under_the_null_never_leaves_its_block(blocks, seed):
    assume(len(blocks) > len(set(blocks)))
    order = permute_within_blocks(blocks, np.random.default_rng(seed))
    assert sorted(order.tolist()) == list(range(len(blocks)))
    assert [blocks[i] for i in order] == blocks
    assert n_pairings(blocks) >= 2


@given(st.integers(2, 6), st.integers(1, 3), SEEDS)
def test_repeats_stay_repeats_under_the_null(n_units, n_repeats, seed):
    units = np.random.default_rng(seed).permutation(np.repeat(np.arange(n_units), n_repeats))
    order = permute_within_blocks(np.zeros(len(units)), np.random.default_rng(seed), units=units)
    given_to = {}
    for i, j in enumerate(order):
        given_to.setdefault(units[i], set()).add(units[j])
    assert all(len(others) == 1 for others in given_to.values())


# ----------------------------------------------------------------------------------------------------------- settings


@given(
    st.integers(0, 10**6), st.integers(2, 10**4), st.floats(1e-8, 10), st.sampled_from(["no", "bf16", "fp16"]),
    st.booleans(), st.integers(1, 64),
)  # fmt: skip
def test_settings_come_back_from_json_as_they_were(n_steps, batch_size, lr, precision, ridge_start, pieces):
    settings = train.Config(
        n_steps=n_steps,
        batch_size=batch_size,
        lr=lr,
        precision=precision,
        ridge_start=ridge_start,
        pieces=pieces,
    )
    assert config.from_json(train.Config, config.to_json(settings)) == settings


@given(st.text(min_size=1, max_size=12))
def test_a_setting_that_does_not_exist_is_refused_by_name(name):
    assume(name not in train.Config.__dataclass_fields__)
    with pytest.raises(checks.ConfigError, match="has no setting"):
        config.from_json(train.Config, {name: 1})
