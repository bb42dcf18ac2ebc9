"""Frames whose noises share more or less: are they liker to the presented ones, and do they hang together?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from braindec import checks, seeding
from braindec.data import NeuralDataset
from braindec.evaluate.panels import Panel
from braindec.evaluate.video import Settings, Watched, as_tensor, drawing
from braindec.evaluate.video_apart import Apart
from braindec.generators import Generator
from braindec.metrics.video import frame_pixel_correlation, frame_ssim, motion_error
from braindec.stats.intervals import mean_interval
from braindec.stats.paired import PairedDifference, paired_difference

STEADINESS = "steadiness"
WORDS = {
    "frame_ssim": "likeness (SSIM)",
    "frame_pixel_correlation": "pixel correlation",
    "motion_error": "motion error, pixels a frame",
    STEADINESS: "steadiness (SSIM of a frame and the next)",
}
N_SHOWN = 6
LEVEL = 0.05  # a difference is told where its interval leaves zero out and its test says so too


@dataclass(frozen=True, eq=False)
class Compared:
    """Clips of one subject's test stimuli, drawn of several noises.

    Parameters
    ----------
    ids : tuple of str
    presented : uint8 array, shape (n, n_frames, height, width, 3)
    made : mapping of float to such an array
        By what share of their noise frames have in common.
    values, shuffled : mapping of float to mapping of str to array, shape (n,)
        By share and measure (`WORDS`): of the decoder, and of that of shuffled pairs, from the same noise.
    steady : array, shape (n,)
        Steadiness of the presented clips.
    gains : mapping of float to mapping of str to PairedDifference
        What frames of a share have over those of noises of their own, on the same clips; not of share 0.
    """

    ids: tuple[str, ...]
    presented: np.ndarray
    made: Mapping[float, np.ndarray]
    values: Mapping[float, Mapping[str, np.ndarray]]
    shuffled: Mapping[float, Mapping[str, np.ndarray]]
    steady: np.ndarray
    gains: Mapping[float, Mapping[str, PairedDifference]]


def noises_compared(
    watched: Watched,
    decoder: Apart,
    nulls: Sequence[Apart],
    recipe: Any,
    dataset: NeuralDataset,
    settings: Settings,
    shares: Sequence[float],
    *,
    rough: Generator | None = None,
) -> dict[str, Compared]:
    """Clips that were watched, by signal key, drawn of noises that share so much, and judged without any network.

    Common and own parts of the noise are drawn alike for all shares, so that clips differ by these alone.

    Parameters
    ----------
    watched : Watched
        What `video.watched` made of the arguments that follow; its clips are not drawn again.
    decoder, nulls, recipe, dataset, settings, rough
        Of the nulls the first draws.
    shares : sequence of float
        In [0, 1]; 0, noises of frames' own, is one of them.
    """
    checks.unique("shares", shares)
    checks.one_of("share", 0.0, [float(s) for s in shares])
    test, member, found = dataset.part("test"), recipe.build_generator(), {}
    for key, known in watched.clips.items():
        presented, every = known.presented, test.stimuli.clips(known.ids)
        made = {settings.shared_noise: known.made["braindec"]}
        others = {settings.shared_noise: known.made["shuffled"]}
        for share in sorted(set(shares) - set(made)):
            draw = drawing(member, recipe, test, replace(settings, shared_noise=share), rough=rough)
            clips = draw(key, known.ids, every)
            made[share], others[share] = clips(decoder), clips(nulls[0])
        values, shuffled = (
            {share: _measured(presented, drawn[share]) for share in sorted(drawn)} for drawn in (made, others)
        )
        gains = {
            share: {name: _gain(own, values[0.0], name, recipe.seed, key, share) for name in WORDS}
            for share, own in values.items()
            if share
        }
        steady = _steadiness(as_tensor(presented)).numpy()
        found[key] = Compared(known.ids, presented, made, values, shuffled, steady, gains)
    return found


def _gain(
    own: Mapping[str, np.ndarray], without: Mapping[str, np.ndarray], name: str, seed: int, *purpose: object
) -> PairedDifference:
    draw = seeding.numpy_generator(seed, "shared noise", name, *purpose)
    return paired_difference(own[name], without[name], draw)


def _measured(presented: np.ndarray, made: np.ndarray) -> dict[str, np.ndarray]:
    """Every measure of each clip."""
    true, clips = as_tensor(presented), as_tensor(made)
    found = {
        "frame_ssim": frame_ssim(true, clips),
        "frame_pixel_correlation": frame_pixel_correlation(true, clips),
        "motion_error": motion_error(true, clips),
        STEADINESS: _steadiness(clips),
    }
    return {name: values.numpy() for name, values in found.items()}


def _steadiness(clips: Tensor) -> Tensor:
    """SSIM of each frame and the next one, mean over a clip."""
    return frame_ssim(clips[:, :-1], clips[:, 1:])


def record(found: Mapping[str, Compared], seed: int) -> dict[str, Any]:
    """Means with intervals, those of shuffled decoders, and gains over own noises: JSON values."""
    return {
        key: {
            "n": len(c.ids),
            "steadiness_of_presented": float(c.steady.mean()),
            "shares": {
                f"{share:g}": {
                    name: {
                        "value": float(v.mean()), "interval": list(_interval(v, seed)),
                        "shuffled": float(c.shuffled[share][name].mean()),
                        **({} if not share else _told(c.gains[share][name])),
                    }
                    for name, v in values.items()
                }
                for share, values in c.values.items()
            },
        }
        for key, c in found.items()
    }  # fmt: skip


def _told(gain: PairedDifference) -> dict[str, Any]:
    low, high = gain.interval.low, gain.interval.high
    return {"over_own_noises": gain.value, "over_own_noises_interval": [float(low), float(high)], "p": gain.p}


def _interval(values: np.ndarray, seed: int) -> tuple[float, float]:
    found = mean_interval(values, seeding.numpy_generator(seed, "clips' mean"))
    return float(found.low), float(found.high)


def panels(found: Mapping[str, Compared], seed: int) -> list[Panel]:
    """What sharing noise gains, the measures of each share, and the first clips of all of them."""
    made: list[Panel] = []
    for key, c in found.items():
        subject = key.replace("_", " ")
        made += [
            (f"{subject}: how much noise frames share", "table", _table(c, seed)),
            (f"{subject}: what sharing noise gains", "text", {"text": verdicts(c)}),
            (f"{subject}: frames by shared noise", "image_grid", _grid(c)),
        ]
    return made


def verdicts(found: Compared) -> str:
    """A line a measure: what the largest share has over own noises, or that nothing can be told."""
    lines = []
    most = max(found.gains)
    for name, words in WORDS.items():
        gain = found.gains[most][name]
        low, high = gain.interval.low, gain.interval.high
        better = -gain.value if name == "motion_error" else gain.value
        what = "no difference can be told"
        if (low > 0 or high < 0) and gain.p < LEVEL:
            what = "more" if gain.value > 0 else "less"
            if name != STEADINESS:
                what = "a gain" if better > 0 else "a loss"
        lines.append(f"- {words}: {what} ({gain.value:+.3f} [{low:+.3f}, {high:+.3f}], p {gain.p:.3f})")
    head = f"Noises that share {most:g} beside noises of frames' own, on the same {len(found.ids)} clips:"
    return "\n".join([head, *lines])


def _table(found: Compared, seed: int) -> dict[str, Any]:
    def cell(share: float, name: str) -> str:
        values = found.values[share][name]
        low, high = _interval(values, seed)
        return f"{values.mean():.3f} [{low:.3f}, {high:.3f}] ({found.shuffled[share][name].mean():.3f})"

    rows = [[f"{share:g}", *(cell(share, name) for name in WORDS)] for share in found.values]
    caption = (
        f"Mean over {len(found.ids)} test clips with its interval; in brackets that of the decoder of shuffled pairs, "
        f"drawn from the same noise. Presented clips have a steadiness of {found.steady.mean():.3f}; more is no gain."
    )
    return {"columns": ["noise in common", *WORDS.values()], "rows": rows, "caption": caption}


def _grid(found: Compared) -> dict[str, Any]:
    every = {"presented": found.presented} | {
        f"{share:g} in common": found.made[share] for share in sorted(found.made)
    }
    rows = {
        f"{name}, frame {i + 1}": clips[:N_SHOWN, i]
        for name, clips in every.items()
        for i in range(clips.shape[1])
    }
    caption = (
        "The first test clips by name, not chosen; a column is a clip. With nothing in common every frame is a picture "
        "of its own; with 1 frames differ by what was decoded of them alone."
    )
    return {"rows": rows, "captions": list(found.ids[:N_SHOWN]), "caption": caption}
