"""ZuCo's tables of labels: joined to sentences by their text, whatever the delimiters and quirks of a file."""

from __future__ import annotations

import runpy

import numpy as np
import pytest

from braindec import checks
from braindec.data import NeuralDataset, catalogue


@pytest.fixture(scope="module")
def functions():
    return catalogue.load("zuco")


@pytest.fixture(scope="module")
def made(functions, tmp_path_factory):
    base = tmp_path_factory.mktemp("zuco_labels")
    truth = functions["synthetic"](base / "raw", subjects=(1, 13), n_sentences=6, sentiment=2.0, noise=0.2)
    counts = functions["prepare"](base / "raw", base / "out")
    return base / "raw", truth, base / "out", counts


@pytest.fixture(scope="module")
def read():
    return runpy.run_path(str(catalogue.folder("zuco") / "_labels.py"))


def by_sentence(out, column):
    table = NeuralDataset.read(out).stimuli.table
    return dict(zip(table["sentence"].tolist(), table[column].tolist(), strict=True))


def test_sentences_have_the_planted_labels_and_others_none(made):
    _, truth, out, counts = made
    names = {"-1": "negative", "0": "neutral", "1": "positive"}
    sentiment, relation = by_sentence(out, "sentiment"), by_sentence(out, "relation")
    planted = truth.details["labels"]
    assert {t: sentiment[t] for t in planted["SR"]} == {t: names[c] for t, c in planted["SR"].items()}
    assert {t: relation[t] for t in planted["TSR"]} == planted["TSR"]
    assert {sentiment[t] for t in planted["TSR"]} == {""} == {relation[t] for t in planted["SR"]}
    assert not any("without" in line and "sentences of" in line for line in counts.missing)


def test_eeg_leans_to_the_sentiment_of_film_reviews_and_to_no_relation(made):
    _, truth, out, _ = made
    trials, direction = NeuralDataset.read(out).trials["sub-01_eeg"], truth.details["direction"]
    sentiment, relation = by_sentence(out, "sentiment"), by_sentence(out, "relation")
    row = dict(
        zip(
            NeuralDataset.read(out).stimuli.ids,
            NeuralDataset.read(out).stimuli.table["sentence"],
            strict=True,
        )
    )
    texts = [str(row[i]) for i in trials.table["stimulus_id"]]
    leans = np.asarray(trials.responses[:]) @ direction / (direction @ direction)
    of = {
        label: leans[[sentiment[t] == label for t in texts]].mean()
        for label in ("negative", "neutral", "positive")
    }
    assert of["positive"] == pytest.approx(2.0, abs=0.2) and of["negative"] == pytest.approx(-2.0, abs=0.2)
    assert all(abs(leans[[relation[t] == c for t in texts]].mean()) < 0.2 for c in ("AWARD", "BIRTH", "WIFE"))


def test_without_tables_there_are_no_such_columns(functions, tmp_path):
    functions["synthetic"](tmp_path / "raw", subjects=(1,), n_sentences=5)
    functions["prepare"](tmp_path / "raw", tmp_path / "out", subjects=[1])
    assert not {"sentiment", "relation"} & set(NeuralDataset.read(tmp_path / "out").stimuli.table)


def test_sentences_that_no_table_knows_are_counted(functions, made, tmp_path):
    raw = made[0]
    table = next(raw.rglob("sentiment_labels_task1.csv"))
    before = table.read_text()
    try:
        table.write_text("\n".join(before.splitlines()[:-1]) + "\n")
        counts = functions["prepare"](raw, tmp_path / "out", dry_run=True)
    finally:
        table.write_text(before)
    assert "1 of 6 sentences of SR without sentiment." in counts.missing


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "sentiment_labels_task1.csv",
            "sentence_id;sentence;control;sentiment_label\n#1;a remark;;1\n"
            '1;Good,  but long.;;1\n2;"It ""is"".";;-1.0\n'
            "3;Odd.;;7\n",
            {"sentiment": {"Good, but long.": "positive", 'It "is".': "negative"}},
        ),
        (
            "relations_labels_task2.csv",
            'sentence_id,sentence,control,relation_types\n1,"Born, he was.",,"BIRTH,AWARD"\n2,None.,,NO-RELATION\n',
            {"relation": {"Born, he was.": "BIRTH,AWARD", "None.": "NO-RELATION"}},
        ),
        (
            "relations_labels_task3.csv",
            "sentence_id;sentence;relation-type\n7;1;He won.;AWARD\n7;2;Twice.;WIFE\n7;3;Twice.;AWARD\n8;He ran.;JOB\n",
            {"relation": {"He won.": "AWARD", "He ran.": "JOB"}},  # one with two labels has none
        ),
    ],
)
def test_published_quirks_are_read(read, tmp_path, name, content, expected):
    (tmp_path / name).write_text(content)
    found, files = read["labels"](tmp_path)
    assert found == expected and files == [tmp_path / name]


def test_a_relation_of_task_specific_reading_goes_before_that_of_normal_reading(read, tmp_path):
    (tmp_path / "relations_labels_task2.csv").write_text(
        "sentence_id,sentence,control,relation_types\n1,Both.,,WIFE\n"
    )
    (tmp_path / "relations_labels_task3.csv").write_text(
        "sentence_id;sentence;relation-type\n1;Both.;AWARD\n"
    )
    assert read["labels"](tmp_path)[0]["relation"] == {"Both.": "AWARD"}


def test_a_table_without_its_columns_or_without_a_label_is_refused_by_name(read, tmp_path):
    path = tmp_path / "sentiment_labels_task1.csv"
    for content in ("a;b\n1;2\n", "", "sentence_id;sentence;control;sentiment_label\n1;Odd.;;9\n"):
        path.write_text(content)
        with pytest.raises(checks.DataFileError) as caught:
            read["labels"](tmp_path)
        assert caught.value.path == path
