"""How a decoder is saved, shared on the hub and loaded: the three methods, by the names that the hub's users know."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from braindec import hub
from braindec.decoder import saving

if TYPE_CHECKING:
    from braindec.decoder.brain_decoder import BrainDecoder


class Sharing:
    """What `BrainDecoder` inherits, and nothing else does."""

    def save_pretrained(self, folder: str | Path, report: Any = None, *, licence: str | None = None) -> Path:
        """Writes the fitted decoder as a folder that `from_pretrained` loads bit-equal.

        Parameters
        ----------
        folder : path
            A decoder that was saved there before is replaced; a README.md that is no card of one gets another name.
        report : Report, optional
            Its scores go into the model card; saved again without it, the card has none.
        licence : str, optional
            Of the weights, as the hub spells it (``"cc-by-4.0"``); for the card.
        """
        return saving.save(_decoder(self), Path(folder), report, licence)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        report: Any = None,
        licence: str | None = None,
        commit_message: str = "Push decoder using braindec",
        private: bool = True,
        token: str | None = None,
        branch: str | None = None,
        create_pr: bool = False,
    ) -> str:
        """Saves the decoder and commits its whole folder to the hub at once; see `hub.push`.

        Parameters
        ----------
        repo_id : str
            ``owner/name``; made where it does not exist.
        report : Report, optional
            Its scores go into the model card.
        licence : str, optional
            Of the weights; needed where everybody may see them.
        commit_message : str
        private : bool
            Whether the owner alone sees it. Everybody sees it where this is False: a decoder of people's recordings.
        token : str, optional
            Of a hub account; the one that ``hf auth login`` keeps by default.
        branch : str, optional
            ``"main"`` by default.
        create_pr : bool
            Propose it in place of committing it.

        Returns
        -------
        str
            Address of the commit, which ends in the 40 digits that `from_pretrained` takes as `revision`.

        Raises
        ------
        DownloadError
            If the hub refuses or does not answer; then nothing of it is to be seen there.
        """
        return saving.push(
            _decoder(self), repo_id, report, licence, message=commit_message, private=private, token=token,
            branch=branch, create_pr=create_pr,
        )  # fmt: skip

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        token: str | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
    ) -> BrainDecoder:
        """Loads a saved decoder: a folder, or ``owner/name`` on the hub at a 40-hex `revision`.

        Parameters
        ----------
        name : path or str
        revision : str, optional
            Commit of 40 hex digits; a download needs one, so that the same line is the same decoder tomorrow.
        cache_dir, token, local_files_only, force_download
            As huggingface_hub names them; see `hub.Access`.

        Raises
        ------
        DataFileError
            If a file is missing, damaged or holds other weights than the config says; nothing is loaded then.
        """
        access = hub.Access(token, cache_dir, local_files_only, force_download)
        return saving.load(cast("type[BrainDecoder]", cls), str(name), revision, access)


def _decoder(shared: Sharing) -> BrainDecoder:
    return cast("BrainDecoder", shared)  # its only heir
