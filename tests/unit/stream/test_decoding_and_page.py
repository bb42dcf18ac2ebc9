"""One response at a time through a fitted decoder, and the page that shows it."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

import numpy as np
import pytest

from braindec import BrainDecoder, checks
from braindec.adapters import linear as adapter
from braindec.backbones import mlp
from braindec.data.preprocessing import Standardise
from braindec.decoder import Settings
from braindec.losses import clip
from braindec.stream import LiveDecoder, LivePage, class_answer
from braindec.train import Config as Train


@pytest.fixture(scope="module")
def fitted(planted):
    settings = Settings(
        adapter.Config(shared_dim=32), mlp.Config(width=32, n_blocks=1), clip.Config(),
        preprocessing=(Standardise(),), train=Train(n_steps=20),
    )  # fmt: skip
    decoder = BrainDecoder.build(settings, planted.dataset.info, planted.embeddings.info)
    return decoder.fit(planted.dataset.part("train"), planted.embeddings, progress=False)


@pytest.fixture(scope="module")
def test_trials(planted):
    return planted.dataset.part("test").trials["sub-01_fmri"]


def test_a_response_is_decoded_as_among_all_trials(fitted, planted, test_trials):
    live = LiveDecoder(fitted, "sub-01_fmri", planted.embeddings, k=3)
    ids, similarity = fitted.retrieve(test_trials, planted.embeddings, k=3, repeats="none")
    for row in (0, 5, 40):
        found = live.decode(np.asarray(test_trials.responses[[row]])[0], "seen")
        assert found.found == ids[row] and found.similarity == pytest.approx(similarity[row], rel=1e-4)
        assert found.event == "seen" and found.prediction.ids == ("seen",) and found.took_ms > 0


def test_what_was_presented_is_found_more_often_than_by_chance_and_a_shuffled_one_is_not(
    fitted, planted, test_trials
):
    ids = tuple(sorted(set(test_trials.table["stimulus_id"].tolist())))
    gallery = type(planted.embeddings).from_arrays(ids, planted.embeddings.of(ids), "planted")
    live = LiveDecoder(fitted, "sub-01_fmri", gallery, k=1)
    first = [live.decode(row).found[0] for row in np.asarray(test_trials.responses[:])]
    shown = test_trials.table["stimulus_id"]
    assert np.mean(first == shown) > 0.3  # chance 0.025
    assert np.mean(first == np.roll(shown, 7)) < 0.15


def test_scores_of_classes_are_similarities_to_the_gallery(fitted, planted, test_trials):
    live = LiveDecoder(fitted, "sub-01_fmri", planted.embeddings)
    rows = np.asarray(test_trials.responses[:2])
    both = class_answer(live)(rows)
    assert both.shape == (2, len(planted.embeddings.ids))
    assert np.array_equal(both[1:], class_answer(live)(rows[1:]))


def test_another_subject_shape_or_gallery_is_refused(fitted, planted):
    with pytest.raises(checks.ConfigError, match=r"subject must be one of .*got 'sub-09_fmri'"):
        LiveDecoder(fitted, "sub-09_fmri", planted.embeddings)
    with pytest.raises(ValueError, match=r"k must lie in \[1, 160\]"):
        LiveDecoder(fitted, "sub-01_fmri", planted.embeddings, k=161)
    with pytest.raises(ValueError, match=r"a response has shape \(3,\); sub-01_fmri was fitted on \(45,\)"):
        LiveDecoder(fitted, "sub-01_fmri", planted.embeddings).decode(np.zeros(3))
    other = type(planted.embeddings).from_arrays(planted.embeddings.ids, planted.embeddings.values, "other")
    with pytest.raises(checks.SpaceMismatchError, match="gallery is other"):
        LiveDecoder(fitted, "sub-01_fmri", other)


def test_the_page_shows_the_last_answer_and_nothing_to_strangers(fitted, planted, test_trials):
    live = LiveDecoder(fitted, "sub-01_fmri", planted.embeddings, k=2)
    name = str(test_trials.table["stimulus_id"][0])
    decoded = live.decode(np.asarray(test_trials.responses[[0]])[0], name)
    page = LivePage("a <b>run</b>", lambda stimulus: {name: np.zeros((4, 4, 3), np.uint8)}[stimulus])
    with page.serve() as server:
        token = "?" + urlsplit(server.url).query

        def get(path: str) -> tuple[int, bytes]:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
            connection.request("GET", path)
            try:
                reply = connection.getresponse()
                return reply.status, reply.read()
            finally:
                connection.close()

        assert json.loads(get(f"/state.json{token}")[1]) == {"title": "a <b>run</b>", "number": 0}
        assert get(f"/picture.png{token}")[0] == 404
        number = page.show(decoded, known=True)
        said = json.loads(get(f"/state.json{token}")[1])
        assert said["found"] == list(decoded.found) and said["event"] == name and said["n"] == 1
        assert said["hits"] == int(decoded.found[0] == name) and said["drawn"] is None
        page.show(live.decode(np.asarray(test_trials.responses[[1]])[0]))
        page.drawn(number, np.full((4, 4, 3), 9, np.uint8), event=name)
        assert page.state()["drawn"] == {"number": 1, "event": name} and page.state()["number"] == 2
        assert get(f"/picture.png{token}")[1].startswith(b"\x89PNG")
        assert get(f"/stimulus.png{token}&id={name}")[0] == 200
        assert get(f"/stimulus.png{token}&id=../secret")[0] == 404
        assert b"<script" in get(f"/{token}")[1] and get("/state.json")[0] == 403


def test_statistics_that_need_other_trials_are_refused_and_those_of_a_session_are_named(planted, test_trials):
    def fit(scope: str) -> BrainDecoder:
        settings = Settings(
            adapter.Config(shared_dim=8), mlp.Config(width=8, n_blocks=1), clip.Config(),
            preprocessing=(Standardise("session", scope),), train=Train(n_steps=1),
        )  # fmt: skip
        decoder = BrainDecoder.build(settings, planted.dataset.info, planted.embeddings.info)
        return decoder.fit(planted.dataset.part("train"), planted.embeddings, progress=False)

    with pytest.raises(checks.ConfigError, match="Standardise of sub-01_fmri has the scope 'causal'"):
        LiveDecoder(fit("causal"), "sub-01_fmri", planted.embeddings)
    response = np.asarray(test_trials.responses[[0]])[0]
    decoder = fit("unit_train_rows")
    live = LiveDecoder(decoder, "sub-01_fmri", planted.embeddings)
    with pytest.raises(ValueError, match="session 'live' has no training rows"):
        live.decode(response)
    session = str(test_trials.table["session"][0])
    ids, _ = decoder.retrieve(test_trials, planted.embeddings, repeats="none")
    assert live.decode(response, session=session).found == ids[0]
