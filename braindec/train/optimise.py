"""AdamW, its learning rate over a run, and the accelerator that it runs on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from braindec.train.settings import Config
from braindec.train.shards import clip_, is_share


def accelerator_of(settings: Config) -> Any:
    """An accelerator of these settings: CUDA's, or the CPU.

    Accelerate itself would take any other kind that it finds, and hold every later run to the first one's precision.
    Apple's GPUs have no float64, which losses, priors and sparse autoencoders compute in.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    cpu = settings.device == "cpu" or not torch.cuda.is_available()
    return Accelerator(mixed_precision=settings.precision, cpu=cpu)


def optimizer_of(module: nn.Module, settings: Config) -> torch.optim.AdamW:
    """AdamW over what is trainable, in one pass over the weights a step.

    Weight decay acts on matrices alone, not on biases, gains and temperatures.
    """
    return torch.optim.AdamW(_decay_groups(module, settings.weight_decay), lr=settings.lr, fused=True)


def _decay_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    matrices = [p for p in module.parameters() if p.requires_grad and p.ndim >= 2]
    rest = [p for p in module.parameters() if p.requires_grad and p.ndim < 2]
    groups = [(matrices, weight_decay), (rest, 0.0)]
    # One step of a group updates whole tensors or shares, not both.
    parts = [
        ([p for p in some if is_share(p) == of], decay) for some, decay in groups for of in (False, True)
    ]
    # What has nothing to learn is run for no steps; torch wants a group even so.
    return [{"params": some, "weight_decay": decay} for some, decay in parts if some] or [{"params": []}]


def rate(settings: Config, step: int) -> float:
    """Learning-rate factor in [0, 1]: linear warm-up, then cosine to zero (or constant)."""
    if settings.schedule == "constant":
        return 1.0
    warms = settings.schedule == "one_cycle"
    warmup = max(1, round(settings.warmup_fraction * settings.n_steps)) if warms else 0
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, settings.n_steps - warmup)
    return 0.5 * (1 + float(torch.cos(torch.tensor(min(1.0, done) * torch.pi))))


def norm_of_gradients(accelerator: Any, module: nn.Module, settings: Config) -> Tensor:
    """Clips the gradients where that is asked for; gives the norm that they had."""
    if any(is_share(p) for p in module.parameters()):
        return clip_(module, settings.clip_norm)
    if settings.clip_norm > 0:
        clipped: Tensor = accelerator.clip_grad_norm_(module.parameters(), settings.clip_norm)
        return clipped
    return torch.nn.utils.get_total_norm([p.grad for p in module.parameters() if p.grad is not None])
