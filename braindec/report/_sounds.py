"""Sounds that a page holds itself: rows of short excerpts with a button each, nothing loaded from anywhere."""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from braindec import checks

MOST_BYTES = 3_000_000  # of all sounds of a panel as files: 4 MB of a page, which may have 5


def sounds(payload: Mapping[str, Any]) -> str:
    """HTML of the kind of panel ``sounds``: columns belong together.

    Raises
    ------
    ValueError
        If rows differ in number, a value is not finite or above 1, or there are more than 3 MB of sound.
    """
    rows: Mapping[str, np.ndarray] = {label: np.asarray(v) for label, v in payload["rows"].items()}
    n = checks.same_length("item", **rows)
    size = sum(2 * values.size for values in rows.values())
    if size > MOST_BYTES:
        raise ValueError(
            f"the sounds of a panel have {size / 1e6:.1f} MB; they must stay below {MOST_BYTES / 1e6:g} MB. Show fewer "
            "or shorter ones, or at a lower rate."
        )
    captions, notes = payload.get("captions") or [""] * n, payload.get("notes") or {}
    cells = []
    for label, values in rows.items():
        cells.append(f'<div class="row">{escape(label)}</div>')
        for i, samples in enumerate(values):
            said = f"{label}, {captions[i]}" if captions[i] else label
            cells.append(_player(samples, float(payload["sfreq"]), said))
        if label in notes:
            cells.append('<div class="row"></div>')
            cells += [f'<div class="note">{escape(str(note))}</div>' for note in notes[label]]
    if any(captions):
        cells.append('<div class="row"></div>')
        cells += [f'<div class="under">{escape(str(text))}</div>' for text in captions]
    style = f"grid-template-columns:var(--label) repeat({n},minmax(132px,1fr))"
    return f'<div class="scroll"><div class="grid" style="{style}">{"".join(cells)}</div></div>'


def _player(samples: np.ndarray, sfreq: float, said: str) -> str:
    address = base64.b64encode(as_wav(samples, sfreq)).decode()
    return (
        f'<audio controls preload="none" style="width:128px" aria-label="{escape(said, quote=True)}" '
        f'src="data:audio/wav;base64,{address}"></audio>'
    )


def as_wav(samples: np.ndarray, sfreq: float) -> bytes:
    """A WAV file of 16 bits and one channel.

    Parameters
    ----------
    samples : float array, shape (n,)
        In [-1, 1]; what resampling lifts a little above is cut.
    sfreq : float
        Hz.

    Raises
    ------
    ValueError
        If a value is not finite, or far above 1.
    """
    checks.finite("samples", checks.n_axes("samples", samples, ("sample",)))
    checks.in_range("largest of samples", float(np.abs(samples).max(initial=0.0)), 0.0, 1.5)
    whole = np.clip(np.round(np.asarray(samples, dtype=np.float64) * 32767), -32768, 32767).astype("<i2")
    held = io.BytesIO()
    with wave.open(held, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(round(sfreq))
        out.writeframes(whole.tobytes())
    return held.getvalue()
