"""The commonest mistakes: each is one line that names the argument or file, what was found, and the way out."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import socket
import sys
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from braindec import Embeddings, NeuralDataset, QuickDecoder, cli, report, train
from braindec.adapters import linear as adapters_linear
from braindec.backbones import linear
from braindec.cli import _verbs
from braindec.data import Split, clips, layout, reliability
from braindec.data.preprocessing import Standardise
from braindec.data.rows import view
from braindec.decoder import BrainDecoder, Settings
from braindec.losses import clip
from braindec.targets import pixels, transformers_vision
from braindec.types import ArraySpace, Report, Score, StimulusSet

HEAD = "stimulus_id,run,onset_s,trial_type"
ROWS = [f"s{i % 8},{i // 12 + 1},{3.0 * (i % 12)},{'ab'[i % 2]}" for i in range(24)]


def arrays(folder, values, lines=(HEAD, *ROWS), about=None):
    """A raw folder of trials that already are arrays."""
    folder.mkdir(exist_ok=True)
    np.save(folder / "arrays.npy", values)
    if lines:
        (folder / "events.csv").write_text("\n".join(lines) + "\n")
    if about:
        (folder / "about.json").write_text(json.dumps(about))
    return folder


@pytest.fixture(scope="module")
def made(planted, tmp_path_factory):
    """Raw arrays, a prepared folder, a decoder, trials, and the folder of a run."""
    base, rng = tmp_path_factory.mktemp("mistakes"), np.random.default_rng(0)
    raw = arrays(base / "raw", rng.standard_normal((24, 10)).astype(np.float32))
    prepared, decoder, run = base / "prepared", base / "decoder", base / "run"
    assert cli.main(["prepare", "bids", "--raw", str(raw), "--out", str(prepared)]) == 0
    settings = Settings(
        adapter=adapters_linear.Config(shared_dim=8), backbone=linear.Config(), loss=clip.Config(),
        preprocessing=(Standardise(),), train=train.Config(n_steps=2, batch_size=64, device="cpu"),
    )  # fmt: skip
    built = BrainDecoder.build(settings, planted.dataset.info, planted.embeddings.info)
    built.fit(planted.dataset.part("train"), planted.embeddings, progress=False).save_pretrained(decoder)
    trials = planted.dataset.trials["sub-01_fmri"]
    recording = layout.write_trials(base, trials)
    score = Score("roc_auc", "braindec", "p", 1, "fmri", 0.7, (0.6, 0.8), 0.5, 0.5, 100)
    report.write(Report((score,), {"title": "Once"}), run)
    return SimpleNamespace(base=base, raw=raw, prepared=prepared, decoder=decoder, run=run, trials=trials,
                           recording=recording, planted=planted, built=built)  # fmt: skip


def prepare(raw, out, *further):
    return ["prepare", "bids", "--raw", raw, "--out", out, *further]


def run(data, out, *further, recipe="haxby2001_category"):
    return ["run", recipe, "--data", data, "--out", out, *further]


def values(*shape):
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def broken(made, tmp, change):
    """The prepared folder with another dataset.json."""
    folder = tmp / "older"
    shutil.copytree(made.prepared, folder)
    told = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps(told | change))
    return folder


def other_voxels(made, tmp):
    n = made.trials.n_trials
    trials = replace(made.trials, responses=values(n, 7), space=ArraySpace(7))
    return layout.write_trials(tmp, trials)


def with_nan(tmp):
    x = values(24, 10)
    x[3, 4] = np.nan
    return arrays(tmp / "nan", x)


def refused(number, path):
    def act():
        raise OSError(number, os.strerror(number), path)

    return act


def memory():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


def port_in_use(made):
    """The port stays taken as long as the words are used."""
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    made.taken = taken
    return ["explore", made.run, "--no-browser", "--port", taken.getsockname()[1]]


def overlap(made):
    ids = made.planted.dataset.stimulus_ids
    return Split("default", "stimulus", {"train": ids[:100], "test": ids[90:]})


def film(tmp):
    (tmp / "a.mp4").write_bytes(b"x")
    return next(clips.middle_frames(tmp / "a.mp4", 1, 1.0, 8))


def other_ids(made):
    ids = tuple(f"picture {i}" for i in range(len(made.planted.embeddings.ids)))
    return made.built.fit(
        made.planted.dataset.part("train"), replace(made.planted.embeddings, ids=ids), progress=False
    )


def next_subject(made):
    return made.built.predict(replace(made.trials, subject=9))


def quick(made, by="run", n=24, **columns):
    """A first decoder of classes of arrays that are too few, or held out otherwise."""
    x, ids = values(n, 10), [f"s{i}" for i in range(n)]
    dataset = NeuralDataset.from_arrays(x, ids, modality="fmri", kind=list("ab" * n)[:n], **columns)
    return QuickDecoder(nuisance=(), label_column="kind", n_null=1, progress=False).fit(
        dataset.hold_out(by, 0.5)
    )


def three_trials():
    dataset = NeuralDataset.from_arrays(values(3, 10), list("abc"), modality="fmri").hold_out("stimulus", 0.3)
    embeddings = Embeddings.from_arrays(list("abc"), values(3, 4), "mine")
    return QuickDecoder(nuisance=(), n_null=1, progress=False).fit(dataset, embeddings)


def few_stimuli(tmp):
    """A dataset whose stimulus ids are classes."""
    lines = [
        HEAD,
        *(row.replace(row.split(",")[0], "face" if i % 2 else "house", 1) for i, row in enumerate(ROWS)),
    ]
    raw = arrays(tmp / "few", values(24, 10), lines)
    assert cli.main(["prepare", "bids", "--raw", str(raw), "--out", str(tmp / "classes")]) == 0
    return tmp / "classes"


def zipped(tmp):
    with zipfile.ZipFile(tmp / "x.zip", "w") as file:
        file.writestr("a.txt", "a")
    return tmp / "x.zip"


def shown_once(trials):
    rows = np.unique(trials.table["stimulus_id"], return_index=True)[1]
    return view(trials, rows)


# what -> (what is typed, or done in Python; what the line says: the name, what was found, the way out)
MISTAKES = {
    "a path that is not there": (
        lambda m, t: prepare("/nowhere", t / "out"), ("/nowhere", "does not exist", "Point --raw")),
    "a file for a folder": (
        lambda m, t: prepare(m.raw / "arrays.npy", t / "out"), (r"arrays\.npy", "is a file", "Point --raw")),
    "a folder for a file": (
        lambda m, t: ["decode", m.decoder, m.base], ("mistakes", "is a folder", "braindec prepare")),
    "a subject that is not there": (
        lambda m, t: prepare(m.raw, t / "out", "--subjects", "[7]"), ("subjects", r"7", r"1")),
    "a list that is none": (
        lambda m, t: prepare(m.raw, t / "out", "--subjects", "one"), ("--subjects", "'one'", "such as")),
    "a transposed array": (
        lambda m, t: prepare(arrays(t / "a", values(10, 24)), t / "out"), (r"events\.csv", "has 10", r"save array\.T")),
    "too few rows": (
        lambda m, t: prepare(arrays(t / "a", values(20, 10)), t / "out"), (r"events\.csv", "24 .* 20", "a row for")),
    "no table of events": (
        lambda m, t: prepare(arrays(t / "a", values(24, 10), ()), t / "out"),
        (r"events\.csv", "does not exist", "a row for each trial")),
    "a column under another name": (
        lambda m, t: prepare(arrays(t / "a", values(24, 10), (HEAD.replace("_id", ""), *ROWS)), t / "out"),
        (r"events\.csv", "no column 'stimulus_id'", "Did you mean 'stimulus'")),
    "NaN": (lambda m, t: prepare(with_nan(t), t / "out"), (r"arrays\.npy", "1 NaN", "Mask or remove")),
    "microvolts that are said to be volts": (
        lambda m, t: prepare(
            arrays(t / "a", 20 * values(24, 4, 30), about={"modality": "eeg", "sfreq": 100, "tmin": 0, "units": "V"}),
            t / "out"),
        (r"about\.json", "says units V, but the values are about", "Scale the array")),
    "epochs without a clock": (
        lambda m, t: prepare(arrays(t / "a", values(24, 4, 30)), t / "out"), (r"about\.json", "sfreq", "Add them")),
    "no prepared folder": (
        lambda m, t: run(t / "nope", t / "out"), ("nope", "does not exist", "braindec prepare")),
    "the raw folder for the prepared one": (
        lambda m, t: run(m.raw, t / "out"), ("raw", "no prepared dataset .but raw arrays", "braindec prepare")),
    "no folder at all": (
        lambda m, t: ["run", "haxby2001_category", "--out", t / "out"],
        ("data must name", "'haxby2001'", "braindec prepare haxby2001")),
    "prepared by an older version": (
        lambda m, t: run(broken(m, t, {"schema": 0}), t / "out"), (r"dataset\.json", "schema 0", "Prepare it again")),
    "another dataset than the recipe's": (
        lambda m, t: run(m.prepared, t / "out"), ("prepared", "'bids'", "braindec prepare haxby2001")),
    "another dataset, and no recipe for it": (
        lambda m, t: run(m.prepared, t / "out"), ("'bids'", r"NeuralData\('bids'\)", r"braindec run \./mine\.py")),
    "three trials": (lambda m, t: lambda: three_trials(), ("2 trials", "leave 1 to fit", "Give more trials")),
    "one training run": (
        lambda m, t: lambda: quick(m, run=[1] * 12 + [2] * 12),
        ("12 trials of one unit", "runs, sessions or stimuli", "hold out fewer")),
    "classes held out by stimulus": (
        lambda m, t: lambda: quick(m, by="stimulus"), ("'stimulus'", "share slow noise", r'hold_out\("run"')),
    "a subject that the decoder never met": (
        lambda m, t: lambda: next_subject(m), ("sub-01_fmri", "'sub-09_fmri'", r"decoder\.adapt")),
    "too few stimuli for distances": (
        lambda m, t: ["compare", few_stimuli(t), "column:trial_type", "--out", t / "c"],
        ("all subjects", "at least 6, got 2", "a stimulus_id of its own")),
    "paths for pictures": (
        lambda m, t: lambda: pixels.build(pixels.Config()).embed_images([t / "a.png"]),
        ("image must be uint8", r"a\.png", r"image_files\.rgb")),
    "a typo in a verb": (lambda m, t: ["prepar"], ("verb", "'prepar'", "Did you mean 'prepare'")),
    "a typo in an option": (
        lambda m, t: ["run", "demo", "--dta", "x"], ("run", "'--dta'", "Did you mean '--data'")),
    "a typo in a recipe": (
        lambda m, t: run(m.prepared, t / "o", recipe="mindeye3"), ("recipe", "'mindeye3'", "Did you mean 'mindeye")),
    "a typo in a setting": (
        lambda m, t: run(m.prepared, t / "o", "--set", "train.n_step=3"), ("train", "n_step", "Did you mean 'n_steps")),
    "a word for a number": (
        lambda m, t: run(m.prepared, t / "o", "--set", "train.n_steps=many"), ("n_steps", "'many'", "must be int")),
    "a GPU that is not there": (
        lambda m, t: run(m.prepared, t / "o", "--set", "train.device=cuda"),
        (r"train\.device", "'cuda'", "braindec doctor")),
    "a folder that is no decoder": (
        lambda m, t: ["decode", m.prepared, m.recording], ("prepared", "no saved decoder", "braindec run")),
    "another number of voxels": (
        lambda m, t: ["decode", m.decoder, other_voxels(m, t)],
        ("sub-01_fmri", r"shape \(7,\), expected .*45", "Prepare the data")),
    "a file of another kind": (
        lambda m, t: ["decode", m.decoder, m.raw / "events.csv"], ("events", "no file that braindec wrote", "copy")),
    "the folder of no run": (
        lambda m, t: ["report", m.prepared], (r"report\.json", "does not exist", "braindec run")),
    "an output below a file": (
        lambda m, t: run(None, m.raw / "arrays.npy" / "out", recipe="demo"),
        (r"arrays\.npy", "below a file", "Name another place")),
    "a folder of output that is in use": (
        lambda m, t: ["unpack", zipped(t), "--out", m.raw], ("raw", "holds something", "name a folder")),
    "a place that may not be written": (
        refused(errno.EACCES, "/root/out"), ("/root/out", "may not be read or written", "name another place")),
    "a disk that is full": (refused(errno.ENOSPC, "/data/out"), ("/data/out", "disk is full", "Make room")),
    "too little memory": (memory, ("CUDA", "20.00 GiB", r"train\.batch_size")),
    "a port that is in use": (lambda m, t: port_in_use(m), (r"port \d+", "in use", "Choose another, or 0")),
    "no network": (
        lambda m, t: ["pull", "dinov2-small"], ("dinov2-small", "HF_HUB_OFFLINE is set", "connection")),
    "weights that are not here": (
        lambda m, t: lambda: transformers_vision.build(transformers_vision.Config(model="facebook/dinov2-small")),
        ("facebook/dinov2-small", "not on this machine", "hf download")),
    "stimuli without pictures": (
        lambda m, t: ["encoding", m.prepared, "--target", "pixels", "--out", t / "e"],
        ("stimulus set", "no images", "Choose a target")),
    "a package that is missing": (lambda m, t: lambda: film(t), ("video files", "'av'", "pip install 'braindec")),
    "ids that are twice there": (
        lambda m, t: lambda: StimulusSet(("a", "a"), "none"), ("ids", "'a'", "unique")),
    "ids that are nowhere": (
        lambda m, t: lambda: other_ids(m), ("stimuli", "stimulus-0", "embed this dataset")),
    "numbers for ids": (
        lambda m, t: lambda: m.planted.embeddings.of([1, 2]), ("stimuli", "first 1: ids are text", "as strings")),
    "train and test share stimuli": (lambda m, t: lambda: overlap(m), ("train", "test", "stimulus-090")),
    "no permutations for a null": (
        lambda m, t: ["compare", m.prepared, "column:trial_type", "--permutations", "0", "--out", t / "c"],
        ("permutations", "at least 1", "got 0")),
    "no repeats for a ceiling": (
        lambda m, t: lambda: reliability.noise_ceiling(shown_once(m.trials)),
        ("no stimulus", "more than once", "Take recordings with repeats")),
    "a decoder that was saved without its run": (
        lambda m, t: ["evaluate", m.decoder, "--data", m.prepared],
        ("holds a decoder and no report.json", "by what recipe", "braindec run", r"\.score\(trials, embeddings\)")),
    "a gallery that is too small": (
        lambda m, t: lambda: m.built.retrieve(m.built.predict(m.trials), m.planted.embeddings, k=999),
        ("k", "999", r"1, 160")),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_line(mistake, made, tmp_path, monkeypatch, capsys):
    done, said = MISTAKES[mistake]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "av", None)
    asked = done(made, tmp_path) if done.__name__ == "<lambda>" else done
    if callable(asked):  # done in Python: what a notebook would show, told by the command line
        monkeypatch.setitem(_verbs._ACTIONS, "list", lambda _: asked())
    typed = ["list"] if callable(asked) else asked
    words = [str(word) for word in typed if word is not None]
    words = [w for i, w in enumerate(words) if not (w == "--data" and words[i + 1 : i + 2] == ["--out"])]
    capsys.readouterr()
    assert cli.main(words) == cli.FAILED
    told = capsys.readouterr().err
    assert told.count("braindec: ") == 1 and "Traceback" not in told
    line = told[told.index("braindec: ") :].splitlines()[0]  # after what bars of progress say
    for part in said:
        assert re.search(part, line), f"{part!r} is not in: {line}"


def test_there_are_more_than_25():
    assert len(MISTAKES) > 25
