"""Panels of decoded objects: presented beside decoded views, turning ones, and what shape and views say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from braindec import checks
from braindec.data.solid_files import write_ply
from braindec.evaluate.solids import METRICS, WORDS, Shaped
from braindec.maths.solids import mesh, views

Panel = tuple[str, str, Mapping[str, Any]]
ROWS = {
    "presented": "presented",
    "braindec": "decoded",
    "sample": "one draw",
    "contender": "without the bridge",
    "shuffled": "shuffled brain",
    "nuisance": "its category's mean",
    "mean": "mean object",
    "oracle": "its own latent",
}
COLUMNS = {
    "view_two_way": "two-way by views", "view_ten_way": "ten-way by views", "volume_iou": "volume IoU",
    "chamfer_distance": "Chamfer", "earth_movers_distance": "earth mover's", "f_score": "F-score",
}  # fmt: skip
LIMITS = (
    "A mean object is near to everything: distances are to be read beside it and beside the mean of the presented "
    "category, not alone.",
    "Surfaces are told by points drawn from them: an object drawn from its own latent is not at distance 0, and the "
    "row of it is the best that this generator can reach.",
    "The generator knows the kinds of objects that it learnt from. What it adds to a decoded object (legs below a "
    "seat) comes from those, not from the brain.",
    "Intervals are over objects, with people, the fitted decoder and the generator as they are.",
)


def panels(found: Shaped, *, n: int = 8, side: int = 96, n_turning: int = 2) -> list[Panel]:
    """Views of the first test objects of each subject, some of them turning, and all systems' numbers.

    Parameters
    ----------
    found : Shaped
    n : int
        Objects, the first ones by name.
    side : int
        Pixels of the pictures.
    n_turning : int
        Of these, shown from all around.
    """
    made: list[Panel] = []
    for key, drawn in found.drawn.items():
        name, ids = key.replace("_", " "), list(found.ids[key])
        rows = {
            f"{label}{where}": views(drawn[system].fields[:n], (angle,), side=side)[:, 0]
            for system, label in ROWS.items()
            if system in drawn
            for angle, where in ((30.0, ""), (210.0, ", from behind"))[
                : 2 if system in ("presented", "braindec") else 1
            ]
        }
        made.append((
            f"{name}: presented and decoded objects", "image_grid",
            {"rows": rows, "captions": ids[:n], "caption": f"The first {min(n, len(ids))} of {len(ids)} test objects "
             "by name, not chosen. All are drawn by one generator, and shaded by one light."},
        ))  # fmt: skip
        turned = [30.0 + 60 * k for k in range(6)]
        around = {
            f"{label}, object {k + 1}": views(drawn[system].fields[k : k + 1], turned, side=side)[0]
            for k in range(min(n_turning, len(ids)))
            for system, label in (("presented", "presented"), ("braindec", "decoded"))
        }
        captions = [f"{a:.0f}°" for a in turned]
        made.append((f"{name}: turning", "image_grid", {"rows": around, "captions": captions}))
        made.append(_table(found, key))
    return made


def _table(found: Shaped, key: str) -> Panel:
    subject = {
        f"sub-{s.subject:02d}_{s.modality}": s.subject for s in found.scores if isinstance(s.subject, int)
    }[key]
    of = {(s.system, s.name): s for s in found.scores if s.subject == subject}
    systems = [s for s in WORDS["systems"] if (s, METRICS[0]) in of]
    rows: list[list[Any]] = [
        [
            ROWS[s],
            *(
                f"{of[s, m].value:.3f} [{of[s, m].interval[0]:.3f}, {of[s, m].interval[1]:.3f}]"
                for m in METRICS
            ),
        ]
        for s in systems
    ]
    rows.append(["chance", *(f"{of['braindec', m].chance:.3f}" for m in METRICS)])
    columns = [
        "object",
        *(f"{COLUMNS[m]} {'↓' if of['braindec', m].direction == 'lower' else '↑'}" for m in METRICS),
    ]
    said = (
        f"n {of['braindec', METRICS[0]].n} objects, 95 % intervals. Distances in edges of the cube that objects lie "
        "in. Chance: the theory's, or decoded objects held against other presented ones."
    )
    return (
        f"{key.replace('_', ' ')}: shape and views",
        "table",
        {"columns": columns, "rows": rows, "caption": said},
    )


def write_meshes(
    found: Shaped, folder: str | Path, systems: Sequence[str] = ("presented", "braindec"), n: int = 20
) -> list[Path]:
    """Surfaces of the first test objects as ``<subject>/<object>_<system>.ply``; the paths."""
    checks.at_least("n", n, 0)
    return [
        write_ply(Path(folder) / key / f"{name}_{ROWS[system]}.ply", mesh(drawn[system].fields[i]))
        for key, drawn in found.drawn.items()
        for i, name in enumerate(found.ids[key][:n])
        for system in systems
    ]
