"""Closeness of decoded embeddings is compared over stimuli, however often each was shown."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch

from braindec.evaluate import prior_systems


def judged(name, prediction, truth, ids):
    return SimpleNamespace(
        system=name,
        decoded={"sub-01_fmri": SimpleNamespace(prediction=prediction, truth=truth, ids=tuple(ids))},
    )


def test_rows_of_one_stimulus_are_one_unit(rng):
    truth, miss = torch.from_numpy(rng.standard_normal((2, 12, 30)))
    rows = np.repeat(np.arange(12), 5)
    ids = rows.astype(str).tolist()

    def compared(rows, ids):
        made = [truth + s * miss for s in (0.8, 1.0)]
        a, b = (judged(n, m[rows], truth[rows], ids) for n, m in zip("ab", made, strict=True))
        return {row["metric"]: row for row in prior_systems._closeness(a, b, 0)}

    often, once = compared(rows, ids), compared(np.arange(12), [str(i) for i in range(12)])
    for metric in ("correlation", "missed variance"):
        assert often[metric]["n"] == once[metric]["n"] == 12
        assert often[metric]["p"] == once[metric]["p"]
        np.testing.assert_allclose(often[metric]["interval"], once[metric]["interval"], rtol=0.2)
