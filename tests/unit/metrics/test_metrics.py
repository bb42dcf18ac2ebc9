"""What every metric promises: perfect is perfect, ignorance is chance, ties earn nothing, wrong input is named."""

from __future__ import annotations

import pytest
import torch

from braindec.checks import ConfigError
from braindec.metrics import Metric, classification, identification, mismatched, pixels, retrieval


def pictures(generator, n=24, size=16):
    return torch.rand(n, 3, size, size, generator=generator)


@pytest.mark.parametrize("name", sorted(retrieval.METRICS))
def test_retrieval_is_perfect_on_the_identity(name):
    assert retrieval.METRICS[name].value(torch.eye(9), torch.arange(9)) == 1.0


@pytest.mark.parametrize("name", sorted(retrieval.METRICS))
def test_retrieval_of_random_similarities_is_at_its_chance(generator, name):
    metric, n = retrieval.METRICS[name], 20
    values = [metric.value(torch.rand(n, n, generator=generator), torch.arange(n)) for _ in range(400)]
    assert sum(values) / 400 == pytest.approx(metric.chance_of(n), abs=0.02)


@pytest.mark.parametrize("name", sorted(retrieval.METRICS))
def test_a_constant_similarity_scores_exactly_chance(name):
    metric = retrieval.METRICS[name]
    assert metric.value(torch.ones(10, 10), torch.arange(10)) == pytest.approx(metric.chance_of(10))


def test_the_two_directions_of_retrieval_differ_by_a_transpose(generator):
    matrix, truth = torch.rand(12, 12, generator=generator), torch.arange(12)
    assert torch.equal(
        retrieval.brain_retrieval(matrix, truth), retrieval.image_retrieval(matrix.T.contiguous(), truth)
    )


def test_a_gallery_may_hold_more_images_than_there_are_queries():
    matrix = torch.tensor([[0.1, 0.9, 0.3], [0.2, 0.1, 0.8]])
    assert retrieval.image_retrieval(matrix, torch.tensor([1, 0])).tolist() == [1.0, 0.0]


def test_brain_retrieval_refuses_repeats_of_an_image():
    with pytest.raises(ValueError, match="average repeats"):
        retrieval.brain_retrieval(torch.eye(3), torch.tensor([0, 0, 1]))


@pytest.mark.parametrize("name", sorted(identification.METRICS))
def test_identification_is_perfect_for_equal_items_and_chance_for_noise(generator, name):
    metric = identification.METRICS[name]
    labels = [torch.arange(200) % 2] if "within_class" in name else []
    true, noise = torch.randn(2, 200, 30, generator=generator)
    assert metric.value(true, true, *labels) == 1.0
    assert metric.value(true, noise, *labels) == pytest.approx(metric.chance_of(2), abs=0.05)


def test_a_constant_reconstruction_identifies_nothing(generator):
    true = torch.randn(20, 30, generator=generator)
    assert identification.METRICS["two_way_identification"].value(true, torch.ones(20, 30)) == 0.5


def test_knowing_only_the_class_earns_nothing_within_the_class(generator):
    labels = torch.arange(120) % 2
    centres = 3 * torch.randn(2, 30, generator=generator)[labels]
    true, decoded = (centres + torch.randn(120, 30, generator=generator) for _ in range(2))
    assert identification.METRICS["pairwise_identification"].value(true, decoded) > 0.7
    within = identification.METRICS["pairwise_identification_within_class"].value(true, decoded, labels)
    assert within == pytest.approx(0.5, abs=0.06)


def test_an_item_without_a_distractor_is_named(generator):
    true = torch.randn(3, 5, generator=generator)
    with pytest.raises(ValueError, match="first item 2"):
        identification.METRICS["pairwise_identification"].per_sample(
            true, true, groups=torch.tensor([0, 0, 1])
        )


@pytest.mark.parametrize("name", sorted(pixels.METRICS))
def test_a_picture_is_most_like_itself(generator, name):
    metric, images = pixels.METRICS[name], pictures(generator, n=4)
    assert metric.value(images, images) == pytest.approx(1.0, abs=1e-5)
    noisy = (images + 0.3 * torch.rand(images.shape, generator=generator)).clamp(0, 1)
    assert metric.value(images, noisy) < 1 - 1e-3


def test_mismatched_pairs_are_the_chance_of_pixel_metrics(generator):
    shared = pictures(generator, n=1)  # what all pictures of the world have in common
    images = (shared + pictures(generator)) / 2
    chance = mismatched(pixels.METRICS["pixel_correlation"], images, images)
    assert chance == pytest.approx(0.5, abs=0.1)  # half of the variance is shared
    assert pixels.METRICS["pixel_correlation"].chance_of(24) is None


def test_8_bit_pictures_are_refused_with_the_way_out():
    images = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    with pytest.raises(TypeError, match="divide 8-bit pictures by 255"):
        pixels.ssim(images, images)


def test_category_accuracy_counts_ties_as_a_guess():
    scores = torch.tensor([[2.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    found = classification.category_accuracy(scores, torch.tensor([0, 1, 2, 0]))
    assert found.tolist() == pytest.approx([1.0, 0.5, 1 / 3, 0.0])
    assert classification.METRICS["category_accuracy"].chance_of(8) == 1 / 8


def test_roc_auc_compares_scores_only_within_a_run():
    scores = torch.tensor([0.0, 1.0, 10.0, 11.0])  # the second run's scores have another offset
    labels, runs = torch.tensor([0, 1, 0, 1]), torch.tensor([1, 1, 2, 2])
    assert classification.roc_auc(scores, labels).mean() == 0.75
    assert classification.roc_auc(scores, labels, runs).mean() == 1.0


def test_roc_auc_of_one_class_is_refused():
    with pytest.raises(ValueError, match="one class only"):
        classification.roc_auc(torch.zeros(3), torch.ones(3))


def test_a_metric_says_what_it_needs_in_known_words():
    with pytest.raises(ConfigError, match="needs must be one of"):
        Metric("x", "picture", 0.5, "higher", "", lambda x: x)


def of_values(values, **settings):
    def mine(similarity, truth):
        return values

    return Metric("mine", "similarity", 0.5, "higher", "here", mine, **settings)


def test_a_metric_that_gives_another_number_of_values_is_named():
    similarity, truth = torch.eye(20), torch.arange(20)
    with pytest.raises(
        ValueError, match=r"metric 'mine' gave values of shape \(5,\), expected .*\(20,\): correct mine of"
    ):
        of_values(torch.zeros(5)).per_sample(similarity, truth)
    assert len(of_values(torch.zeros(20)).per_sample(similarity, truth)) == 20


def test_a_metric_that_gives_no_number_or_no_share_is_named():
    wrong = torch.tensor([0.5, float("nan")], dtype=torch.float64)
    with pytest.raises(ValueError, match=r"values of metric 'mine' holds 1 NaN .* Correct mine of"):
        of_values(wrong).sound(wrong, share=False)
    wide = torch.tensor([0.5, 3.0])
    with pytest.raises(
        ValueError, match=r"metric 'mine' must lie in \[0, 1\], got 0.5 to 3\..*best=math.inf"
    ):
        of_values(wide).sound(wide, share=True)
    assert of_values(wide).sound(wide, share=False) is wide
