"""Distances, sets, classes, captions and collapse: what they reward, what they cannot see, what they refuse."""

from __future__ import annotations

import pytest
import torch

from braindec.checks import MissingPackageError
from braindec.metrics import (
    brain,
    captions,
    collapse,
    hubness,
    identification,
    mismatched,
    n_way,
    pixels,
    retrieval,
    sets,
)
from braindec.metrics._clusters import same_cluster


def test_a_score_of_two_way_identification_carries_what_it_needs(generator):
    target = torch.randn(40, 12, generator=generator)
    predicted = target + torch.randn(40, 12, generator=generator)
    score = identification.two_way_identification(predicted.numpy(), target, subject=3, modality="fmri")
    assert score.chance == 0.5 and score.n == 40 and score.per_sample.shape == (40,)
    assert score.interval[0] < score.value < score.interval[1]
    assert score.null < 0.5 < score.value
    assert score.to_json()["subject"] == 3


@pytest.mark.parametrize(
    ("predicted", "target", "message"),
    [
        (torch.ones(3, 4), torch.ones(2, 4), "axis 'trial'"),
        (torch.ones(3, 4), torch.ones(3, 5), "axis 'dim'"),
        (torch.ones(1, 4), torch.ones(1, 4), "at least 2"),
        (torch.ones(3, 4, 2), torch.ones(3, 4, 2), "trial, dim"),
        (torch.tensor([[1.0, torch.nan]] * 3), torch.ones(3, 2), "NaN"),
    ],
)
def test_two_way_identification_refuses_what_it_cannot_compare(predicted, target, message):
    with pytest.raises(ValueError, match=message):
        identification.two_way_identification(predicted, target)


def test_items_without_a_distractor_are_left_out_and_counted_out(generator):
    target = torch.randn(5, 9, generator=generator)
    score = identification.two_way_identification(target, target, labels=["a", "a", "b", "b", "c"])
    assert score.value == 1.0 and score.n == 4
    assert torch.tensor(score.per_sample).isnan().tolist() == [False] * 4 + [True]


def test_a_constant_prediction_is_at_exactly_one_half(generator):
    score = identification.two_way_identification(torch.ones(20, 6), torch.randn(20, 6, generator=generator))
    assert score.value == 0.5 and score.null == 0.5


def test_knowing_only_the_cluster_earns_nothing_within_the_cluster(generator):
    centres = 4 * torch.randn(4, 30, generator=generator)[torch.arange(100) % 4]
    shown, decoded = (centres + torch.randn(100, 30, generator=generator) for _ in range(2))
    table = identification.METRICS
    assert table["two_way_identification"].value(shown, decoded) > 0.8
    within = table["two_way_identification_same_cluster"].value(shown, decoded)
    assert within == pytest.approx(0.5, abs=0.06)


def test_clusters_are_planted_ones_and_hold_at_least_two(generator):
    planted = torch.arange(60) % 3
    features = 8 * torch.randn(3, 20, generator=generator)[planted] + torch.randn(60, 20, generator=generator)
    found = same_cluster(features)  # 60 items make three clusters
    assert all(len(found[planted == p].unique()) == 1 for p in range(3))
    assert len(found.unique()) == 3
    alone = torch.cat([features, -20 * features[:1]])
    assert (
        int(torch.bincount(same_cluster(alone, n_clusters=4)).clamp(max=2)[same_cluster(alone, 4)].min()) == 2
    )


def test_any_layer_of_any_network_makes_a_metric(generator):
    metric = identification.two_way("some_network.block.3")
    shown = torch.randn(10, 2, 4, 4, generator=generator)
    assert metric.needs == "features:some_network.block.3"
    assert metric.value(shown, shown) == 1.0


def test_sets_do_not_see_which_picture_belongs_to_which(generator):
    shown = torch.randn(400, 5, generator=generator)
    kid = sets.METRICS["kid_effnet_lite0"]
    assert kid.value(shown, shown) == pytest.approx(0.0, abs=1e-12)
    other = shown.roll(1, 0) + 0.01 * torch.randn(400, 5, generator=generator)
    assert abs(kid.value(shown, other)) < 0.1 < kid.value(shown, 0.1 * other)


def test_the_frechet_distance_of_few_items_is_refused_with_the_reason():
    with pytest.raises(ValueError, match=r"mostly bias.*10000.*KID"):
        sets.frechet_distance(torch.randn(50, 4), torch.randn(50, 4))


def test_n_way_of_undecided_classes_is_a_guess():
    shown = torch.eye(60)[:5]
    for n, k in ((2, 1), (50, 1), (50, 5)):
        assert n_way.n_way(shown, torch.zeros(5, 60), n=n, k=k).tolist() == pytest.approx([k / n] * 5)


def test_n_way_refuses_more_ways_than_classes():
    with pytest.raises(ValueError, match=r"n must lie in \[2, 10\]"):
        n_way.n_way(torch.eye(10), torch.eye(10), n=50)


def test_csls_helps_against_a_hub_and_is_marked_as_a_trick(generator):
    target = torch.randn(80, 10, generator=generator)
    similarity = (target + 0.7 * torch.randn(80, 10, generator=generator)) @ target.T
    similarity[:, :4] += 8  # four images that are everyone's nearest
    truth = torch.arange(80)
    plain, trick = (
        table["image_retrieval_top1" + x]
        for table, x in ((retrieval.METRICS, ""), (hubness.METRICS, "_csls"))
    )
    assert trick.value(similarity, truth) > plain.value(similarity, truth) + 0.1
    assert trick.whole_test_set and not plain.whole_test_set
    before, after = hubness.hubness(similarity, k=1), hubness.hubness(hubness.csls(similarity), k=1)
    assert after.skewness < before.skewness and after.never_retrieved < before.never_retrieved - 0.1


def test_hubness_of_random_similarities_is_what_chance_gives(generator):
    found = [hubness.hubness(torch.rand(50, 50, generator=generator), k=1) for _ in range(100)]
    assert sum(f.never_retrieved for f in found) / 100 == pytest.approx((1 - 1 / 50) ** 50, abs=0.01)
    even = hubness.hubness(torch.eye(12), k=1)
    assert even == hubness.Hubness(0.0, 0.0)


def test_one_to_one_assignment_profits_from_what_others_take():
    similarity = torch.tensor([[0.9, 0.8], [0.9, 0.1]])
    assert retrieval.image_retrieval(similarity, torch.tensor([1, 0])).tolist() == [0.0, 1.0]
    assert hubness.one_to_one(similarity, torch.tensor([1, 0])).tolist() == [1.0, 1.0]


def test_the_absolute_pixel_correlation_rewards_a_negative():
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    assert pixels.pixel_correlation(images, 1 - images).mean() == pytest.approx(-1.0, abs=1e-5)
    assert pixels.absolute_pixel_correlation(images, 1 - images).mean() == pytest.approx(1.0, abs=1e-5)


def test_pictures_in_blocks_score_as_all_at_once(generator, monkeypatch):
    images, noise = torch.rand(2, 7, 3, 20, 24, generator=generator)
    whole = pixels.ssim(images, noise), pixels.pixel_correlation(images, noise, size=30)
    monkeypatch.setattr(pixels, "AT_ONCE", 2 * 3 * 20 * 24)
    torch.testing.assert_close(
        (pixels.ssim(images, noise), pixels.pixel_correlation(images, noise, size=30)), whole
    )


def test_multiscale_ssim_needs_room_for_five_scales(generator):
    images = torch.rand(2, 3, 32, 32, generator=generator)
    with pytest.raises(ValueError, match="at least 161"):
        pixels.multiscale_ssim(images, images, size=128)


def test_brain_correlation_uses_the_given_encoding_model_and_region(generator):
    weights = torch.randn(3 * 4 * 4, 30, generator=generator)
    shown = torch.rand(12, 3, 4, 4, generator=generator)
    measured = shown.flatten(1) @ weights
    measured[:, 20:] = torch.randn(12, 10, generator=generator)  # voxels that the model does not explain
    regions = {"explained": torch.arange(20), "noise": torch.arange(30) >= 20}

    def encode(pictures):
        return pictures.flatten(1) @ weights

    found = brain.brain_correlation_by_region(shown, measured, encode, regions, batch_size=5)
    assert found["explained"].tolist() == pytest.approx([1.0] * 12, abs=1e-6)
    assert abs(float(found["noise"].mean())) < 0.4
    wrong = brain.brain_correlation_by_region(shown.roll(1, 0), measured, encode, regions)
    assert float(wrong["explained"].mean()) < 0.97


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_the_effective_rank_of_equal_directions_is_their_number(generator, rank):
    basis = torch.linalg.qr(torch.randn(40, rank, generator=generator).double())[0]
    left = torch.linalg.qr(torch.randn(100, rank + 1, generator=generator).double() - 0.0)[0]
    left = torch.linalg.qr(left - left.mean(0))[0][:, :rank]
    assert collapse.effective_rank(5 + left @ basis.T) == pytest.approx(rank, rel=0.02)
    assert collapse.effective_rank(torch.full((9, 4), 0.1)) == 0.0


def test_the_effective_rank_of_wide_values_is_that_of_one_product_of_all(generator, monkeypatch):
    values = torch.randn(12, 500, generator=generator)
    whole = collapse.effective_rank(values)
    monkeypatch.setattr(collapse, "AT_ONCE", 12 * 7)
    assert collapse.effective_rank(values) == pytest.approx(whole, rel=1e-9)
    singular = torch.linalg.svdvals((values - values.mean(0)).double())
    share = singular[:11] / singular[:11].sum()
    assert whole == pytest.approx(float(torch.exp(-(share * share.log()).sum())), rel=1e-6)


def test_independent_guesses_point_at_the_share_that_theory_says(generator):
    drawn = [float(len(torch.randint(50, (50,), generator=generator).unique())) / 50 for _ in range(400)]
    assert sum(drawn) / 400 == pytest.approx(collapse.unstructured_share(50), abs=0.01)


def test_predictions_of_a_few_kinds_collapse(generator):
    target = torch.randn(60, 20, generator=generator)
    kinds = target[:3][torch.arange(60) % 3]
    found = collapse.collapse(kinds + 0.01 * torch.randn(60, 20, generator=generator), target)
    assert found.n_nearest == 3 and found.n == 60
    assert found.rank_predicted < found.rank_target / 2
    assert collapse.nearest_share(target, kinds).sum() == pytest.approx(3.0)
    assert collapse.collapse(target, target).n_nearest == 60
    assert collapse.rank_ratio(target, target) == 1.0


def test_chance_of_captions_is_other_items_captions():
    pytest.importorskip("rouge_score", reason="extra captions")
    texts = ["a photo of a dog", "a photo of a cat", "a photo of a man"]
    assert captions.METRICS["rouge_l"].value(texts, texts) == 1.0
    assert mismatched(captions.METRICS["rouge_l"], texts, texts) == pytest.approx(4 / 5)


def test_meteor_without_wordnet_is_not_computed_and_not_replaced(monkeypatch):
    pytest.importorskip("nltk", reason="extra captions")
    monkeypatch.setattr("nltk.data.path", [])
    assert (
        captions.METRICS["meteor"].status == "not computed: needs WordNet: python -m nltk.downloader wordnet"
    )
    with pytest.raises(MissingPackageError, match="METEOR is not computed"):
        captions.meteor(["a dog"], ["a dog"])


def test_meteor_takes_synonyms_from_the_wordnet_it_is_given():
    pytest.importorskip("nltk", reason="extra captions")

    class Lemma:
        def __init__(self, name):
            self._name = name

        def name(self):
            return self._name

    class WordNet:
        def synsets(self, word):
            return [self] if word in ("dog", "hound") else []

        def lemmas(self):
            return [Lemma("dog"), Lemma("hound")]

    class Nothing:
        def synsets(self, word):
            return []

    references, decoded = ["a brown dog on the grass"], ["a brown hound on the grass"]
    with_synonyms = captions.meteor(references, decoded, wordnet=WordNet())
    assert float(with_synonyms) > float(captions.meteor(references, decoded, wordnet=Nothing())) + 0.1


def test_cider_without_java_is_not_computed(monkeypatch):
    pytest.importorskip("pycocoevalcap", reason="extra captions")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingPackageError, match="CIDEr is not computed: it needs Java"):
        captions.cider(["a dog"], ["a dog"])


def test_clip_score_drops_opposite_embeddings_to_zero():
    image = torch.eye(3)
    assert captions.clip_score(image, image).tolist() == [2.5] * 3
    assert captions.clip_score(image, -image).tolist() == [0.0] * 3


def test_a_constant_prediction_is_assigned_at_chance():
    shares = [
        float(hubness.one_to_one(torch.zeros(n, n), torch.arange(n)).mean()) for n in (10, 20, 30, 40, 50, 60)
    ]
    assert max(shares) < 0.3


def test_no_item_is_left_alone_where_single_ones_are_near_each_other(generator):
    for _ in range(100):
        features = torch.randn(30, 4, generator=generator)
        found = same_cluster(features, 12)
        assert int(torch.bincount(found)[found].min()) > 1
        order = torch.randperm(30, generator=generator)
        moved = same_cluster(features[order], 12)
        together = found[:, None] == found
        assert torch.equal(together[order][:, order], moved[:, None] == moved)
