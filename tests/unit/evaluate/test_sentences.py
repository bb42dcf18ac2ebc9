"""Words dealt into sentences: masked, standardised on training readings, exchanged and held out by the sentence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from braindec.data import NeuralDataset, catalogue
from braindec.evaluate import sentences as reading
from braindec.evaluate.sentences import NONE, Sentences


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    base, zuco = tmp_path_factory.mktemp("zuco"), catalogue.load("zuco")
    zuco["synthetic"](base / "raw", subjects=(1, 13), n_sentences=6, sentiment=1.0)
    zuco["prepare"](base / "raw", base / "out")
    return NeuralDataset.read(base / "out")


def some(rng, n=12, people=2) -> Sentences:
    """Each sentence read by all, of one to four words, three classes."""
    sentence = np.tile([f"s{i}" for i in range(n)], people)
    lengths = rng.integers(1, 5, n * people)
    rows, start = torch.full((n * people, 4), NONE), 0
    for i, length in enumerate(lengths):
        rows[i, :length] = torch.arange(start, start + length)
        start += length
    words = torch.from_numpy(rng.standard_normal((start, 5)) * 3 + 2).float()
    person = np.repeat([f"p{i}" for i in range(people)], n)
    texts = {f"s{i}": f"text {i}" for i in range(n)}
    return Sentences(
        words, words[:, :2], rows, person, sentence, np.tile(np.arange(n) % 3, people), ("a", "b", "c"), texts
    )


def test_readings_are_those_of_a_loop_over_the_prepared_words(dataset):
    found = reading.sentences(dataset, "TSR", "relation")
    assert found.classes == ("AWARD", "BIRTH", "WIFE") and found.n_sentences == 6 and len(found.label) == 12
    row = {key: i for i, key in enumerate(dataset.stimuli.ids)}
    for at in range(len(found.label)):
        trials = dataset.trials[found.person[at]]
        mine = [
            i
            for i in range(trials.n_trials)
            if trials.table["concept"][i] == found.sentence[at] and trials.table["run"][i] == "TSR"
        ]
        mine.sort(key=lambda i: trials.table["word_index"][i])
        rows = found.rows[at][found.rows[at] != NONE]
        assert np.array_equal(found.words[rows], trials.responses[:][mine])
        assert (found.rows[at][len(mine) :] == NONE).all()
        of = row[trials.table["stimulus_id"][mine[0]]]
        assert found.classes[found.label[at]] == dataset.stimuli.table["relation"][of]
        eye = found.nuisance[rows].numpy()
        assert np.array_equal(eye[:, 0], trials.table["n_fixations"][mine].astype(np.float32))
        assert eye[:, -2].tolist() == [len(trials.table["word"][i]) for i in mine]
        assert set(eye[:, -1].tolist()) == {float(len(mine))}


def test_a_sentence_that_is_read_twice_in_a_task_is_two_readings(dataset):
    key, trials = next(iter(dataset.trials.items()))
    plain = reading.sentences(dataset, "SR", "sentiment")
    run, concept = trials.table["run"].astype(str), trials.table["concept"].astype(str)
    one = plain.sentence[plain.person == key][0]
    first = np.flatnonzero((run == "SR") & (concept == one))
    # The second time at once after the first, and without its first word.
    order = np.insert(np.arange(trials.n_trials), first[-1] + 1, first[1:])
    twice = replace(dataset, trials={**dataset.trials, key: trials.take(order)})
    found = reading.sentences(twice, "SR", "sentiment")
    mine = np.flatnonzero((found.person == key) & (found.sentence == one))
    assert len(mine) == 2 and len(found.label) == len(plain.label) + 1
    assert found.n_sentences == plain.n_sentences
    responses = np.asarray(trials.responses[:], np.float32)
    for at, rows in zip(mine, (first, first[1:]), strict=True):
        own = found.rows[at][found.rows[at] != NONE]
        assert np.array_equal(found.words[own], responses[rows])
        assert set(found.nuisance[own, -1].tolist()) == {float(len(rows))}
    assert len(set(reading.folds(found, 2, 0)[mine])) == 1


def test_a_label_that_is_not_there_is_named(dataset):
    with pytest.raises(ValueError, match="no column 'irony'"):
        reading.sentences(dataset, "SR", "irony")
    with pytest.raises(ValueError, match="0 classes"):
        reading.sentences(dataset, "NR", "sentiment")


def test_whoever_read_a_sentence_it_lies_in_one_fold_and_classes_are_shared_out(rng):
    found = some(rng, n=18)
    fold = reading.folds(found, 3, seed=0)
    for one in set(found.sentence):
        assert len(set(fold[found.sentence == one])) == 1
    for k in range(3):
        assert np.bincount(found.label[fold == k]).tolist() == [4, 4, 4]
    with pytest.raises(ValueError, match="n_folds"):
        reading.folds(found, 19, seed=0)


def test_only_training_readings_decide_how_words_are_scaled(rng):
    found = some(rng)
    train = found.sentence < "s5"
    rows = found.rows[torch.from_numpy(train)].flatten()
    held = torch.from_numpy(np.setdiff1d(np.arange(len(found.words)), rows))
    words = found.words.clone()
    words[held] *= 100
    first, second = (reading.standardised(one, train) for one in (found, replace(found, words=words)))
    told = rows[rows != NONE]
    assert torch.equal(first.words[told], second.words[told]) and not torch.equal(first.words, second.words)
    for person in ("p0", "p1"):
        mine = found.rows[torch.from_numpy(train & (found.person == person))].flatten()
        own = first.words[mine[mine != NONE]]
        assert torch.allclose(own.mean(0), torch.zeros(5), atol=1e-5)
        assert torch.allclose(own.std(0), torch.ones(5), atol=1e-5)


def test_noise_and_nuisance_keep_who_read_what_and_nothing_of_the_eeg(rng):
    found = some(rng)
    drawn, eye = reading.noise(found, 0), reading.nuisance_alone(found)
    assert torch.equal(drawn.rows, found.rows) and drawn.words.shape == found.words.shape
    assert abs(np.corrcoef(drawn.words.flatten(), found.words.flatten())[0, 1]) < 0.2
    assert torch.equal(eye.words, found.nuisance)
    assert torch.equal(reading.noise(found, 0).words, drawn.words)


def test_exchanged_readings_stay_with_their_person_and_tested_ones_where_they_are(rng):
    found = some(rng)
    train = found.sentence < "s5"
    moved = reading.shuffled(found, train, 0, "a")
    assert torch.equal(moved.rows[torch.from_numpy(~train)], found.rows[torch.from_numpy(~train)])
    first = found.rows[:, 0].tolist()
    origin = np.array([first.index(i) for i in moved.rows[:, 0].tolist()])
    assert (found.person[origin] == found.person).all() and sorted(origin) == list(range(len(origin)))
    assert (origin != np.arange(len(origin)))[train].mean() > 0.5
