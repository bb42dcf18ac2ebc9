"""What papers did otherwise: each convention against a loop, marked, and beside the corrected score."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from braindec import checks, evaluate
from braindec.data import NeuralDataset, Split
from braindec.decoder.prediction import Prediction, with_repeats
from braindec.evaluate import panels, published, published_pictures
from braindec.evaluate import pictures as pictures_module
from braindec.evaluate.exam import Exam
from braindec.evaluate.measures import metric_table, protocol_named
from braindec.evaluate.pictures import shown_as
from braindec.evaluate.reconstructions import Reconstructions
from braindec.evaluate.scoring import judge, scores_of
from braindec.evaluate.systems import centred_cosine
from braindec.protocols import Pictures
from braindec.stats.pools import published_interval
from braindec.types import ArraySpace, Embeddings, StimulusSet, Table, Trials

N_DIMS = 6


@dataclass(frozen=True)
class Sees:
    """Predicts what the responses say: they are noisy embeddings."""

    mean: np.ndarray

    def predict(self, trials: Trials, *, repeats: str) -> Prediction:
        found = with_repeats(np.asarray(trials.responses), trials.table, repeats, lambda rows: rows[:, None])
        return replace(found, key=trials.key)

    def similarity(self, prediction: Prediction, candidates: np.ndarray, *, direction: str = "image"):
        return centred_cosine(prediction, candidates, self.mean)


def fit(part, embeddings, seed):
    return Sees(embeddings.of(part.stimulus_ids).mean(0))


def seen(n_test: int, n_repeats: int, unit: str, noise: float = 2.0, n_runs: int = 1, per_concept: int = 1):
    """(dataset, embeddings): test stimuli shown alike often, four training stimuli, responses that show embeddings."""
    rng = np.random.default_rng(5)
    ids = [f"s{i:04d}" for i in range(n_test + 4)]
    values = rng.standard_normal((len(ids), 1, N_DIMS)).astype(np.float32) + 1.0
    order = np.concatenate([np.repeat(np.arange(n_test), n_repeats), np.arange(n_test, len(ids))])
    responses = (values[order, 0] + noise * rng.standard_normal((len(order), N_DIMS))).astype(np.float32)
    n, zero = np.arange(len(order)), np.zeros(len(order), int)
    table = Table({
        "stimulus_id": np.array(ids)[order], "session": zero, "run": n % n_runs, "repeat": zero, "onset_s": 1.0 * n,
        "acquisition_order": n, "exchangeability_block": zero,
    })  # fmt: skip
    concept = [f"c{i // per_concept}" if i < n_test else f"t{i}" for i in range(len(ids))]
    stimuli = StimulusSet(tuple(ids), "none", table=Table({"concept": concept}))
    names = concept if unit == "concept" else ids
    parts = {"train": tuple(names[n_test:]), "test": tuple(dict.fromkeys(names[:n_test]))}
    trials = Trials(responses, table, ArraySpace(N_DIMS), "a.u.", 1, "fmri")
    dataset = NeuralDataset.from_trials([trials], stimuli, Split("one", unit, parts), name="seen")
    return dataset, Embeddings(tuple(ids), values, "seen", {"model": "seen"}, "0" * 64)


def judged(name: str, dataset, embeddings):
    named = protocol_named(name)
    unlisted = replace(named, pool=replace(named.pool, sha256=None))  # the toy has stimuli of its own
    exam = Exam(dataset, embeddings, [dataset.split], unlisted, progress=False)
    found = judge("braindec", fit, exam, 0)
    return found, scores_of(found, exam.protocol)


def raw_cosine(dataset, embeddings, repeats="after", half=False):
    """(queries by image) cosine of mean predictions and images, test stimuli in order."""
    trials = dataset.part("test").trials["sub-01_fmri"]
    ids = dataset.part("test").stimulus_ids
    rows = trials.table["stimulus_id"]
    queries = np.stack([np.asarray(trials.responses)[rows == i][:3].mean(0) for i in ids])
    gallery = embeddings.of(ids)[:, 0]
    if half:
        queries, gallery = (v.astype(np.float16).astype(np.float32) for v in (queries, gallery))
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (queries, gallery)]
    if half:
        unit = [u.astype(np.float16).astype(np.float32) for u in unit]
        return (unit[0] @ unit[1].T).astype(np.float16).astype(np.float32)
    return unit[0] @ unit[1].T


def test_mindeye2_s_retrieval_is_its_own_code_s_loop_under_its_swapped_names():
    dataset, embeddings = seen(1000, 3, "stimulus")
    _, scores = judged("nsd_retrieval_300x30", dataset, embeddings)
    theirs = {s.name: s for s in scores if s.protocol == "nsd_retrieval_300x30_as_published_by_mindeye2"}
    ours = {s.name: s for s in scores if s.protocol == "nsd_retrieval_300x30"}
    assert set(theirs) <= set(ours)
    table, state = raw_cosine(dataset, embeddings, half=True), np.random.RandomState(42)
    image, brain = [], []
    for _ in range(30):
        rows = state.choice(np.arange(1000), 300, replace=False)
        drawn = table[np.ix_(rows, rows)]
        image.append((drawn.argmax(1) == np.arange(300)).mean())
        brain.append((drawn.argmax(0) == np.arange(300)).mean())
    assert np.mean(image) != np.mean(brain)
    assert theirs["brain_retrieval_top1_of_300"].value == pytest.approx(np.mean(image), abs=1e-9)
    assert theirs["image_retrieval_top1_of_300"].value == pytest.approx(np.mean(brain), abs=1e-9)
    half = 1.96 * np.std(brain) / 30**0.5
    low, high = theirs["image_retrieval_top1_of_300"].interval
    assert (low, high) == pytest.approx((np.mean(brain) - half, np.mean(brain) + half), abs=1e-5)
    mine = ours["image_retrieval_top1_of_300"].interval
    assert high - low < 0.7 * (mine[1] - mine[0])


def test_a_published_score_says_by_whom_and_what_differs():
    dataset, embeddings = seen(1000, 3, "stimulus")
    _, scores = judged("nsd_retrieval_300x30", dataset, embeddings)
    row = next(s for s in scores if "as_published" in s.protocol)
    assert row.details["as_published_by"] == "mindeye2"
    assert any("transpose" in what for what in row.details["differs"])
    assert any("half precision" in what for what in row.details["differs"])
    assert any("width of the network" in what for what in row.details["differed in the paper only"])
    assert len(row.details["differs"]) + len(row.details["differed in the paper only"]) == 8
    assert not any("as_published_by" in s.details for s in scores if s.protocol == "nsd_retrieval_300x30")


@pytest.mark.parametrize(
    ("n_repeats", "weights"), [(1, [1]), (2, [2, 1]), (3, [1, 1, 1]), (5, [1, 1, 1, 0, 0])]
)
def test_repeats_are_padded_to_three_as_the_published_loader_does(rng, n_repeats, weights):
    values = rng.standard_normal((2 * n_repeats, 1, 4)).astype(np.float32)
    table = Table({"stimulus_id": np.tile(["a", "b"], n_repeats)})
    single = Prediction(tuple(table["stimulus_id"].tolist()), values, table, np.ones(2 * n_repeats, int), "x")
    found = published.padded_repeats(single)
    assert found.ids == ("a", "b")
    for row, start in enumerate((0, 1)):
        np.testing.assert_allclose(
            found.values[row], np.average(values[start::2], axis=0, weights=weights), atol=1e-6
        )


def test_a_concept_s_mean_response_looks_for_its_first_image():
    dataset, embeddings = seen(200, 12, "concept", noise=6.0, per_concept=1)
    found, _ = judged("things_meg_200", dataset, embeddings)
    alone = found.published["things_meg_200_as_published_by_brainflora"]["sub-01_fmri"]
    table = raw_cosine_all(dataset, embeddings)
    assert alone["image_retrieval_top1"].value == pytest.approx(
        (table.argmax(1) == np.arange(200)).mean(), abs=1e-9
    )
    several, embeddings = seen(24, 2, "concept", noise=1.0, per_concept=4)
    variant = protocol_named("things_meg_200_as_published_by_brainflora")
    queries, gallery = published._queries_and_gallery(
        variant, Sees(np.zeros((1, N_DIMS))), several.part("test").trials["sub-01_fmri"], several.part("test")
    )
    assert gallery == tuple(f"s{i:04d}" for i in range(0, 24, 4)) == queries.ids
    responses = np.asarray(several.part("test").trials["sub-01_fmri"].responses)
    np.testing.assert_allclose(queries.values[0, 0], responses[:8].mean(0), atol=1e-5)


def raw_cosine_all(dataset, embeddings):
    trials, ids = dataset.part("test").trials["sub-01_fmri"], dataset.part("test").stimulus_ids
    rows = trials.table["stimulus_id"]
    queries = np.stack([np.asarray(trials.responses)[rows == i].mean(0) for i in ids])
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (queries, embeddings.of(ids)[:, 0])]
    return unit[0] @ unit[1].T


def test_segments_are_averaged_by_recording_as_published():
    dataset, embeddings = seen(30, 3, "stimulus", n_runs=4)
    found, _ = judged("segment_retrieval", dataset, embeddings)
    theirs = found.published["segment_retrieval_as_published_by_brainmagick"]["sub-01_fmri"]
    trials, ids = dataset.part("test").trials["sub-01_fmri"], dataset.part("test").stimulus_ids
    gallery = embeddings.of(ids)[:, 0]
    score = np.asarray(trials.responses) @ (gallery / np.linalg.norm(gallery, axis=1, keepdims=True)).T
    hit = np.array(ids)[score.argmax(1)] == trials.table["stimulus_id"]
    expected = [hit[trials.table["run"] == run].mean() for run in range(4)]
    assert theirs["segment_retrieval_top1"].value == pytest.approx(np.mean(expected), abs=1e-9)
    assert theirs["segment_retrieval_top1"].n == 4


@pytest.mark.parametrize("noise", [0.0, 0.35, 30.0])
def test_an_interval_over_few_recordings_is_one_of_shares(noise):
    dataset, embeddings = seen(30, 2, "stimulus", noise=noise, n_runs=2)
    found, _ = judged("segment_retrieval", dataset, embeddings)
    theirs = found.published["segment_retrieval_as_published_by_brainmagick"]["sub-01_fmri"]
    for measured in theirs.values():
        low, high = measured.interval
        assert 0.0 <= low <= measured.value <= high <= 1.0 and low < high


def test_an_interval_over_draws_of_pools_ends_where_shares_end():
    shares = np.array([1.0] * 9 + [0.99])
    assert published_interval(shares).high == 1.0 and published_interval(1 - shares).low == 0.0


def test_protocols_without_a_published_variant_get_no_further_rows(planted):
    exam = Exam(
        planted.dataset,
        planted.embeddings,
        [planted.dataset.split],
        protocol_named("heldout_stimuli"),
        progress=False,
    )
    found = judge("mean", evaluate.fit_mean, exam, 0)
    assert found.published == {}


@pytest.fixture
def pictures(rng):
    """Twelve presented pictures and perfect reconstructions of them."""
    return rng.integers(0, 256, (12, 32, 32, 3)).astype(np.uint8)


def test_off_by_one_gives_a_perfect_decoder_of_twelve_ten_of_eleven(pictures):
    found = published_pictures.published_pictures(
        protocol_named("nsd_imagery"), {"sub-01_fmri": pictures}, {"sub-01_fmri": pictures}
    )["nsd_imagery_as_published_by_mirage"]["sub-01_fmri"]
    assert found["two_way_identification"].value == pytest.approx(10 / 11, abs=1e-9)
    assert found["two_way_identification"].chance == pytest.approx(0.5 - 1 / 11)


def test_ties_are_lost_where_the_paper_lost_them(generator):
    constant = torch.ones(6, 5)
    metric = metric_table()["two_way_identification"]
    variant = protocol_named("nsd_982_as_published_by_brain_diffuser")
    ours = evaluate.measures.Measured(
        "two_way_identification", 0.5, (0.4, 0.6), 0.5, 6, "higher", np.full(6, 0.5)
    )
    found = published_pictures._two_way(
        variant, metric, torch.randn(6, 5, generator=generator), constant, ours
    )
    assert metric.value(torch.randn(6, 5, generator=generator), constant) == 0.5
    assert found.value == 0.0


def test_one_random_distractor_is_a_loop_with_ties_won(rng):
    true, made = rng.standard_normal((2, 40, 9))
    wins = published_pictures.one_distractor_wins(torch.as_tensor(true), torch.as_tensor(made), 42)
    other = np.random.RandomState(42).randint(40, size=40)
    for i in range(40):
        own, rival = (np.corrcoef(true[i], made[j])[0, 1] for j in (i, other[i]))
        assert wins[i] == (own >= rival)


def test_a_quarter_of_the_low_level_picture_is_mixed_in_where_there_is_one(pictures, rng):
    low = rng.integers(0, 256, pictures.shape).astype(np.uint8)
    mixed = published_pictures.blended(pictures, low, 0.25)
    np.testing.assert_allclose(mixed, 0.75 * pictures.astype(float) + 0.25 * low, atol=0.5)
    variant = replace(
        protocol_named("nsd_mindeye2_1000_as_published_by_mindeye2"),
        picture_metrics=("pixel_correlation_425",),
    )
    without, with_low = (
        published_pictures._measured(variant, pictures[:3], pictures[:3], x) for x in (None, low[:3])
    )
    assert without["pixel_correlation_425"].value == pytest.approx(1.0)
    assert with_low["pixel_correlation_425"].value < 0.99


def test_a_network_that_cannot_be_had_is_named_and_left_out(monkeypatch):
    def nothing(network, node):
        raise checks.DownloadError(f"{network} could not be downloaded")

    pictures_module._lacking.cache_clear()
    monkeypatch.setattr(pictures_module, "judge_of", nothing)
    protocol = protocol_named("nsd_982")
    lacking = pictures_module.not_computed(protocol)
    pictures_module._lacking.cache_clear()
    assert lacking["two_way_alexnet_5"] == "alexnet could not be downloaded"
    assert set(protocol.picture_metrics) - set(lacking) == {"pixel_correlation_425", "ssim_425"}


def test_a_network_with_a_stake_is_left_out_and_called_circular():
    protocol = replace(protocol_named("nsd_982"), picture_metrics=("two_way_clip", "pixel_correlation_425"))
    stake = {"target": "openclip/ViT-L-14/openai/pooled"}
    lacking = pictures_module.not_computed(protocol, stake)
    assert list(lacking) == ["two_way_clip"] and lacking["two_way_clip"].startswith("circular: openclip")
    assert pictures_module.metrics_here(protocol, stake) == ("pixel_correlation_425",)


def test_what_was_not_computed_stands_on_the_page_with_its_reason():
    reasons = {"two_way_clip": "circular: openclip is of the family of the target"}
    ((title, kind, payload),) = panels.left_out(Reconstructions({}, {}, (), reasons))
    assert (title, kind) == ("Not computed", "table")
    assert payload["rows"] == [["two way clip", reasons["two_way_clip"]]]
    assert panels.left_out(Reconstructions({}, {}, ())) == []


def test_pictures_are_compared_at_the_protocol_s_size(rng):
    drawn = rng.integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    small, smooth = (shown_as(drawn, Pictures(side=32, antialias=a)) for a in (False, True))
    assert small.shape == smooth.shape == (2, 32, 32, 3)
    assert np.abs(small.astype(int) - drawn.reshape(2, 32, 2, 32, 2, 3).mean((2, 4))).max() <= 1
    assert smooth.std() < small.std()
    assert shown_as(drawn, Pictures()) is drawn


def test_half_precision_loses_what_lies_closer_than_it_can_tell(rng):
    gallery = rng.standard_normal((40, 1, 64)).astype(np.float32)
    gallery[1::2] = gallery[::2] * (
        1 + 3e-3 * rng.standard_normal((20, 1, 64))
    )  # pairs that differ in the third digit
    whole, half = (published._cosine(gallery, gallery, half=h) for h in (False, True))
    own = torch.arange(40)
    exact, rounded = (float((t.argmax(1) == own).float().mean()) for t in (whole, half))
    assert exact == 1.0 and rounded < 0.8
    assert torch.allclose(whole, half, atol=2e-3)


def test_concept_centres_stand_for_pictures_only_where_other_pictures_are_known(rng):
    """The brain saw one picture of a concept; the mean of others is a worse name for it."""
    several, embeddings = seen(24, 2, "concept", noise=0.05, per_concept=4)
    shown = [f"s{i:04d}" for i in range(0, 24, 4)]
    trials = {k: t.take(np.flatnonzero(np.isin(t.table["stimulus_id"], [*shown, "s0024", "s0025", "s0026", "s0027"])))
              for k, t in several.trials.items()}  # fmt: skip
    one_each = replace(several, trials=trials)
    named = protocol_named("things_eeg2_200")
    protocol = replace(named, pool=replace(named.pool, size=None, sha256=None), n_repeats=None)
    exam = Exam(one_each, embeddings, [one_each.split], protocol, progress=False)
    found = judge("braindec", fit, exam, 0)
    nice = found.published["things_eeg2_200_as_published_by_nice"]["sub-01_fmri"]["image_retrieval_top1"]
    atm = found.published["things_eeg2_200_as_published_by_atm"]["sub-01_fmri"]["image_retrieval_top1"]
    assert nice.value < atm.value == 1.0
    rows = {s.protocol: s for s in scores_of(found, protocol) if s.name == "image_retrieval_top1"}
    said = rows["things_eeg2_200_as_published_by_nice"].details
    assert any("mean feature of other images" in what for what in said["differs"])
    alone = embeddings.of(list(one_each.stimulus_ids))
    without = replace(embeddings, ids=tuple(one_each.stimulus_ids), values=alone)
    again = judge("braindec", fit, replace(exam, embeddings=without), 0)
    row = next(s for s in scores_of(again, protocol) if s.protocol.endswith("nice"))
    assert any("mean feature of other images" in what for what in row.details["differed in the paper only"])


def test_a_data_range_of_its_own_lowers_the_ssim_of_pictures_that_are_not_alike(rng):
    table = metric_table()
    flat = torch.from_numpy(0.45 + 0.1 * rng.random((4, 3, 64, 64))).float()  # a tenth of the range is used
    other = torch.from_numpy(0.45 + 0.1 * rng.random((4, 3, 64, 64))).float()
    assert table["ssim_own_range_425"].value(flat, other) < table["ssim_425"].value(flat, other) - 0.05
    full = flat.clone()
    full[:, :, 0, 0], full[:, :, 0, 1] = 0.0, 1.0
    ours, theirs = (table[n].compute(full, full) for n in ("ssim_425", "ssim_own_range_425"))
    torch.testing.assert_close(ours, theirs)


def test_every_departure_is_computed_or_says_why_it_is_not():
    from braindec.protocols import Departure

    known = (*published.FROM_PREDICTIONS, *published.FROM_PICTURES, "concept_centre", "low_level_blend",
             "best_test_step", "half_range")  # fmt: skip
    for protocol in evaluate.measures.protocol_table().values():
        for departure in protocol.departures:
            assert departure.how in known if departure.how else departure.why
    with pytest.raises(ValueError, match="says why"):
        Departure("Something.")
