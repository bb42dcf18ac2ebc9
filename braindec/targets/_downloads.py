"""Downloaded weights: where they lie when they are there, and a quick answer when they cannot be had."""

from __future__ import annotations

import os
import socket
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

SECONDS = 3.0  # a host that does not take a connection by then is taken for unreachable
BY_HAND = "by-hand"  # a snapshot's folder for files that a person puts there
OFFLINE = ("1", "ON", "YES", "TRUE")  # as huggingface_hub reads HF_HUB_OFFLINE


def hub_cache() -> Path:
    """The folder in which huggingface_hub keeps repositories, by its own environment variables."""
    if "HF_HUB_CACHE" in os.environ:
        return Path(os.environ["HF_HUB_CACHE"]).expanduser()
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"
    return Path(home).expanduser() / "hub"


def repository_folder(repository: str) -> Path:
    """Where ``owner/name`` lies in `hub_cache`, whether it is there or not."""
    return hub_cache() / f"models--{repository.replace('/', '--')}"


def in_hub_cache(repository: str, names: Sequence[str]) -> Path | None:
    """The first of these files in any snapshot of ``owner/name``, the newest one; None where there is none."""
    for name in names:
        found = [p for p in repository_folder(repository).glob(f"snapshots/*/{name}") if p.is_file()]
        if found:
            return max(found, key=lambda path: path.stat().st_mtime)
    return None


def why_unreachable(url: str) -> str:
    """What stands between this machine and a host, found out within seconds; empty where it answers.

    A download that is tried without looking retries for a minute. Behind a proxy it is the proxy that must answer.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in OFFLINE:
        return "HF_HUB_OFFLINE is set"
    asked = urlsplit(url)
    proxy = urllib.request.getproxies().get(asked.scheme)
    host = urlsplit(proxy if "//" in proxy else f"//{proxy}") if proxy else asked
    port = host.port or (443 if asked.scheme == "https" and not proxy else 80)
    try:
        socket.create_connection((host.hostname or "", port), timeout=SECONDS).close()
    except OSError as error:
        return f"{host.hostname}: {error}"
    return ""
