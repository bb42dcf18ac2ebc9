"""Concepts in decoded embeddings: found and steered where latents are the concepts, at chance where they are not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec.evaluate import inside_concepts, inside_steering
from braindec.evaluate.inside_concepts import Scenes, Words
from braindec.sparse import Config, SparseAutoencoder

N_DIMS, N_WORDS, N_TRAIN, N_TEST = 24, 10, 300, 80
QUICK = inside_steering.Settings(n_concepts=4, n_null=9, n_drawn=2, n_scenes=3)


@pytest.fixture(scope="module")
def world():
    """A dictionary whose latents are the words; scenes hold each word with 0.3."""
    generator = torch.Generator().manual_seed(0)
    atoms = torch.linalg.qr(torch.randn(N_DIMS, N_WORDS, generator=generator))[0].T
    model = SparseAutoencoder(N_DIMS, Config(N_WORDS, "relu"))
    with torch.no_grad():
        model.atoms.copy_(atoms)
        model.encoder.copy_(atoms)
    present = torch.rand(N_TRAIN + N_TEST, N_WORDS, generator=generator) < 0.3
    values = present.float() @ atoms + 0.02 * torch.randn(len(present), N_DIMS, generator=generator)
    train, test = (Scenes(values[s], present[s]) for s in (slice(N_TRAIN), slice(N_TRAIN, None)))
    return model.eval(), train, test, Words(tuple(f"word {i}" for i in range(N_WORDS)), atoms)


def noisy(test, generator, noise=0.2):
    return test.embeddings + noise * torch.randn(test.embeddings.shape, generator=generator)


def test_each_word_has_the_latent_that_it_is(world):
    model, train, test, words = world
    found = inside_concepts.concepts(model, train, test, words, 10, 2, 0)
    assert len(found) == 10
    assert all(next(iter(one.latents)) == one.column for one in found)


def test_words_that_no_test_stimulus_tells_apart_are_not_asked_for(world):
    model, train, test, words = world
    present = test.present.clone()
    present[:, 4], present[:, 7] = True, False
    found = inside_concepts.concepts(model, train, Scenes(test.embeddings, present), words, 10, 2, 0)
    assert {one.column for one in found} == set(range(10)) - {4, 7}


def test_concepts_are_found_switched_on_and_off_in_predictions(world, generator):
    model, train, test, words = world
    report = inside_steering.steering_study(model, train, test, noisy(test, generator), words, QUICK)
    steered, found = (
        report.score("steered_has_concept", "braindec", 1),
        report.score("concept_found_in_decoded", "braindec", 1),
    )
    assert (
        steered.value > steered.null + 0.25
        and steered.value > steered.chance + 0.25
        and steered.p == pytest.approx(0.1)
    )
    assert found.value > 0.9 and found.interval[0] > 0.8 and found.null == pytest.approx(0.5, abs=0.03)
    assert steered.details["kept"] > steered.details["kept_before"] - 0.1
    off = next(line for line in report.run["said"] if "switched off" in line)
    after, before = (
        float(v) for v in (off.split(": ")[1].split(" ")[0], off.split("before ")[1].rstrip(")."))
    )
    assert after < before - 0.5


def test_nothing_is_found_in_predictions_of_other_scenes(world, generator):
    model, train, test, words = world
    values = []
    for _ in range(4):
        other = noisy(test, generator)[torch.randperm(N_TEST, generator=generator)]
        report = inside_steering.steering_study(model, train, test, other, words, QUICK)
        values.append(report.score("concept_found_in_decoded", "braindec", 1).value)
    assert np.mean(values) == pytest.approx(0.5, abs=0.06)


def test_a_dictionary_that_reads_nothing_steers_no_better_than_other_latents(world, generator):
    _, train, test, words = world
    noise = torch.linalg.qr(torch.randn(N_DIMS, N_DIMS, generator=generator))[0]
    blind = SparseAutoencoder(N_DIMS, Config(N_DIMS, "relu")).eval()
    with torch.no_grad():
        blind.atoms.copy_(noise)
        blind.encoder.copy_(noise)
    shuffled = Words(words.names, words.values[torch.randperm(N_WORDS, generator=generator)])
    report = inside_steering.steering_study(blind, train, test, noisy(test, generator), shuffled, QUICK)
    steered = report.score("steered_has_concept", "braindec", 1)
    assert steered.value < 0.75


def test_pictures_are_judged_by_what_they_show(world, generator):
    """A canvas that shows embeddings as pixels and reads them back."""
    model, train, test, words = world

    def draw(values):
        return (
            np.round(100 + 50 * values.numpy()).clip(0, 255).astype(np.uint8)[:, None, :, None].repeat(3, 3)
        )

    canvas = inside_steering.Canvas(
        draw, lambda pictures: (torch.from_numpy(pictures[:, 0, :, 0]).float() - 100) / 50,
        lambda rows: draw(test.embeddings[rows]),
    )  # fmt: skip
    report = inside_steering.steering_study(
        model, train, test, noisy(test, generator), words, QUICK, canvas=canvas
    )
    drawn = report.score("drawn_has_concept", "braindec", 1)
    assert drawn.n == 6 and drawn.value > drawn.null + 0.3 and drawn.value > drawn.chance + 0.3
    _, kind, payload = next(p for p in report.panels if p[1] == "image_grid")
    assert list(payload["rows"]) == ["presented", "as decoded", "concept on", "other latent on"]
    assert [n for _, n in payload["groups"]] == [3, 3]
    assert kind == "image_grid" and payload["rows"]["concept on"].shape == (6, 1, N_DIMS, 3)
