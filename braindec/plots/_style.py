"""One look for all figures, and how a figure becomes bytes."""

from __future__ import annotations

import hashlib
import io
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any, Literal
from xml.etree import ElementTree

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from braindec import checks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#22262b"  # text and axes; an inline SVG takes the page's colour instead
CHARACTERS_AN_INCH = 11  # of upright labels at the size below
FITS_A_PHONE = 600  # pixels: wide figures are moved sideways there, others shrunk, their letters still read
FAINT = "#8d949e"  # grid, chance, null: readable on white and on black
# Okabe & Ito's colours, a little lighter or darker where one of them would vanish on white or on black.
COLOURS = ("#2f80c2", "#e08a00", "#0a9e75", "#cc6fa6", "#d55e00", "#6d63c9", "#4bb3dd")
SYSTEM_COLOURS = {
    "braindec": COLOURS[0],
    "ridge": COLOURS[1],
    "adapted": COLOURS[2],
    "scratch": COLOURS[3],
    "nuisance": COLOURS[4],
    "mean": COLOURS[5],
    "shuffled": FAINT,
    "sample": COLOURS[6],
    "selected": COLOURS[5],
    "prior": COLOURS[4],
    "nearest": COLOURS[1],
    "oracle": COLOURS[2],
}
MAP = "cividis"  # even in lightness, the same to the colour-blind
DIVERGING_MAP = "RdBu_r"

_RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Inter", "Helvetica Neue", "Arial", "DejaVu Sans"],
    "font.size": 10.5,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": FAINT,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "svg.fonttype": "none",  # text stays text: searchable, and in the page's font
    "svg.hashsalt": "braindec",  # equal figures give equal bytes
}


@contextmanager
def style() -> Iterator[None]:
    """Everything drawn and saved inside has the one look; the caller's settings come back afterwards."""
    with matplotlib.rc_context():
        matplotlib.rcParams.update(_RC)
        if not _has_any(_RC["font.sans-serif"][:-1]):
            matplotlib.rcParams["font.sans-serif"] = [
                "DejaVu Sans"
            ]  # matplotlib's own, without a search on each text
        yield


def _has_any(families: list[str]) -> bool:
    from matplotlib.font_manager import fontManager

    return bool({entry.name for entry in fontManager.ttflist} & set(families))


def figure(width: float, height: float, *, dense: bool = False, **grid: Any) -> tuple[Figure, Any]:
    """A figure of this size in inches without pyplot, and its axes.

    Parameters
    ----------
    width, height : float
        Inches.
    dense : bool
        Hardly any space between the axes: for pictures in rows.
    **grid
        As for `Figure.subplots`.
    """
    pad, space = (0.015, 0.0) if dense else (0.04, 0.02)
    engine = ConstrainedLayoutEngine(w_pad=pad, h_pad=pad, wspace=space, hspace=space)
    made = Figure(figsize=(width, height), layout=engine)
    FigureCanvasAgg(made)
    return made, made.subplots(**grid)


def png(made: Figure, dpi: int = 144, background: str = "white") -> bytes:
    """PNG bytes."""
    out = io.BytesIO()
    made.savefig(out, format="png", dpi=dpi, facecolor=background)
    return out.getvalue()


def svg(made: Figure, alt: str) -> str:
    """An `<svg>` element for use inside HTML: text in the page's font and colour, no reference to anything outside.

    Parameters
    ----------
    made : Figure
    alt : str
        What the figure shows, for readers who do not see it.
    """
    out = io.BytesIO()
    _lay_out_(made)
    made.savefig(
        out,
        format="svg",
        dpi=150,
        transparent=True,
        metadata=dict.fromkeys(("Date", "Creator", "Type", "Format")),
    )
    tree = ElementTree.fromstring(out.getvalue())
    for parent in list(tree.iter()):
        for child in list(parent):
            if child.tag.endswith(("metadata", "title", "style")):
                parent.remove(child)
    width, height = (float(tree.attrib[side].removesuffix("pt")) for side in ("width", "height"))
    text = _for_a_page(ElementTree.tostring(tree, encoding="unicode"))
    # matplotlib writes points; the page lays the figure out in pixels of 1/96 inch.
    small = " small" if width * 4 / 3 <= FITS_A_PHONE else ""
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width * 4 / 3:.0f}" height="{height * 4 / 3:.0f}"'
    said = escape(alt, quote=True)
    return f'<svg class="figure{small}" role="img" aria-label="{said}" {size}>{text[text.index(">") + 1 :]}'


def _lay_out_(made: Figure) -> None:
    """Places everything as a saved SVG would, once: `savefig` alone draws the whole figure twice for it."""
    engine = made.get_layout_engine()
    if engine is None:
        return
    FigureCanvasSVG(made)  # its text is measured
    made.set_dpi(72)  # of every SVG
    engine.execute(made)
    made.set_layout_engine(None)


def _for_a_page(text: str) -> str:
    """Names of XML vocabularies mean nothing inside HTML; ids are unique in a page; font and ink are the page's."""
    text = re.sub(r"\s+xmlns(:\w+)?=\"[^\"]*\"", "", text)
    text = re.sub(r"<(/?)ns\d+:", r"<\1", text)
    text = re.sub(r"\sns\d+:href=", " href=", text)
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)
    used = {m[1] or m[2]: "" for m in re.finditer(r"url\(#([^)]+)\)|href=\"#([^\"]+)\"", text)}
    # Names by order: matplotlib's are digests of unrounded places, whose last digit a solver of layouts may leave open.
    used = {name: f"{number}" for number, name in enumerate(used)}
    text = re.sub(r"url\(#([^)]+)\)", lambda m: f"url(#{used[m[1]]})", text)
    text = re.sub(r"href=\"#([^\"]+)\"", lambda m: f'href="#{used[m[1]]}"', text)
    text = re.sub(r" id=\"([^\"]+)\"", lambda m: f' id="{used[m[1]]}"' if m[1] in used else "", text)
    salt = hashlib.sha256(text.encode()).hexdigest()[:8]
    text = re.sub(r" id=\"([^\"]+)\"", rf' id="f{salt}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#f{salt}-\1)", text)
    text = re.sub(r"href=\"#([^\"]+)\"", rf'href="#f{salt}-\1"', text)
    text = re.sub(r"\s*\n\s*", "\n", text)
    return text.replace(INK, "currentColor")


def upright(label: str, height: float) -> str:
    """A label in lines that fit beside an axis of this height (inches): matplotlib cuts off what is longer."""
    return textwrap.fill(label, max(8, int(CHARACTERS_AN_INCH * height)))


def as_bytes(made: Figure, alt: str, kind: str) -> Any:
    """`svg` text or `png` bytes by name."""
    checks.one_of("figure format", kind, ("svg", "png"))
    return svg(made, alt) if kind == "svg" else png(made)


def light_grid(axes: Axes, axis: Literal["x", "y", "both"]) -> None:
    """Faint lines behind the data along one axis."""
    axes.set_axisbelow(True)
    axes.grid(True, axis=axis)
    axes.tick_params(length=0)
