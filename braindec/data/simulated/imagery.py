"""Trials in which a simulated fMRI subject imagines pictures that it saw in the gallery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from braindec import checks
from braindec.data.simulated.truth import StoredTruth, truth_path
from braindec.types import Table, Trials

# Share of the seen response that is left, by region: weak where vision begins, stronger towards its end, as Breedlove
# et al. 2020, doi:10.1016/j.cub.2020.04.014, found of the signal of imagery. The numbers are this world's assumption.
VIVIDNESS: Mapping[str, float] = {"early": 0.1, "intermediate": 0.3, "high": 0.6}
SPACING_S = 8.0


def imagined(
    folder: str | Path,
    trials: Trials,
    ids: Sequence[str],
    generator: np.random.Generator,
    *,
    n_repeats: int = 8,
    vividness: Mapping[str, float] = VIVIDNESS,
) -> Trials:
    """Single trials of imagining pictures, in a run of its own at the end of the last session.

    A voxel's response differs from its mean by a share of what it does when the picture is seen; attention, gain and
    noise are those of seeing.

    Parameters
    ----------
    folder : path
        Of the prepared simulated dataset; its truth files lie there.
    trials : Trials
        What the subject saw: fMRI, the whole brain.
    ids : sequence of str
        Stimuli that are imagined.
    generator : numpy.random.Generator
    n_repeats : int
        Of each.
    vividness : mapping of str to float
        By region, in [0, 1]; regions that are not named stay silent.

    Returns
    -------
    Trials
        Of the same subject and space, ``n_repeats`` times all `ids` in random order.

    Raises
    ------
    ValueError
        If the subject was not measured by fMRI, or the space has lost voxels.
    """
    checks.at_least("n_repeats", n_repeats, 1)
    checks.unique("ids", list(ids))
    truth = StoredTruth(truth_path(folder, trials.key))
    seen, mean = truth.candidates(ids), truth.noise_free.mean(0)
    share = np.zeros(len(mean))
    for region, value in vividness.items():
        checks.in_range(f"vividness of {region}", value, 0.0, 1.0)
        share[checks.known_key("region", region, truth.members)] = value
    if trials.space.n_features != len(mean):
        raise ValueError(
            f"{trials.key} has {trials.space.n_features} voxels here, {len(mean)} in truth; read the whole brain."
        )
    order = np.concatenate([generator.permutation(len(ids)) for _ in range(n_repeats)])
    session = str(max(trials.table["session"].astype(int)))
    numbers = np.full(len(order), int(session) - 1)
    responses = truth.measured((mean + share * (seen - mean))[order], numbers, generator)
    return Trials(
        responses.astype(np.float32), _table(np.array(ids)[order], session, trials, len(ids)), trials.space,
        trials.units, trials.subject, trials.modality,
    )  # fmt: skip


def _table(shown: np.ndarray, session: str, trials: Trials, n_ids: int) -> Table:
    n = len(shown)
    first = int(trials.table["acquisition_order"].max()) + 1
    return Table(
        {
            "stimulus_id": shown,
            "session": np.full(n, session),
            "run": np.full(n, f"{session}-imagery"),
            "repeat": np.arange(n) // n_ids,
            "onset_s": SPACING_S * np.arange(n),
            "acquisition_order": first + np.arange(n),
            "exchangeability_block": np.full(n, f"{session}-imagery"),
        }
    )
