"""One's own recordings: a BIDS folder, or plain arrays with a table; `braindec.data.bids_prepare` does the work."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from braindec import checks, config
from braindec.data import bids_erp, bids_imagery, bids_prepare, bids_synthetic
from braindec.data.bids_settings import BidsSettings
from braindec.data.catalogue import Counts, Truth


def fetch(raw: str | Path, *, subjects: Iterable[int] | None = None, dry_run: bool = False) -> list[Path]:
    """Refuses: one's own recordings come from nowhere else.

    Raises
    ------
    ConfigError
        Always.
    """
    raise checks.ConfigError("bids reads your own recordings and fetches nothing: leave out --fetch.")


def prepare(
    raw: str | Path,
    out: str | Path,
    *,
    subjects: Iterable[int] | None = None,
    dry_run: bool = False,
    n_jobs: int = 1,
    sets: Iterable[str] = (),
    settings: BidsSettings | None = None,
) -> Counts:
    """Reads the recordings and writes the prepared dataset; see `bids_prepare.prepare`.

    Parameters
    ----------
    sets : iterable of str
        Settings by name (``"fmri.glm.method=lsa"``), over `settings`.
    settings : BidsSettings, optional
    """
    chosen = config.override(settings or BidsSettings(), sets)
    return bids_prepare.prepare(
        raw, out, name="bids", subjects=subjects, dry_run=dry_run, n_jobs=n_jobs, settings=chosen
    )


def synthetic(
    raw: str | Path,
    *,
    seed: int = 0,
    fmri: bool = True,
    eeg: bool = True,
    noise: float = 1.0,
    surface: bool = False,
    imagery: bool = False,
    erp: bool = False,
) -> Truth:
    """A miniature BIDS dataset with planted responses; see `bids_synthetic.write`.

    With `imagery` it is one of imagined movements instead (`bids_imagery.write`), with `erp` one of an oddball task
    (`bids_erp.write`): `seed` and `noise` alone count.
    """
    if erp:
        return Truth({}, {}, bids_erp.write(Path(raw), seed=seed, noise=noise))
    if imagery:
        return Truth({}, {}, {"signals": bids_imagery.write(Path(raw), seed=seed, noise=noise)})
    planted = bids_synthetic.write(Path(raw), seed=seed, fmri=fmri, eeg=eeg, noise=noise, surface=surface)
    return Truth(planted.responses, planted.tables, planted.details)
