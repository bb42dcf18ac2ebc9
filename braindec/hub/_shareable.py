"""What of a saved folder goes to the hub, and what must not: looked at before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from braindec import checks, store
from braindec.hub._card import NOT_STATED, autoencoder_card
from braindec.hub._folders import MANIFEST, WEIGHTS, verify

CARD, CONFIG, SPACES = "README.md", "config.json", "preprocessing.h5"
DECODER = (CARD, CONFIG, MANIFEST, SPACES, WEIGHTS)
AUTOENCODER = ("cfg.json", "sae_weights.safetensors")
PRIVACY = re.compile(r"^## Privacy\s*\n+(?P<said>.+)", re.MULTILINE)
LICENCE = re.compile(r"^license: \"?(?P<said>[^\"\n]+)\"?\s*$", re.MULTILINE)
KEY = re.compile(r"sub-\d+_[a-z]+")
# What names a person or a place on a machine: addresses of mail, paths from a root or a home (options and quotes before
# them, too), dates with a time.
TELLING = re.compile(
    r"[\w.+-]+@[\w-]+\.\w+|(?:^|[\s=:,;\"'(\[])(?:/[\w.-]+/|~/|[A-Za-z]:\\)|file:/|\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d"
)
WAY_OUT = (
    "Save it again with this version, decoder.save_pretrained(folder), or push with decoder.push_to_hub(...)."
)


def shareable(folder: Path, *, public: bool, licence: str | None = None) -> dict[str, Path]:
    """The files of a saved model by their name in a repository, once everything about them is in order.

    Parameters
    ----------
    folder : Path
        Of a decoder or a sparse autoencoder.
    public : bool
        Whether everybody will see them.
    licence : str, optional
        For the card of an autoencoder that has none yet.

    Raises
    ------
    ConfigError
        If it is somebody else's model, says nothing of privacy, or tells who was recorded; if `public`, also if no
        licence is stated.
    """
    folder = checks.existing_folder(folder, WAY_OUT)
    if (folder / AUTOENCODER[0]).is_file():
        return _autoencoder(folder, licence, public=public)
    verify(folder)
    config = store.read_json(folder / CONFIG, WAY_OUT)
    if "signals" not in config:
        raise checks.ConfigError(
            f"{folder} holds no decoder of yours: what a converter made of somebody's weights is theirs to publish."
        )
    lacking = [name for name in DECODER if not (folder / name).is_file()]
    if lacking:
        raise checks.ConfigError(f"{folder} has no {', '.join(lacking)}. {WAY_OUT}")
    refuse_telling(folder / CONFIG, config)
    refuse_names(folder, config["signals"])
    check_card(folder / CARD, public=public)
    return {name: folder / name for name in DECODER}


def check_card(path: Path, *, public: bool) -> None:
    """Refuses a card that says nothing of privacy, and one without licence where everybody will see it."""
    text = checks.existing_file(path, WAY_OUT).read_text(encoding="utf-8")
    found = PRIVACY.search(text)
    if found is None or len(found["said"]) < 40:
        raise checks.ConfigError(
            f"{path} says nothing of privacy: a model of people's recordings needs a section '## Privacy'. {WAY_OUT}"
        )
    licence = LICENCE.search(text)
    if public and (licence is None or licence["said"] == NOT_STATED):
        raise checks.ConfigError(
            f"{path} states no licence, and everybody would see it. Save it with licence='cc-by-4.0' or another of the "
            "hub's list, or push it as private."
        )


def refuse_telling(path: Path, values: Any) -> None:
    """Refuses JSON in which a text looks like a mail address, a path of a machine or a time of recording."""
    for place, text in _texts(values, ""):
        found = TELLING.search(text)
        if found:
            raise checks.ConfigError(
                f"{path}: {place} says {found[0].strip()!r}, which tells of a person, a machine or a day; it is not "
                "pushed. Call it something else and save again."
            )


def refuse_names(folder: Path, keys: Iterable[str]) -> None:
    """Refuses signal keys whose subject is no number."""
    named = [key for key in keys if not KEY.fullmatch(key)]
    if named:
        raise checks.ConfigError(f"{folder}: subjects must be numbers, not {named[0]!r}; it is not pushed.")


def _autoencoder(folder: Path, licence: str | None, *, public: bool) -> dict[str, Path]:
    """Files of a sparse autoencoder, whose cfg.json says the sha256 of its weights; a card where it has none."""
    settings, weights = (folder / name for name in AUTOENCODER)
    data = store.read_json(settings, WAY_OUT)
    told = data.get("metadata", {}).get("weights_sha256")
    found = store.sha256_of(checks.existing_file(weights, "Copy the folder whole."))
    if told != found:
        raise checks.DataFileError(
            weights, f"has sha256 {found[:12]}..., cfg.json says {told}", "Save it again."
        )
    refuse_telling(settings, data)
    if not (folder / CARD).is_file():
        with store.atomic_path(folder / CARD) as temporary:
            temporary.write_text(autoencoder_card(data, licence), encoding="utf-8")
    check_card(folder / CARD, public=public)
    return {name: folder / name for name in (CARD, *AUTOENCODER)}


def _texts(values: Any, place: str) -> Iterator[tuple[str, str]]:
    """Every text in JSON, keys too, with where it stands."""
    if isinstance(values, str):
        yield place, values
    elif isinstance(values, Mapping):
        for key, value in values.items():
            yield f"{place}.{key}".lstrip("."), str(key)
            yield from _texts(value, f"{place}.{key}".lstrip("."))
    elif isinstance(values, list):
        for number, value in enumerate(values):
            yield from _texts(value, f"{place}[{number}]")
