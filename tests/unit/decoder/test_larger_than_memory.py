"""Data that stay on disk are trained on to the same bits as in memory, and take no memory of their own."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch

from braindec import checks, store, train
from braindec.adapters import linear as linear_adapter
from braindec.backbones import linear
from braindec.data import NeuralDataset, layout, mapped, mvnn, repeats, steps, unit_steps
from braindec.data.preprocessing import (
    MVNN,
    AlignProcrustes,
    AlignShared,
    AverageTime,
    Baseline,
    ClipMad,
    Detrend,
    Pca,
    PercentSignalChange,
    Preprocessing,
    RobustScale,
    SelectReliable,
    Standardise,
    Vectorise,
    Whiten,
    fit_together,
)
from braindec.decoder import BrainDecoder, Settings, average_groups, cross_fit, fitting, prediction, rows
from braindec.evaluate import systems
from braindec.losses import soft_clip
from braindec.maths import principal
from braindec.types import SensorSpace, Table, Trials

STEPS = (Detrend("run"), Standardise("run", "unit_unlabelled"), ClipMad(), Standardise())
TRAIN = train.Config(n_steps=6, batch_size=24, validate_every=3, device="cpu")


@pytest.fixture
def small_memory(monkeypatch):
    """Everything counts as larger than memory, and is computed on in many blocks."""
    monkeypatch.setattr(rows, "IN_MEMORY_BYTES", 1000)
    for module in (mapped, steps, unit_steps, mvnn):
        monkeypatch.setattr(module, "BLOCK_BYTES", 20_000)
    for module in (principal, repeats):
        monkeypatch.setattr(module, "BLOCK_VALUES", 2_500)
    monkeypatch.setattr(store, "BLOCK_BYTES", 5_000)


@pytest.fixture
def written(planted, tmp_path):
    """The planted dataset as a prepared folder, and its embeddings in a file."""
    dataset, folder = planted.dataset, tmp_path / "prepared"
    layout.write_stimuli(folder, dataset.stimuli.ids, kind="none", table=dataset.stimuli.table)
    layout.write_manifest(
        folder, name="planted", licence="none", source="a test", splits={"default": dataset.split},
        recordings=[layout.write_trials(folder, t) for t in dataset.trials.values()],
    )  # fmt: skip
    values = planted.embeddings.values
    with store.writer(tmp_path / "embeddings.h5") as out:
        out.bulk("values", values.shape, values.dtype).append(values)
    on_disk = replace(planted.embeddings, values=store.Stored(tmp_path / "embeddings.h5").rows("values"))
    return NeuralDataset.read(folder), on_disk


def fitted(dataset, embeddings, **changes):
    settings = Settings(
        adapter=linear_adapter.Config(shared_dim=16), backbone=linear.Config(), loss=soft_clip.Config(),
        **{"preprocessing": STEPS, "train": TRAIN, "n_folds": 2, **changes},
    )  # fmt: skip
    decoder = BrainDecoder.build(settings, dataset.info, embeddings.info)
    return decoder.fit(dataset.part("train"), embeddings, prior=False, progress=False)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"train": replace(TRAIN, repeats="average")},
        {"train": replace(TRAIN, ridge_start=False), "n_folds": 0, "calibrate": False},
    ],
    ids=["folds", "averaged", "no folds"],
)
def test_a_decoder_fitted_from_disk_equals_the_one_fitted_in_memory(changes, written, request):
    dataset, embeddings = written
    expected = fitted(dataset, embeddings, **changes)
    request.getfixturevalue("small_memory")
    found = fitted(dataset, embeddings, **changes)
    again = fitted(dataset, embeddings, **changes)  # from the cache of the one before
    for decoder in (found, again):
        for name, value in expected.state_dict().items():
            assert torch.equal(decoder.state_dict()[name], value), name
        assert decoder.log.rows == expected.log.rows
        for key in dataset.keys:
            trials = dataset.part("test").trials[key]
            assert np.array_equal(decoder.predict(trials).values, expected.predict(trials).values)
    assert (
        len(list((dataset.folder / "preprocessed").iterdir())) == 2
    )  # a file a subject, nothing left beside it


def cached(chain, trials, folder):
    return mapped.cached({trials.key: chain}, {trials.key: trials}, folder)[trials.key]


def test_the_cache_knows_rows_steps_and_content(written, small_memory, tmp_path):
    dataset, _ = written
    trials = dataset.trials["sub-01_fmri"]
    one = Preprocessing(STEPS)
    made = [
        cached(one, trials, tmp_path / "c"),
        cached(Preprocessing(STEPS[:2]), trials, tmp_path / "c"),
        cached(one, dataset.part("train").trials["sub-01_fmri"], tmp_path / "c"),
        cached(one, replace(trials, responses=trials.responses[:] + 1), tmp_path / "c"),
        cached(one, trials, tmp_path / "c"),
    ]
    assert len(list((tmp_path / "c").iterdir())) == 4
    assert np.array_equal(made[0][1][:], made[4][1][:])
    assert made[0][0].fit_rows_hash == made[4][0].fit_rows_hash


def test_a_damaged_cache_is_refused(written, small_memory, tmp_path):
    trials = written[0].trials["sub-01_fmri"]
    cached(Preprocessing(STEPS), trials, tmp_path / "c")
    path = next((tmp_path / "c").iterdir())
    content = bytearray(path.read_bytes())
    signals = cached(Preprocessing(STEPS), trials, tmp_path / "c")[1]
    at = content.index(signals[77].tobytes())
    content[at] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(checks.DataFileError, match="damaged"):
        cached(Preprocessing(STEPS), trials, tmp_path / "c")[1][:]


@pytest.mark.parametrize(
    "steps",
    [
        (Standardise("session", "causal"),),
        (Standardise("session", "unit_train_rows"),),
        (Baseline(-0.1, 0.0), Whiten(), Standardise(), AverageTime(4), Vectorise()),
        (Whiten("repeats"), ClipMad(2.0)),
        (),
    ],
)
@pytest.mark.parametrize("some", [False, True])
def test_every_chain_computes_the_same_bits_in_files(steps, some, small_memory, tmp_path, rng):
    trials = epochs(rng)
    kept = rng.permutation(trials.n_trials)[:70] if some else None
    expected, x = Preprocessing(steps).fit_apply(trials, kept)
    found, y = mapped.fit_apply(Preprocessing(steps), trials, mapped.Scratch(tmp_path), kept)
    assert np.array_equal(x, y)
    for name, value in expected.to_arrays().items():
        assert np.array_equal(found.to_arrays()[name], value, equal_nan=value.dtype.kind == "f"), name
    assert found.config == expected.config and found.signal.shape == expected.signal.shape
    assert list(tmp_path.iterdir()) == []


CHAINS = {
    "percent of all": (PercentSignalChange(),),
    "percent of sessions": (PercentSignalChange("session", "unit_unlabelled"),),
    "percent so far": (PercentSignalChange("session", "causal"),),
    "sessions": (Standardise("session", "unit_unlabelled"),),
    "so far": (Standardise("session", "causal"),),
    "robust": (RobustScale("run", "unit_unlabelled"), RobustScale()),
    "drifts": (Detrend("session", order=2),),
    "noise": (MVNN(), Standardise()),
    "noise of sessions": (MVNN(over="time", unit="session", scope="unit_train_rows"),),
    "components": (Pca(2), Vectorise(), Pca(20, whiten=True)),
    "reliable": (Vectorise(), SelectReliable(n=30)),
    "reliable channels": (SelectReliable(n=2, measure="split_half"),),
    "aligned": (AlignShared(2),),
}


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_what_steps_compute_does_not_depend_on_how_many_rows_they_see_at_once(chain, tmp_path, rng, request):
    """Sums of other blocks round otherwise: what is left of 1e-12 in double precision."""
    trials = epochs(rng, level=1e-3)
    kept = rng.permutation(trials.n_trials)[:100]
    expected, x = Preprocessing(chain).fit_apply(trials, kept)
    request.getfixturevalue("small_memory")
    found, y = mapped.fit_apply(Preprocessing(chain), trials, mapped.Scratch(tmp_path), kept)
    assert np.abs(x - y).max() < 2e-6 * np.abs(x).max()
    for name, value in expected.to_arrays().items():
        largest = np.abs(np.nan_to_num(value)).max(initial=0)
        other = found.to_arrays()[name]
        assert np.allclose(other, value, rtol=1e-6, atol=1e-6 * largest, equal_nan=True), name


def test_steps_take_no_copy_of_all_rows(tmp_path, rng, monkeypatch):
    for module in (mapped, steps, unit_steps, mvnn):
        monkeypatch.setattr(module, "BLOCK_BYTES", 1 << 19)
    for module in (principal, repeats):
        monkeypatch.setattr(module, "BLOCK_VALUES", 1 << 16)
    trials = epochs(rng, n=1200, level=1e-3, shape=(12, 200))  # 11.5 MB, 5.8 MB a session
    for name, chain in CHAINS.items():
        place = mapped.Scratch(tmp_path)
        grown = traced(lambda chain=chain, place=place: mapped.fit_apply(Preprocessing(chain), trials, place))
        assert grown < 0.5 * trials.responses.nbytes, name


def traced(call) -> int:
    """Bytes that numpy held at most while the call ran, beyond those before."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_fitted_steps_make_the_same_bits_of_new_rows_in_files(chain, small_memory, tmp_path, rng):
    trials = epochs(rng, level=1e-3)
    fitted = Preprocessing(chain).fit(trials.take(rng.permutation(trials.n_trials)[:100]))
    new = trials.take(np.arange(40, trials.n_trials))
    assert np.array_equal(fitted.apply(new, mapped.Scratch(tmp_path)), fitted.apply(new))
    assert list(tmp_path.iterdir()) == []


def test_what_others_are_fitted_on_lies_in_files_to_the_same_bits(small_memory, rng, monkeypatch):
    trials = epochs(rng, level=1e-3)
    steps_of = Preprocessing((Standardise("run", "unit_unlabelled"), Standardise()))
    features = systems.signal_features(tuple(steps_of.steps))(trials)(trials)
    source = features
    while isinstance(source.base, np.ndarray):
        source = source.base
    assert isinstance(source, np.memmap)
    expected = steps_of.fit(trials).apply(trials)
    assert np.array_equal(features, expected.reshape(len(expected), -1))
    group, chosen = np.arange(30) % 7, rng.permutation(trials.n_trials)[:30]
    whole = average_groups(expected[chosen], group, 7)
    monkeypatch.setattr(prediction, "AVERAGED_BYTES", 8 * 30 * 11)
    assert np.array_equal(average_groups(expected, group, 7, chosen), whole)


def test_decoding_takes_no_copy_of_all_rows(written, monkeypatch):
    dataset, embeddings = written
    decoder = fitted(dataset, embeddings, n_folds=0, calibrate=False)
    trials = dataset.trials["sub-01_fmri"]
    expected = decoder.predict(trials).values
    held = traced(lambda: decoder.predict(trials))
    monkeypatch.setattr(rows, "IN_MEMORY_BYTES", 1000)
    for module in (mapped, steps, unit_steps):
        monkeypatch.setattr(module, "BLOCK_BYTES", 20_000)
    assert np.array_equal(decoder.predict(trials).values, expected)
    size = 4 * int(np.prod(trials.responses.shape))
    assert traced(lambda: decoder.predict(trials)) < held - size


@pytest.mark.parametrize("chain", [(Standardise(), AlignShared(2)), (AlignProcrustes(),)])
def test_subjects_are_aligned_in_files_to_the_same_bits(chain, small_memory, tmp_path, rng):
    trials = {
        t.key: t for t in (epochs(rng), replace(epochs(rng), subject=3), replace(epochs(rng), subject=4))
    }
    first = {key: trials[key] for key in ("sub-02_eeg", "sub-03_eeg")}
    steps = Preprocessing(chain)
    expected = fit_together(dict.fromkeys(first, steps), first)
    found = mapped.cached(dict.fromkeys(first, steps), first, tmp_path / "c")
    again = mapped.cached(dict.fromkeys(first, steps), first, tmp_path / "c")
    for key, (fitted, x) in expected.items():
        for other in (found, again):
            assert np.array_equal(other[key][1][:], x)
            for name, value in fitted.to_arrays().items():
                same = other[key][0].to_arrays()[name]
                assert np.array_equal(same, value, equal_nan=value.dtype.kind == "f"), name
    later = {"sub-04_eeg": trials["sub-04_eeg"]}
    reference = {"eeg": expected["sub-02_eeg"][0]}
    joined = fit_together({"sub-04_eeg": steps}, later, reference=reference)["sub-04_eeg"][1]
    on_disk = mapped.cached({"sub-04_eeg": steps}, later, tmp_path / "c", reference)["sub-04_eeg"][1]
    assert np.array_equal(on_disk[:], joined)
    alone = mapped.cached({"sub-04_eeg": steps}, later, tmp_path / "c")["sub-04_eeg"][1]
    assert not np.array_equal(alone[:], joined)  # whom it is aligned with names the file
    assert len(list((tmp_path / "c").iterdir())) == 4


def epochs(rng, n=120, level=0.0, shape=(3, 40)):
    order = np.arange(n)
    table = Table(
        {
            "stimulus_id": np.array([f"s{i % 40:03d}" for i in order]), "session": (2 * order // n).astype(str),
            "run": (order // 30).astype(str), "repeat": order // 40, "onset_s": (order % 30) * 2.0,
            "acquisition_order": order, "exchangeability_block": (order // 30).astype(str),
        }
    )  # fmt: skip
    names = tuple(f"E{channel}" for channel in range(shape[0]))
    space = SensorSpace(names, np.full((shape[0], 3), np.nan), ("eeg",) * shape[0])
    signal = rng.standard_normal((40, *shape))[order % 40]  # of the stimuli
    values = (level + 1e-5 * (signal + rng.standard_normal((n, *shape)))).astype(np.float32)
    return Trials(values, table, space, "V", 2, "eeg", sfreq=100.0, tmin=-0.1)


def test_targets_too_large_to_compare_are_refused_before_training(planted, monkeypatch):
    monkeypatch.setattr(cross_fit, "MAX_HELD_BYTES", 1000)
    with pytest.raises(checks.ConfigError, match="n_folds=0"):
        fitted(planted.dataset, planted.embeddings)


def test_a_ridge_takes_no_more_rows_than_there_is_memory_for(planted, monkeypatch):
    seen = []
    data = fitting.SubjectSet(torch.randn(100, 6), {}, torch.arange(100), tuple(map(str, range(100))))
    monkeypatch.setattr(fitting, "MAX_RIDGE_VALUES", 300)
    monkeypatch.setattr(fitting.ridge, "fit_ridge", lambda x, y, *_, **__: seen.append((len(x), len(y))))
    fitting.ridge_to(data, torch.randn(100, 2), 0, "a")
    assert seen == [(50, 50)]
    monkeypatch.setattr(fitting, "MAX_RIDGE_WEIGHTS", 11)
    with pytest.raises(checks.ConfigError, match="ridge_start=false"):
        fitting.ridge_to(data, torch.randn(100, 2), 0, "a")


WRITE = """
import sys
from pathlib import Path
import numpy as np
from braindec import store
from braindec.data import Split, layout
from braindec.types import ArraySpace, Table, Trials

N, P, TOKENS, DIMS = 5000, 15724, 32, 768
folder = Path(sys.argv[1])

class Noise:
    shape, dtype = (N, P), np.dtype(np.float32)
    def __getitem__(self, rows):
        return np.stack([np.random.default_rng(i).standard_normal(P, dtype=np.float32) for i in np.arange(N)[rows]])

ids = [f"s{i:04d}" for i in range(N // 2)]
order = np.arange(N)
table = Table({"stimulus_id": np.array(ids)[order % len(ids)], "session": (order // 500).astype(str),
    "run": (order // 50).astype(str), "repeat": order // len(ids), "onset_s": 4.0 * (order % 50),
    "acquisition_order": order, "exchangeability_block": (order // 500).astype(str)})
trials = Trials(Noise(), table, ArraySpace(P), "a.u.", 1, "fmri")
split = Split("default", "stimulus", {"train": tuple(ids[100:]), "test": tuple(ids[:100])})
layout.write_stimuli(folder, ids, kind="none", table={"n": np.arange(len(ids))})
layout.write_manifest(folder, name="large", licence="none", source="a test", splits={"default": split},
    recordings=[layout.write_trials(folder, trials)])
with store.writer(folder / "tokens.h5") as out:
    bulk = out.bulk("values", (len(ids), TOKENS, DIMS), np.float16)
    for i in range(len(ids)):
        bulk.append(np.random.default_rng(i).standard_normal((1, TOKENS, DIMS)).astype(np.float16))
"""

FIT = """
import sys, threading
from pathlib import Path
import torch
from braindec import store, train
from braindec.adapters import linear as adapter
from braindec.backbones import linear
from braindec.data import NeuralDataset
from braindec.data.preprocessing import ClipMad, Standardise
from braindec.decoder import BrainDecoder, Settings, fitting, rows
from braindec.losses import mse
from braindec.types import Embeddings

fitting.MAX_RIDGE_VALUES //= 16  # the ridge behind new subjects takes up to 1.1 GB, and no more of larger data

def anonymous():
    line = next(x for x in open("/proc/self/status") if x.startswith("RssAnon"))
    return int(line.split()[1]) // 1024

peak, done = [0], threading.Event()
def watch():
    while not done.wait(0.02):
        peak[0] = max(peak[0], anonymous())

folder = Path(sys.argv[1])
part = NeuralDataset.read(folder)
tokens = Embeddings(part.stimuli.ids, store.Stored(folder / "tokens.h5").rows("values"), "tokens", {}, "0" * 64)
settings = Settings(adapter=adapter.Config(shared_dim=8), backbone=linear.Config(), loss=mse.Config(),
    preprocessing=(Standardise("session", "unit_train_rows"), ClipMad()), n_folds=0, calibrate=False,
    train=train.Config(n_steps=5, batch_size=64, ridge_start=False, device="cpu"))
decoder = BrainDecoder.build(settings, part.info, tokens.info)
if sys.argv[2] == "memory":
    rows.IN_MEMORY_BYTES = 1 << 40
torch.ones(3, requires_grad=True).sum().backward()
before = anonymous()
watching = threading.Thread(target=watch)
watching.start()
try:
    decoder.fit(part.part("train"), tokens, prior=False, progress=False)
finally:
    done.set()
    watching.join()
print(peak[0] - before)
"""


@pytest.mark.slow
def test_training_on_much_data_takes_little_anonymous_memory(tmp_path):
    """310 MB of responses and, by trial and as float32, 490 MB of targets come by on the way."""
    grown = {}
    for step, kind in ((WRITE, ""), (FIT, "disk"), (FIT, "memory")):
        run = subprocess.run(
            [sys.executable, "-c", step, str(tmp_path), kind], capture_output=True, text=True, timeout=300
        )
        assert run.returncode == 0, run.stderr
        grown[kind] = run.stdout.strip()
    assert int(grown["disk"]) < min(900, int(grown["memory"]) / 2), grown
