"""What a run keeps of retrieval: the nearest of every stimulus, ranks, labels, and small pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec import report
from braindec.evaluate.decoded import Decoded
from braindec.evaluate.neighbours import labels, neighbours, ranks, smaller
from braindec.evaluate.scoring import Judged
from braindec.types import Report, StimulusSet, Table

IDS = ("a", "b", "c", "d")


def decoded(similarity, candidates=IDS, ids=IDS):
    n = len(ids)
    empty = torch.zeros(n, 1)
    return Decoded(
        "sub-01_fmri", ids, empty, empty, torch.zeros(n), Table({}), torch.tensor(similarity), candidates
    )


def judged(*found):
    return Judged("braindec", {d.key: d for d in found}, {})


class Dataset:
    """Stimuli that are one colour each."""

    def __init__(self, **columns):
        pictures = {name: np.full((200, 100, 3), 10 * k, dtype=np.uint8) for k, name in enumerate(IDS)}
        self.stimuli = StimulusSet(
            IDS,
            "image",
            lambda ids: np.stack([pictures[i] for i in ids]),
            {"a": "a ring"},
            Table(columns or {"n": np.arange(4)}),
        )


SIMILARITY = [[0.9, 0.1, 0.2, 0.3], [0.4, 0.3, 0.2, 0.1], [0.0, 0.1, 0.5, 0.5], [0.9, 0.8, 0.7, 0.6]]


def test_neighbours_are_the_most_similar_and_the_rank_is_that_of_the_presented():
    ((_, kind, payload),) = neighbours(judged(decoded(SIMILARITY)), Dataset(), k=2)
    near = payload["neighbours"]["sub-01_fmri"]
    assert kind == "neighbours" and near.shape == (4, 2)
    assert [payload["gallery"][row] for row in near[0]] == ["a", "d"]
    assert payload["rank"]["sub-01_fmri"].tolist() == [1, 2, 1, 4]
    assert payload["similarity"]["sub-01_fmri"][0].tolist() == pytest.approx([0.9, 0.3])
    assert payload["captions"] == ["a ring", "", "", ""]
    assert payload["pictures"].shape == (4, 96, 48, 3) and payload["pictures"][2].mean() == 20


def test_ranks_count_those_that_are_more_similar(rng):
    similarity = rng.standard_normal((50, 20))
    own = rng.integers(0, 20, 50)
    expected = [1 + int((row > row[k]).sum()) for row, k in zip(similarity, own, strict=True)]
    assert ranks(torch.from_numpy(similarity), own.tolist()).tolist() == expected


def test_a_random_decoder_has_the_presented_anywhere(rng):
    found = ranks(torch.from_numpy(rng.standard_normal((4000, 10))), rng.integers(0, 10, 4000).tolist())
    assert np.bincount(found, minlength=11)[1:] == pytest.approx(400, abs=80)


def test_subjects_with_other_candidates_share_one_gallery():
    other = Decoded(**{**vars(decoded([[0.2, 0.9]], ("d", "e"), ("e",))), "key": "sub-02_eeg"})
    dataset = Dataset()
    dataset.stimuli = StimulusSet((*IDS, "e"), "none")
    ((_, _, payload),) = neighbours(judged(decoded(SIMILARITY), other), dataset)
    assert payload["gallery"] == ["a", "b", "c", "d", "e"] and payload["pictures"] is None
    assert payload["neighbours"]["sub-02_eeg"].tolist() == [[4, 3]]


def test_classes_have_no_neighbours():
    assert neighbours(judged(decoded(SIMILARITY, ("face", "house", "shoe", "cat"))), Dataset()) == []


def test_labels_are_columns_of_words_that_tell_stimuli_apart():
    table = Table({
        "shape": ["ring", "star", "ring", "star"], "same_shape": ["ring", "star", "ring", "star"],
        "kind": ["x", "x", "x", "x"], "size": [1.0, 2.0, 3.0, 4.0], "second": ["red", "", "", ""],
    })  # fmt: skip
    stimuli = StimulusSet(IDS, "none", table=table)
    assert labels(stimuli, ("d", "a")) == {"shape": ["star", "ring"]}
    assert labels(StimulusSet(IDS, "none"), IDS) == {}


def test_small_pictures_stay_as_they_are(rng):
    pictures = rng.integers(0, 255, (2, 64, 96, 3), dtype=np.uint8)
    assert smaller(pictures) is pictures


def test_the_page_shows_them_from_the_best_to_the_worst():
    panels = neighbours(judged(decoded(SIMILARITY)), Dataset())
    text = report.page(Report((), {}, tuple(panels)))
    assert text.count("<use href=") == 4 * (1 + 4) and text.count("<image id=") == 4  # each picture once
    assert [text.index(f'<div class="under">{rank}</div>') for rank in (1, 2, 4)] == sorted(
        text.index(f'<div class="under">{rank}</div>') for rank in (1, 2, 4)
    )
