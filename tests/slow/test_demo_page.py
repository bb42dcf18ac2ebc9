"""The page that the demo writes, opened in a browser."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.slow


def test_every_score_of_the_report_is_complete(demo):
    report = json.loads((demo / "report.json").read_text())
    needed = {"name", "system", "protocol", "subject", "modality", "value", "interval", "chance", "null", "n"}
    assert report["schema"] == 1
    assert all(needed <= {k for k, v in score.items() if v is not None} for score in report["scores"])
    systems = {score["system"] for score in report["scores"]}
    assert {"braindec", "ridge", "shuffled", "nuisance", "adapted", "scratch"} <= systems


def test_the_page_is_one_small_file_that_a_browser_opens_in_silence(demo, browse):
    page = demo / "report.html"
    opened = browse(page)
    assert opened.said == []
    assert [url for url in opened.asked if not url.startswith(("file:", "data:"))] == []
    assert page.stat().st_size <= 5e6
    assert len(opened.picture) > 100_000  # an empty page is a tenth of it


def test_the_inside_page_opens_in_silence_and_both_pages_lead_to_each_other(demo, browse):
    inside = demo / "inside" / "report.html"
    opened = browse(inside)
    assert opened.said == []
    assert [url for url in opened.asked if not url.startswith(("file:", "data:"))] == []
    assert inside.stat().st_size <= 5e6
    text = inside.read_text()
    assert (
        'href="../report.html"' in text and 'href="inside/report.html"' in (demo / "report.html").read_text()
    )
    for section in ("fusion", "encoding", "geometry", "latents"):
        assert f'<section id="{section}">' in text
    assert text.count('<article class="latent">') >= 8


def test_the_browser_hears_what_a_faulty_page_says_and_asks_for(tmp_path, browse):
    faulty = tmp_path / "faulty.html"
    faulty.write_text(
        "<img src='https://example.invalid/a.png'><script>console.log('here'); nothing()</script>"
    )
    opened = browse(faulty)
    assert "https://example.invalid/a.png" in opened.asked
    assert len([line for line in opened.said if "here" in line or "ReferenceError" in line]) == 2
