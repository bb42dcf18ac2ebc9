"""Large parts of a module in shares: weights, gradients and optimiser state of each lie on one rank (FSDP2).

What is kept of a run is whole, so that it goes on with another number of ranks, or with one.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from braindec import checks
from braindec.ranks import Ranks
from braindec.train.settings import Config


class Shards:
    """The parts that a module names in ``shardable``, replaced by shared-out ones until `end`.

    Without `train.shard`, and on one rank, nothing is replaced.

    Parameters
    ----------
    module : nn.Module
        Whole, on the device, equal on all ranks.
    settings : Config
    device : torch.device

    Raises
    ------
    ConfigError
        If the module has no such part, or the settings need whole gradients.
    """

    def __init__(self, module: nn.Module, settings: Config, device: torch.device):
        self._module, self._originals = module, dict[str, nn.Module]()
        n = Ranks.here().n
        if not settings.shard or n == 1:
            return
        names: tuple[str, ...] = getattr(module, "shardable", ())
        if not names:
            raise checks.ConfigError(
                f"{type(module).__name__} has no part to share out; set train.shard=false."
            )
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(device.type, (n,))
        for name in names:
            part = module.get_submodule(name).to("cpu")
            self._originals[name] = copy.deepcopy(part)
            fully_shard(part, mesh=mesh)

    def __bool__(self) -> bool:
        return bool(self._originals)

    def end(self) -> None:
        """Puts whole parts back, with the weights that the shares have now."""
        for name, original in self._originals.items():
            original.load_state_dict(whole(self._module.get_submodule(name).state_dict()))
            above, _, last = name.rpartition(".")
            setattr(self._module.get_submodule(above), last, original)
        self._originals = {}


def is_share(values: Any) -> bool:
    """Whether a tensor is a share of a larger one."""
    return hasattr(values, "placements")


def local(values: Tensor) -> Tensor:
    """What of a tensor lies on this rank, without its history; writing to it writes to the tensor."""
    given: Any = values
    found: Tensor = given.to_local() if is_share(values) else values
    return found.detach()


def whole(content: Any) -> Any:
    """The same content with whole tensors on the CPU; all ranks call it together."""
    if isinstance(content, Tensor):
        given: Any = content
        found: Tensor = given.full_tensor() if is_share(content) else content
        return found.detach().cpu().clone()
    if isinstance(content, dict):
        return {key: whole(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return type(content)(whole(value) for value in content)
    return content


def share_of(values: Tensor, like: Tensor) -> Tensor:
    """A whole tensor shared out as another one is; itself where that is whole."""
    if not is_share(like) or is_share(values):
        return values
    from torch.distributed.tensor import distribute_tensor

    given: Any = like
    found: Tensor = distribute_tensor(values.to(like.device), given.device_mesh, given.placements)
    return found


def share_out_(optimizer: torch.optim.Optimizer) -> None:
    """After whole states were loaded: each rank keeps its share of them."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[name] = share_of(value, parameter)


def clip_(module: nn.Module, most: float) -> Tensor:
    """Norm over all gradients, those of shares too; where it exceeds `most` > 0 all are scaled to it."""
    grads = [p.grad for p in module.parameters() if p.grad is not None]
    shares = [local(grad) for grad in grads if is_share(grad)]
    rest = [grad for grad in grads if not is_share(grad)]
    square = torch.stack([grad.square().sum() for grad in shares]).sum()
    Ranks.here().mean_(square)
    total = (square * Ranks.here().n + sum(grad.square().sum() for grad in rest)).sqrt()
    if most > 0:
        by = (most / (total + 1e-6)).clamp(max=1.0)
        for grad in (*shares, *rest):
            grad.mul_(by)
    return total
