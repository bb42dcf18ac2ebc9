"""MindEye2's published prior: its tensors under our names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from braindec import checks
from braindec.priors._noising import cosine_alphas_cumprod
from braindec.priors.diffusion import Config, DiffusionPrior

PREFIX = "diffusion_prior."
NET = PREFIX + "net."
LAYER = NET + r"causal_transformer.layers.(\d+)."
SCHEDULE = PREFIX + "noise_scheduler."
TIME_TABLE = NET + "to_time_embeds.0.weight"
RENAMED = {  # published name (a pattern) -> ours
    NET + "learned_query": "network.position",
    NET + "null_brain_embeds": "network.no_brain",
    NET + "null_image_embed": "network.no_image",
    NET + "to_time_embeds.0.1.net.0.0.(weight|bias)": r"network.time_in.0.\1",
    NET + "to_time_embeds.0.1.net.1.0.(weight|bias)": r"network.time_in.2.\1",
    NET + "to_time_embeds.0.1.net.2.(weight|bias)": r"network.time_in.4.\1",
    TIME_TABLE: "network.time_in.weight",
    NET + "causal_transformer.rel_pos_bias.relative_attention_bias.weight": "network.bias",
    NET + "causal_transformer.layers.0.0.rotary_emb.freqs": "network.frequency",
    LAYER + "0.norm.g": r"network.blocks.\1.norm.gain",
    LAYER + "0.to_q.weight": r"network.blocks.\1.query.weight",
    LAYER + "0.to_kv.weight": r"network.blocks.\1.key_value.weight",
    LAYER + "0.null_kv": r"network.blocks.\1.nowhere",
    LAYER + "0.to_out.0.weight": r"network.blocks.\1.merge.0.weight",
    LAYER + "0.to_out.1.g": r"network.blocks.\1.merge.1.gain",
    LAYER + "1.0.g": r"network.blocks.\1.norm_hidden.gain",
    LAYER + "1.1.weight": r"network.blocks.\1.hidden_in.weight",
    LAYER + "1.5.weight": r"network.blocks.\1.hidden_out.weight",
    NET + "causal_transformer.norm.g": "network.norm.gain",
    NET + "causal_transformer.project_out.weight": "network.out.weight",
}


class Sizes(NamedTuple):
    """What the shapes of a published prior say."""

    shape: tuple[int, int]
    width: int
    depth: int
    heads: int
    n_train_steps: int


class Published(NamedTuple):
    """A published prior as ours.

    config, shape: for `build`; state: for `load_state_dict` of what that built, every entry of it; renamed: source key
    -> our key; left: source key -> why it is no tensor of ours.
    """

    config: Config
    shape: tuple[int, int]
    state: dict[str, Tensor]
    renamed: dict[str, str]
    left: dict[str, str]


def published_tensors(tensors: Mapping[str, Tensor]) -> Published:
    """MindEye2's prior from the tensors of its checkpoint that are named ``diffusion_prior.*``, and no others.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        Sizes (tokens, dims, heads, depth, noise levels) are read from the shapes. Tensors are shared, not copied.

    Returns
    -------
    Published
        Settings are the published ones, with our sampler and guidance. For MindEye2's own take
        ``dataclasses.replace(config, sampler="as_published", guidance_hides="brain_and_image_as_published")``.

    Raises
    ------
    ValueError
        If a tensor is unknown, one is missing or has a shape that does not fit the others, or the noise schedule is
        not the cosine.
    """
    renamed = {key: ours for key in tensors if (ours := _our_name(key)) is not None}
    left = {key: why for key in tensors if key not in renamed and (why := _why_left(key, tensors))}
    unknown = sorted(set(tensors) - set(renamed) - set(left))
    if unknown:
        raise ValueError(f"MindEye2's prior has no tensor {unknown[0]!r}; {len(unknown)} are unknown.")
    sizes = _sizes(tensors)
    config = Config(
        network="mindeye2", width=sizes.width, depth=sizes.depth, heads=sizes.heads,
        n_train_steps=sizes.n_train_steps, n_sample_steps=_published_steps(sizes.n_train_steps), eta=1.0,
        condition_dropout=0.2, image_dropout=0.2, standardise=False, time="table" if TIME_TABLE in tensors else "sines",
    )  # fmt: skip
    with torch.device("meta"):
        wanted = {
            name: tuple(v.shape) for name, v in DiffusionPrior(sizes.shape, config).state_dict().items()
        }
    state = {ours: tensors[key] for key, ours in renamed.items()} | _as_they_are(sizes.shape)
    shapes = {name: tuple(v.shape) for name, v in state.items()}
    for name in sorted(set(wanted) | set(shapes)):
        if wanted.get(name) != shapes.get(name):
            raise ValueError(
                f"{name} of MindEye2's prior has shape {shapes.get(name)}, the other tensors need {wanted.get(name)}."
            )
    return Published(config, sizes.shape, state, renamed, left)


def _as_they_are(shape: tuple[int, int]) -> dict[str, Tensor]:
    """The scales of a prior that takes embeddings as they are, and has seen no training pair here."""
    state: dict[str, Tensor] = {"n_pairs": torch.zeros((), dtype=torch.int64), "spread": torch.ones(())}
    for name in ("brain", "image"):
        state[f"{name}_mean"], state[f"{name}_scale"] = torch.zeros(shape), torch.ones(shape)
    return state


def _our_name(key: str) -> str | None:
    for pattern, ours in RENAMED.items():
        if found := _match(pattern, key):
            return found.expand(ours)
    return None


def _match(pattern: str, key: str) -> re.Match[str] | None:
    """Of the whole key; a dot of these patterns is a dot."""
    return re.fullmatch(pattern.replace(".", r"\."), key)


def _why_left(key: str, tensors: Mapping[str, Tensor]) -> str | None:
    """Why a tensor is not among ours, once it is found to agree with what stands for it; None for an unknown one."""
    first = NET + "causal_transformer.layers.0.0.rotary_emb.freqs"
    if _match(LAYER + "0.rotary_emb.freqs", key):
        if not torch.equal(tensors[key], checks.known_key("tensor", first, tensors)):
            raise ValueError(f"{key} differs from {first}; all blocks of this network turn alike.")
        return "the same module as in block 0"
    if not key.startswith(SCHEDULE):
        return None
    # Rounding alone may part them: log(1 - a) and 1 / sqrt(a) of float32 are steep at the ends.
    ours = _schedule(len(tensors[key])).get(key.removeprefix(SCHEDULE))
    if ours is None:
        return None
    if not torch.allclose(ours, tensors[key].double(), atol=1e-4, rtol=2e-2):
        raise ValueError(
            f"{key} is not that of the cosine schedule of {len(ours)} steps, which this prior has."
        )
    return "follows from the cosine schedule"


def _schedule(n_steps: int) -> dict[str, Tensor]:
    """What the published code keeps of its noise schedule, by its names, float64 (n_steps,)."""
    left = cosine_alphas_cumprod(n_steps)
    before = torch.cat([left.new_ones(1), left[:-1]])
    added = 1 - left / before
    variance = added * (1 - before) / (1 - left)
    return {
        "betas": added,
        "alphas_cumprod": left,
        "alphas_cumprod_prev": before,
        "sqrt_alphas_cumprod": left.sqrt(),
        "sqrt_one_minus_alphas_cumprod": (1 - left).sqrt(),
        "log_one_minus_alphas_cumprod": (1 - left).log(),
        "sqrt_recip_alphas_cumprod": (1 / left).sqrt(),
        "sqrt_recipm1_alphas_cumprod": (1 / left - 1).sqrt(),
        "posterior_variance": variance,
        "posterior_log_variance_clipped": variance.clamp_min(1e-20).log(),
        "posterior_mean_coef1": added * before.sqrt() / (1 - left),
        "posterior_mean_coef2": (1 - before) * (left / before).sqrt() / (1 - left),
        "p2_loss_weight": torch.ones_like(left),
    }


def _sizes(tensors: Mapping[str, Tensor]) -> Sizes:
    def shape(key: str, n_axes: int) -> tuple[int, ...]:
        found = checks.known_key("tensor", key, tensors)
        axes = tuple(f"axis {i}" for i in range(n_axes))
        return tuple(checks.n_axes(key, found, axes).shape)

    n_tokens, n_dims = shape(NET + "learned_query", 2)
    heads = shape(NET + "causal_transformer.rel_pos_bias.relative_attention_bias.weight", 2)[1]
    width = shape(NET + "causal_transformer.layers.0.0.to_q.weight", 2)[0]
    depth = 1 + max(int(m[1]) for key in tensors if (m := re.match(LAYER, key)))
    return Sizes((n_tokens, n_dims), width, depth, heads, shape(SCHEDULE + "alphas_cumprod", 1)[0])


def _published_steps(n_train_steps: int) -> int:
    """20 where it divides the number of noise levels, else the largest divisor below."""
    return max(n for n in range(1, min(20, n_train_steps) + 1) if n_train_steps % n == 0)
