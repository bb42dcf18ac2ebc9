"""MindEye2's unCLIP: SDXL's UNet in sgm's names as diffusers' UNet2DConditionModel, with its autoencoder.

Scotti et al. 2024, arXiv:2403.11207. The checkpoint holds ``model.diffusion_model.*`` (the UNet),
``first_stage_model.*`` (the autoencoder) and ``conditioner.*`` (OpenCLIP ViT-bigG-14, which targets have and which is
left out).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from braindec import __version__, checks, store
from braindec.convert import _weights
from braindec.convert._checkpoint import Checkpoint
from braindec.convert._keys import KeyMap, Reading
from braindec.generators.sdxl_unclip import unfilled

UNET, VAE = "model.diffusion_model.", "first_stage_model."
SCALING = 0.13025  # of SDXL's latents; Podell et al. 2023, arXiv:2307.01952
GROUPS = 32  # of every norm of sgm's
N_IDS = 4  # numbers of the vector: height, width, crop from top and left
SCHEDULER = {  # of Stable Diffusion, all its descendants and sgm's LegacyDDPMDiscretization
    "_class_name": "EulerDiscreteScheduler", "num_train_timesteps": 1000, "beta_schedule": "scaled_linear",
    "beta_start": 0.00085, "beta_end": 0.012, "timestep_spacing": "leading", "steps_offset": 1,
    "prediction_type": "epsilon",
}  # fmt: skip
RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
WHOLE = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip
ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


@dataclass(frozen=True)
class Pipeline:
    """A folder of diffusers: ``model_index.json``, ``unet``, ``vae``, ``scheduler``.

    Parameters
    ----------
    unet, vae : dict
        Keywords of UNet2DConditionModel and AutoencoderKL.
    dtype : str
        Of the UNet's weights.
    """

    unet: dict[str, Any]
    vae: dict[str, Any]
    dtype: str
    system: str = "sdxl_unclip"
    opened_with: str = "generators.sdxl_unclip.build(Config(folder=..., space=...))"

    def build_shapes(self) -> Shapes:
        """Both networks without memory."""
        return Shapes(unfilled(self.unet, self.vae, self.dtype))

    def tables(self) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
        """The settings that were read from shapes."""
        rows = [(f"`{part}.{k}`", str(v)) for part in ("unet", "vae") for k, v in getattr(self, part).items()]
        return [("Settings", ("setting", "value"), list(rows))]

    def save(
        self,
        folder: Path,
        like: Mapping[str, Tensor],
        make: Callable[[str], Tensor],
        source: Mapping[str, str],
    ) -> tuple[str, ...]:
        """Writes the folder; see `_keys.Made.save`."""
        configs = {"unet": self.unet | {"_class_name": "UNet2DConditionModel"}}
        configs["vae"] = self.vae | {"_class_name": "AutoencoderKL"}
        files = []
        for part, settings in configs.items():
            (folder / part).mkdir()
            store.write_json(folder / part / "config.json", settings)
            names = {
                key.removeprefix(f"{part}."): value
                for key, value in like.items()
                if key.startswith(f"{part}.")
            }
            name = f"{part}/diffusion_pytorch_model.safetensors"
            _weights.write(folder / name, names, _under(part, make))
            files += [f"{part}/config.json", name]
        (folder / "scheduler").mkdir()
        store.write_json(folder / "scheduler" / "scheduler_config.json", SCHEDULER)
        store.write_json(folder / "model_index.json", _index(source))
        return *files, "scheduler/scheduler_config.json", "model_index.json"


@dataclass(frozen=True, eq=False)
class Shapes:
    """Modules without memory."""

    module: nn.ModuleDict


def read(source: Checkpoint, *, size: int = 96, head_dim: int = 64, dtype: str = "float32") -> Reading:
    """What a checkpoint holds, in diffusers' parts; other sizes are read from its shapes.

    Parameters
    ----------
    source : Checkpoint
    size : int
        Height and width of the latents; no shape tells. MindEye2 draws 96, for pictures of 768.
    head_dim : int
        Dims of an attention head; no shape tells.
    dtype : {"float32", "float16"}
        What the UNet's weights are written as.

    Raises
    ------
    DataFileError
        If the tensors are not those of one UNet and autoencoder of sgm.
    """
    checks.at_least("size", size, 1)
    checks.one_of("dtype", dtype, ("float32", "float16"))
    unet, blocks = _unet(source, head_dim)
    design = Pipeline(unet | {"sample_size": size}, _vae(source, size), dtype)
    keys = KeyMap(source, design)
    keys.rename(_unet_rules(blocks) | _vae_rules(len(design.vae["block_out_channels"])))
    for name in [
        key for key in keys.wanted if re.search(r"attentions\.0\.(to_[qkv]|to_out\.0)\.weight", key)
    ]:
        if name.startswith("vae."):
            keys.move(name, _attention_source(name), make=_flat, what="a 1 x 1 convolution as a matrix")
    keys.leave(source.under("conditioner."), "the image encoder: targets.openclip has it")
    keys.leave(source.under("denoiser."), "a table of noise levels, which the scheduler makes")
    keys.leave(source.under("model_ema."), "a running mean of the UNet, which the checkpoint also holds")
    return keys.finish(
        [f"Latents are {size} x {size}, heads have {head_dim} dims: no shape tells either.",
         "The vector is told two sizes and two crops."]
    )  # fmt: skip


@dataclass(frozen=True)
class Blocks:
    """Levels of a UNet: attention layers of each (0: none), and residual blocks of a level."""

    depths: tuple[int, ...]
    n_resnets: int


def _unet(source: Checkpoint, head_dim: int) -> tuple[dict[str, Any], Blocks]:
    """Keywords of UNet2DConditionModel, and its levels."""
    n_in = source.shape(f"{UNET}input_blocks.0.0.weight", 4)[1]
    n_out = source.shape(f"{UNET}out.2.weight", 4)[0]
    levels: list[list[int]] = [[]]
    for i in range(1, 1 + _count(source, f"{UNET}input_blocks.")[-1]):
        if f"{UNET}input_blocks.{i}.0.op.weight" in source:
            levels.append([])
        else:
            levels[-1].append(i)
    widths = [
        source.shape(f"{UNET}input_blocks.{level[-1]}.0.out_layers.3.weight", 4)[0]
        for level in levels
        if level
    ]
    depths = tuple(
        len(_count(source, f"{UNET}input_blocks.{level[-1]}.1.transformer_blocks.")) for level in levels
    )
    n_resnets = len(levels[0])
    n_middle = len(_count(source, f"{UNET}middle_block.1.transformer_blocks."))
    if any(len(level) != n_resnets for level in levels) or n_middle != depths[-1] or not n_middle:
        raise source.refused(
            "is no UNet of SDXL's kind: levels of equal length, attention in the deepest and middle"
        )
    with_attention = next(level[-1] for level, depth in zip(levels, depths) if depth)
    first = f"{UNET}input_blocks.{with_attention}.1."
    n_vector = source.shape(f"{UNET}label_emb.0.0.weight", 2)[1]
    if n_vector % N_IDS or any(width % head_dim for width in widths):
        raise source.refused(
            f"has a vector of {n_vector} and widths {widths}, for {N_IDS} numbers, heads of {head_dim}"
        )
    return {
        "in_channels": n_in, "out_channels": n_out, "block_out_channels": widths, "layers_per_block": n_resnets,
        "down_block_types": ["CrossAttnDownBlock2D" if d else "DownBlock2D" for d in depths],
        "up_block_types": ["CrossAttnUpBlock2D" if d else "UpBlock2D" for d in reversed(depths)],
        "transformer_layers_per_block": [max(d, 1) for d in depths],
        # diffusers calls the number of heads so
        "attention_head_dim": [width // head_dim for width in widths],
        "cross_attention_dim": source.shape(f"{first}transformer_blocks.0.attn2.to_k.weight", 2)[1],
        "use_linear_projection": source[f"{first}proj_in.weight"].ndim == 2,
        "norm_num_groups": GROUPS, "addition_embed_type": "text_time",
        "addition_time_embed_dim": n_vector // N_IDS, "projection_class_embeddings_input_dim": n_vector,
    }, Blocks(depths, n_resnets)  # fmt: skip


def _vae(source: Checkpoint, size: int) -> dict[str, Any]:
    """Keywords of AutoencoderKL."""
    levels = _count(source, f"{VAE}encoder.down.")
    widths = [source.shape(f"{VAE}encoder.down.{i}.block.0.conv1.weight", 4)[0] for i in levels]
    if not widths:
        raise source.refused(f"holds no autoencoder ('{VAE}*')")
    n = len(widths)
    return {
        "block_out_channels": widths, "layers_per_block": len(_count(source, f"{VAE}encoder.down.0.block.")),
        "latent_channels": source.shape(f"{VAE}post_quant_conv.weight", 4)[0], "norm_num_groups": GROUPS,
        "down_block_types": ["DownEncoderBlock2D"] * n, "up_block_types": ["UpDecoderBlock2D"] * n,
        "scaling_factor": SCALING, "sample_size": size * 2 ** (n - 1),
    }  # fmt: skip


def _unet_rules(blocks: Blocks) -> dict[str, str]:
    """Our names to sgm's: its blocks are counted through, ours by level."""
    n, m = len(blocks.depths), blocks.n_resnets
    rules = {rf"unet\.{re.escape(ours)}\.(\w+)": rf"{UNET}{theirs}.\1" for ours, theirs in WHOLE.items()}
    for level in range(n):
        up = n - 1 - level  # our up block of this level
        for j in range(m):
            rules |= _block(f"down_blocks.{level}", j, f"input_blocks.{1 + level * (m + 1) + j}")
        rules |= _kept(
            f"down_blocks.{level}.downsamplers.0.conv", f"input_blocks.{(level + 1) * (m + 1)}.0.op"
        )
        for j in range(m + 1):
            rules |= _block(f"up_blocks.{up}", j, f"output_blocks.{up * (m + 1) + j}")
        where = (
            2 if blocks.depths[level] else 1
        )  # behind the residual block, and the attention if there is one
        rules |= _kept(f"up_blocks.{up}.upsamplers.0.conv", f"output_blocks.{up * (m + 1) + m}.{where}.conv")
    for i, theirs in enumerate(("middle_block.0", "middle_block.2")):
        rules |= _resnet(f"mid_block.resnets.{i}", theirs)
    return rules | _kept("mid_block.attentions.0", "middle_block.1")


def _block(ours: str, j: int, theirs: str) -> dict[str, str]:
    return _resnet(f"{ours}.resnets.{j}", f"{theirs}.0") | _kept(f"{ours}.attentions.{j}", f"{theirs}.1")


def _resnet(ours: str, theirs: str) -> dict[str, str]:
    return {
        rf"unet\.{re.escape(ours)}\.{part}\.(\w+)": rf"{UNET}{theirs}.{name}.\1"
        for part, name in RESNET.items()
    }


def _kept(ours: str, theirs: str) -> dict[str, str]:
    """Modules whose inner names agree."""
    return {rf"unet\.{re.escape(ours)}\.(.+)": rf"{UNET}{theirs}.\1"}


def _vae_rules(n: int) -> dict[str, str]:
    rules = {}
    for side, blocks, theirs, sampler in (
        ("encoder", "down_blocks", "down", "downsample"), ("decoder", "up_blocks", "up", "upsample"),
    ):  # fmt: skip
        for i in range(n):
            at = f"{VAE}{side}.{theirs}.{i if side == 'encoder' else n - 1 - i}."
            ours = rf"vae\.{side}\.{blocks}\.{i}\."
            rules[rf"{ours}resnets\.(\d+)\.conv_shortcut\.(\w+)"] = rf"{at}block.\1.nin_shortcut.\2"
            rules[rf"{ours}resnets\.(\d+)\.(\w+)\.(\w+)"] = rf"{at}block.\1.\2.\3"
            rules[rf"{ours}{sampler}rs\.0\.conv\.(\w+)"] = rf"{at}{sampler}.conv.\1"
        for i in (0, 1):
            rules[rf"vae\.{side}\.mid_block\.resnets\.{i}\.(\w+)\.(\w+)"] = (
                rf"{VAE}{side}.mid.block_{i + 1}.\1.\2"
            )
        for ours, name in ATTENTION.items():
            kinds = (
                r"(\w+)" if ours == "group_norm" else "(bias)"
            )  # weights are moved by themselves: they are reshaped
            rules[rf"vae\.{side}\.mid_block\.attentions\.0\.{re.escape(ours)}\.{kinds}"] = (
                rf"{VAE}{side}.mid.attn_1.{name}.\1"
            )
        rules[rf"vae\.{side}\.conv_norm_out\.(\w+)"] = rf"{VAE}{side}.norm_out.\1"
        rules[rf"vae\.{side}\.(conv_in|conv_out)\.(\w+)"] = rf"{VAE}{side}.\1.\2"
    return rules | {r"vae\.(quant_conv|post_quant_conv)\.(\w+)": rf"{VAE}\1.\2"}


def _attention_source(ours: str) -> str:
    side, part = ours.split(".")[1], ours.split("attentions.0.")[1].removesuffix(".weight")
    return f"{VAE}{side}.mid.attn_1.{ATTENTION[part]}.weight"


def _under(part: str, make: Callable[[str], Tensor]) -> Callable[[str], Tensor]:
    return lambda name: make(f"{part}.{name}")


def _flat(weight: Tensor) -> Tensor:
    return weight.reshape(weight.shape[:2]) if weight.ndim == 4 else weight


def _count(source: Checkpoint, prefix: str) -> list[int]:
    """The numbers that follow a prefix."""
    return sorted(
        {int(found[1]) for key in source if (found := re.match(rf"{re.escape(prefix)}(\d+)\.", key))}
    )


def _index(source: Mapping[str, str]) -> dict[str, Any]:
    """What diffusers opens the folder with; SDXL's text encoders are absent."""
    absent = (
        "text_encoder",
        "text_encoder_2",
        "tokenizer",
        "tokenizer_2",
        "image_encoder",
        "feature_extractor",
    )
    return {
        "_class_name": "StableDiffusionXLPipeline", "_converted_by": f"braindec {__version__}",
        "_converted_from": dict(source), "force_zeros_for_empty_prompt": True,
        "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
        "scheduler": ["diffusers", "EulerDiscreteScheduler"], **{name: [None, None] for name in absent},
    }  # fmt: skip
