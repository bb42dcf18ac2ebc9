"""Sounds inside a page: what is played is what was given, and nothing is loaded from anywhere."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from scipy.io import wavfile

from braindec import report
from braindec.report import _sounds
from braindec.types import Report

SFREQ = 8000.0


def payload(rng, n=3, n_samples=400, **more):
    rows = {
        name: rng.uniform(-0.9, 0.9, (n, n_samples)).astype(np.float32) for name in ("presented", "retrieved")
    }
    return {"rows": rows, "sfreq": SFREQ, **more}


def test_what_is_played_is_what_was_given(rng):
    given = payload(rng)
    found = re.findall(r'src="data:audio/wav;base64,([^"]+)"', _sounds.sounds(given))
    assert len(found) == 6
    for text, samples in zip(found, np.concatenate(list(given["rows"].values())), strict=True):
        rate, values = wavfile.read(io.BytesIO(base64.b64decode(text)))
        assert rate == SFREQ and values.dtype == np.int16
        np.testing.assert_allclose(values / 32767, samples, atol=0.51 / 32767)


def test_a_page_may_play_what_it_holds_and_one_without_sounds_may_not(rng, tmp_path):
    panel = (
        "Listen",
        "sounds",
        payload(rng, captions=["a", "<b>", ""], notes={"retrieved": ["jazz", "rock", "pop"]}),
    )
    report.write(Report((), {"title": "Music"}, (panel,)), tmp_path)
    text = (tmp_path / "report.html").read_text()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    assert "default-src 'none'" in policy and "media-src data:" in policy and "script-src" not in policy
    assert not re.search(r"https?:", text) and "&lt;b&gt;" in text and "<b>," not in text
    assert "media-src" not in report.page(Report((), {}, (("Words", "text", {"text": "none"}),)))
    assert report.page(report.read(tmp_path)) == text


def test_sounds_that_make_a_page_too_large_are_refused(rng):
    with pytest.raises(ValueError, match="must stay below 3 MB"):
        _sounds.sounds(payload(rng, n=2, n_samples=_sounds.MOST_BYTES // 4))


def test_what_is_no_sound_is_refused(rng):
    with pytest.raises(ValueError, match="samples"):
        _sounds.as_wav(np.array([0.1, np.nan]), SFREQ)
    with pytest.raises(ValueError, match="largest of samples"):
        _sounds.as_wav(np.array([0.0, 300.0]), SFREQ)  # of 16 bits, not divided by 32768
    uneven = payload(rng)
    uneven["rows"]["retrieved"] = uneven["rows"]["retrieved"][:2]
    with pytest.raises(ValueError, match="item"):
        _sounds.sounds(uneven)
