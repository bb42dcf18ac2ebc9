"""README.md of a saved decoder: what it decodes, how well, how to load it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from braindec import __version__

if TYPE_CHECKING:
    from braindec.types import Report, Score


def model_card(config: Mapping[str, Any], report: Report | None) -> str:
    """README.md of a saved decoder: what it decodes, how well, how to load it.

    Parameters
    ----------
    config : mapping
        What config.json holds: ``signals``, ``outputs``, ``settings``, ``training``.
    report : Report or None
        Its scores make the table.
    """
    signals, outputs = sorted(config.get("signals", {})), config.get("outputs", {})
    spaces = sorted({str(info["space"]) for info in outputs.values()})
    subjects = ", ".join(f"`{key}`" for key in signals) or "no subject yet"
    dataset = (config.get("training") or {}).get("dataset") or {}
    front = {
        "library_name": "braindec",
        "tags": ["braindec", "brain-decoding", *sorted({key.rpartition("_")[2] for key in signals})],
        "braindec_version": __version__,
        "target_spaces": spaces,
    }
    if dataset.get("name"):
        front["datasets"] = [str(dataset["name"])]
    head = "\n".join(f"{key}: {json.dumps(value)}" for key, value in front.items())  # JSON is YAML
    lines = [
        f"---\n{head}\n---",
        "# Brain decoder",
        f"Decodes {subjects} into {', '.join(f'`{space}`' for space in spaces)}. "
        f"Made by braindec {__version__}.",
        "```python\nfrom braindec import BrainDecoder\n\ndecoder = BrainDecoder.from_pretrained(FOLDER)\n"
        "prediction = decoder.predict(trials)\n```",
        "## Scores",
        _scores(report.scores if report is not None else ()),
        "## Limits",
        "It decodes the people and the recordings it was fitted on, not other ones. Predictions of a new subject need "
        "`decoder.adapt`. What the scores stand on (gallery, repeats, preprocessing) is in the protocol they name and "
        "in report.json.",
    ]
    return "\n\n".join(lines) + "\n"


def _scores(scores: Iterable[Score]) -> str:
    """A table a person can believe: interval, chance, null, ceiling and n beside each value."""
    rows = [
        f"| {s.name} | {s.system} | {s.subject} | {s.modality} | {s.value:.3f} | {s.interval[0]:.3f} to "
        f"{s.interval[1]:.3f} | {s.chance:.3g} | {s.null:.3g} | "
        f"{'' if s.ceiling is None else f'{s.ceiling:.3f} ({s.ceiling_kind})'} | {s.n} | {s.protocol} |"
        for s in scores
    ]
    if not rows:
        return "Not evaluated yet."
    head = "| metric | system | subject | modality | value | 95 % interval | chance | null | ceiling | n | protocol |"
    return "\n".join([head, "|" + " --- |" * 11, *rows])
