"""Whole fits of a small decoder in processes that may be killed: forked from one that has imported everything.

`Runs` starts the server, this file as a program, and asks it for fits: `python tests/forked_runs.py` reads a line of
JSON for each and answers with one. A fit is two subjects' encoder with folds, a prior that is trained, calibration, a
saved decoder and metrics; a process may be killed by signal after some time, or kill itself inside a save.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

POINTS = ("half written", "before the move", "after the move")
N_STEPS, EVERY = 40, 4
PATIENCE = 120


class Runs:
    """The server's client."""

    def __init__(self, **environment):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", **environment}
        for name in ("MKL_NUM_THREADS", "WORLD_SIZE", "RANK"):
            environment.pop(name, None)
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait(PATIENCE)

    def fit(
        self,
        folder,
        *,
        after=None,
        number=signal.SIGKILL,
        point=None,
        at=0,
        ranks=1,
        victims=None,
        seed=0,
        work="fit",
    ):
        """How one fit ended.

        Parameters
        ----------
        folder : path
        after : float, optional
            Seconds until the signal `number` comes.
        point : str, optional
            One of `POINTS`: where in its save number `at` the process kills itself.
        ranks : int
            Processes that fit together.
        victims : list of int, optional
            Ranks that the signal goes to; all by default.
        seed : int
        work : {"fit", "prepare"}
            What is done: a fit, or the preparation of a simulated dataset.

        Returns
        -------
        dict
            ``codes`` of the processes (negative: the signal), ``seconds`` from the start and ``after_signal`` to the
            end of the last one, ``step`` that was made last and the ``part`` of the fit that it was in.
        """
        told = {
            "folder": str(folder), "after": after, "number": int(number), "point": point, "at": at, "ranks": ranks,
            "victims": list(range(ranks)) if victims is None else victims, "seed": seed, "work": work,
        }  # fmt: skip
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the server has ended"
        return json.loads(answer)


def digests(folder, part="decoder"):
    """sha256 of what is left: by a finished fit weights and the rest of the decoder, loss logs, metrics."""
    folder = Path(folder)
    paths = [*folder.glob("*.csv"), *folder.glob("metrics.json"), *(folder / part).rglob("*")]
    named = {str(p.relative_to(folder)): p for p in paths if p.is_file() and not p.name.startswith(".")}
    return {name: hashlib.sha256(named[name].read_bytes()).hexdigest() for name in sorted(named)}


def kill_plan(draw, seconds):
    """How a fit dies: at a random moment, or inside one of its saves."""
    if draw.random() < 0.5:
        return {"after": draw.uniform(0.05, 1.0) * seconds}
    return {"point": draw.choice(POINTS), "at": draw.randint(1, 30)}


def equal_after_kills(runs, folder, n, seed=0, most=3):
    """(equal, kills by kind, names of what was different) of n runs that were killed one to `most` times each."""
    whole = runs.fit(folder / "whole")
    assert whole["codes"] == [0], whole
    expected, draw = digests(folder / "whole"), random.Random(seed)
    equal, kills, different = 0, dict.fromkeys(("at a random moment", *POINTS), 0), []
    for i in range(n):
        place, left, tries = folder / f"run-{i}", draw.randint(1, most), 0
        while left and tries < 9:  # a plan may come too late
            plan, tries = kill_plan(draw, whole["seconds"]), tries + 1
            end = runs.fit(place, **plan)
            if end["codes"] == [-signal.SIGKILL]:
                kills[plan.get("point", "at a random moment")] += 1
                left -= 1
            elif tries < 9:
                shutil.rmtree(place)  # it has finished: another one begins
        end = runs.fit(place)
        assert end["codes"] == [0], end
        found = digests(place)
        different += [name for name in expected if found.get(name) != expected[name]]
        equal += found == expected
    return equal, kills, different


# ------------------------------------------------------------------------------------------------------ the server


def serve():
    """Forks a fit for every line that comes."""
    import torch

    from braindec.ranks import Ranks

    torch.set_num_threads(1)
    world = _world()
    with (
        tempfile.TemporaryDirectory() as folder
    ):  # what is imported and built on first use is there for all forks
        _work(Path(folder), world, Ranks.here())
    shared = mmap.mmap(-1, 64)
    for line in sys.stdin:
        told = json.loads(line)
        shared[:64] = bytes(64)
        began = time.monotonic()
        place = _free_port()
        children = [_child(told, rank, place, world, shared) for rank in range(told["ranks"])]
        print(json.dumps(_watched(told, children, began, shared)), flush=True)


def _child(told, rank, port, world, shared):
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        code = _fit(told, rank, port, world, shared)
    except SystemExit as end:
        code = end.code
    except BaseException as error:  # noqa: BLE001  # whatever it is, this process must not go on as the server
        said = f"{type(error).__name__}: {error}"
        (Path(told["folder"]) / f"error-{rank}.txt").write_text(said)
        code = 130 if isinstance(error, KeyboardInterrupt) else 70
    finally:
        os._exit(code)


def _watched(told, children, began, shared):
    sent, codes = None, {}
    while len(codes) < len(children):
        for pid in children:
            if pid not in codes:
                found, status = os.waitpid(pid, os.WNOHANG)
                if found:
                    codes[pid] = os.waitstatus_to_exitcode(status)
        if told["after"] is not None and sent is None and time.monotonic() - began > told["after"]:
            for victim in told["victims"]:
                if children[victim] not in codes:
                    os.kill(children[victim], told["number"])
                    sent = time.monotonic()
            told["after"] = None
        time.sleep(0.002)
    step, name = struct.unpack("q", shared[:8])[0], shared[8:40].rstrip(b"\0").decode()
    now = time.monotonic()
    after = None if sent is None else now - sent
    return {
        "codes": [codes[p] for p in children],
        "seconds": now - began,
        "after_signal": after,
        "step": step,
        "part": name,
    }


def _fit(told, rank, port, world, shared):
    from braindec import stopping
    from braindec.ranks import Ranks

    folder = Path(told["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    os.dup2(os.open(folder / f"said-{rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _die_at(told["point"], told["at"])
    _report(shared if rank == 0 else None)
    if told["ranks"] > 1:
        os.environ |= {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(told["ranks"]),
            "LOCAL_WORLD_SIZE": str(told["ranks"]), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        }  # fmt: skip
    with stopping.obeyed():
        ranks = Ranks.start()
        if told["work"] == "prepare":
            _prepare(folder)
        else:
            settings, dataset, embeddings = world
            _work(folder, (replace(settings, seed=told["seed"]), dataset, embeddings), ranks)
    return 0


def _work(folder, world, ranks):
    from braindec import store
    from braindec.decoder import BrainDecoder

    settings, dataset, embeddings = world
    decoder = BrainDecoder.build(settings, dataset.info, embeddings.info)
    decoder.fit(dataset.part("train"), embeddings, folder, progress=False)
    if not ranks.first:
        return
    trials = next(iter(dataset.part("test").trials.values()))
    predicted = decoder.predict(trials, repeats="before")
    metrics = {
        "sum": float(predicted.values.sum()),
        "best_step": decoder.log.best_step,
        "gain": float(decoder.gain),
    }
    store.write_json(folder / "metrics.json", metrics)
    decoder.save_pretrained(folder / "decoder")


def _prepare(folder):
    from braindec.data import catalogue

    functions = catalogue.load("simulated")
    if not (folder / "raw.done").exists():
        functions["synthetic"](folder / "raw", world="smoke")
        (folder / "raw.done").touch()
    functions["prepare"](folder / "raw", folder / "prepared")


def _report(shared):
    """Lets the server know of every step that was made."""
    from braindec.train import run

    made = run.Run.step

    def step(self, number, tell):
        found = made(self, number, tell)
        if shared is not None:
            shared[:40] = struct.pack("q", number + 1) + self.name.encode()[:32].ljust(32, b"\0")
        return found

    run.Run.step = step


def _die_at(point, at):
    """Makes this process kill itself inside one of the files it writes: each is written aside, then moved."""
    if point is None:
        return
    import torch

    left = [at]
    move, save = os.replace, torch.save

    def turn():
        left[0] -= 1
        return left[0] == 0

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def moved(source, target, **places):
        last = turn()
        if last and point == "before the move":
            die()
        move(source, target, **places)
        if last and point == "after the move":
            die()

    def saved(content, file):
        save(content, file)
        if turn():
            file.truncate(file.tell() // 2)
            file.flush()
            die()

    if point == "half written":
        torch.save = saved
    else:
        os.replace = moved


def _world():
    """(settings, dataset, embeddings): two subjects who see what 60 embeddings tell, noisily."""
    import numpy as np

    from braindec.adapters import linear
    from braindec.backbones import mlp
    from braindec.data import NeuralDataset, splits
    from braindec.data.preprocessing import Standardise
    from braindec.decoder import Settings
    from braindec.losses import soft_clip
    from braindec.priors import diffusion
    from braindec.train import Config
    from braindec.types import ArraySpace, Embeddings, StimulusSet, Table, Trials

    rng = np.random.default_rng(5)
    ids = tuple(f"picture-{i:02d}" for i in range(60))
    values = rng.standard_normal((60, 1, 8)).astype(np.float32)
    trials = []
    for subject, n_voxels in ((1, 20), (2, 15)):
        shown = rng.permutation(np.repeat(np.arange(60), 2))
        signal_ = values[shown, 0] @ rng.standard_normal((8, n_voxels)) + rng.standard_normal((120, n_voxels))
        columns = {
            "stimulus_id": np.array(ids)[shown], "session": np.ones(120, int), "run": np.arange(120) // 30 + 1,
            "repeat": [int((shown[:i] == s).sum()) for i, s in enumerate(shown)],
            "onset_s": np.arange(120) * 4.0, "acquisition_order": np.arange(120),
            "exchangeability_block": np.arange(120) // 30,
        }  # fmt: skip
        trials.append(
            Trials(signal_.astype(np.float32), Table(columns), ArraySpace(n_voxels), "a.u.", subject, "fmri")
        )
    images = rng.integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
    stimuli = StimulusSet(ids, "image", lambda wanted: images[[ids.index(i) for i in wanted]])
    dataset = NeuralDataset.from_trials(trials, stimuli, name="forked")
    dataset = dataset.with_split(splits.hold_out(dataset, "stimulus", 0.2, rng))
    embeddings = Embeddings(ids, values, "planted", {"model": "planted"}, "0" * 64)
    train = Config(
        n_steps=N_STEPS, batch_size=32, lr=1e-2, validate_every=8, checkpoint_every=EVERY, device="cpu",
        ridge_start=False,
    )  # fmt: skip
    settings = Settings(
        adapter=linear.Config(shared_dim=12), backbone=mlp.Config(width=16, n_blocks=1, dropout=0.2),
        loss=soft_clip.Config(), prior=diffusion.Config(width=16, depth=1, n_sample_steps=2),
        preprocessing=(Standardise(),), train=train, prior_train=train, n_folds=2, prior_samples=2,
    )  # fmt: skip
    return settings, dataset, embeddings


def _free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


if __name__ == "__main__":
    serve()
