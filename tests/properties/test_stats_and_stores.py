"""Intervals hold their value, corrections only raise, files give back what was put in, errors name what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from braindec import checks, config, registry, store
from braindec.protocols import ids_sha256
from braindec.stats import corrections, intervals, permutation, pools
from braindec.stats.ceilings import noise_ceiling, spearman_brown

pytestmark = pytest.mark.slow
P = st.lists(st.floats(0, 1), min_size=1, max_size=20)
SMALL = st.floats(-100, 100, width=32)


# --------------------------------------------------------------------------------------------------------- statistics


@given(st.integers(0, 200), st.integers(1, 200), st.floats(0.5, 0.999))
def test_intervals_of_a_share_hold_it_and_exact_ones_are_wider_in_the_middle(hits, n, level):
    assume(hits <= n)
    for interval in (intervals.wilson(hits, n, level), intervals.clopper_pearson(hits, n, level)):
        assert 0 <= interval.low <= hits / n <= interval.high <= 1


@given(st.integers(0, 100), st.integers(1, 100), st.floats(0.5, 0.9), st.floats(0.91, 0.999))
def test_more_confidence_is_never_a_narrower_interval(hits, n, low, high):
    assume(hits <= n)
    for method in (intervals.wilson, intervals.clopper_pearson):
        narrow, wide = method(hits, n, low), method(hits, n, high)
        assert wide.low <= narrow.low + 1e-12 and narrow.high <= wide.high + 1e-12


@given(P)
def test_corrections_only_raise_p_values_and_keep_their_order(p):
    values = np.array(p)
    order = np.argsort(values, kind="stable")
    for adjusted in (corrections.fdr(p), corrections.fdr(p, dependent=True), corrections.holm(p)):
        assert (adjusted >= values - 1e-12).all() and (adjusted <= 1).all()
        assert (np.diff(adjusted[order]) >= -1e-12).all()


@given(P)
def test_guarding_against_any_false_discovery_is_stricter_than_against_their_share(p):
    assert (corrections.holm(p) >= corrections.fdr(p) - 1e-12).all()


@given(P, st.randoms(use_true_random=False))
def test_corrections_do_not_depend_on_the_order_of_tests(p, random):
    order = list(range(len(p)))
    random.shuffle(order)
    for correct in (corrections.fdr, corrections.holm):
        assert np.allclose(correct([p[i] for i in order]), correct(p)[order])


@given(SMALL, st.lists(SMALL, min_size=1, max_size=50))
def test_p_values_are_never_zero_and_two_sides_add_to_more_than_one(observed, null):
    greater, less = (permutation.p_value(observed, null, side) for side in ("greater", "less"))
    assert 1 / (len(null) + 1) <= min(greater, less) and max(greater, less) <= 1
    assert greater + less > 1
    assert permutation.p_value(observed, null, "two-sided") == min(1.0, 2 * min(greater, less))


@given(st.integers(2, 40), st.integers(1, 10), st.data())
def test_a_smaller_pool_and_a_longer_list_never_make_a_hit_less_likely(n_gallery, k, data):
    better = data.draw(st.integers(0, n_gallery - 1))
    tied = data.draw(st.integers(0, n_gallery - 1 - better))
    pool = data.draw(st.integers(1, n_gallery))

    def hits(k, pool):
        return float(pools.expected_hits(k, [better], [tied], n_gallery, pool)[0])

    assert 0 <= hits(k, pool) <= hits(k + 1, pool) + 1e-12 <= 1 + 2e-12
    assert pool == 1 or hits(k, pool) <= hits(k, pool - 1) + 1e-12


@given(st.integers(1, 8), st.integers(2, 60))
def test_a_prediction_that_ties_with_everything_scores_chance_in_every_pool(k, n_gallery):
    for pool in {1, 2, n_gallery}:
        found = float(pools.expected_hits(k, [0], [n_gallery - 1], n_gallery, pool)[0])
        assert found == pytest.approx(min(1.0, k / pool))


@given(st.floats(0, 5), st.integers(1, 20))
def test_a_noise_ceiling_grows_with_repeats_and_stays_below_one(ncsnr, n):
    values = torch.tensor([ncsnr], dtype=torch.float64)
    few, many = float(noise_ceiling(values, n)), float(noise_ceiling(values, n + 1))
    scale = 100 if many > 1 else 1  # percent in some conventions
    assert 0 <= few <= many <= scale


@given(st.floats(0.01, 1), st.floats(1, 10))
def test_a_longer_test_is_never_less_reliable(reliability, factor):
    value = torch.tensor([reliability], dtype=torch.float64)
    longer = float(spearman_brown(value, factor))
    assert reliability - 1e-12 <= longer <= 1 + 1e-12


# -------------------------------------------------------------------------------------------------------------- files

NUMBERS = arrays.arrays(
    st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_]),
    arrays.array_shapes(max_dims=3, max_side=4, min_side=1),
)
TEXTS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6),
    min_size=1,
    max_size=6,
)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
ATOMS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | NAMES
)
JSON = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("stored")


@given(
    values=NUMBERS,
    bulk=arrays.arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 4))),
    data=st.data(),
)
def test_what_is_stored_comes_back_bit_for_bit_whole_or_by_rows(place, values, bulk, data):
    with store.writer(place / "a.h5") as out:
        out.array("values", values)
        big = out.bulk("bulk", bulk.shape, bulk.dtype)
        cut = data.draw(st.integers(0, len(bulk)))
        big.append(bulk[:cut])
        big.append(bulk[cut:])
    found = store.Stored(place / "a.h5")
    assert found.array("values").tobytes() == values.tobytes() and found.array("values").dtype == values.dtype
    rows = data.draw(st.lists(st.integers(0, len(bulk) - 1), max_size=6))
    assert found.rows("bulk")[np.array(rows, dtype=int)].tobytes() == bulk[rows].tobytes()


@given(texts=TEXTS)
def test_text_comes_back_as_it_was(place, texts):
    with store.writer(place / "t.h5") as out:
        out.array("texts", np.array(texts))
    assert store.Stored(place / "t.h5").array("texts").tolist() == np.array(texts).tolist()


@given(value=st.dictionaries(NAMES, JSON, max_size=3))
def test_json_comes_back_as_it_was_from_files_and_attributes(place, value):
    store.write_json(place / "v.json", value)
    with store.writer(place / "v.h5") as out:
        out.attributes(value)
    assert store.read_json(place / "v.json") == value == store.Stored(place / "v.h5").attributes


@given(content=st.binary(min_size=1, max_size=300), data=st.data())
def test_a_file_with_a_bit_flipped_has_another_hash(place, content, data):
    path = place / "bytes"
    path.write_bytes(content)
    before = store.sha256_of(path)
    damaged = bytearray(content)
    damaged[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(damaged)
    assert store.sha256_of(path) != before


@given(NUMBERS, NUMBERS)
def test_a_content_hash_tells_values_types_and_shapes_apart(a, b):
    same = a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    assert (store.content_hash(x=a) == store.content_hash(x=b)) == same
    assert store.content_hash(x=a, y=b) == store.content_hash(y=b, x=a)


@given(value=st.binary(max_size=60))
def test_bytes_that_are_no_json_are_a_data_file_error(place, value):
    path = place / "maybe.json"
    path.write_bytes(value)
    try:
        store.read_json(path)
    except checks.DataFileError as error:
        assert str(path) in str(error)


@given(
    ids=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), min_size=1, max_size=8),
    data=st.data(),
)
def test_the_hash_of_a_pool_is_that_of_its_set_of_stimuli(ids, data):
    assume(not any("\n" in i for i in ids))
    shuffled = data.draw(st.permutations(ids))
    assert ids_sha256(ids) == ids_sha256(shuffled) == ids_sha256([*ids, ids[0]])
    assert ids_sha256([*ids, "one more than that"]) != ids_sha256(ids)


# ------------------------------------------------------------------------------------------------- checks, protocols


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=12), st.data())
def test_the_first_value_that_is_not_finite_is_named_by_its_place(values, data):
    bad = sorted(data.draw(st.sets(st.integers(0, len(values) - 1))))
    x = np.array(values)
    x[bad] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    if not bad:
        assert checks.finite("x", x) is x
        return
    with pytest.raises(
        ValueError, match=rf"{len(bad)} NaN or infinite of {len(values)}.*first at \({bad[0]},\)"
    ):
        checks.finite("x", x)


@given(st.lists(st.text(max_size=4), max_size=8))
def test_what_occurs_twice_is_refused(values):
    if len(set(values)) == len(values):
        assert checks.unique("values", values) == values
    else:
        with pytest.raises(ValueError, match="more than once"):
            checks.unique("values", values)


@given(st.sampled_from(registry.KINDS), st.data())
def test_a_name_with_one_letter_too_few_is_answered_with_the_name(kind, data):
    name = data.draw(st.sampled_from([n for n in registry.names(kind) if len(n) > 4]))
    at = data.draw(st.integers(0, len(name) - 1))
    typo = name[:at] + name[at + 1 :]
    assume(typo not in registry.names(kind))
    with pytest.raises(checks.ConfigError, match="Did you mean"):
        registry.load(kind, typo)


@given(st.sampled_from(registry.names("protocols")), st.data())
def test_a_protocol_comes_back_from_json_as_it_was(module, data):
    table = registry.load("protocols", module).PROTOCOLS
    protocol = table[data.draw(st.sampled_from(sorted(table)))]
    written = config.to_json(protocol)
    assert config.from_json(type(protocol), written) == protocol
