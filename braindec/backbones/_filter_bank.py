"""Temporal filters, a mean over time, an affine map, ELU and spatial filters as one function of little memory.

The widest layer of the temporal-spatial network, (trial, step, channel, filter), is 23 times as large as its input.
Here it is never whole: a chunk of trials is filtered, bent and combined while it lies in the cache, and the backward
pass makes it again. What makes that possible is that its batch statistics follow from the moments of the input's
windows (`window_moments`), so that the norm is known before the layer is.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

# Bytes of the widest layer in one chunk: what stays in a core's caches, and what a GPU has to spare.
CPU_CHUNK = 3 * 2**20
GPU_CHUNK = 2**31


def n_steps(n_times: int, kernel: int, pool: int, stride: int) -> int:
    """Steps that a filter of `kernel` samples and a mean over `pool` of its values, every `stride`, leave."""
    return (n_times - kernel + 1 - pool) // stride + 1


def filter_bank(
    signal: Tensor, temporal: Tensor, shift: Tensor, spatial: Tensor, pool: int, stride: int
) -> Tensor:
    """Spatial filters over ELU(shift + mean over `pool` samples of the temporal filters' output).

    Parameters
    ----------
    signal : Tensor, shape (n_trials, n_channels, n_times)
    temporal : Tensor, shape (n_filters, kernel)
    shift : Tensor, shape (n_filters,)
    spatial : Tensor, shape (n_out, n_filters, n_channels)
    pool, stride : int
        Length and step of the mean, samples.

    Returns
    -------
    Tensor, shape (n_trials, n_steps, n_out)
        In autocast's type where that is on. The temporal part is always computed in the signal's own.

    Notes
    -----
    A convolution and a mean are both linear, so the mean is taken first, of the input: filters of `kernel` taps on a
    fifth of the places (stride 5) instead of all places followed by a mean.
    """
    device = signal.device.type
    half = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else signal.dtype
    taps = torch.cat([temporal / pool, shift.unsqueeze(1)], 1)  # (filter, kernel + 1): the shift meets a one
    with torch.autocast(device, enabled=False):
        made: Tensor = _FilterBank.apply(signal, taps, spatial, pool, stride, half)
    return made


def window_moments(signal: Tensor, kernel: int, pool: int, stride: int) -> tuple[Tensor, Tensor]:
    """Mean and covariance of what a temporal filter sees, over trials, channels and steps.

    Parameters
    ----------
    signal : Tensor, shape (n_trials, n_channels, n_times)
    kernel, pool, stride : int

    Returns
    -------
    mean : Tensor, shape (kernel,)
    covariance : Tensor, shape (kernel, kernel)
        Of the windows of the signal's running mean; divided by their number. A filter's output has mean
        ``w @ mean`` and variance ``w @ covariance @ w``. Both in float64: neighbouring means are nearly equal, and a
        filter that takes their difference has a variance far below theirs.
    """
    with torch.autocast(signal.device.type, enabled=False):
        mean, second = _WindowMoments.apply(signal, kernel, pool, stride)
    return mean, second - torch.outer(mean, mean)


class _FilterBank(Function):
    @staticmethod
    def forward(
        ctx: Any, signal: Tensor, taps: Tensor, spatial: Tensor, pool: int, stride: int, half: torch.dtype
    ) -> Tensor:
        ctx.sizes = sizes = _Sizes(signal, taps, spatial, pool, stride)
        combine = _flat_spatial(spatial).to(half)  # (channel * filter, out)
        out = signal.new_empty((len(signal), sizes.steps, spatial.shape[0]), dtype=half)
        chunk = _chunk(signal, sizes.steps * sizes.channels * sizes.filters)
        ctx.chunk = max(chunk, 1)
        windows, wide = sizes.buffers(signal, min(ctx.chunk, len(signal)))
        for at in range(0, len(signal), ctx.chunk):
            part = signal[at : at + ctx.chunk]
            bent = _bent(part, taps, windows, wide, sizes).to(half)
            torch.mm(bent, combine, out=out[at : at + ctx.chunk].view(-1, out.shape[2]))
        ctx.kept = bent if 0 < len(signal) <= ctx.chunk else None  # what fits one chunk is not made again
        ctx.save_for_backward(signal, taps, spatial)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        signal, taps, spatial = ctx.saved_tensors
        with torch.autocast(signal.device.type, enabled=False):
            return _backward(ctx, signal, taps, spatial, gradient.contiguous())


class _Sizes:
    """The numbers that every part of the filter bank needs."""

    def __init__(self, signal: Tensor, taps: Tensor, spatial: Tensor, pool: int, stride: int):
        self.filters, self.kernel = taps.shape[0], taps.shape[1] - 1
        self.channels, self.times = signal.shape[1:]
        self.pool, self.stride, self.out = pool, stride, spatial.shape[0]
        self.steps = n_steps(self.times, self.kernel, pool, stride)

    def buffers(self, like: Tensor, n_trials: int) -> tuple[Tensor, Tensor]:
        """Windows with their one, and the widest layer, of a chunk."""
        windows = like.new_empty((n_trials, self.steps, self.channels, self.kernel + 1))
        windows[..., -1] = 1
        return windows, like.new_empty((n_trials * self.steps * self.channels, self.filters))


def _backward(
    ctx: Any, signal: Tensor, taps: Tensor, spatial: Tensor, gradient: Tensor
) -> tuple[Tensor | None, ...]:
    sizes, chunk, half = ctx.sizes, ctx.chunk, gradient.dtype
    combine = _flat_spatial(spatial).to(half)
    to_taps = torch.zeros_like(taps.t().contiguous())  # (kernel + 1, filter)
    to_combine = torch.zeros_like(combine.t().contiguous(), dtype=taps.dtype)  # (out, channel * filter)
    to_signal = torch.empty_like(signal) if ctx.needs_input_grad[0] else None
    windows, wide = sizes.buffers(signal, min(chunk, len(signal)))
    slopes = combine.new_empty((len(windows) * sizes.steps, len(combine)))
    for at in range(0, len(signal), chunk):
        part, rows = signal[at : at + chunk], gradient[at : at + chunk].reshape(-1, sizes.out)
        if ctx.kept is None:
            bent = _bent(part, taps, windows, wide, sizes).to(half)
        else:
            bent = ctx.kept
            _fill_windows_(windows, part, sizes)
        _add_product_(to_combine, rows.t(), bent)
        steep = torch.mm(rows, combine.t(), out=slopes[: len(rows)])
        # ELU's slope follows from its value: 1 above zero, value + 1 below. In place, because fresh memory costs more.
        torch.ops.aten.elu_backward.grad_input(steep, 1.0, 1.0, 1.0, True, bent, grad_input=steep)
        steep = steep.to(taps.dtype).view(-1, sizes.filters)  # (trial * step * channel, filter)
        to_taps.addmm_(windows[: len(part)].view(-1, sizes.kernel + 1).t(), steep)
        if to_signal is not None:
            to_signal[at : at + chunk] = _to_signal(steep, taps, sizes)
    to_spatial = to_combine.view(sizes.out, sizes.channels, sizes.filters).transpose(1, 2)
    return to_signal, to_taps.t(), to_spatial, None, None, None


def _bent(part: Tensor, taps: Tensor, windows: Tensor, wide: Tensor, sizes: _Sizes) -> Tensor:
    """ELU of the filtered signal, (trial * step, channel * filter), in `wide`'s memory; fills `windows` as well."""
    _fill_windows_(windows, part, sizes)
    flat = windows[: len(part)].view(-1, sizes.kernel + 1)
    filtered = torch.mm(flat, taps.t(), out=wide[: len(flat)])
    return torch.nn.functional.elu_(filtered).view(-1, sizes.channels * sizes.filters)


def _fill_windows_(windows: Tensor, part: Tensor, sizes: _Sizes) -> None:
    sums = running_sum(part.transpose(1, 2).contiguous(), sizes.pool)  # (trial, place, channel)
    shape = (len(part), sizes.steps, sizes.channels, sizes.kernel)
    a_trial, a_place, a_channel = sums.stride()
    views = sums.as_strided(shape, (a_trial, sizes.stride * a_place, a_channel, a_place))
    windows[: len(part), ..., :-1] = views


def _to_signal(steep: Tensor, taps: Tensor, sizes: _Sizes) -> Tensor:
    """Gradient of a chunk's signal, (trial, channel, time)."""
    per_step = steep.view(-1, sizes.channels, sizes.filters).transpose(
        1, 2
    )  # (trial * step, filter, channel)
    back = taps[:, :-1].t().expand(len(per_step), -1, -1) @ per_step  # (trial * step, tap, channel)
    back = back.view(-1, sizes.steps, sizes.kernel, sizes.channels)
    sums = overlapped(back, sizes.stride, sizes.times - sizes.pool + 1)
    return running_sum_back(sums, sizes.pool).transpose(1, 2)


def overlapped(windows: Tensor, stride: int, n_places: int) -> Tensor:
    """Adds windows (trial, step, tap, channel) up at their places: (trial, place, channel)."""
    n_trials, steps, kernel, channels = windows.shape
    n_blocks = max(-(-n_places // stride), steps + -(-kernel // stride))
    places = windows.new_zeros(n_trials, n_blocks, stride, channels)
    for block in range(-(-kernel // stride)):
        taps = windows[:, :, block * stride : (block + 1) * stride]
        places[:, block : block + steps, : taps.shape[2]] += taps
    return places.flatten(1, 2)[:, :n_places]


def running_sum(x: Tensor, width: int) -> Tensor:
    """Sum of each `width` successive places along axis 1, by doubling: log2(width) additions of whole arrays."""
    n, total, reach, part, size = x.shape[1] - width + 1, None, 0, x, 1
    while True:
        if width & size:
            piece = part[:, reach : reach + n]
            total = piece if total is None else total + piece
            reach += size
        if 2 * size > width:
            return piece if total is None else total
        part = part[:, :-size] + part[:, size:]
        size *= 2


def running_sum_back(gradient: Tensor, width: int) -> Tensor:
    """The transposed map of `running_sum`: the same sum over what zeros surround."""
    return running_sum(torch.nn.functional.pad(gradient, (0, 0, width - 1, width - 1)), width)


class _WindowMoments(Function):
    @staticmethod
    def forward(ctx: Any, signal: Tensor, kernel: int, pool: int, stride: int) -> tuple[Tensor, Tensor]:
        steps = n_steps(signal.shape[2], kernel, pool, stride)
        group = _steps_together(steps, kernel, stride)
        length, n_groups = kernel + stride * (group - 1), steps // group
        double = torch.float32 if signal.device.type == "mps" else torch.float64  # which has no float64
        gram = signal.new_zeros((length, length), dtype=double)
        total = signal.new_zeros(signal.shape[2] - pool + 1, dtype=double)
        chunk = max(_chunk(signal, 4 * signal[0:1].numel()), 1)
        for at in range(0, len(signal), chunk):
            part = signal[at : at + chunk].permute(2, 0, 1).flatten(1)  # (time, trial * channel)
            flat = running_sum(part.unsqueeze(0), pool)[0].to(double)  # (place, trial * channel)
            total += flat.sum(1)
            for i in range(n_groups):
                rows = flat[stride * group * i :][:length]
                gram.addmm_(rows, rows.t())
        ctx.sizes = kernel, pool, stride, steps
        ctx.count = len(signal) * signal.shape[1] * steps
        ctx.save_for_backward(signal)
        second = sum(gram[stride * j :, stride * j :][:kernel, :kernel] for j in range(group))
        mean = total.unfold(0, kernel, stride)[:steps].sum(0)
        scale = 1 / (max(ctx.count, 1) * pool)
        return mean * scale, second * (scale / pool)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_mean: Tensor, to_second: Tensor) -> tuple[Tensor | None, ...]:
        (signal,) = ctx.saved_tensors
        kernel, pool, stride, steps = ctx.sizes
        n_times = signal.shape[2]
        eye = torch.eye(n_times, dtype=to_mean.dtype, device=signal.device)
        sums = running_sum(eye.unsqueeze(0), pool)[0] / pool  # (place, time)
        windows = sums.unfold(0, kernel, stride)[:steps]  # (step, time, tap)
        both = (to_second + to_second.t()) / ctx.count
        matrix = torch.einsum("stk,kl,sul->tu", windows, both, windows)
        vector = torch.einsum("stk,k->t", windows, to_mean / ctx.count)
        with torch.autocast(signal.device.type, enabled=False):
            return signal @ matrix.to(signal.dtype) + vector.to(signal.dtype), None, None, None


def _steps_together(steps: int, kernel: int, stride: int) -> int:
    """How many steps share one Gram matrix: the divisor of their number that costs least a step."""
    divisors = (g for g in range(1, min(steps, 64) + 1) if steps % g == 0)
    return min(divisors, key=lambda g: (kernel + stride * (g - 1)) ** 2 / g)


def _chunk(signal: Tensor, values_per_trial: int) -> int:
    """Trials whose widest layer is small enough to be there at once."""
    budget = CPU_CHUNK if signal.device.type == "cpu" else GPU_CHUNK
    return budget // (values_per_trial * signal.element_size())


def _flat_spatial(spatial: Tensor) -> Tensor:
    """(out, filter, channel) as (channel * filter, out)."""
    return spatial.permute(2, 1, 0).flatten(0, 1)


def _add_product_(total: Tensor, a: Tensor, b: Tensor) -> None:
    """Adds a @ b, of a narrower type perhaps."""
    if total.dtype == a.dtype:
        total.addmm_(a, b)
    else:
        total += a @ b
