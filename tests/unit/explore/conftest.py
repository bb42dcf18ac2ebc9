"""Runs to explore: one of every kind of panel, one with hostile names, one of ten thousand items."""

from __future__ import annotations

import numpy as np
import pytest

from braindec.report import _files
from braindec.types import Report, Score

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "\u2028\u2029 ' \" & ]]> <!--",
    "javascript:alert(1)",
    "__proto__",
)


def gallery(rng, n, names=None, *, subject=1):
    """A panel of pictures with scores, labels and verdicts."""
    shown = rng.integers(0, 255, (n, 8, 8, 3), dtype=np.uint8)
    names = list(names or (f"scene-{i:05d}" for i in range(n)))
    payload = {
        "rows": {"presented": shown, "reconstructed": shown[::-1].copy(),
                 "sample": rng.integers(0, 255, (n, 2, 8, 8, 3), dtype=np.uint8)},
        "names": names, "scores": {"ssim": np.arange(n) / n, "distance": rng.permutation(n).astype(float)},
        "lower": ["distance"], "captions": [f"presented: number {name}" for name in names],
        "texts": {"decoded caption": ["a blue disc"] * n},
        "labels": {"shape": [("ring", "heart")[i % 2] for i in range(n)], "owner": names,
                   "__proto__": [("one", "two")[i % 2] for i in range(n)]},
        "verdicts": [{"colour": ("from the brain", "from the prior")[i % 2]} for i in range(n)],
        "section": "pictures", "caption": "Pictures.",
    }  # fmt: skip
    return f"sub-{subject:02d} fmri", "image_grid", payload


def neighbours(rng, names, keys=("sub-01_fmri",), k=4):
    """A panel of what was retrieved: the presented is at rank 1, 2, 3, ... in turn."""
    n = len(names)
    order = {key: np.array([[(i + j) % n for j in range(k)] for i in range(n)]) for key in keys}
    rank = 1 + np.arange(n) % k
    for near in order.values():
        for i in range(n):
            near[i, [0, rank[i] - 1]] = near[i, [rank[i] - 1, 0]]
    payload = {
        "gallery": list(names), "captions": [f"about {name}" for name in names],
        "labels": {"shape": [("ring", "heart")[i % 2] for i in range(n)]},
        "pictures": rng.integers(0, 255, (n, 8, 8, 3), dtype=np.uint8),
        "queries": {key: np.arange(n) for key in keys}, "neighbours": order, "rank": dict.fromkeys(keys, rank),
        "similarity": {key: -np.sort(-rng.random((n, k)), axis=1) for key in keys},
    }  # fmt: skip
    return "Nearest in the gallery", "neighbours", payload


def latents(rng, names, subject="sub-01 fmri"):
    """A panel of latents with maps and places."""
    n = len(names)
    auc = np.linspace(0.9, 0.5, n)
    return f"Latents that are read best, {subject}", "latents", {
        "names": list(names), "images": rng.integers(0, 12, (n, 6)), "auc": auc, "n_shown": 2,
        "pictures": rng.integers(0, 255, (12, 8, 8, 3), dtype=np.uint8),
        "interval": np.stack([auc - 0.05, auc + 0.05], 1), "about": [f"latent {i}" for i in range(n)],
        "null": np.full(n, 0.6), "reference": np.full(n, 0.7), "rate": np.full(n, 0.1),
        "verdict": ["stands" if i == 0 else "not read" for i in range(n)],
        "maps": np.where(rng.random((n, 6, 5)) < 0.2, np.nan, rng.standard_normal((n, 6, 5))),
        "places": rng.random((n, 3)), "place_names": ["early", "middle", "late"],
    }  # fmt: skip


def figures(rng, names):
    """A panel of each kind that has a view of its own."""
    n = len(names)
    matrix = rng.random((n, n))
    positions = rng.standard_normal((20, 3)) + [0, 0, 1]
    return (
        ("Distances of sub-01 eeg", "rdm", {"matrix": matrix + matrix.T, "conditions": list(names), "groups": None}),
        ("Where sub-01 fmri is predicted", "volume",
         {"mask": np.ones((3, 4, 3), dtype=bool), "values": rng.standard_normal(36), "label": "r", "symmetric": True}),
        ("Encoding of sub-01 fmri", "flat_map",
         {"left": np.arange(400), "right": np.arange(400), "values": rng.random(800), "label": "r"}),
        ("Topography of sub-01 eeg", "topography",
         {"positions": positions / np.linalg.norm(positions, axis=1, keepdims=True) * 0.1,
          "values": rng.standard_normal(20), "label": "r"}),
        ("When the classes can be told apart", "time_course",
         {"time_s": np.linspace(-0.1, 0.5, 13), "values": rng.random(13), "chance": 0.5}),
        ("Training", "curve", {"step": np.arange(5), "series": {"loss": rng.random(5)}}),
    )  # fmt: skip


def scores(ids):
    """Scores with a value for each of these stimuli."""
    told = {"protocol": "heldout_stimuli", "subject": 1, "modality": "fmri", "interval": (0.2, 0.6), "chance": 0.1,
            "null": 0.1, "n": len(ids)}  # fmt: skip
    values = np.linspace(0, 1, len(ids))
    return (
        Score(
            "image_retrieval_top1", "braindec", value=0.4, per_sample=values, sample_ids=tuple(ids), **told
        ),
        Score("image_retrieval_top1", "shuffled", value=0.1, **told),
    )


def kept(folder, found):
    """The files of a report that programs read; its page, which takes longer, is not drawn."""
    folder.mkdir(parents=True)
    _files.write(found, folder)
    return folder


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory):
    """A folder with something of everything; two figures stand for all."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("whole") / "run"
    names = [f"scene-{i:05d}" for i in range(10)]
    run = {"title": "A run", "summary": "Made for a test.", "recipe": "demo", "seed": 0,
           "pages": {"Inside": "inside/report.html"}}  # fmt: skip
    limits = ("Limits", "text", {"text": "Nothing is shown.", "section": "limits"})
    kept(folder, Report(scores(names), run, (gallery(rng, 10), neighbours(rng, names), limits)))
    some = [panel for panel in figures(rng, names) if panel[1] in ("rdm", "curve")]
    inside = (latents(rng, ["faces", "hands", "wheels"]), *some)
    kept(folder / "inside", Report((), {"pages": {"Out": "../report.html"}}, inside))
    return folder


@pytest.fixture(scope="session")
def hostile_run(tmp_path_factory):
    """A folder whose every name is an attack."""
    rng, names = np.random.default_rng(0), list(HOSTILE)
    panels = (gallery(rng, len(names), names), neighbours(rng, names), latents(rng, names, HOSTILE[0]),
              *(p for p in figures(rng, names) if p[1] == "rdm"))  # fmt: skip
    run = {"title": HOSTILE[1], "summary": HOSTILE[0], "recipe": HOSTILE[0], "command": HOSTILE[1]}
    return kept(tmp_path_factory.mktemp("hostile") / "run", Report(scores(names), run, panels))


@pytest.fixture(scope="session")
def figures_run(tmp_path_factory):
    """A folder with a figure of each kind."""
    panels = figures(np.random.default_rng(0), [f"scene-{i}" for i in range(10)])
    return kept(tmp_path_factory.mktemp("figures") / "run", Report((), {"title": "Figures"}, panels))


@pytest.fixture(scope="session")
def large_run(tmp_path_factory):
    """Ten thousand stimuli that were retrieved."""
    names = [f"scene-{i:05d}" for i in range(5000)]
    panel = neighbours(np.random.default_rng(0), names, ("sub-01_fmri", "sub-02_fmri"))
    return kept(tmp_path_factory.mktemp("large") / "run", Report((), {"title": "Large"}, (panel,)))
