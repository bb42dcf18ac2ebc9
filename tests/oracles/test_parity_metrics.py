"""The published evaluation's own numbers, computed with its own code on random input: one assertion a number."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from braindec.maths.nearest import similarity
from braindec.metrics import identification, pixels, retrieval

# The published protocol: 300 of the test images, 30 times. A file may say otherwise.
POOL, DRAWS = 300, 30
TOLERANCE = {"abs": 1e-4, "rel": 1e-4}


@pytest.fixture(scope="module")
def tensors(parity):
    return load_file(parity / "mindeye_metrics_public.safetensors")


@pytest.fixture(scope="module")
def numbers(parity):
    return json.loads((parity / "mindeye_metrics_public.json").read_text())


@pytest.fixture(scope="module")
def retrieved(tensors, numbers):
    """Mean top-1 over the published draws, by what is looked for."""
    image, brain = tensors["clip"].flatten(1), tensors["brain"].flatten(1)
    pool = min(numbers.get("retrieval_pool", POOL), len(image))
    state = np.random.RandomState(numbers["retrieval_numpy_seed"])
    found: dict[str, list[float]] = {"image": [], "brain": []}
    for _ in range(numbers.get("retrieval_draws", DRAWS)):
        rows = torch.as_tensor(state.choice(np.arange(len(image)), pool, replace=False))
        matrix, truth = similarity(brain[rows], image[rows]), torch.arange(pool)
        for what, values in found.items():
            values.append(retrieval.METRICS[f"{what}_retrieval_top1"].value(matrix, truth))
    return {what: float(np.mean(values)) for what, values in found.items()}


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("pixcorr", "pixel_correlation_425"),
        ("ssim_2d", "ssim_425"),
        ("ssim_mindeye_protocol", "ssim_columns_425"),
    ],
)
def test_pixel_metrics_give_the_published_number(tensors, numbers, key, name):
    value = pixels.METRICS[name].value(tensors["images"], tensors["recons"])
    assert value == pytest.approx(numbers[key], **TOLERANCE)


def test_two_way_identification_gives_the_published_number(tensors, numbers):
    score = identification.two_way_identification(tensors["pred_features"], tensors["real_features"])
    assert score.value == pytest.approx(numbers["two_way"], **TOLERANCE)


def test_the_metric_that_evaluations_call_gives_the_same_number(tensors, numbers):
    value = identification.METRICS["two_way_identification"].value(
        tensors["real_features"], tensors["pred_features"]
    )
    assert value == pytest.approx(numbers["two_way"], **TOLERANCE)


# The published similarity helper returns the transpose, so what it calls brain to image picks, for each image, the best
# brain response: our brain retrieval.
def test_image_retrieval_gives_what_is_published_as_image_to_brain(retrieved, numbers):
    assert retrieved["image"] == pytest.approx(numbers["retrieval_image_to_brain_top1"], **TOLERANCE)


def test_brain_retrieval_gives_what_is_published_as_brain_to_image(retrieved, numbers):
    assert retrieved["brain"] == pytest.approx(numbers["retrieval_brain_to_image_top1"], **TOLERANCE)


def test_predictions_of_other_items_do_not_get_the_published_numbers(tensors, numbers):
    shifted = tensors["pred_features"].roll(1, 0)
    assert (
        identification.two_way_identification(shifted, tensors["real_features"]).value
        < numbers["two_way"] - 0.1
    )
    value = pixels.METRICS["pixel_correlation_425"].value(tensors["images"], tensors["recons"].roll(1, 0))
    assert value < numbers["pixcorr"] - 0.1
