"""EEG of reading against text: planted labels and sentences are found, by chance where nothing is planted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from braindec import checks
from braindec.evaluate import eeg_language, eeg_language_report
from braindec.evaluate import sentences as reading
from braindec.evaluate.sentence_alignment import Aligner, WordTransformer, fit, words_of
from braindec.evaluate.sentences import NONE, Sentences
from braindec.losses import cca, sinkhorn

SMALL = Aligner(
    width=16, n_layers=1, n_heads=2, shared_dim=8, n_steps=40, batch_size=48, lr=1e-2, dropout=0.0
)
N, DIM = 36, 12


def planted(label: float = 0.0, sentence: float = 0.0, told: float = 0.0, seed: int = 0):
    """Two people's readings: words lean to the label and to the text, `told` is how well texts tell the label."""
    rng = np.random.default_rng(seed)
    of, text = np.arange(N) % 3, rng.standard_normal((N, DIM))
    lean, mix = rng.standard_normal((3, 20)), rng.standard_normal((DIM, 20)) / DIM**0.5
    names = np.array([f"s{i:02d}" for i in range(N)])
    rows, words = torch.full((2 * N, 4), NONE), []
    for i in range(2 * N):
        n = int(rng.integers(2, 5))
        rows[i, :n] = torch.arange(len(words), len(words) + n)
        own = label * lean[of[i % N]] + sentence * text[i % N] @ mix
        words += [own + rng.standard_normal(20) for _ in range(n)]
    text[:, :3] += told * np.eye(3)[of]
    x = torch.tensor(np.array(words)).float()
    eye = torch.from_numpy(rng.standard_normal((len(x), 9))).float()
    found = Sentences(x, eye, rows, np.repeat(["p0", "p1"], N), np.tile(names, 2), np.tile(of, 2),
                      ("a", "b", "c"), {name: name for name in names.tolist()})  # fmt: skip
    return found, {name: torch.from_numpy(t).float() for name, t in zip(names.tolist(), text, strict=True)}


def texts_of(found, places):
    return torch.stack([places[i] for i in found.sentence])


def test_what_lies_behind_the_last_word_is_not_looked_at():
    found, _ = planted(label=1.0)
    torch.manual_seed(0)
    model = WordTransformer(20, 6, SMALL).eval()
    words, there = words_of(found, torch.arange(8))
    longer = torch.cat([words, torch.randn(8, 2, 20)], 1)
    mask = torch.cat([there, torch.zeros(8, 2, dtype=torch.bool)], 1)
    junk = torch.where(there[..., None], words, torch.randn_like(words))
    with torch.no_grad():
        plain = WordTransformer.forward(model, longer, mask)
        other = longer.clone()
        other[:, :4] = junk
        assert torch.allclose(plain, model(other, mask), atol=1e-5)
        swapped = words[:, [1, 0, 2, 3]]
        assert not torch.allclose(
            model(torch.cat([swapped, longer[:, 4:]], 1), mask), plain, atol=1e-4
        )  # order


def test_labels_of_held_out_sentences_change_nothing():
    found, places = planted(label=1.0)
    train = reading.folds(found, 3, 0) != 0
    other = replace(found, label=np.where(train, found.label, (found.label + 1) % 3))
    quick = replace(SMALL, n_steps=5)
    first, second = (
        fit(f, texts_of(found, places), train, cca.Config(), quick, seed=0) for f in (found, other)
    )
    assert torch.equal(first.brain, second.brain) and torch.equal(first.both, second.both)


def test_a_planted_label_is_told_from_words_and_none_where_none_is_planted():
    right = {}
    for name, label in (("planted", 0.8), ("null", 0.0)):
        found, places = planted(label=label)
        train = reading.folds(found, 3, 0) != 0
        told = fit(found, texts_of(found, places), train, None, SMALL, seed=0)
        right[name] = float((told.brain.argmax(1).numpy() == found.label[~train]).mean())
    assert right["planted"] > 0.8 and right["null"] < 0.7


@pytest.mark.parametrize(
    ("alignment", "found_again"),
    [(None, False), (cca.Config(), True), (sinkhorn.Config(n_iterations=30), True)],
)
def test_alignment_finds_the_sentence_again_and_labels_alone_do_not(alignment, found_again):
    found, places = planted(sentence=1.5)
    train = reading.folds(found, 3, 0) != 0
    told = fit(
        found, texts_of(found, places), train, alignment, replace(SMALL, n_steps=80, weight=3.0), seed=0
    )
    inner = reading.folds(eeg_language._only(found, train), 4, 0)
    places_of = eeg_language._places(told, inner)
    way = "mapped" if isinstance(alignment, cca.Config) else "direct"
    place, _, pool = eeg_language._retrieved(places_of[way], told.text_place, found.sentence[~train])
    assert pool == 12 and bool(place.mean() > 0.7) is found_again


def test_the_place_of_a_sentence_is_that_of_a_loop_and_ties_are_halves():
    generator = torch.Generator().manual_seed(0)
    names = np.array(["b", "a", "c", "a"])
    brain, text = torch.randn(4, 3, generator=generator), torch.randn(4, 3, generator=generator)
    text[3] = text[1]
    place, nearer, pool = eeg_language._retrieved(brain, text, names)
    first = {"a": 1, "b": 0, "c": 2}
    for i in range(4):
        likeness = {n: float(torch.cosine_similarity(brain[i], text[at], dim=0)) for n, at in first.items()}
        others = [v for n, v in likeness.items() if n != names[i]]
        assert nearer[i] == sum(v > likeness[names[i]] for v in others)
        assert place[i] == np.mean([v < likeness[names[i]] for v in others])
    same = eeg_language._retrieved(brain, torch.ones(4, 3), names)
    assert same[0].tolist() == [0.5] * 4 and same[1].tolist() == [1.0] * 4 and pool == 3
    with pytest.raises(ValueError, match="fewer folds"):
        eeg_language._retrieved(brain[:2], text[:2], names[[1, 3]])


@pytest.mark.parametrize("bad", ["lr", "words"])
def test_a_fit_that_diverged_is_an_error_and_words_that_are_not_finite_are_named(bad):
    found, places = planted(label=1.0)
    train = reading.folds(found, 3, 0) != 0
    settings = replace(SMALL, n_steps=3, lr=1e30 if bad == "lr" else 1e-2)
    if bad == "words":
        found.words[0, 0] = torch.nan
    error, match = (checks.DivergenceError, "lr") if bad == "lr" else (ValueError, "words holds 1 NaN")
    with pytest.raises(error, match=match):
        fit(found, texts_of(found, places), train, None, settings, seed=0)


def judged(monkeypatch, found, places, beside=()):
    monkeypatch.setattr(eeg_language.reading, "sentences", lambda *args: found)
    ways = {"none": None, "pairs": sinkhorn.Config(n_iterations=30)}
    question = eeg_language.Question(("SR",), "sentiment")
    quick = replace(SMALL, n_steps=12, lr=2e-2)
    return eeg_language.judge(
        None, places, question, ways, "pairs", quick, beside=beside, n_folds=2, n_null=1, seed=0
    )


def test_eeg_that_knows_more_than_the_text_is_weighed_in_and_reported(monkeypatch):
    found, places = planted(label=0.8)
    made = judged(monkeypatch, found, places, beside=("none",))
    own, noise = made.systems["braindec"], made.systems["contender"]
    assert own.weight > noise.weight
    report = eeg_language_report.report({"sentiment": made}, "pairs", protocol="heldout_stimuli", seed=0)
    ours, null = report.score("sentiment_f1_from_eeg"), report.score("sentiment_f1_from_eeg", "shuffled")
    assert ours.value > 0.7 > ours.null == null.value and ours.n == N and ours.details["readings"] == 2 * N
    rows = {(r["a"], r["b"], r["metric"]): r for r in report.run["comparisons"]}
    added = rows["EEG and text, weighed", "text alone", "f1"]
    assert added["interval"][0] > 0 and added["n"] == N
    assert "the EEG adds to the text alone" in " ".join(report.panels[0][2]["text"])
    assert report.score("sentiment_f1_from_text").value < 0.6


def test_eeg_that_knows_nothing_adds_nothing_to_a_text_that_does(monkeypatch):
    found, places = planted(told=5.0)
    report = eeg_language_report.report(
        {"relation": judged(monkeypatch, found, places)}, "pairs", protocol="heldout_stimuli", seed=0
    )
    rows = {(r["a"], r["b"], r["metric"]): r for r in report.run["comparisons"]}
    assert rows["EEG and text, weighed", "text alone", "f1"]["interval"][0] <= 0
    assert report.score("relation_f1_from_text").value > 0.75
    assert report.score("relation_f1_from_eeg").interval[0] < 0.5


def given_of(found, places, fold):
    return eeg_language._Given(found, texts_of(found, places), fold, replace(SMALL, n_steps=8), 0)


def otherwise(found, trials):
    """The same where these readings have other labels and their words other values."""
    rows, words = found.rows[torch.from_numpy(trials)], found.words.clone()
    words[rows[rows != NONE]] = 40 - 30 * words[rows[rows != NONE]]
    return replace(found, words=words, label=np.where(trials, (found.label + 1) % 3, found.label))


def test_the_weight_is_chosen_without_held_out_sentences(monkeypatch):
    monkeypatch.setattr(eeg_language, "WEIGHTS", torch.linspace(0.0, 1.0, 1001))
    found, places = planted(label=0.2, told=2.0)
    fold = reading.folds(found, 2, 0)
    train, weights = fold != 0, []
    for one in (found, otherwise(found, ~train)):
        part = reading.standardised(one, train)
        weights.append(eeg_language._weight(given_of(one, places, fold), part, 0, None))
    assert weights[0] == weights[1] and 0 < weights[0] < 1


def test_a_held_out_reading_changes_nothing_of_what_is_said_of_the_others():
    found, places = planted(label=0.5, sentence=0.5, told=1.0)
    fold = reading.folds(found, 2, 0)
    one = (fold == 0) & (found.sentence == found.sentence[fold == 0][0])
    others = (fold == 0) & ~one
    plain, moved = (
        eeg_language._answers(given_of(f, places, fold), lambda part, train, k: part, cca.Config())
        for f in (found, otherwise(found, one))
    )
    for kind in eeg_language.KINDS:
        assert np.array_equal(plain.said[kind][others], moved.said[kind][others])
    for way in eeg_language.WAYS:
        assert np.array_equal(plain.place[way][others], moved.place[way][others])
    assert not np.array_equal(
        plain.place["direct"][one], moved.place["direct"][one]
    )  # there is something to see


def test_the_null_of_the_text_is_at_chance_where_the_text_tells_everything():
    found, places = planted(told=8.0)
    fold = reading.folds(found, 2, 0)
    given = replace(given_of(found, places, fold), aligner=SMALL)
    truth = found.label[fold == 0]
    assert (eeg_language._text(given, 0).argmax(1).numpy() == truth).mean() > 0.9
    nulls = [eeg_language._text_of_others(given, 0, i).argmax(1).numpy() == truth for i in range(1, 13)]
    assert np.mean(nulls) < 0.5


def answers(found, rng, right):
    """What a system says that is right in a share of the readings, every sentence as near as any."""
    said = np.where(rng.random(2 * N) < right, found.label, (found.label + rng.integers(1, 3, 2 * N)) % 3)
    half, pool = dict.fromkeys(eeg_language.WAYS, np.full(2 * N, 0.5)), np.full(2 * N, 13)
    rank = dict.fromkeys(eeg_language.WAYS, np.full(2 * N, 6.0))
    return eeg_language.Answers(dict.fromkeys(eeg_language.KINDS, said), half, rank, pool, 0.5)


@pytest.mark.parametrize(
    ("noise", "eye", "n_null", "above", "open_"),
    [
        (0.33, 0.33, 19, ("null", "noise", "eye"), ()),
        (0.33, 0.85, 19, ("null", "noise"), ("eye",)),  # what the eye did tells as much
        (0.85, 0.33, 19, ("null", "eye"), ("noise",)),
        (0.33, 0.33, 1, ("noise", "eye"), ("null",)),  # one refit settles nothing
    ],
)
def test_eeg_is_said_to_be_above_what_paired_differences_and_the_null_settle(
    noise, eye, n_null, above, open_
):
    found, rng = planted()[0], np.random.default_rng(0)
    shares = {"braindec": 0.85, "contender": noise, "nuisance": eye}
    systems = {name: answers(found, rng, right) for name, right in shares.items()}
    nulls = tuple(answers(found, rng, 0.33) for _ in range(n_null))
    made = eeg_language.Judged(found, systems, {"pairs": systems["braindec"]}, nulls)
    report = eeg_language_report.report({"sentiment": made}, "pairs", protocol="heldout_stimuli", seed=0)
    line = report.panels[0][2]["text"][0].split("; from the text alone")[0]
    settled, _, unsettled = line.partition("not settled to be above")
    for words, them in ((settled, above), (unsettled, open_)):
        assert [name for name in ("null", "noise", "eye") if name in words] == list(them)
    assert report.score("sentiment_sentence_rank").details["top1"] == 0.0  # all are as near: no hit
    modalities = [report.score(f"sentiment_f1_from_{kind}").modality for kind in ("eeg", "text")]
    assert modalities == ["eeg", "text"]


def test_an_alignment_that_is_not_there_is_named(monkeypatch):
    with pytest.raises(checks.ConfigError, match="alignment"):
        eeg_language.judge(None, {}, None, {"none": None}, "cca", SMALL, n_folds=2, n_null=1, seed=0)
    with pytest.raises(checks.ConfigError, match="n_heads"):
        Aligner(width=10, n_heads=4)
