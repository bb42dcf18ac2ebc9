"""Folders go to the hub whole: looked at first, sent in one commit, and read back to see that they arrived."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from braindec import checks, store
from braindec.hub._client import TO, Access, Client, check_repository
from braindec.hub._shareable import shareable


def push(
    folder: str | Path,
    repository: str,
    *,
    message: str = "Push using braindec",
    private: bool = True,
    token: str | None = None,
    branch: str | None = None,
    create_pr: bool = False,
    licence: str | None = None,
) -> str:
    """Commits a saved decoder or sparse autoencoder to the hub, the whole folder at once.

    Only the files that make the model go, whatever else lies in the folder. What is interrupted is not to be seen on
    the hub; the same call goes on without sending again what was sent, and makes no commit where nothing changed.

    Parameters
    ----------
    folder : path
        As `save_pretrained` or `sparse.saved.save` writes it.
    repository : str
        ``owner/name``; made where it does not exist.
    message : str
    private : bool
        Whether the owner alone sees it. A repository that is not so already is refused. Where this is False, a licence
        must be stated: a decoder is made of people's recordings.
    token : str, optional
        Of a hub account; the one that ``hf auth login`` keeps by default.
    branch : str, optional
        ``"main"`` by default; made where it does not exist.
    create_pr : bool
        Propose it in place of committing it.
    licence : str, optional
        For the card of an autoencoder that has none yet; a decoder's is stated where it is saved.

    Returns
    -------
    str
        Address of the commit; it ends in its 40 hex digits.

    Raises
    ------
    DataFileError
        If a file of the folder is missing or is not what was saved.
    ConfigError
        If the repository's name is none, or the folder must not be shared like this; it says why.
    DownloadError
        If the hub refuses, does not answer, or lists something else afterwards than what was sent.
    """
    check_repository(repository)
    contents = shareable(Path(folder), public=not private, licence=licence)
    return send(repository, "model", contents, message, private, token, branch, create_pr=create_pr)


def send(
    repository: str,
    kind: str,
    contents: Mapping[str, Path],
    message: str,
    private: bool,
    token: str | None,
    branch: str | None,
    *,
    create_pr: bool,
) -> str:
    """One commit of files by their path in the repository; its address."""
    client = Client.reached(repository, kind, Access(token), TO)
    with client.worded(TO):
        _ready(client, private, branch)
        made = _commit(client, contents, message, branch, create_pr=create_pr)
    _check_arrived(client, str(made.oid), contents)
    return str(made.commit_url)


def _ready(client: Client, private: bool, branch: str | None) -> None:
    """Makes repository and branch where they are not there; what everybody sees is not taken for private."""
    asked: dict[str, Any] = {"repo_type": client.kind, "exist_ok": True}
    client.api.create_repo(client.repository, private=private, **asked)
    if private and not client.is_private():
        raise checks.ConfigError(
            f"everybody sees {client.repository!r}, and private=True was asked for (the default). Name another one, "
            "or say private=False if everybody may have this."
        )
    if not private and client.is_private():
        raise checks.ConfigError(
            f"only its owner sees {client.repository!r}, and private=False was asked for. Make it public on the hub "
            "first, name another one, or leave private=True."
        )
    if branch is not None:
        client.api.create_branch(client.repository, branch=branch, **asked)


def _commit(
    client: Client, contents: Mapping[str, Path], message: str, branch: str | None, *, create_pr: bool
) -> Any:
    from huggingface_hub import CommitOperationAdd

    head = client.commit(branch)
    operations = [CommitOperationAdd(name, path) for name, path in sorted(contents.items())]
    return client.api.create_commit(
        client.repository,
        operations,
        commit_message=message,
        repo_type=client.kind,
        revision=branch,
        create_pr=create_pr,
        parent_commit=head,  # somebody else's commit in between would be overwritten
    )


def _check_arrived(client: Client, commit: str, contents: Mapping[str, Path]) -> None:
    """Reads the commit's listing: every file that was sent must be there, with the hash it has here."""
    there = {one.path: one for one in client.listed(commit)}
    for name, path in contents.items():
        listed = there.get(name)
        wrong = "is missing" if listed is None else listed.differs(path, store.sha256_of(path))
        if wrong:
            raise client.refused(f"{name} {wrong}; do not use commit {commit}", TO)
