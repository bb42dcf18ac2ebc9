"""What the inside page is made of: cards of latents, marks of planted latencies, links between pages."""

from __future__ import annotations

import re

import numpy as np
import pytest

from braindec import report
from braindec.report import _blocks, _latents
from braindec.types import Report


def payload(rng, n=3):
    return {
        "names": ["red circle", "stripes <b>", "latent 7"], "about": [f"latent {i}, active in 5 %" for i in range(n)],
        "images": [rng.integers(0, 255, (4, 8, 8, 3), dtype=np.uint8) for _ in range(n)],
        "auc": np.linspace(0.6, 0.9, n), "interval": np.linspace(0.6, 0.9, n)[:, None] + [-0.05, 0.05],
        "maps": [rng.standard_normal((5, 4)) for _ in range(n)], "ceiling": np.full(n, 0.95), "null": np.full(n, 0.58),
        "reference": np.full(n, 0.7), "places": rng.random((n, 3)), "place_names": ["early", "high", "silent"],
    }  # fmt: skip


def course(**more):
    time_s = np.linspace(-0.1, 0.5, 13)
    series = {
        "early level": np.exp(-(((time_s - 0.1) / 0.05) ** 2)),
        "high level": np.exp(-(((time_s - 0.3) / 0.1) ** 2)),
    }
    return {"time_s": time_s, "series": series} | more


def test_every_latent_has_a_card_with_its_name_stimuli_area_null_baseline_and_places(rng):
    made = _latents.cards(payload(rng))
    assert made.count('<article class="latent">') == 3
    assert made.count('<div class="strip">') == 3
    assert len(re.findall(r'alt="red circle, stimulus \d"', made)) == 4
    assert "<h4>red circle</h4><small>latent 0, active in 5 %</small>" in made
    assert "stripes &lt;b&gt;" in made and "<b>" not in made.replace("<b>AUC", "")
    assert "<b>AUC 0.75</b> [0.70, 0.80]" in made
    assert "null 0.58 · best baseline 0.70 · without noise 0.95" in made
    assert made.count("from above") == 3 and made.count("silent") >= 3


def test_what_is_not_known_of_latents_is_not_drawn(rng):
    whole = payload(rng)
    made = _latents.cards({k: whole[k] for k in ("names", "images", "auc", "interval")})
    assert made.count('<article class="latent">') == 3
    assert not any(word in made for word in ("null", "baseline", "without noise", "from above", "<svg"))


def test_latents_without_a_name_each_are_refused(rng):
    with pytest.raises(ValueError, match="latent"):
        _latents.cards(payload(rng) | {"names": ["one"]})


def test_an_area_lies_on_the_gauge_where_it_belongs_and_never_beside_it():
    assert [_latents._at(v) for v in (0.4, 0.7, 1.0, 0.2)] == ["0.00%", "50.00%", "100.00%", "0.00%"]


def test_a_course_marks_planted_latencies_and_the_limit_of_the_null():
    bare = _blocks.rsa_time_course(course())
    drawn = _blocks.rsa_time_course(course(planted={"early level": 0.1}, null_limit=0.3))
    assert "planted latency" in drawn and "95 % limit of the null" in drawn
    assert "planted" not in bare and "null" not in bare


def test_pages_lead_to_each_other_by_addresses_beside_them_and_nowhere_else(tmp_path):
    told = (("What", "text", {"text": "Found."}),)
    here = report.write(Report((), {"pages": {"Inside": "inside/report.html"}}, told), tmp_path)
    there = report.write(Report((), {"pages": {"Decoding": "../report.html"}}, told), tmp_path / "inside")
    for page, other in ((here, there), (there, here)):
        links = re.findall(r'<a class="page" href="([^"]+)">', page.read_text())
        assert [(page.parent / link).resolve() for link in links] == [other.resolve()]
    for address in ("https://example.invalid/x.html", "/etc/passwd", "javascript:alert(1)"):
        with pytest.raises(ValueError, match="beside this page"):
            report.page(Report((), {"pages": {"Elsewhere": address}}, told))
