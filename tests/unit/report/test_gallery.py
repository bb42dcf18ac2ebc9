"""The gallery of reconstructions: every picture once, best and worst alike, readable without a script."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from braindec import report
from braindec.checks import ConfigError
from braindec.report import _gallery
from braindec.report._thumbnails import Thumbnails
from braindec.types import Report

N = 20


@pytest.fixture
def payload(rng):
    shown = rng.integers(0, 255, (N, 16, 16, 3), dtype=np.uint8)
    return {
        "rows": {"presented": shown, "samples": rng.integers(0, 255, (N, 3, 16, 16, 3), dtype=np.uint8),
                 "retrieved": shown[::-1].copy()},
        "scores": {"ssim": rng.permutation(N) / N, "distance": rng.random(N)},
        "lower": ["distance"],
        "names": [f"scene-{i}" for i in range(N)],
        "texts": {"presented": ["a <red> ring"] * N, "decoded": ["a blue disc"] * N},
        "verdicts": [{"colour": "from the brain", "place <b>": "undecidable"}] * N,
    }  # fmt: skip


def page(payload):
    return report.page(Report((), {}, (("sub-01", "image_grid", payload),)))


def cards(text):
    """(item, scores) of each card, top to bottom."""
    found = re.findall(r'<li class="case" data-item="(\d+)" data-scores="([^"]*)"', text)
    return [(int(item), json.loads(scores)) for item, scores in found]


def test_best_and_worst_take_turns_from_the_outside_to_the_middle(payload):
    values = [scores[0] for _, scores in cards(page(payload))]
    ranked = sorted(values, reverse=True)
    assert values[0::2] == ranked[: N // 2]
    assert values[1::2] == ranked[: N // 2 - 1 : -1]


def test_an_odd_number_of_pictures_ends_with_the_middle_one():
    assert _gallery.in_turn(np.array([4, 2, 0])) == [4, 0, 2]


def test_lower_is_better_where_the_payload_says_so_and_what_has_no_score_comes_last(payload):
    values = payload["scores"]["distance"].copy()
    values[3] = np.nan
    order = _gallery.better(values, lower=True)
    assert order[-1] == 3 and np.all(np.diff(values[order[:-1]]) >= 0)
    found = cards(page(payload | {"scores": {"distance": values}}))
    assert found[1] == (3, [None])


def test_every_picture_has_a_card_and_all_but_a_dozen_fold(payload):
    text = page(payload)
    assert sorted(item for item, _ in cards(text)) == list(range(N))
    front = text[: text.index('<details class="more">')]
    assert len(cards(front)) == _gallery.FIRST


def test_a_picture_that_is_shown_twice_is_kept_once(payload):
    text = page(payload)
    assert text.count("data:image/webp") == N + 3 * N  # the retrieved ones are the presented ones
    shown = re.findall(r'<use href="#(p[0-9a-f]+)"/>', text)
    assert len(shown) == 5 * N and set(shown) == set(re.findall(r'<image id="(p[0-9a-f]+)"', text))


def test_texts_and_verdicts_of_users_are_escaped_and_verdicts_are_counted(payload):
    text = page(payload)
    assert "a &lt;red&gt; ring" in text and "<red>" not in text
    assert "place &lt;b&gt;" in text and "place <b>" not in text
    assert text.count('<li class="brain">') == N
    assert "<td>colour</td><td class=num>20</td><td class=num>0</td><td class=num>0</td>" in text


def test_the_page_runs_its_own_script_and_no_other(payload):
    text = page(payload)
    assert re.findall(r"<script>(.*?)</script>", text, re.S) == [_gallery.SCRIPT]
    assert re.search(r"script-src 'sha256-[\w+/]{43}='", text)
    assert '<form class="sorting" hidden>' in text  # without a script there is nothing that does nothing
    assert not re.search(r"https?:|\bon\w+=", text)


def test_without_scores_the_grid_is_what_it_was(payload):
    text = page({"rows": {"presented": payload["rows"]["presented"]}})
    assert 'class="grid"' in text and "<script" not in text and "<use" not in text


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"scores": {"ssim": np.zeros(3)}}, ValueError, "scores of ssim"),
        ({"scores": {}}, ValueError, "at least one metric"),
        ({"lower": ["ssimm"]}, ConfigError, "Did you mean 'ssim'"),
        ({"texts": {"decoded": ["one"]}}, ValueError, "decoded"),
        ({"verdicts": [{"colour": "from brain"}] * N}, ConfigError, "Did you mean 'from the brain'"),
    ],
)
def test_entries_that_do_not_fit_are_refused_by_name(payload, change, error, match):
    with pytest.raises(error, match=match):
        page(payload | change)


def test_a_thumbnail_looks_like_its_picture(rng):
    import base64
    import io

    from PIL import Image

    smooth = np.linspace(0, 255, 64)[:, None, None] * np.ones((1, 64, 3)) * [1, 0.5, 0.2]
    image = smooth.astype(np.uint8)
    address = re.search(r'href="data:image/webp;base64,([^"]+)"', _kept(image))
    back = np.asarray(Image.open(io.BytesIO(base64.b64decode(address[1]))).convert("RGB"), dtype=float)
    assert np.abs(back - image).mean() < 3


def _kept(image):
    thumbnails = Thumbnails(192)
    thumbnails.shown(image, "one")
    return thumbnails.kept()


def test_a_report_with_a_gallery_comes_back_and_its_picture_has_best_and_worst(payload, tmp_path):
    payload = payload | {"rows": {**payload["rows"], "reconstructed": payload["rows"]["presented"]}}
    before = Report((), {}, (("sub-01", "image_grid", payload),))
    path = report.write(before, tmp_path)
    assert report.page(report.read(tmp_path)) == path.read_text()
    assert report.picture(before, n_columns=4).startswith(b"\x89PNG")
    assert report._columns(payload, 4).tolist() == [
        *np.argsort(-payload["scores"]["ssim"])[:2],
        *np.argsort(-payload["scores"]["ssim"])[-2:],
    ]
