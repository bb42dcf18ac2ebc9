"""Prepared datasets on the hub: what a licence lets go, with a card made of what the folder and its source say."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from braindec import __version__, checks, store
from braindec.data import catalogue, layout
from braindec.hub._card import NOT_STATED, check_licence, front_matter, plain
from braindec.hub._client import COMMIT, PLAIN, Access, check_repository
from braindec.hub._fetch import fetch
from braindec.hub._push import send
from braindec.hub._shareable import refuse_names, refuse_telling

CARD = "README.md"
# Licences under which anybody may hand data on, as the hub spells them, by how cards begin them.
OPEN = {
    r"CC0": "cc0-1.0",
    r"CC BY-SA 3": "cc-by-sa-3.0",
    r"CC BY-SA 4": "cc-by-sa-4.0",
    r"CC BY-NC-SA 4": "cc-by-nc-sa-4.0",
    r"CC BY-NC 4": "cc-by-nc-4.0",
    r"CC BY 4": "cc-by-4.0",
    r"CC BY 3": "cc-by-3.0",
    r"PDDL": "pddl",
    r"BSD-3-Clause": "bsd-3-clause",
    r"MIT": "mit",
    r"Apache-2": "apache-2.0",
}
FORBIDS = re.compile(
    r"no redistribution|not redistributable|agreement|not stated|not verified|research use only", re.I
)
OF_STIMULI = re.compile(r"own terms|terms of|pictures|objects|copyright|music|stories|the episode", re.I)
PRIVACY = (
    "Responses of people's brains, without names, dates or texts of recordings' headers; subjects are numbers. With "
    "other recordings of a person one may find out whether that person is among them."
)


def push_dataset(
    folder: str | Path,
    repository: str,
    *,
    licence: str | None = None,
    message: str = "Push prepared dataset using braindec",
    private: bool = True,
    token: str | None = None,
    branch: str | None = None,
    create_pr: bool = False,
) -> str:
    """Commits a prepared dataset to the hub, where the licence of its source lets it be handed on.

    Parameters
    ----------
    folder : path
        As `braindec prepare` writes it.
    repository : str
        ``owner/name`` of a dataset; made where it does not exist.
    licence : str, optional
        Of data of one's own, as the hub spells it; a dataset that braindec knows has that of its card.
    message, private, token, branch, create_pr
        As of `push`.

    Returns
    -------
    str
        Address of the commit.

    Raises
    ------
    ConfigError
        If the licence does not let the data, or the stimuli with them, be handed on.
    DataFileError
        If a file is not the one that was prepared.
    DownloadError
        As of `push`.
    """
    check_repository(repository)
    folder = Path(folder)
    manifest = layout.read_manifest(folder)
    facts = catalogue.card(manifest["name"]).facts if manifest["name"] in catalogue.names() else {}
    allowed = _licence(folder, manifest, facts, licence)
    refuse_telling(folder / layout.MANIFEST, manifest)
    refuse_names(folder, [entry["key"] for entry in manifest["recordings"]])
    layout.verify(folder)
    names = [layout.MANIFEST, manifest["stimuli"]["file"], *(e["file"] for e in manifest["recordings"])]
    with tempfile.TemporaryDirectory() as place:
        card = Path(place) / CARD
        card.write_text(dataset_card(manifest, facts, allowed), encoding="utf-8")
        contents = {name: folder / name for name in names} | {CARD: card}
        return send(repository, "dataset", contents, message, private, token, branch, create_pr=create_pr)


def pull_dataset(name: str, out: str | Path, *, revision: str, access: Access = PLAIN) -> Path:
    """A prepared dataset from the hub as a folder of its own, every byte verified.

    Parameters
    ----------
    name : str
        ``owner/name``.
    out : path
        A folder that is not there yet or is empty; where it can be, its files are the cache's and take no room.
    revision : str
        Commit of 40 hex digits.
    access : Access

    Raises
    ------
    ConfigError
        If the folder holds something, or `revision` is no commit.
    DownloadError, DataFileError
        If what came is not what the hub lists, or not what was prepared.
    """
    if not COMMIT.fullmatch(revision):
        raise checks.ConfigError(f"revision must be a commit of 40 hex digits, got {revision!r}.")
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise checks.ConfigError(f"{out} holds something already; name a new folder or delete it.")
    needed = (layout.MANIFEST,)
    found = fetch(
        name, (layout.MANIFEST, "*.h5", CARD), revision=revision, kind="dataset", needed=needed, access=access
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = store.part_of(out)
    beside.mkdir()
    try:
        for path in found.files:
            if "/" not in path:
                _link((found.folder / path).resolve(), beside / path)
        layout.verify(beside)
        os.replace(beside, out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return out


def dataset_card(manifest: Mapping[str, Any], facts: Mapping[str, Any], licence: str) -> str:
    """README.md of a prepared dataset.

    Parameters
    ----------
    manifest : mapping
        What dataset.json holds.
    facts : mapping
        The front matter of its source's card; empty for data of one's own.
    licence : str
        As the hub spells it.
    """
    entries = manifest["recordings"]
    front = {
        "license": licence,
        "pretty_name": str(facts.get("title", manifest["name"])),
        "tags": ["braindec", "neuroimaging", *sorted({e["key"].rpartition("_")[2] for e in entries})],
        "braindec_version": __version__,
    }
    rows = [f"| {e['key']} | {e['n_trials']} | `{e['sha256']}` |" for e in entries]
    splits = [(plain(name), store.content_hash(split=split)) for name, split in manifest["splits"].items()]
    sections = [
        front_matter(front),
        f"# {plain(str(facts.get('title', manifest['name'])))}, prepared by braindec",
        "```python\nfrom braindec import hub\nfrom braindec.data import NeuralDataset\n\n"
        'folder = hub.pull_dataset("OWNER/NAME", "prepared/NAME", revision="40 HEX DIGITS OF A COMMIT")\n'
        "dataset = NeuralDataset.read(folder)\n```",
        "## Recordings",
        "\n".join(["| recording | trials | sha256 |", "| --- | --- | --- |", *rows]),
        "## Splits",
        "\n".join(f"- {name}: sha256 `{digest}`" for name, digest in splits) or "None.",
        "## Source",
        plain(str(manifest.get("source", "Not stated."))),
        f"Cite: {plain(str(facts.get('citation', 'not stated')))}",
        "## Licence",
        f"{licence}; the source says: {plain(str(manifest.get('licence', 'nothing')))}",
        "## Privacy",
        PRIVACY,
    ]
    return "\n\n".join(sections) + "\n"


def _licence(folder: Path, manifest: Mapping[str, Any], facts: Mapping[str, Any], given: str | None) -> str:
    """The licence of the hub's list under which a prepared folder may be handed on; others are refused."""
    if not facts:
        if given is None or given == NOT_STATED:
            raise checks.ConfigError(
                f"{manifest['name']!r} is no dataset that braindec knows; say its licence: --licence cc-by-4.0."
            )
        check_licence(given)
        return given
    text, access = str(facts["licence"]), str(facts["access"])
    found = [hub for start, hub in OPEN.items() if re.match(start, text)]
    if not found or FORBIDS.search(text) or not access.startswith(("open", "generated")):
        raise checks.ConfigError(
            f"{manifest['name']} is not pushed: its licence is {text!r} and its access {access!r}. Whoever wants it "
            f"prepares it from its source: braindec prepare {manifest['name']}."
        )
    if OF_STIMULI.search(text + access) and _has_media(folder, manifest):
        raise checks.ConfigError(
            f"{manifest['name']} is not pushed: its stimuli lie in the folder, and the licence says {text!r}."
        )
    return found[0]


def _has_media(folder: Path, manifest: Mapping[str, Any]) -> bool:
    stimuli = store.Stored(folder / manifest["stimuli"]["file"])
    return bool(stimuli.attributes.get("kind", "none") != "none")


def _link(source: Path, target: Path) -> None:
    """The same file at another place; a copy where the file system has no such links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
