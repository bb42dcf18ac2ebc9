"""Miniature runs of Du-IN, pickled in a class that is named as the authors' is."""

from __future__ import annotations

import pickle
import sys
import types
from pathlib import Path

import numpy as np

from braindec import seeding
from braindec.data.catalogue import Truth
from braindec.data.speech_miniature import SYLLABLES, waves
from braindec.types import Table

N_CHANNELS, PEAK = 6, 40.0


def synthetic(
    root: Path,
    task: str,
    seed: int,
    subjects: tuple[int, ...],
    n_runs: int,
    n_words: int,
    n_repeats: int,
    n_times: int,
) -> Truth:
    """See prepare.py."""
    words = [SYLLABLES[i % 16] + SYLLABLES[(5 * i + i // 16 + 3) % 16] for i in range(n_words)]
    responses, tables, patterns = {}, {}, {}
    for subject in subjects:
        rng = seeding.numpy_generator(seed, "du_in", subject)
        key = f"sub-{subject:02d}_ieeg"
        names = [f"TI'{i + 1}" for i in range(N_CHANNELS)]
        pattern = {word: waves(rng, N_CHANNELS, n_times, 1000.0, PEAK) for word in words}
        written, said, runs = [], [], []
        for run in range(1, n_runs + 1):
            order = rng.permutation(words * n_repeats).tolist()
            x = np.stack(
                [pattern[w] + 0.3 * PEAK * rng.standard_normal((N_CHANNELS, n_times)) for w in order]
            )
            x = x.astype(np.float32)
            # The first channels stand elsewhere in the second run, which has one more.
            here = [*range(N_CHANNELS)] if run == 1 else [N_CHANNELS, *reversed(range(N_CHANNELS))]
            more = np.concatenate([x, rng.standard_normal((len(x), 1, n_times)).astype(np.float32)], axis=1)
            folder = root / f"{subject:03d}" / task / f"run{run}" / "dataset.bipolar.default.unaligned"
            _write(folder, [*names, "XX'1"], here, order, more)
            written.append(x)
            said += order
            runs += [f"{subject:03d}/run{run}"] * len(order)
        responses[key] = np.concatenate(written)
        tables[key] = Table({"stimulus_id": said, "word": said, "run": runs})
        patterns[key] = pattern
    return Truth(responses, tables, {"pattern": patterns})


def _write(folder: Path, names: list[str], here: list[int], order: list[str], x: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    kind = type("DotDict", (dict,), {"__module__": "utils.DotDict"})
    trials = [
        kind(name=word, data_s=np.ascontiguousarray(trial[here]), data_n=np.zeros_like(trial[here][:, :5]))
        for word, trial in zip(order, x, strict=True)
    ]
    info = kind(ch_names=[names[i] for i in here])
    # pickle asks the module for the class, so there is one of that name while it writes.
    package, module = types.ModuleType("utils"), types.ModuleType("utils.DotDict")
    module.DotDict = kind  # type: ignore[attr-defined]  # a module of its own
    before = {name: sys.modules.get(name) for name in ("utils", "utils.DotDict")}
    sys.modules |= {"utils": package, "utils.DotDict": module}
    try:
        (folder / "data").write_bytes(pickle.dumps(trials, protocol=4))
        (folder / "info").write_bytes(pickle.dumps(info, protocol=4))
    finally:
        for name, held in before.items():
            del sys.modules[name]
            if held is not None:
                sys.modules[name] = held
