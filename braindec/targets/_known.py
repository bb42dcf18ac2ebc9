"""Published models that targets are known to work with: where they lie, how large they are, under which licence."""

from __future__ import annotations

from dataclasses import dataclass

from braindec.weights import published


@dataclass(frozen=True)
class Published:
    """One model on huggingface.co.

    Parameters
    ----------
    repository : str
        ``owner/name``.
    revision : str or None
        Commit of 40 hex digits; None where none was recorded.
    megabytes : int
        About the size of the weights.
    licence : str
        As the model's page states it.
    target : str
        The target that reads it.
    """

    repository: str
    revision: str | None
    megabytes: int
    licence: str
    target: str


def _of_targets() -> dict[str, Published]:
    found = {}
    for entry in published.table().values():
        target = next(
            (user.removeprefix("targets/") for user in entry.used_by if user.startswith("targets/")), None
        )
        if target is not None:
            size = entry.megabytes or 0
            found[entry.repository] = Published(entry.repository, entry.revision, size, entry.licence, target)
    return found


MODELS = _of_targets()  # of the one table, `braindec/weights/published.json`; docs/targets.md shows them
