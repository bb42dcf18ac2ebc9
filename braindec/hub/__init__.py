"""Folders that come from elsewhere: saved decoders and published weights, verified, pinned to one commit."""

from __future__ import annotations

from braindec.hub._card import model_card
from braindec.hub._fetch import Snapshot, endpoint, fetch, taken_over, verified, why_unreachable
from braindec.hub._folders import MANIFEST, verify, write_manifest
from braindec.hub._named import Pulled, local_or_download, pull

__all__ = [
    "MANIFEST",
    "Pulled",
    "Snapshot",
    "endpoint",
    "fetch",
    "local_or_download",
    "model_card",
    "pull",
    "taken_over",
    "verified",
    "verify",
    "why_unreachable",
    "write_manifest",
]
