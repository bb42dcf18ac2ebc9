"""Several processes train as one: the gradient of the whole batch, one outcome, and no rank left waiting."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
pytestmark = pytest.mark.slow

WORKER = """
import os, signal, sys
import torch
from braindec import train
from braindec.adapters import linear
from braindec.backbones import mlp
from braindec.decoder.batches import Trainee, objective
from braindec.encoder import Encoder
from braindec.losses import clip, mse, soft_clip
from braindec.ranks import Ranks
from braindec.types import ArraySpace, SignalInfo, SubjectSignal

task, out = sys.argv[1], sys.argv[2]
torch.set_num_threads(1)
ranks = Ranks.start()
voxels, rows, shape = (40, 31), (9, 7), (3, 8)
info = SignalInfo({s.key: s for s in (SubjectSignal(i + 1, "fmri", (n,), ArraySpace(n)) for i, n in enumerate(voxels))})
names = ("main", "second", "third")
losses = {"main": soft_clip.build(soft_clip.Config()), "second": clip.build(clip.Config(learned=True)),
          "third": mse.build(mse.Config())}
encoder = Encoder.build(info, {n: shape for n in names}, linear.Config(16), mlp.Config(32, 2, dropout=0.0), 0)
trainee = Trainee(encoder, losses, {n: 1.0 for n in names}).train()
# Nothing computes with it: one process leaves it as it is, whatever the decay of weights.
trainee.unused = torch.nn.Parameter(torch.ones(3, 3))


asked = [-1]  # steps so far: the first rank finds the last weights best, the other the first ones


def batch(step):
    asked.append(step)
    made = torch.Generator().manual_seed(step)
    found = {"keys": list(info.signals)}
    for number, (key, n, v) in enumerate(zip(info.signals, rows, voxels)):
        found[f"signals/{key}"] = torch.randn(n, v, generator=made)
        found[f"stimuli/{key}"] = torch.arange(n) + 5 * number
        for name in names:
            found[f"{name}/{key}"] = torch.randn(n, *shape, generator=made)
    if task == "killed" and ranks.rank == 1 and step == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return found


if task == "gradient":
    kept = {}
    for dtype in (torch.float32, torch.float64):
        trainee.to(dtype)
        for progress in (0.1, 0.9):  # mixed trials, then SoftCLIP
            first = {k: v.to(dtype) if k != "keys" and v.is_floating_point() else v for k, v in batch(0).items()}
            trainee.zero_grad()
            drawn = torch.Generator().manual_seed(1)
            sum(objective(trainee, first, progress, drawn).values()).backward()
            ranks.mean_of_gradients(trainee.parameters())
            grads = [p.grad.flatten() for p in trainee.parameters() if p.grad is not None]
            kept[f"{dtype} {progress}"] = torch.cat(grads)
else:
    if ranks.rank == 1:  # unlike first weights must not stay unlike
        torch.nn.init.normal_(encoder.adapter("sub-01_fmri").linear.weight)
    shard = task.startswith("shard")
    settings = train.Config(n_steps=8, lr=1e-3, checkpoint_every=2, device="cpu", shard=shard, ema=0.9)
    stop_at = 4 if task == "shard-half" else None
    log = train.fit(trainee, batch, objective, settings, seed=0, folder=__import__("pathlib").Path(out), progress=False,
                    validate=lambda m: asked[-1] * (1 - 2 * ranks.rank), stop_at=stop_at)
    shares = [hasattr(p, "placements") for p in trainee.parameters()]
    assert not any(shares)  # whole again
    kept = trainee.state_dict() | {"best": torch.tensor(log.best_step)}
torch.save(kept, f"{out}/{task}-{ranks.n}-{ranks.rank}.pt")
ranks.wait()
"""


def launched(folder, n, task):
    """The worker as n processes of torchrun, or as one without it."""
    script = folder / "worker.py"
    script.write_text(WORKER)
    command = [sys.executable, str(script), task, str(folder)]
    if n > 1:
        runner = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n}"]
        command = [*runner, *command[1:]]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )


def results(folder, n, task):
    """What each rank kept."""
    run = launched(folder, n, task)
    assert run.returncode == 0, run.stderr[-3000:]
    return [torch.load(folder / f"{task}-{n}-{rank}.pt", weights_only=True) for rank in range(n)]


@pytest.mark.parametrize("n", [2, 4])
def test_the_gradient_of_a_global_batch_is_that_of_one_process(tmp_path, n):
    (one,) = results(tmp_path, 1, "gradient")
    for rank in results(tmp_path, n, "gradient"):
        assert rank.keys() == one.keys()
        for name, expected in one.items():
            off = float((rank[name] - expected).norm() / expected.norm())
            assert off <= (1e-6 if expected.dtype == torch.float32 else 1e-13), f"{name}: {off}"


def test_two_ranks_train_to_the_weights_of_one_and_decide_alike(tmp_path):
    (tmp_path / "one").mkdir(), (tmp_path / "two").mkdir()
    (one,), two = results(tmp_path / "one", 1, "train"), results(tmp_path / "two", 2, "train")
    assert int(one["best"]) == 8
    for name, expected in one.items():
        assert torch.equal(two[0][name], two[1][name]), name
        assert torch.allclose(two[0][name].double(), expected.double(), atol=1e-5), name
    assert torch.equal(one["unused"], torch.ones(3, 3)) and torch.equal(two[0]["unused"], one["unused"])
    files = sorted(p.name for p in (tmp_path / "two").rglob("train*.pt") if "checkpoints" in str(p))
    assert files == ["train-00000006.pt", "train-00000008.pt"]


def losses(folder):
    """Rows of the log."""
    lines = [line.split(",") for line in (folder / "train.csv").read_text().splitlines()]
    return [{name: float(v) for name, v in zip(lines[0], line, strict=True) if v} for line in lines[1:]]


def test_shares_of_the_weights_train_to_what_whole_weights_do_and_go_on_where_they_stopped(tmp_path):
    whole, shared, halved = (tmp_path / name for name in ("whole", "shared", "halved"))
    for folder in (whole, shared, halved):
        folder.mkdir()
    (expected, _), found = results(whole, 2, "train"), results(shared, 2, "shard")
    for name, value in expected.items():
        assert torch.equal(found[0][name], found[1][name]), name
        assert torch.allclose(found[0][name].double(), value.double(), atol=1e-5), name
    for one, other in zip(losses(whole), losses(shared), strict=True):
        assert one == pytest.approx(other, rel=1e-5)
    kept = torch.load(shared / "checkpoints" / "train-00000008.pt", weights_only=True)
    assert {n: v.shape for n, v in kept["module"].items()} == {
        n: v.shape for n, v in expected.items() if n != "best"
    }
    results(halved, 2, "shard-half")
    assert all(torch.equal(found[0][n], v) for n, v in results(halved, 2, "shard")[0].items())


def test_a_killed_rank_stops_the_others_with_a_message_and_the_run_goes_on_afterwards(tmp_path):
    began = time.monotonic()
    run = launched(tmp_path, 2, "killed")
    assert run.returncode != 0 and time.monotonic() - began < 200
    assert f"exitcode: -{signal.SIGKILL.value}" in run.stderr
    assert "another rank has stopped" in run.stderr, run.stderr[-3000:]
    again, _ = results(tmp_path, 2, "train")
    (tmp_path / "whole").mkdir()
    whole, _ = results(tmp_path / "whole", 2, "train")
    assert all(torch.equal(again[name], value) for name, value in whole.items())


def test_a_recipe_runs_under_torchrun_and_one_rank_writes(tmp_path):
    runner = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [
        *runner,
        "-m",
        "braindec",
        "run",
        "digits69_reconstruct",
        "--smoke",
        "--out",
        str(tmp_path / "out"),
    ]
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert (tmp_path / "out" / "report.html").is_file()


def test_the_benchmark_of_ranks_runs_small_and_knows_what_being_two_costs(repository, tmp_path):
    command = [sys.executable, repository / "benchmarks" / "ranks.py", "--small", "--ranks", "1", "2"]
    subprocess.run([*command, "--out", tmp_path / "ranks.json"], capture_output=True, timeout=300, check=True)
    found = json.loads((tmp_path / "ranks.json").read_text())
    told = {(row["kind"], row["ranks"], row["weights"]): row for row in found["values"]}
    alone = told["alone, the share of one of 2", 1, "whole"]
    assert alone["batch"] == 4 and len(told) == 4
    whole, shares = found["cost"]
    assert (whole["weights"], shares["weights"]) == ("whole", "shares")
    assert whole["seconds_added_to_a_rank's_share"] == pytest.approx(
        told["strong", 2, "whole"]["median"] - alone["median"]
    )
    assert whole["times_the_pace_of_one"] == pytest.approx(
        told["strong", 1, "whole"]["median"] / told["strong", 2, "whole"]["median"]
    )
