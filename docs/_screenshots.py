"""Pictures of pages for the documents: `make screenshots` opens pages of runs in headless Chromium.

They are kept as docs/img/*.png.

A row of `SHOTS` is a picture. Whoever adds a page adds a row; a row whose page is not there is skipped and said.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOST_BYTES = 150_000
COLOURS = (256, 128, 64, 32)  # of the palette, tried until the file is small enough
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage")
WIDE, PHONE = (1280, 860), (500, 900)


@dataclass(frozen=True)
class Shot:
    """One picture.

    Parameters
    ----------
    name : str
        Of the file, without ending.
    page : str
        ``"explorer:RUN"``, ``"report:RUN"`` (RUN is a folder below --runs), ``"site"``, or ``"explorer:folds"``, a
        run of one map on fsaverage5's cortex, made for the picture.
    at : str
        What follows the address, from ``#`` or a page's name on.
    size : (int, int)
        Pixels.
    dark : bool
    does : str
        JavaScript that is run before the picture is taken.
    """

    name: str
    page: str
    at: str = ""
    size: tuple[int, int] = WIDE
    dark: bool = False
    does: str = ""


OPEN = "open({})"  # the item of this place in the list
SHOTS = (
    Shot("report-demo", "report:demo"),
    Shot("report-demo-pictures", "report:demo",
         does="document.querySelector('#pictures').scrollIntoView({behavior: 'instant'})"),
    Shot("explorer-overview", "explorer:demo"),
    Shot("explorer-pictures", "explorer:demo", "#view=pictures&sort=two_way_identification&order=turn"),
    Shot("explorer-picture", "explorer:demo", "#view=pictures&sort=ssim", does=OPEN.format(2)),
    Shot("explorer-retrieval", "explorer:demo", "#view=retrieval&f.found=among+five"),
    Shot("explorer-latents", "explorer:demo", "#view=latents&sort=auc"),
    Shot("explorer-latent", "explorer:demo", "#view=latents&sort=auc", does=OPEN.format(0)),
    Shot("explorer-distances", "explorer:demo", "#view=distances",
         does="open(0); document.querySelector('dialog[open] .asked').scrollIntoView({behavior: 'instant'})"),
    Shot("explorer-maps", "explorer:demo", "#view=maps"),
    Shot("explorer-flat-map", "explorer:folds", "#view=maps"),
    Shot("explorer-time", "explorer:demo", "#view=time", dark=True),
    Shot("explorer-scores", "explorer:demo", "#view=scores&q=image+retrieval+top-1&sort=value"),
    Shot("explorer-phone", "explorer:demo", "#view=pictures&sort=two_way_identification", PHONE),
    Shot("site-home", "site", "index.html"),
    Shot("site-home-phone", "site", "index.html", PHONE),
    Shot("site-notebook", "site", "notebooks/01_quickstart.html"),
    Shot("site-systems", "site", "systems.html"),
    Shot("site-systems-phone", "site", "systems.html", PHONE),
    Shot("site-reference", "site", "reference/rdm/ceilings.html"),
    Shot("site-dataset", "site", "datasets/haxby2001.html"),
    Shot("site-recipe", "site", "recipes/mindeye1.html", dark=True),
)  # fmt: skip


def main() -> None:
    """Takes the pictures that are asked for."""
    told = argparse.ArgumentParser(description=__doc__)
    told.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs (runs)")
    told.add_argument("--site", type=Path, default=Path("site"), help="the built site (site)")
    told.add_argument("--out", type=Path, default=Path("docs/img"), help="where the pictures go (docs/img)")
    told.add_argument("names", nargs="*", help="only these pictures")
    asked = told.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        browser = driver()
        try:
            for shot in SHOTS:
                if not asked.names or shot.name in asked.names:
                    take(browser, shot, asked, Path(temporary))
        finally:
            browser.quit()


def take(browser: Any, shot: Shot, asked: argparse.Namespace, temporary: Path) -> None:
    """One picture, or a line that says why there is none."""
    page = address(shot, asked, temporary)
    if page is None:
        print(f"{shot.name}: no page; make {shot.page} first", file=sys.stderr)
        return
    width, height = shot.size
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 640}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    theme = {"name": "prefers-color-scheme", "value": "dark" if shot.dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [theme]})
    browser.get("about:blank")
    browser.get(page)
    if shot.does:
        browser.execute_script(shot.does)
    time.sleep(1.0)  # pictures that load late
    path = asked.out / f"{shot.name}.png"
    path.write_bytes(small(browser.get_screenshot_as_png()))
    print(f"{path} {path.stat().st_size // 1000} kB")


def address(shot: Shot, asked: argparse.Namespace, temporary: Path) -> str | None:
    """Where the page is; an explorer is made when it is first asked for."""
    kind, _, name = shot.page.partition(":")
    if kind == "site":
        page = asked.site / shot.at
        return page.resolve().as_uri() if page.is_file() else None
    run = folds(temporary / "a run") if name == "folds" else asked.runs / name
    if not (run / "report.json").is_file():
        return None
    if kind == "report":
        return (run / "report.html").resolve().as_uri() + shot.at
    from braindec import explore

    made = temporary / name / "index.html"
    if not made.is_file():
        explore.write(run, made.parent)
    return made.as_uri() + shot.at


def folds(run: Path) -> Path:
    """A run whose one map is how deep fsaverage5's sulci are: no simulated response lies on a surface."""
    import numpy as np
    from nilearn import datasets, surface

    from braindec import report
    from braindec.types import Report

    mesh = datasets.fetch_surf_fsaverage("fsaverage5")
    depth = np.concatenate([surface.load_surf_data(mesh[f"sulc_{side}"]) for side in ("left", "right")])
    vertices = np.arange(len(depth) // 2)
    payload = {
        "left": vertices,
        "right": vertices,
        "values": depth,
        "label": "depth of sulci",
        "symmetric": True,
    }
    title = "Folds of fsaverage5"
    report.write(Report((), {"title": title}, ((title, "flat_map", payload),)), run)
    return run


def driver() -> Any:
    """Headless Chromium."""
    from selenium import webdriver

    browser, control = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or control is None:
        sys.exit("needs a browser: apt-get install --no-install-recommends chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in FLAGS:
        options.add_argument(flag)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(control))


def small(png: bytes) -> bytes:
    """The picture with a palette of as many colours as fit into `MOST_BYTES`."""
    from PIL import Image

    image = Image.open(io.BytesIO(png)).convert("RGB")
    for n in COLOURS:
        out = io.BytesIO()
        image.quantize(n, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
        if out.tell() <= MOST_BYTES:
            break
    return out.getvalue()


if __name__ == "__main__":
    main()
