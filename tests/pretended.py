"""A device that computes on the CPU and refuses what a GPU refuses, so that placement is tested where no GPU is.

An operation on tensors of two devices, a CPU generator for values of the device and `.numpy()` are errors there, as on
a GPU; values are those of the CPU, which computes them. Importing this registers the device for the whole process and
cannot be undone: import it in a process of its own (tests/conformity/test_devices.py starts one).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._python_dispatch import return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

NAME = "pretended"
aten = torch.ops.aten
BETWEEN_DEVICES = {aten.copy_.default, aten._to_copy.default, aten.type_as.default}
# A GPU's tensor can be indexed by the CPU's.
INDEXING = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default}
# Made of an empty tensor that is then resized, which a wrapped tensor cannot follow: made whole instead.
FACTORIES = (
    aten.arange.default, aten.arange.start, aten.arange.start_step, aten.linspace.default, aten.logspace.default,
    aten.eye.default, aten.eye.m, aten.tril_indices.default, aten.triu_indices.default,
)  # fmt: skip


class _Backend(backend_registration._DummyBackendModule):
    """What torch asks of a kind of device beyond its operations."""

    def get_rng_state(self, device: object = None) -> Tensor:
        return torch.get_rng_state()

    def set_rng_state(self, state: Tensor, device: object = None) -> None:
        torch.set_rng_state(state)

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


backend_registration._setup_privateuseone_for_python_backend(NAME, _Backend())
DEVICE = torch.device(NAME, 0)


def is_here(device: object) -> bool:
    """Whether a device is this one."""
    return torch.device(device).type == NAME


class Pretended(Tensor):
    """A tensor of the device, around one of the CPU."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> Pretended:
        made = Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            device=DEVICE,
        )  # fmt: skip
        made.inner = inner
        return made

    def __init__(self, inner: Tensor) -> None:
        """Nothing is left to do: torch's own would take the inner tensor for data of the CPU."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(op, args, kwargs or {})

    def __repr__(self) -> str:
        return f"Pretended({self.inner})"

    def __getitem__(self, places: Any) -> Tensor:
        return super().__getitem__(_as_tensors(places))

    def __setitem__(self, places: Any, values: Any) -> None:
        super().__setitem__(_as_tensors(places), values)

    def tolist(self) -> Any:
        return self.inner.tolist()

    def new_tensor(self, data: Any, dtype: torch.dtype | None = None, device: object = None) -> Tensor:
        return torch.tensor(data, dtype=dtype or self.dtype).to(device or DEVICE)


class Drawing(torch.Generator):
    """A generator of either device; both draw what the CPU's draws."""

    HERE: ClassVar[set[int]] = set()  # torch hands operations another object of the same generator

    def __new__(cls, device: object = "cpu") -> Drawing:
        made = super().__new__(cls, "cpu")
        (cls.HERE.add if is_here(device) else cls.HERE.discard)(made._cdata)
        return made

    def __init__(self, device: object = "cpu") -> None:
        """Nothing is left to do: torch's own would refuse the device."""

    @property
    def device(self) -> torch.device:
        return DEVICE if self._cdata in self.HERE else torch.device("cpu")


def _as_tensors(places: Any) -> Any:
    """Lists of places as tensors: torch would make them by a way that knows no wrapped tensors."""
    if isinstance(places, tuple):
        return tuple(map(_as_tensors, places))
    return torch.tensor(places, dtype=None if places else torch.int64) if isinstance(places, list) else places


def run(op: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """One operation, by the CPU."""
    leaves = tree_leaves((args, kwargs))
    ours = [t for t in leaves if isinstance(t, Pretended)]
    if op is aten._has_compatible_shallow_copy_type.default:
        return False  # a module that moves here gets new parameters
    target = kwargs.get("device")
    here = bool(ours) if target is None else is_here(target)
    if ours and op not in BETWEEN_DEVICES:
        _refuse_mixture(op, args, leaves)
    if here and any(isinstance(g, torch._C.Generator) and g._cdata not in Drawing.HERE for g in leaves):
        raise RuntimeError(f"Expected a '{NAME}' device type for generator but found 'cpu': {op}")
    bare_args, bare_kwargs = tree_map(lambda t: t.inner if isinstance(t, Pretended) else t, (args, kwargs))
    if target is not None and here:
        bare_kwargs["device"] = torch.device("cpu")
    found = op(*bare_args, **bare_kwargs)
    if op is aten.copy_.default:
        return args[0]
    if not here or op is aten._local_scalar_dense.default:
        return found
    wrapped = tree_map(lambda t: Pretended(t) if isinstance(t, Tensor) else t, found)
    return return_and_correct_aliasing(op, args, kwargs, wrapped) if ours else wrapped


def _refuse_mixture(op: Any, args: Any, leaves: list[Any]) -> None:
    strangers = [t for t in leaves if isinstance(t, Tensor) and not isinstance(t, Pretended) and t.dim()]
    if op in INDEXING and isinstance(args[0], Pretended):
        values = [id(t) for t in tree_leaves(args[2:])]
        strangers = [t for t in strangers if id(t) in values]
    if strangers:
        shapes = [f"{t.device} {tuple(t.shape)}" for t in leaves if isinstance(t, Tensor)]
        raise RuntimeError(f"Expected all tensors to be on the same device: {op} of {', '.join(shapes)}")


def _from_data(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`torch.tensor` or `torch.as_tensor`, which build on the CPU and move."""

    def made(data: Any, *, dtype: torch.dtype | None = None, device: object = None, **rest: Any) -> Tensor:
        if isinstance(data, Pretended):
            return data.to(device=DEVICE if device is None else device, dtype=dtype or data.dtype)
        if device is None or not is_here(device):
            return make(data, dtype=dtype, device=device, **rest)
        return make(data, dtype=dtype).to(DEVICE).requires_grad_(rest.get("requires_grad", False))

    return made


class Accelerator:
    """What braindec asks of accelerate's, on this device."""

    scaler = None

    def __init__(self, settings: Any) -> None:
        self.device = torch.device("cpu") if settings.device == "cpu" else DEVICE

    def autocast(self) -> Any:
        return nullcontext()

    def prepare_model(self, module: torch.nn.Module, evaluation_mode: bool = True) -> torch.nn.Module:
        return module

    def prepare(self, optimizer: Any) -> Any:
        return optimizer

    def unwrap_model(self, module: torch.nn.Module, keep_fp32_wrapper: bool = True) -> torch.nn.Module:
        return module

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def clip_grad_norm_(self, parameters: Any, norm: float) -> Tensor:
        return torch.nn.utils.clip_grad_norm_(parameters, norm)


def take_over() -> None:
    """From here on braindec trains on this device wherever it may choose."""
    from braindec.ranks import Ranks
    from braindec.train import optimise

    optimise.accelerator_of = Accelerator
    Ranks.device = lambda self, asked: torch.device("cpu") if asked == "cpu" else DEVICE  # type: ignore[method-assign]  # that is the point


_OPERATIONS = torch.library.Library("_", "IMPL")
_OPERATIONS.fallback(lambda op, *args, **kwargs: run(op, args, kwargs), "PrivateUse1")
_MAKERS = torch.library.Library("aten", "IMPL")
for _op in FACTORIES:
    _MAKERS.impl(_op, lambda *args, _of=_op, **kwargs: run(_of, args, kwargs), "PrivateUse1")
torch.tensor, torch.as_tensor = _from_data(torch.tensor), _from_data(torch.as_tensor)
torch.Generator = Drawing  # type: ignore[misc]  # that is the point
