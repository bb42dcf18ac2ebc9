"""Two processes train as one: equal gradients of a step, equal weights on both ranks."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

WORKER = """
import json
import sys
import torch
import torch.distributed as dist
from braindec import sparse
from braindec.sparse import losses, steps

folder, n, rank, kind, n_steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
n_latents, more = int(sys.argv[6]), json.loads(sys.argv[7])
torch.set_num_threads(1)
if n > 1:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet-{kind}-{n_steps}", rank=rank, world_size=n)
seen = []
orthogonal = steps.orthogonal_to_atoms_


def watched(model):
    seen.append({k: p.grad.clone() for k, p in model.named_parameters()})
    orthogonal(model)


steps.orthogonal_to_atoms_ = watched
inputs = torch.randn(800, 24, generator=torch.Generator().manual_seed(0)) + 1
loss = losses.Config("l1", 0.05 if kind == "jump_relu" else 0.0, aux_weight=0.0)
settings = sparse.FitConfig(
    n_steps=n_steps, batch_size=128, lr=1e-3, warmup_fraction=0.0, loss=loss, clip_norm=0.0, **more
)
fitted = sparse.fit(inputs, sparse.Config(n_latents, kind, 4), settings, seed=0, progress=False)
kept = {"grad": seen[0], "weights": fitted.model.state_dict(), "dead": fitted.rows[-1]["dead"]}
torch.save(kept, f"{folder}/{kind}-{n_steps}-{n}-{rank}.pt")
if n > 1:
    dist.destroy_process_group()
"""


def trained(folder, n, kind, n_steps, n_latents=64, **more):
    """What each of n ranks kept."""
    commands = [
        [
            sys.executable,
            "-c",
            WORKER,
            str(folder),
            str(n),
            str(rank),
            kind,
            str(n_steps),
            str(n_latents),
            json.dumps(more),
        ]
        for rank in range(n)
    ]
    running = [subprocess.Popen(c, stderr=subprocess.PIPE, text=True) for c in commands]
    for process in running:
        said = process.communicate(timeout=120)[1]
        assert process.returncode == 0, said
    paths = [folder / f"{kind}-{n_steps}-{n}-{rank}.pt" for rank in range(n)]
    return [torch.load(path, weights_only=True) for path in paths]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["topk", "jump_relu"])
def test_the_gradient_of_two_ranks_is_that_of_one(tmp_path, kind):
    (one,), two = trained(tmp_path, 1, kind, 1), trained(tmp_path, 2, kind, 1)
    for name, expected in one["grad"].items():
        assert torch.equal(two[0]["grad"][name], two[1]["grad"][name]), name
        largest = expected.abs().max()
        assert (two[0]["grad"][name] - expected).abs().max() <= 1e-6 * largest, name


@pytest.mark.slow
def test_two_ranks_keep_equal_weights_and_learn_what_one_learns(tmp_path):
    (one,), two = trained(tmp_path, 1, "topk", 30), trained(tmp_path, 2, "topk", 30)
    for name, expected in one["weights"].items():
        assert torch.equal(two[0]["weights"][name], two[1]["weights"][name]), name
        torch.testing.assert_close(two[0]["weights"][name], expected, atol=2e-3, rtol=0)


@pytest.mark.slow
def test_dead_latents_begin_anew_alike_on_both_ranks(tmp_path):
    first, second = trained(tmp_path, 2, "topk", 8, n_latents=1024, dead_after=256, resample_every=4)
    assert first["dead"] > 0.05
    for name, value in first["weights"].items():
        assert torch.equal(value, second["weights"][name]), name
