"""How long a live answer takes: an EEG window, and a volume of fMRI, at the sizes of THINGS-EEG2 and NSD.

Run     OMP_NUM_THREADS=1 python benchmarks/stream.py [--n 400] [--small]
Writes  benchmarks/results/stream.json

EEG     63 channels at 1,000 Hz arrive in blocks of 20 ms: average reference, causal filter, decimation to 250 Hz, a
        window of a second every 100 ms, NICE's network, nearest of 200 embeddings of 1,024 dimensions.
fMRI    15,724 voxels a volume (the whole run is 300): a least-squares model for the event of all volumes so far, then
        a linear adapter and a residual MLP, nearest of 1,000 embeddings of 1,024 dimensions. A volume without an answer
        counts too: half of them complete an event.

Times are from the arrival of a block to the answer. The networks' weights are of one training step: what they cost does
not depend on what they learnt. Asked for: 99 % within 50 ms a window and 200 ms a volume, on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from _record import cpu_name

from braindec import BrainDecoder, Embeddings, NeuralDataset, StimulusSet, Trials, store
from braindec.adapters import linear, sensor_attention
from braindec.backbones import mlp, temporal_spatial
from braindec.data import Split
from braindec.data.preprocessing import Standardise
from braindec.decoder import Settings
from braindec.losses import clip
from braindec.stream import Live, LiveBetas, LiveDecoder, Preparation, SlidingWindows, class_answer, play
from braindec.train import Config as Train
from braindec.types import ArraySpace, Recording, SensorSpace, Space, Table

RESULT = Path(__file__).parent / "results" / "stream.json"
KERNELS = {"n_filters": 8, "kernel": 5, "pool": 11, "stride": 6}  # for few samples
ASKED_MS = {"eeg window": 50.0, "fmri volume": 200.0}


def main() -> None:
    """Measures both and writes the result."""
    options = parse()
    rng = np.random.default_rng(0)
    rows = [
        {"answer": name, "asked_p99_ms": ASKED_MS[name], **said}
        for name, said in (("eeg window", eeg(options, rng)), ("fmri volume", fmri(options, rng)))
    ]
    for row in rows:
        print(f"{row['answer']:12s} n {row['n']}  median {row['p50_ms']:.2f}  99 % {row['p99_ms']:.2f} ms")
    libraries = {name: version(name) for name in ("torch", "numpy", "scipy")}
    about = {
        "measured": not options.small,
        "command": f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS')} python benchmarks/stream.py --n {options.n}",
        "machine": {"cpu": cpu_name(), "cores": os.cpu_count(), "gpu": None},
        "load_average": os.getloadavg(), "versions": {"python": platform.python_version(), **libraries},
        "values": rows,
    }  # fmt: skip
    with store.atomic_path(options.out) as temporary:
        temporary.write_text(json.dumps(about, indent=1) + "\n")


def parse() -> argparse.Namespace:
    """Options from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=400, help="windows (and at most 300 volumes)")
    parser.add_argument("--small", action="store_true", help="tiny sizes, for the tests")
    parser.add_argument("--out", type=Path, default=RESULT)
    return parser.parse_args()


def eeg(options: argparse.Namespace, rng: np.random.Generator) -> dict[str, Any]:
    """Milliseconds from a block to the answers that it completes."""
    n_channels, sfreq, dims, n_classes = (8, 200.0, 16, 30) if options.small else (63, 1000.0, 1024, 200)
    n_times = round(sfreq / 4)
    angle = np.linspace(0, 2 * np.pi, n_channels, endpoint=False)
    positions = 0.09 * np.stack([np.sin(angle), np.cos(angle), np.full(n_channels, 0.5)], axis=1)
    space = SensorSpace(tuple(f"E{i:02d}" for i in range(n_channels)), positions, ("eeg",) * n_channels)
    settings = Settings(
        sensor_attention.Config(n_virtual=n_channels), temporal_spatial.Config(**(KERNELS if options.small else {})),
        clip.Config(), preprocessing=(Standardise(),), train=Train(n_steps=1),
    )  # fmt: skip
    decoder, embeddings = fitted(
        settings, (n_channels, n_times), dims, n_classes, "eeg", space, rng, sfreq / 4
    )
    prepare = Preparation(sfreq, reference="average", high_pass_hz=0.1, low_pass_hz=sfreq / 12, decimate=4)
    live = Live(
        class_answer(LiveDecoder(decoder, "sub-01_eeg", embeddings)), embeddings.ids,
        SlidingWindows(prepare.sfreq, 1.0, 0.1), prepare,
    )  # fmt: skip
    seconds = 1.0 + 0.1 * options.n
    signal = 1e-5 * rng.standard_normal((n_channels, int(seconds * sfreq)), dtype=np.float32)
    empty = Table({"onset_s": np.zeros(0), "duration_s": np.zeros(0), "trial_type": np.zeros(0, str)})
    recording = Recording(signal, sfreq, "V", empty, ArraySpace(n_channels), 1, "1", "1", "eeg")
    for block in play(recording, 0.02):
        live.push(block)
    return live.summary()


def fmri(options: argparse.Namespace, rng: np.random.Generator) -> dict[str, Any]:
    """Milliseconds from a volume to what it was decoded to."""
    n_voxels, n_volumes, dims, n_stimuli = (
        (50, 40, 16, 30) if options.small else (15_724, min(300, options.n), 1024, 1000)
    )
    settings = Settings(
        linear.Config(shared_dim=min(n_voxels, 1024)), mlp.Config(width=min(n_voxels, 1024)), clip.Config(),
        preprocessing=(Standardise(),), train=Train(n_steps=1, ridge_start=False),
    )  # fmt: skip
    decoder, embeddings = fitted(settings, (n_voxels,), dims, n_stimuli, "fmri", ArraySpace(n_voxels), rng)
    live, betas = LiveDecoder(decoder, "sub-01_fmri", embeddings), LiveBetas(1.6, n_volumes)
    for number in range(int(1.6 * (n_volumes - 20) / 3.2)):  # after half a minute of rest
        betas.expect(32.0 + 3.2 * number, 3.0, f"event {number}")
    took = []
    for _ in range(n_volumes):
        volume = (9_000 + 90 * rng.standard_normal(n_voxels)).astype(np.float32)
        began = time.perf_counter()
        for beta in betas.push(volume, rng.standard_normal(6)):
            live.decode(beta.values, beta.event)
        took.append(1e3 * (time.perf_counter() - began))
    p50, p99, most = np.quantile(took, [0.5, 0.99, 1.0], method="higher").tolist()
    return {"n": len(took), "p50_ms": p50, "p99_ms": p99, "max_ms": most}


def fitted(
    settings: Settings, shape: tuple[int, ...], dims: int, n_stimuli: int, modality: str, space: Space,
    rng: np.random.Generator, sfreq: float | None = None,
) -> tuple[BrainDecoder, Embeddings]:  # fmt: skip
    """A decoder of noise, and embeddings of as many stimuli as there are candidates."""
    n = np.arange(n_stimuli)
    ids = tuple(f"stimulus-{i:04d}" for i in n)
    embeddings = Embeddings.from_arrays(
        ids, rng.standard_normal((n_stimuli, dims)).astype(np.float32), "noise"
    )
    table = Table({
        "stimulus_id": np.array(ids), "session": n // 100, "run": n // 20, "repeat": 0 * n, "onset_s": 4.0 * (n % 20),
        "acquisition_order": n, "exchangeability_block": n // 100,
    })  # fmt: skip
    responses = rng.standard_normal((n_stimuli, *shape)).astype(np.float32)
    tmin = None if sfreq is None else 0.0
    trials = Trials(responses, table, space, "a.u.", 1, modality, sfreq, tmin)
    split = Split("default", "stimulus", {"train": ids})
    dataset = NeuralDataset.from_trials([trials], StimulusSet(ids, "none"), split)
    decoder = BrainDecoder.build(settings, dataset.info, embeddings.info)
    return decoder.fit(dataset.part("train"), embeddings, prior=False, progress=False), embeddings


if __name__ == "__main__":
    main()
