"""The specification curve can be read: no text lies on another, at a width that a telephone shrinks little."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from braindec import plots
from braindec.plots import _style

OPTIONS = {
    "level of a run": ("removed", "kept", "removed, scaled"),
    "noise": ("as measured", "whitened by the residuals of each class"),
    "candidates": ("of the protocol", "pools of 2"),
}


@pytest.fixture
def drawn(monkeypatch):
    """The figure that is drawn, and what was drawn into it."""
    kept = []
    plain = _style.as_bytes
    monkeypatch.setattr(_style, "as_bytes", lambda made, *rest: kept.append(made) or plain(made, *rest))
    universes = [dict(zip(OPTIONS, v, strict=True)) for v in itertools.product(*OPTIONS.values())]
    n = len(universes)
    values = np.linspace(0.4, 0.9, n)
    chance = np.array([0.5 if u["candidates"] == "pools of 2" else 0.125 for u in universes])
    choices = {fork: [u[fork] for u in universes] for fork in OPTIONS}
    bytes_ = plots.specification_curve(
        values, values[:, None] + [-0.05, 0.05], choices, OPTIONS, chance=chance, own=0, between=(0.05, -0.02, 0.12),
        between_name="braindec − ridge", ylabel="category accuracy", kind="png",
    )  # fmt: skip
    assert bytes_.startswith(b"\x89PNG")
    return kept[0], values, universes


def texts_of(figure):
    """Boxes of all texts that are drawn; a tick outside of the limits is not."""
    figure.canvas.draw()
    outside = [
        label
        for axes in figure.axes
        for place, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
        if not min(axes.get_ylim()) <= place <= max(axes.get_ylim())
    ]
    found = [
        t
        for t in figure.findobj(lambda a: hasattr(a, "get_text"))
        if t.get_visible() and t.get_text().strip()
    ]
    return {t.get_text(): t.get_window_extent() for t in found if t not in outside}


def test_no_text_lies_on_another_or_outside_the_figure(drawn):
    figure, _, _ = drawn
    boxes = texts_of(figure)
    assert {"the recipe's own", "braindec − ridge", "noise", "median"} <= set(boxes)
    for (one, a), (two, b) in itertools.combinations(boxes.items(), 2):
        assert not a.shrunk(0.98, 0.9).overlaps(b.shrunk(0.98, 0.9)), (one, two)
    width, height = figure.get_size_inches() * figure.dpi
    assert width / figure.dpi <= 5.5
    assert all(
        box.x0 >= -1 and box.x1 <= width + 1 and box.y0 >= -1 and box.y1 <= height + 1
        for box in boxes.values()
    )


def test_the_difference_of_systems_stands_beside_the_spread_on_the_same_scale(drawn):
    figure, values, _ = drawn
    scores, spread = figure.axes[:2]
    assert scores.get_ylim() == spread.get_ylim()
    bars = {line.get_label(): line.get_ydata() for line in spread.lines}
    assert bars["all choices"] == pytest.approx([values.min(), values.max()])
    assert bars["braindec − ridge"] == pytest.approx([values[0], values[0] + 0.05])


def test_each_options_median_stands_in_its_row(drawn):
    figure, values, universes = drawn
    said = [t.get_text() for t in figure.axes[3].texts]
    for fork, names in OPTIONS.items():
        for name in names:
            median = np.median([v for v, u in zip(values, universes, strict=True) if u[fork] == name])
            assert f"{median:.3f}" in said
