"""What the explorer holds of a run, how it is kept from doing harm, and what it says is missing."""

from __future__ import annotations

import json
import re
import shutil
import urllib.request
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from braindec import checks, explore, plots, report, serving, store
from braindec.explore import _page, _sheets
from braindec.report import _files
from braindec.types import Report


def data(folder):
    """What data.js tells the page."""
    text = (folder / "data.js").read_text()
    return json.loads(json.loads(text[text.index("(") + 1 : text.rindex(")")]))


def small(folder, *panels):
    """A run of these panels alone."""
    (folder / "small").mkdir()
    _files.write(Report((), {"title": "Small"}, panels), folder / "small")
    return folder / "small"


def test_a_smoke_run_says_first_that_it_is_one(tmp_path):
    for name, told in (("smoke", {"smoke": True, "made_data": True}), ("whole", {"smoke": False})):
        _files.write(Report((), {"title": "Faces"} | told, ()), tmp_path / name)
        said = data(explore.write(tmp_path / name, tmp_path / f"{name}-explorer").parent)["smoke"]
        assert ("no result" in said and "made up" in said) if told["smoke"] else said == ""


def view(folder, key):
    (found,) = (v for v in data(folder)["views"] if v["key"] == key)
    return found


def pixels(folder, reference):
    """The picture that a reference names, cut out of its sheet as the page does."""
    sheet = data(folder)["sheets"][reference // _sheets.MOST]
    whole = np.asarray(Image.open(folder / sheet["file"]).convert("RGB"))
    row, column = divmod(reference % _sheets.MOST, sheet["columns"])
    wide, tall = sheet["width"] + 2, sheet["height"] + 2
    return whole[row * tall + 1 : (row + 1) * tall - 1, column * wide + 1 : (column + 1) * wide - 1]


@pytest.fixture(scope="module")
def made(whole_run, tmp_path_factory):
    return explore.write(whole_run, tmp_path_factory.mktemp("made") / "explorer").parent


@pytest.fixture
def a_run(whole_run, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(whole_run, tmp_path / "run")


def test_every_item_of_a_run_and_of_its_pages_is_there(made):
    counts = {v["key"]: len(v["items"]) for v in data(made)["views"]}
    assert counts == {
        "pictures": 10, "retrieval": 10, "latents": 3, "distances": 1, "maps": 0, "time": 0, "scores": 2, "figures": 1,
    }  # fmt: skip


def test_a_picture_carries_its_scores_labels_verdicts_and_texts(made):
    found = view(made, "pictures")
    item = found["items"][3]
    assert (item["name"], item["who"]) == ("scene-00003", "sub-01 fmri")
    assert [n["name"] for n in found["numbers"]] == ["ssim", "distance"]
    assert [n["lower"] for n in found["numbers"]] == [False, True]
    assert item["numbers"][0] == pytest.approx(0.3)
    assert item["facets"] == {
        "subject": "sub-01 fmri", "shape": "heart", "owner": "scene-00003", "__proto__": "two",
        "colour in the picture": "from the prior",
    }  # fmt: skip
    assert [label for label, _ in item["shots"]] == ["presented", "reconstructed", "sample 1", "sample 2"]
    assert item["texts"] == [["", "presented: number scene-00003"], ["decoded caption", "a blue disc"]]


def test_pictures_are_cut_out_of_sheets_as_they_were_put_in(rng, tmp_path):
    shades = rng.integers(0, 255, (40, 1, 1, 3), dtype=np.uint8)
    pictures = np.broadcast_to(shades, (40, 24, 16, 3))  # one colour each: compression changes it little
    sheets = _sheets.Sheets()
    references = [sheets.add(p) for p in pictures]
    assert references == [sheets.add(p) for p in pictures], "equal pictures are kept once"
    (tmp_path / "pictures").mkdir()
    told = sheets.write(tmp_path / "pictures")
    (tmp_path / "data.js").write_text(_page.script({"sheets": told}))
    for picture, reference in zip(pictures, references, strict=True):
        assert np.abs(pixels(tmp_path, reference).astype(int) - picture).max() <= 24


def test_large_pictures_are_reduced_and_grey_ones_have_colours(tmp_path):
    sheets = _sheets.Sheets()
    sheets.add(np.zeros((1000, 500, 3), dtype=np.uint8))
    sheets.add(np.zeros((40, 40), dtype=np.uint8))
    (tmp_path / "pictures").mkdir()
    assert [(s["height"], s["width"]) for s in sheets.write(tmp_path / "pictures")] == [(192, 96), (40, 40)]


def test_neighbours_point_at_the_gallery_and_say_where_the_presented_one_stands(made):
    found = view(made, "retrieval")
    names = found["more"]["gallery"]["names"]
    for item in found["items"]:
        rank = item["numbers"][0]
        assert names[item["own"]] == item["name"]
        assert [names[row] for row, _ in item["near"]].index(item["name"]) == rank - 1
        assert [s for _, s in item["near"]] == sorted((s for _, s in item["near"]), reverse=True)
    assert {item["facets"]["found"] for item in found["items"]} == {"first", "among five"}


def test_a_stimulus_has_the_decoders_own_value_of_every_metric(made):
    found = view(made, "retrieval")
    assert [n["name"] for n in found["numbers"]] == ["rank", "image_retrieval_top1"]
    assert [item["numbers"][1] for item in found["items"]] == pytest.approx(np.linspace(0, 1, 10), abs=1e-4)


def test_latents_keep_all_that_the_page_shows_none_of(made):
    found = view(made, "latents")
    first = found["items"][0]
    assert [item["name"] for item in found["items"]] == ["faces", "hands", "wheels"]
    assert len(first["shots"]) == 6 and len(first["places"]) == 3 and first["facets"]["verdict"] == "stands"
    assert first["numbers"] == pytest.approx([0.9, 0.3, 0.2, 0.1])
    assert pixels(made, first["map"]).shape == (96, 80, 3)


def test_distances_come_with_conditions_and_their_pictures(made):
    told = view(made, "distances")["items"][0]["distances"]
    rows = np.array(told["rows"])
    assert rows.shape == (10, 10) and np.array_equal(rows, rows.T)
    assert all(isinstance(reference, int) for reference in told["shots"])


@pytest.mark.slow
def test_every_figure_is_a_file_of_its_own_that_asks_for_nothing(figures_run, tmp_path):
    folder = explore.write(figures_run, tmp_path / "explorer").parent
    figures = [item["figure"] for v in data(folder)["views"] for item in v["items"] if "figure" in item]
    assert len(figures) == len(set(figures)) == 6
    assert [len(view(folder, key)["items"]) for key in ("distances", "maps", "time", "figures")] == [
        1,
        2,
        2,
        1,
    ]
    for name in figures:
        text = (folder / name).read_text()
        ElementTree.fromstring(text)  # well-formed
        outside = re.findall(r'(?:href|src)="(?!#|data:image/png)[^"]*"|url\((?!#)[^)]*\)|@import', text)
        assert outside == []


def test_nothing_of_the_page_lies_elsewhere(made):
    for path in made.rglob("*"):
        if path.suffix in (".html", ".js", ".css"):
            text = path.read_text().replace("http://www.w3.org/2000/svg", "")
            assert not re.search(r"(https?:)?//[a-z0-9-]+\.[a-z]", text.replace("// ", "")), path.name


def test_no_name_ends_the_script_or_begins_a_tag(hostile_run, tmp_path):
    folder = explore.write(hostile_run, tmp_path / "explorer").parent
    text = (folder / "data.js").read_text()
    assert not set("<>&\u2028\u2029") & set(text) and text.isascii()
    names = [item["name"] for item in view(folder, "pictures")["items"]]
    assert names[0] == "<img src=x onerror=alert(1)>" and names[1].startswith(
        "</script>"
    )  # whole, for the reader
    page = (folder / "index.html").read_text()
    assert "<script>alert" not in page and "&lt;/script&gt;" in page


def test_scripts_write_no_markup():
    static = _page.resources.files("braindec.explore") / "static"
    for name in _page.SCRIPTS:
        text = (static / name).read_text()
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|fetch\(", text
        )


def test_what_is_no_number_is_none(rng, tmp_path):
    shown = rng.integers(0, 255, (2, 8, 8, 3), dtype=np.uint8)
    payload = {"rows": {"presented": shown}, "scores": {"ssim": np.array([np.nan, 1.0])}}
    run = small(tmp_path, ("p", "image_grid", payload))
    folder = explore.write(run, tmp_path / "explorer").parent
    assert [item["numbers"] for item in view(folder, "pictures")["items"]] == [[None], [1]]
    with pytest.raises(ValueError, match="JSON"):
        _page.script({"value": float("nan")})


def test_what_a_run_lacks_is_said_with_the_command_that_makes_it(tmp_path):
    folder = explore.write(small(tmp_path), tmp_path / "explorer").parent
    for one in data(folder)["views"]:
        assert one["items"] == [] and one["lacks"]["text"].endswith((":", "."))
        assert one["lacks"]["command"].startswith("braindec ")


def test_commands_that_are_named_are_recipes(tmp_path, repository):
    folder = explore.write(small(tmp_path), tmp_path / "explorer").parent
    for one in data(folder)["views"]:
        recipe = re.match(r"braindec run (\w+) --smoke", one["lacks"]["command"])
        assert recipe and (repository / "recipes" / f"{recipe[1]}.py").is_file()


def test_what_is_served_is_what_is_written(made):
    with serving.serve(made) as server:
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        opener.open(server.url).close()
        for path in made.rglob("*"):
            if path.is_file():
                with opener.open(f"http://127.0.0.1:{server.port}/{path.relative_to(made)}") as answer:
                    assert answer.read() == path.read_bytes()


def test_an_explorer_is_replaced_and_nothing_else_is(tmp_path):
    whole_run = small(tmp_path)
    made = explore.write(whole_run, tmp_path / "explorer").parent
    (made / "stale.js").write_text("")
    explore.write(whole_run, made)
    assert not (made / "stale.js").exists()
    own = tmp_path / "own"
    own.mkdir()
    (own / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="something else than an explorer"):
        explore.write(whole_run, own)
    with pytest.raises(FileExistsError):
        explore.write(whole_run, own / "thesis.txt")
    assert (own / "thesis.txt").read_text() == "mine"


def test_a_run_that_is_none_or_is_damaged_is_refused_and_leaves_nothing(a_run, tmp_path):
    with pytest.raises(FileNotFoundError, match="braindec run"):
        explore.write(tmp_path / "nowhere", tmp_path / "out")
    path = a_run / "panels.h5"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(checks.DataFileError):
        explore.write(a_run, tmp_path / "out")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out-*"))


def test_a_page_that_would_leave_the_run_is_not_followed(a_run, tmp_path):
    shutil.copytree(a_run / "inside", tmp_path / "elsewhere")
    content = store.read_json(a_run / "report.json")
    content["run"]["pages"] = {"Out": "../elsewhere/report.html"}
    store.write_json(a_run / "report.json", content)
    folder = explore.write(a_run, tmp_path / "explorer").parent
    assert view(folder, "latents")["items"] == []


def test_the_same_run_gives_the_same_bytes(whole_run, made, tmp_path):
    again = explore.write(whole_run, tmp_path / "again").parent
    files = sorted(p.relative_to(made) for p in made.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file())
    assert all((made / p).read_bytes() == (again / p).read_bytes() for p in files)


def test_a_panel_that_is_no_figure_is_said():
    with pytest.raises(ValueError, match="is no figure"):
        report.figure("Words", "text", {"text": "a"})


def test_brains_are_coloured_about_zero_and_empty_outside():
    coloured = plots.brain_pixels(np.array([[-2.0, 0.0], [np.nan, 2.0]]), 2.0, side=2)
    blue, white, nothing, red = (coloured[i, j].astype(int) for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)))
    assert blue[2] > blue[0] and red[0] > red[2] and white.min() > 230 and nothing[3] == 0
