"""Figures: right content, no global state, equal bytes for equal data."""

from __future__ import annotations

import base64
import io
import re

import matplotlib
import numpy as np
import pytest

from braindec import plots


def rows(interval=(0.5, 0.7)):
    return [
        plots.ScoreRow("sub-01 fmri", "braindec", 0.6, interval, 0.005, 0.006, {"oracle_linear": 0.75}),
        plots.ScoreRow("sub-01 fmri", "ridge", 0.55, (0.5, 0.6), 0.005, 0.006),
    ]


def positions(n=20):
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    lean = np.linspace(0.2, 1.4, n)
    return 0.09 * np.stack([np.sin(lean) * np.cos(angle), np.sin(lean) * np.sin(angle), np.cos(lean)], 1)


MASK = np.ones((5, 6, 4), dtype=bool)
FIGURES = {
    "score_dots": lambda kind: plots.score_dots(rows(), kind=kind),
    "region_bars": lambda kind: plots.region_bars(["early"], {"sub-01": np.array([0.1])}, kind=kind),
    "confusion": lambda kind: plots.confusion(np.eye(3), list("abc"), kind=kind),
    "null_histogram": lambda kind: plots.null_histogram(np.linspace(0, 0.1, 30), 0.5, kind=kind),
    "training_curve": lambda kind: plots.training_curve(np.arange(4), {"loss": np.arange(4.0)}, kind=kind),
    "time_course": lambda kind: plots.time_course(np.arange(4) / 10, np.arange(4.0), chance=0.5, kind=kind),
    "montage": lambda kind: plots.montage(MASK, np.arange(120.0), kind=kind),
    "sensor_map": lambda kind: plots.sensor_map(positions(), np.arange(20.0), kind=kind),
    "sensor_maps": lambda kind: plots.sensor_map(
        positions(), np.arange(60.0).reshape(3, 20), titles=["0 ms", "1 ms", "2 ms"], kind=kind
    ),
}


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_a_figure_is_the_same_bytes_twice_and_leaves_the_settings_alone(name):
    before = dict(matplotlib.rcParams)
    first, second = FIGURES[name]("svg"), FIGURES[name]("svg")
    assert first == second
    assert dict(matplotlib.rcParams) == before
    assert first.startswith("<svg") and first.rstrip().endswith("</svg>")
    assert "http" not in first and 'role="img"' in first


def test_a_figure_can_be_a_png():
    assert FIGURES["confusion"]("png").startswith(b"\x89PNG")


def test_text_in_a_page_takes_the_colour_and_font_of_the_page():
    drawn = FIGURES["training_curve"]("svg")
    assert "currentColor" in drawn
    assert "font-family" not in drawn


def test_the_dots_are_where_the_values_are():
    values = (0.1, 0.2, 0.7)
    dots = [plots.ScoreRow(f"sub-{i}", "ridge", v, (v, v), 0.0, 0.0) for i, v in enumerate(values)]
    drawn = plots.score_dots(dots)
    across = [float(x) for x in re.findall(r'<use [^>]*x="([\d.]+)" y="[\d.]+" style="fill: #e08a00', drawn)]
    first, second, third = across[:3]
    assert (third - first) / (second - first) == pytest.approx(6, abs=1e-3)
    assert "chance" in drawn and "sub-2 ridge 0.700" in drawn


def test_voxels_lie_in_the_volume_in_the_order_of_the_mask(monkeypatch):
    shown = []
    monkeypatch.setattr("matplotlib.axes.Axes.imshow", _recorder(shown, matplotlib.axes.Axes.imshow))
    mask = np.zeros((4, 5, 3), dtype=bool)
    mask[1:3, 2:4, 1] = True
    plots.montage(mask, np.array([1.0, 2.0, 3.0, 4.0]))
    picture = shown[0]
    assert len(shown) == 1  # only the slice that holds voxels
    assert picture[~np.isnan(picture)].tolist() == [
        1.0,
        3.0,
        2.0,
        4.0,
    ]  # transposed: x to the right, y upwards


def _recorder(shown, original):
    def imshow(self, picture, *args, **settings):
        shown.append(np.array(picture))
        return original(self, picture, *args, **settings)

    return imshow


def test_a_small_picture_is_kept_to_the_pixel(rng):
    from PIL import Image

    image = rng.integers(0, 256, (64, 48, 3), dtype=np.uint8)
    address = plots.encoded(image)
    assert address.startswith("data:image/png;base64,")
    again = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
    np.testing.assert_array_equal(np.asarray(again), image)


def test_a_photograph_is_reduced(rng):
    address = plots.encoded(rng.integers(0, 256, (400, 300, 3), dtype=np.uint8), max_size=128)
    assert re.match(r"data:image/jpeg;base64,", address)


def test_rows_of_pictures_must_have_equal_lengths(rng):
    pictures = rng.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="must match"):
        plots.image_grid({"presented": pictures, "reconstructed": pictures[:2]})
    assert plots.image_grid({"presented": pictures}, ["a", "b", "c"], title="sub-01").startswith(b"\x89PNG")


def test_pictures_that_are_not_8_bit_are_refused():
    with pytest.raises(ValueError, match="uint8"):
        plots.encoded(np.zeros((4, 4, 3)))


@pytest.mark.parametrize("draw", [
    lambda label: plots.training_curve(np.arange(3), {"a": np.arange(3.0)}, ylabel=label),
    lambda label: plots.montage(np.ones((3, 3, 2), bool), np.arange(18.0), label=label),
])  # fmt: skip
def test_a_long_upright_label_lies_within_the_figure(draw, monkeypatch):
    from braindec.plots import _style

    drawn = []
    monkeypatch.setattr(_style, "svg", lambda made, alt: drawn.append(made))
    draw("mean reciprocal rank, held-out stimuli of all subjects")
    (made,) = drawn
    made.draw_without_rendering()
    labels = [axes.yaxis.label for axes in made.axes if axes.get_ylabel()]
    assert len(labels) == 1
    extent = labels[0].get_window_extent()
    assert made.bbox.y0 <= extent.y0 and extent.y1 <= made.bbox.y1


def test_every_line_is_drawn_however_many_there_are():
    drawn = plots.training_curve(np.arange(4), {f"line {i}": np.arange(4.0) + i for i in range(9)})
    assert all(f">line {i}<" in drawn for i in range(9))
