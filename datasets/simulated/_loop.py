"""The loop that trains each stage of `train_weights.py`, alone or shared by the processes of a `torchrun`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from braindec import seeding

LossOf = Callable[[Tensor, torch.Generator], dict[str, Tensor]]
SEED = 0


@dataclass(frozen=True)
class Stage:
    """Optimisation settings of one stage; the batch is that of each process."""

    n_steps: int
    batch_size: int
    lr: float
    weight_decay: float = 0.01
    ema: float = 0.0
    n_scenes: int = 80_000


def fit(name: str, stage: Stage, model: nn.Module, loss_of: LossOf, cache: Path) -> nn.Module:
    """Trains one stage from where its checkpoint stands; returns the model with averaged weights where `ema` > 0."""
    path = cache / f"{name}.pt"
    optimiser = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=stage.weight_decay)
    average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    step, seconds = 0, 0.0
    if path.exists():
        saved = torch.load(path, weights_only=True)
        model.load_state_dict(saved["model"], strict=True)
        optimiser.load_state_dict(saved["optimiser"])
        average, step, seconds = saved["average"], saved["step"], saved["seconds"]
    started = last_saved = time.monotonic()
    while step < stage.n_steps:
        generator = seeding.torch_generator(SEED, name, step, rank())
        losses = loss_of(torch.randint(stage.n_scenes, (stage.batch_size,), generator=generator), generator)
        torch.stack(list(losses.values())).sum().backward()
        share_gradients_(model)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.param_groups[0]["lr"] = stage.lr * one_cycle(step / stage.n_steps)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        step += 1
        update_average_(average, model, min(stage.ema, step / (step + 10)))
        now = seconds + time.monotonic() - started
        if rank() == 0 and (step % 50 == 0 or step == stage.n_steps):
            shown = "  ".join(f"{k} {float(v.detach()):.4f}" for k, v in losses.items())
            print(f"{name} {step}/{stage.n_steps}  {now:.0f} s  {shown}", flush=True)
        if rank() == 0 and (time.monotonic() - last_saved > 60 or step == stage.n_steps):
            checkpoint(path, {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "average": average,
                              "step": step, "seconds": now})  # fmt: skip
            last_saved = time.monotonic()
    model.load_state_dict(average, strict=True)
    return model.eval()


def rank() -> int:
    """Number of this process among those of a `torchrun`; 0 when it is alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def share_gradients_(model: nn.Module) -> None:
    """Averages gradients over the processes of a `torchrun`, if there are several."""
    if dist.is_initialized():
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        parts = (flat / dist.get_world_size()).split([g.numel() for g in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))


def one_cycle(done: float, warm_up: float = 0.08) -> float:
    """Share of the highest learning rate: up in a line, down in a half cosine."""
    if done < warm_up:
        return done / warm_up
    return 0.5 * (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up)))


def update_average_(average: dict[str, Tensor], model: nn.Module, decay: float) -> None:
    """Moves the averaged weights towards the model's by 1 - decay."""
    for key, value in model.state_dict().items():
        if value.is_floating_point():
            average[key].lerp_(value.detach(), 1 - decay)
        else:
            average[key].copy_(value)


def checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Writes a checkpoint so that an interruption leaves the older one whole."""
    half_written = path.with_suffix(".part")
    torch.save(content, half_written)
    half_written.replace(path)
