"""Datasets of subjects and sessions: what is done is kept, what changed is done again, sessions make one recording."""

from __future__ import annotations

import os
from functools import partial

import numpy as np
import pytest

from braindec import checks
from braindec.data import NeuralDataset, Split, large, layout, staging
from braindec.types import ArraySpace, Table, Trials

N, SHAPE = 60, (4, 5)
IDS = tuple(f"s{i:02d}" for i in range(N // 2))


class Sessions:
    """Rows of raw files, one a session; each reading is written down."""

    dtype, shape = np.dtype(np.float32), (N, *SHAPE)

    def __init__(self, files, session, seen):
        self.files, self.session, self.seen = files, session, seen

    def __getitem__(self, rows):
        rows = np.arange(N)[rows]
        out = np.empty((len(rows), *SHAPE), np.float32)
        for s in np.unique(self.session[rows]):
            self.seen.append(self.files[s].name)
            out[self.session[rows] == s] = np.load(self.files[s])[rows[self.session[rows] == s]]
        return out


def read(subject, files, seen):
    order = np.arange(N)
    session = order % len(files)  # interleaved
    columns = {
        "stimulus_id": np.array(IDS)[order // 2], "session": session.astype(str), "run": session.astype(str),
        "repeat": order % 2, "onset_s": order * 1.0, "acquisition_order": order,
        "exchangeability_block": session.astype(str),
    }  # fmt: skip
    return Trials(
        Sessions(files, session, seen), Table(columns), ArraySpace(4), "V", subject, "eeg", 100.0, 0.0
    )


@pytest.fixture
def raw(tmp_path, rng):
    folder = tmp_path / "raw"
    folder.mkdir()
    for subject in (1, 2):
        for session in range(3):
            values = rng.standard_normal((N, *SHAPE)).astype(np.float32)
            np.save(folder / f"{subject}-{session}.npy", values)
    (folder / "words.txt").write_text("words")
    return folder


def whole(raw, seen, by_session=True, **settings) -> large.Whole:
    sources = []
    for subject in (1, 2):
        files = tuple(raw / f"{subject}-{session}.npy" for session in range(3))
        sources.append(
            large.Source(
                f"sub-0{subject}_eeg", files, partial(read, subject, files, seen), by_session=by_session
            )
        )
    parts = {"train": IDS[:20], "test": IDS[20:]}
    return large.Whole(
        "made", "none", "a test", raw, tuple(sources),
        large.Pictures(IDS, Table({"n": np.arange(len(IDS))}), files=(raw / "words.txt",)),
        lambda dataset: [Split("stimuli", "stimulus", parts)], settings=settings,
    )  # fmt: skip


def hashes(out):
    return [entry["sha256"] for entry in layout.read_manifest(out)["recordings"]]


def test_sessions_one_by_one_make_the_recording_that_a_subject_at_a_time_makes(raw, tmp_path):
    whole(raw, []).prepare(tmp_path / "a")
    whole(raw, [], by_session=False).prepare(tmp_path / "b")
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")
    found = NeuralDataset.read(tmp_path / "a").trials["sub-02_eeg"].responses[:]
    for session in range(3):
        mine = np.arange(N) % 3 == session
        assert np.array_equal(found[mine], np.load(raw / f"2-{session}.npy")[mine])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "raw"]


def test_sessions_that_are_done_are_not_read_again_after_a_failure(raw, tmp_path):
    bad = np.load(raw / "2-1.npy")
    (raw / "2-1.npy").unlink()
    seen: list[str] = []
    with pytest.raises(FileNotFoundError):
        whole(raw, seen).prepare(tmp_path / "out")
    assert seen == []  # a file that is not there is known before anything is read
    np.save(raw / "2-1.npy", bad[:3])
    with pytest.raises(IndexError):
        whole(raw, seen).prepare(tmp_path / "out")
    assert seen == ["1-0.npy", "1-1.npy", "1-2.npy", "2-0.npy", "2-1.npy"] and not (tmp_path / "out").exists()
    np.save(raw / "2-1.npy", bad)
    seen.clear()
    whole(raw, seen).prepare(tmp_path / "out")
    assert seen == ["2-0.npy", "2-1.npy", "2-2.npy"]  # a subject's files are known by size and time together


def test_the_same_content_under_another_date_is_not_prepared_again_and_other_content_is(raw, tmp_path):
    out, seen = tmp_path / "out", []
    whole(raw, seen).prepare(out)
    seen.clear()
    for path in raw.iterdir():
        os.utime(path, (1, 1))
    whole(raw, seen).prepare(out)
    assert seen == []
    before = hashes(out)
    np.save(raw / "1-0.npy", np.load(raw / "1-0.npy") + 1)
    whole(raw, seen).prepare(out)
    assert seen and hashes(out)[0] != before[0] and hashes(out)[1] == before[1]
    for change in ({"settings": {"rate": 2}}, {"words": "other words"}):
        seen.clear()
        if "words" in change:
            (raw / "words.txt").write_text(change["words"])
        whole(raw, seen, **change.get("settings", {"rate": 2})).prepare(out)
        assert seen
    layout.verify(out)


@pytest.mark.parametrize("shape", [(30, 4), (30, 4, 5)])
def test_staged_rows_are_those_that_were_read_and_say_which_features_are_bad(shape, tmp_path, rng):
    values = [rng.standard_normal(shape).astype(np.float32) for _ in range(2)]
    values[1][3, 2], values[0][:, 1] = np.nan, 7.0
    jobs = [staging.Job(f"j{i}", (), {"i": i}, partial(np.asarray, x)) for i, x in enumerate(values)]
    paths = staging.stage(tmp_path / "out", jobs)
    staged = staging.Staged(list(paths.values()))
    assert np.array_equal(staged[:], np.concatenate(values), equal_nan=True)
    assert staged.flags.tolist() == [[0, staging.CONSTANT, 0, 0], [0, 0, staging.NOT_FINITE, 0]]
    staged.members = np.array([True, False, False, True])
    rows = rng.permutation(60)
    assert np.array_equal(staged[rows], np.concatenate(values)[rows][:, [0, 3]])
    assert staged.shape == (60, 2, *shape[2:])


def test_bad_values_are_refused_and_nothing_shows(raw, tmp_path):
    values = np.load(raw / "1-2.npy")
    values[2, 0, 0] = np.inf
    np.save(raw / "1-2.npy", values)
    with pytest.raises((ValueError, checks.DataFileError), match=r"responses|infinit"):
        whole(raw, []).prepare(tmp_path / "out")
    assert not (tmp_path / "out").exists()
