"""Folders that come from elsewhere: saved decoders and published weights, verified, pinned to one commit."""

from __future__ import annotations

from braindec.hub._card import check_licence, model_card
from braindec.hub._client import Access, endpoint, why_unreachable
from braindec.hub._datasets import dataset_card, pull_dataset, push_dataset
from braindec.hub._fetch import Snapshot, fetch, taken_over, verified
from braindec.hub._folders import EARLIER_WEIGHTS, MANIFEST, WEIGHTS, verify, weights_of, write_manifest
from braindec.hub._named import Pulled, local_or_download, pull
from braindec.hub._push import push

__all__ = [
    "EARLIER_WEIGHTS",
    "MANIFEST",
    "WEIGHTS",
    "Access",
    "Pulled",
    "Snapshot",
    "check_licence",
    "dataset_card",
    "endpoint",
    "fetch",
    "local_or_download",
    "model_card",
    "pull",
    "pull_dataset",
    "push",
    "push_dataset",
    "taken_over",
    "verified",
    "verify",
    "weights_of",
    "why_unreachable",
    "write_manifest",
]
