"""Objects show what they are, in text and in notebooks: short, and nothing that they hold is taken for HTML."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from braindec import NeuralDataset, Report, Score, outlines

EVIL = "<script>alert('x')</script>"


@pytest.fixture
def dataset(rng):
    responses = rng.standard_normal((12, 3, 50))
    made = NeuralDataset.from_arrays(responses, [f"{EVIL}{i % 6}" for i in range(12)], modality="eeg", sfreq=100.0,
                                     tmin=-0.1, run=np.arange(12) // 6, units=EVIL)  # fmt: skip
    return replace(made, name=EVIL)


def score(system="braindec", **changed):
    given = {"name": "top1", "system": system, "protocol": "p", "subject": 1, "modality": "eeg", "value": 0.5,
             "interval": (0.25, 0.75), "chance": 0.1, "null": 0.12, "n": 10, "p": 0.05, "null_n": 19}  # fmt: skip
    return Score(**given | changed)


def test_nothing_in_a_notebook_is_taken_for_html(dataset):
    shown = [
        dataset,
        *dataset.trials.values(),
        score(name=EVIL),
        Report((score(protocol=EVIL),), {"title": EVIL}),
    ]
    for one in shown:
        html = one._repr_html_()
        assert "<script" not in html and html.startswith("<div")
        assert len(html) < 5000


def test_a_dataset_says_what_it_holds_and_what_is_held_out(dataset):
    said = repr(dataset.hold_out("run", ["1"]))
    assert "12 trials of 3 x 50" in said and "by run: train 1, test 1" in said
    assert "part train" in repr(dataset.hold_out("run", ["1"]).part("train"))
    (trials,) = dataset.trials.values()
    assert "12 trials x 3 features x 50 times" in repr(trials) and "-0.1 to 0.39 s at 100 Hz" in repr(trials)


def test_a_report_is_one_line_a_metric_with_chance_and_null_beside_all_systems():
    lines = str(Report((score(), score("ridge", value=0.4), score("shuffled", value=0.1)), {})).splitlines()
    assert lines[0].split() == ["score", "of", "n", "chance", "null", "p", "braindec", "ridge"]
    said = "top1 sub-01 eeg 10 0.1 0.120 (19) 0.05 0.500 [0.25, 0.75] 0.400 [0.25, 0.75]"
    assert " ".join(lines[1].split()) == said


def test_long_values_are_cut_off():
    assert len(outlines.words("x" * 1000)) == outlines.MAX_CHARACTERS
    assert outlines.words((1.23456, 2)) == "1.23, 2"


def test_a_decoder_says_what_it_decodes_and_whether_it_is_fitted():
    from braindec import BrainDecoder, Embeddings
    from braindec.quick import first_settings

    rng = np.random.default_rng(0)
    dataset = NeuralDataset.from_arrays(rng.standard_normal((40, 5)), range(40), modality="fmri", units=EVIL)
    embeddings = Embeddings.from_arrays(range(40), rng.standard_normal((40, 3)), EVIL)
    decoder = BrainDecoder.build(first_settings(embeddings, 40), dataset.info, embeddings.info)
    before = decoder._repr_html_()
    after = decoder.fit(dataset, embeddings, prior=False, progress=False)._repr_html_()
    assert "sub-01_fmri" in before and "call fit" in before and "closed form, seed 0" in after
    assert "1 x 3" in after and "linear" in after and "<script" not in after


def test_drawn_pictures_say_of_whom_they_are():
    from types import SimpleNamespace

    from braindec.evaluate.reconstructions import Reconstructions

    found = Reconstructions({f"sub-01{EVIL}": SimpleNamespace(ids=("a", "b"))}, {}, (score(),))
    assert "2 pictures of sub-01" in repr(found) and "top1" in found._repr_html_()
    assert "<script" not in found._repr_html_()
