"""Latents in words: right where latents are words, at chance where they are not, made of training stimuli alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from braindec.evaluate import inside_explained
from braindec.evaluate.inside_explained import ARBITRARY, OURS, Settings, Told
from braindec.sparse import Config, SparseAutoencoder
from braindec.sparse.explanation_scores import fits_by_words

COLOURS, SHAPES = ("red", "green", "blue", "yellow"), ("circle", "square", "star", "heart")
WORDS = (*COLOURS, *SHAPES)
N_TRAIN, N_TEST, N_DIMS = 240, 120, 12
QUICK = Settings(n_null=39, n_refits=2, n_shown=2)


def atoms(generator):
    return torch.linalg.qr(torch.randn(N_DIMS, N_DIMS, generator=generator))[0][: len(WORDS)]


@pytest.fixture(scope="module")
def world():
    """A dictionary whose latents are words; scenes of one object; texts are embedded as sums of their words."""
    generator = torch.Generator().manual_seed(0)
    directions = atoms(generator)
    model = SparseAutoencoder(N_DIMS, Config(len(WORDS), "topk", 2))
    with torch.no_grad():
        model.atoms.copy_(directions)
        model.encoder.copy_(directions)
    drawn = np.random.default_rng(0).integers(4, size=(N_TRAIN + N_TEST, 2))
    captions = [f"a {COLOURS[c]} {SHAPES[s]} on a background" for c, s in drawn]
    present = torch.tensor([[w in text.split() for w in WORDS] for text in captions])
    loud = present * (0.5 + torch.rand(present.shape, generator=generator))
    values = loud @ directions
    train, test = (Told(values[s], captions[s]) for s in (slice(N_TRAIN), slice(N_TRAIN, None)))
    return model.eval(), train, test


def embed(texts):
    """Sums of words' atoms and of what all texts share; knows no words but those of captions."""
    directions = atoms(torch.Generator().manual_seed(0))
    known = {
        **dict(zip(WORDS, directions, strict=True)),
        **dict.fromkeys(("a", "on", "background", "and"), torch.zeros(N_DIMS)),
    }
    return torch.stack([0.3 + sum(known[word] for word in text.split()) for text in texts])


def study(world, decoded, test=None, **more):
    model, train, held_out = world
    return inside_explained.explained_study(model, train, test or held_out, decoded, embed, QUICK, **more)


def of(report, name, system="braindec"):
    return report.score(name, system, 1)


def rows_of(report, title):
    return next(payload["rows"] for name, _, payload in report.panels if name == title)


def test_planted_words_are_told_in_stimuli_and_in_the_brain(world, generator):
    test = world[2]
    decoded = test.embeddings + 0.3 * torch.randn(test.embeddings.shape, generator=generator)
    known = {w: np.array([w in text.split() for text in test.captions]) for w in WORDS}
    report = study(world, decoded, factors=known)
    found, brain = of(report, "explanation_detection"), of(report, "explanation_detection_from_brain")
    assert found.value > 0.95 and found.null < 0.65 and found.p == pytest.approx(1 / 40)
    assert found.interval[0] > 0.9
    assert 0.75 < brain.value < found.value and brain.null < 0.65
    assert of(report, "explanation_simulation").value > 0.7
    texts = {row[0]: row[1] for row in rows_of(report, "Latents, explained")}
    assert [texts[i] for i in range(len(WORDS))] == list(WORDS)
    named = next(line for line in report.run["said"] if "known factor" in line)
    assert named.startswith("1.00 of the explanations")


def test_a_brain_that_saw_other_stimuli_is_told_at_chance(world, generator):
    values = []
    for _ in range(4):
        decoded = world[2].embeddings[torch.randperm(N_TEST, generator=generator)]
        values.append(of(study(world, decoded), "explanation_detection_from_brain").value)
    assert np.mean(values) == pytest.approx(0.5, abs=0.05)


def test_held_out_stimuli_enter_no_explanation(world, generator):
    test = world[2]
    order = torch.randperm(N_TEST, generator=generator)
    exchanged = Told(test.embeddings[order], [text.replace("red", "purple") for text in test.captions])
    ours, theirs = (study(world, told.embeddings, told) for told in (test, exchanged))
    said = [{row[0]: row[1] for row in rows_of(report, "Latents, explained")} for report in (ours, theirs)]
    assert said[0] == said[1]


def test_training_stimuli_enter_no_score(world, generator):
    """Explanations that tell training stimuli by accident tell nothing of others."""
    model, train, test = world
    told = train.captions.copy()
    np.random.default_rng(0).shuffle(told)
    shuffled = (model, Told(train.embeddings, told), test)
    report = study(shuffled, test.embeddings)
    found = of(report, "explanation_detection")
    assert found.value == pytest.approx(0.5, abs=0.12) and found.p > 0.05
    assert found.n == N_TEST


def test_every_way_to_explain_stands_beside_one_for_all(world):
    class Sees:
        """Writes the word that lies nearest to what it is shown less the mean."""

        def caption(self, shown, *, generator):
            directions = atoms(torch.Generator().manual_seed(0)).numpy()
            mean = world[1].embeddings.mean(0).numpy()
            return tuple(WORDS[int(i)] for i in ((shown[:, 0] - mean) @ directions.T).argmax(1))

    report = study(world, world[2].embeddings, captioner=Sees())
    rows = {row[0]: row[1:] for row in rows_of(report, "Ways to explain")}
    assert float(rows["written by a captioner that is shown it"][0]) > 0.95
    assert float(rows["its direction in words"][0]) > 0.9
    assert float(rows[OURS][2]) > 0.95  # by words of captions
    assert 0.6 < float(rows[ARBITRARY][0]) < float(rows[OURS][0])  # twelve dims, eight of them words
    assert float(rows["one for all"][0]) == pytest.approx(0.5, abs=0.08)


def test_a_language_model_writes_and_judges_what_it_is_given(world):
    class Knows:
        """Writes the word that all captions share; finds words in captions."""

        def explain(self, active, silent, *, generator):
            told = [set.intersection(*(set(text.split()) for text in texts)) for texts in active]
            return tuple("only " + " ".join(sorted(some & set(WORDS))) for some in told)

        def fits(self, explanations, captions):
            return fits_by_words(explanations, captions)

    model, train, test = world
    settings = replace(QUICK, closed_words=True)  # "only" is in no caption
    report = inside_explained.explained_study(
        model, train, test, test.embeddings, embed, settings, language_model=Knows()
    )
    rows = {row[0]: row[1:] for row in rows_of(report, "Ways to explain")}
    assert float(rows["written by a language model"][0]) > 0.9
    line = next(said for said in report.run["said"] if "By a language model" in said)
    area, exchanged = (
        float(line.split(before)[1].split(after)[0])
        for before, after in (("area of ", " ("), ("exchanged ", ")"))
    )
    assert area > 0.95 and exchanged < 0.65


def test_latents_too_rare_to_judge_are_refused(world):
    test = world[2]
    few = Told(test.embeddings[:12], test.captions[:12])
    with pytest.raises(ValueError, match="latents active"):
        study(world, few.embeddings, few)


def test_the_loudest_readings_are_as_many_as_asked_for(generator):
    reading = torch.randn(30, 4, generator=generator)
    counts = torch.tensor([0, 3, 10, 30])
    on = inside_explained.loudest(reading, counts)
    assert on.sum(0).tolist() == counts.tolist()
    assert float(reading[on[:, 2], 2].min()) > float(reading[~on[:, 2], 2].max())
