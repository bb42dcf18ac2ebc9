"""report.json, scores.h5 and report.html: strict, complete, self-contained."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from braindec import report
from braindec.checks import ConfigError, DataFileError
from braindec.report import _scores
from braindec.types import Report, Score

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
REQUIRED = {"name", "system", "protocol", "subject", "modality", "value", "interval", "chance", "null", "ceiling",
            "ceiling_kind", "n", "direction"}  # fmt: skip


def score(rng, name="image_retrieval_top1", system="braindec", subject=1, **settings):
    values = {"value": 0.62, "interval": (0.55, 0.69), "chance": 0.005, "null": 0.006, "n": 200} | settings
    return Score(name, system, "gallery_200", subject, "fmri", per_sample=rng.random(values["n"]), **values)


@pytest.fixture(scope="module")
def full():
    """A report with every kind of panel."""
    rng = np.random.default_rng(0)
    labels = ("presented", "nearest")  # no order of the alphabet
    pictures = {name: rng.integers(0, 256, (3, 16, 16, 3), dtype=np.uint8) for name in labels}
    mask = rng.random((6, 7, 5)) < 0.5
    scores = (
        score(
            rng,
            ceiling=0.75,
            ceiling_kind="oracle_linear",
            details={"ceilings": {"oracle_n": np.float64(0.7)}},
        ),
        score(rng, system="ridge", subject="group"),
        score(rng, name="two_way_identification", chance=0.5, p=0.01, null_n=99, n=60),
    )
    time_s = np.linspace(-0.1, 0.5, 13)
    notes, groups = {"presented": list("xyz")}, [["best", 2], ["worst", 1]]
    panels = (
        ("What", "text", {"text": "A <b>brain</b> & a picture.\n\n- one\n- two"}),
        ("Pictures", "image_grid", {"rows": pictures, "captions": ["a", "b", "<c>"], "notes": notes,
                                    "groups": groups, "caption": "Three of 60."}),
        ("Captions", "table", {"columns": ["presented", "rank"], "rows": [["square", np.int64(3)], ["ring", 0.25]]}),
        ("Null", "histogram", {"null": rng.random(50), "value": 0.9, "xlabel": "top-1"}),
        ("Regions", "regions", {"regions": ["early", "high"], "series": {"sub-01": np.array([0.1, 0.2])},
                                "intervals": {"sub-01": np.array([[0.0, 0.2], [0.1, 0.3]])}, "chance": 0.05}),
        ("Volume", "volume", {"mask": mask, "values": rng.standard_normal(mask.sum()), "label": "weight"}),
        ("When", "time_course", {"time_s": time_s, "values": rng.random(13), "chance": 0.5, "baseline": (-0.1, 0.0),
                                 "null_limit": 0.6, "significant": time_s > 0.2}),
        ("Training", "curve", {"step": np.arange(5), "series": {"loss": np.array([3, 2, np.nan, 1, 1])}}),
        ("Categories", "confusion", {"matrix": np.eye(3, dtype=int), "labels": ["a", "b", "c"]}),
        ("Limits", "text", {"text": "Simulated.", "section": "limits"}),
    )  # fmt: skip
    return Report(
        scores, {"title": "A <title>", "recipe": "demo", "seed": 0, "nested": {"x": [1, 2]}}, panels
    )


@pytest.fixture(scope="module")
def written(full, tmp_path_factory):
    """Its files, not to be changed."""
    return report.write(full, tmp_path_factory.mktemp("report")).parent


@pytest.fixture
def folder(written, tmp_path):
    """A copy of its files that a test may change."""
    return Path(shutil.copytree(written, tmp_path / "report"))


def test_report_json_has_the_keys_that_readers_rely_on(folder):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    content = json.loads((folder / "report.json").read_text(), parse_constant=refuse)
    assert content["schema"] == 1
    assert content["run"]["recipe"] == "demo"
    for row in content["scores"]:
        assert row.keys() >= REQUIRED
        assert len(row["interval"]) == 2
        assert all(row[key] is not None for key in REQUIRED - {"ceiling", "ceiling_kind"})


def test_a_report_comes_back_as_it_was_written(full, folder):
    again = report.read(folder)
    assert again.to_json() == json.loads((folder / "report.json").read_text())
    for before, after in zip(full.scores, again.scores, strict=True):
        np.testing.assert_array_equal(before.per_sample, after.per_sample)
    assert report.page(again) == report.page(full)


def test_drawing_the_page_again_gives_the_same_bytes(folder):
    first = (folder / "report.html").read_bytes()
    report.write(report.read(folder), folder)
    assert (folder / "report.html").read_bytes() == first


def test_unknown_keys_of_a_later_version_are_ignored(folder):
    content = json.loads((folder / "report.json").read_text())
    content["scores"][0]["future"] = 1
    content["also"] = "new"
    (folder / "report.json").write_text(json.dumps(content))
    assert report.read(folder).scores[0].value == 0.62


def test_samples_of_another_report_are_refused(folder):
    content = json.loads((folder / "report.json").read_text())
    content["scores"][0]["subject"] = 7
    (folder / "report.json").write_text(json.dumps(content))
    with pytest.raises(DataFileError, match=r"another report\.json"):
        report.read(folder)


def test_another_schema_is_refused(folder):
    (folder / "report.json").write_text('{"schema": 2, "scores": [], "run": {}}')
    with pytest.raises(DataFileError, match="schema 2"):
        report.read(folder)


class References(HTMLParser):
    """Every address that a page would load or lead to, and whether its tags close in order."""

    VOID = ("meta", "link", "img", "br", "hr", "input")

    def __init__(self):
        super().__init__()
        self.found, self.open = [], []

    def handle_starttag(self, tag, attrs):
        self.found += [
            value for key, value in attrs if key in ("src", "href", "srcset", "data", "action", "xlink:href")
        ]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found += [value for key, value in attrs if key in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_stands_alone(folder):
    text = (folder / "report.html").read_text()
    assert not re.search(r"https?:", text)
    assert "<script" not in text and "default-src 'none'" in text  # a browser would refuse what slipped in
    assert not re.search(r"@import|url\((?!#)", text)
    references = References()
    references.feed(text)
    assert references.open == []
    assert all(value.startswith(("#", "data:")) for value in references.found)


def test_links_and_clips_inside_the_page_lead_somewhere_and_ids_are_unique(folder):
    text = (folder / "report.html").read_text()
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(|href=")#([^")]+)', text)) <= set(ids)


def test_text_of_users_is_escaped(folder):
    text = (folder / "report.html").read_text()
    assert "A &lt;b&gt;brain&lt;/b&gt; &amp; a picture." in text
    assert "<title>A &lt;title&gt;" in text


def test_sections_stand_in_the_order_of_the_page(folder):
    text = (folder / "report.html").read_text()
    shown = re.findall(r'<section id="(\w+)"', text)
    assert shown == [name for name in report.SECTIONS if name in shown]
    assert {"headline", "pictures", "scores", "controls", "brain", "training", "limits", "config"} == set(
        shown
    )


def test_many_pictures_still_make_a_page_of_at_most_5_mb(rng, tmp_path):
    pictures = {f"row {i}": rng.integers(0, 256, (30, 256, 256, 3), dtype=np.uint8) for i in range(4)}
    report.write(
        Report((), {"title": "Photographs"}, (("Many", "image_grid", {"rows": pictures}),)), tmp_path
    )
    assert (tmp_path / "report.html").stat().st_size <= report.MAX_BYTES


def test_a_page_that_cannot_be_small_enough_is_refused_and_nothing_is_written(rng, tmp_path):
    words = "x" * (report.MAX_BYTES + 1)
    with pytest.raises(ValueError, match="fewer pictures"):
        report.write(Report((), {}, (("Long", "text", {"text": words}),)), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_training_that_added_nothing_is_told_at_the_head_of_the_page():
    page = report.page(
        Report((), {"training": {"n_steps": 5, "steps_chosen": [0], "warning": "0 of <5> steps"}})
    )
    assert 0 < page.index("0 of &lt;5&gt; steps") < page.index("<main>")
    assert 'class="smoke"' not in report.page(Report((), {"training": {"n_steps": 5, "steps_chosen": [5]}}))


def test_nan_in_the_record_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"run\.loss is nan"):
        report.write(Report((), {"loss": float("nan")}), tmp_path)


@pytest.mark.parametrize(
    ("kind", "payload", "error", "match"),
    [
        ("txt", {"text": ""}, ConfigError, "Did you mean 'text'"),
        ("text", {"txt": ""}, ValueError, "lacks the entry 'text'"),
        ("text", {"text": "", "section": "brian"}, ConfigError, "Did you mean 'brain'"),
    ],
)
def test_a_wrong_panel_is_refused_by_name(tmp_path, kind, payload, error, match):
    with pytest.raises(error, match=match):
        report.write(Report((), {}, (("Panel", kind, payload),)), tmp_path)


def opened(path, tmp_path):
    """What the browser's console says when it opens a page, and the picture of it."""
    shot = tmp_path / "shot.png"
    profile = tmp_path / "profile"
    flags = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        "--window-size=1280,2000",
    )
    command = [CHROMIUM, *flags, f"--screenshot={shot}", f"--user-data-dir={profile}", f"file://{path}"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return [line for line in result.stderr.splitlines() if "CONSOLE" in line], shot


@pytest.mark.skipif(
    CHROMIUM is None, reason="needs a browser: apt-get install --no-install-recommends chromium"
)
def test_a_browser_opens_the_page_without_a_word_in_its_console(folder, tmp_path):
    from PIL import Image

    said, shot = opened(folder / "report.html", tmp_path)
    assert said == []
    assert len(np.unique(np.asarray(Image.open(shot)))) > 50  # more than an empty page
    broken = tmp_path / "broken.html"
    broken.write_text("<script>nothing()</script>")
    assert opened(broken, tmp_path)[0], "the console of this browser is not heard"


def test_the_picture_of_a_report_is_a_png_of_its_first_panel(rng):
    from braindec.report import picture

    names = ("presented", "reconstructed", "retrieved")
    rows = {name: rng.integers(0, 255, (3, 8, 8, 3), dtype=np.uint8) for name in names}
    found = picture(Report((), {}, (("scenes", "image_grid", {"rows": rows}),)))
    assert found.startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="no panel of pictures"):
        picture(Report((), {}))
    with pytest.raises(ValueError, match="'eeg'"):
        picture(Report((), {}, (("fmri", "image_grid", {"rows": rows}),)), panels=("fmri", "eeg"))


def test_a_list_of_records_in_the_settings_folds_like_any_other_branch():
    from braindec.report import _blocks

    made = _blocks.config(
        {"tree": {"comparisons": [{"metric": "top1", "p": 0.5}, {"metric": "top5", "p": 1.0}]}}
    )
    assert made.count("<details") == 3
    assert "{" not in made


def test_a_study_says_itself_what_its_null_and_its_twin_are():
    from braindec.evaluate import study

    rows = study.scores("segment_matched", 0.7, (0.6, 0.8), [0.1, 0.2, 0.15], 40, protocol="test", chance=0.1)
    told = report.page(study.report("A study", ["found"], rows, (), "limits"))
    assert escape(study.WORDS["null"]) in told and escape(study.WORDS["systems"]["shuffled"]) in told
    assert "permuted in training" not in told and "refitted with shuffled" not in told
    plain = report.page(Report(tuple(rows), {"title": "A decoder"}, ()))
    assert "permuted in training" in plain and "refitted with shuffled" in plain


def test_what_the_record_says_of_one_subject_is_said_of_that_subject(rng):
    rows = [
        score(rng, subject=1, details={"transform": "RSA"}),
        score(rng, subject=2, details={"transform": "paths"}),
    ]
    told = report.page(Report(tuple(rows), {"title": "Two"}, ()))
    assert "braindec (sub-01 fmri)</b>: transform RSA" in told
    alike = [score(rng, subject=s, details={"transductive": True}) for s in (1, 2)]
    assert "<b>braindec</b>: transductive yes" in report.page(Report(tuple(alike), {"title": "Two"}, ()))


def test_heads_of_numbers_stand_above_them():
    payload = {"columns": ["kind", "n", "mixed"], "rows": [["a", 1, 2.0], ["b", np.int64(3), "-"]]}
    told = report.page(Report((), {"title": "T"}, (("Table", "table", payload),)))
    assert "<th>kind</th><th class=num>n</th><th>mixed</th>" in told


def test_a_bar_goes_from_nothing_to_the_value_on_either_side(rng):
    """A difference below zero is no long bar from the left."""
    told = [
        score(rng, "gain", value=v, interval=(v - 0.2, v + 0.2), chance=0.0, null=0.0, n=9)
        for v in (-0.1, 0.3)
    ]
    bars = re.findall(
        r'class="fill" style="left:([\d.]+)%;width:calc\(([\d.]+)% - [\d.]+%\)', _scores._card(told)
    )
    places = [[-0.3 + 1.3 * float(end) / 100 for end in bar] for bar in bars]  # from the lowest limit to 1
    assert places == [pytest.approx([-0.1, 0.0], abs=1e-3), pytest.approx([0.0, 0.3], abs=1e-3)]


def test_a_p_that_cannot_be_smaller_says_so(rng):
    least = [score(rng, p=0.05, null_n=19), score(rng, system="ridge", p=0.01, null_n=99)]
    assert "The smallest p there can be is 0.05 with 19, 0.01 with 99:" in _scores.table(least)
    assert "smallest p" not in _scores.table([score(rng, p=0.1, null_n=19), score(rng, system="ridge")])
