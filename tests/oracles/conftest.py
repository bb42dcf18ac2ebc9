"""Published networks written down plainly, as their papers and code describe them, to be compared with ours."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn


class PlainMindEye2(nn.Module):
    """MindEye2 without shortcuts, under its published names: every block is computed, dead or not; eval mode.

    `state_dict` has the names of a published checkpoint (but for the prior's).
    """

    def __init__(
        self,
        voxels,
        hidden,
        n_blocks,
        tokens,
        *,
        seq_len=1,
        clip=True,
        blurry=True,
        channels=(32, 64, 128),
        side=7,
    ):
        super().__init__()
        self.tokens, self.side = tokens, side
        self.ridge = nn.Module()
        self.ridge.linears = nn.ModuleList([nn.Linear(n, hidden) for n in voxels])
        net = self.backbone = nn.Module()
        net.mixer_blocks1 = nn.ModuleList([_block(hidden) for _ in range(n_blocks)])
        net.mixer_blocks2 = nn.ModuleList([_block(seq_len) for _ in range(n_blocks)])
        net.backbone_linear = nn.Linear(hidden * seq_len, math.prod(tokens))
        if clip:
            d = tokens[1]
            steps = [(nn.LayerNorm(d), nn.GELU(), nn.Linear(d, d)) for _ in range(3)]
            net.clip_proj = nn.Sequential(*(layer for step in steps for layer in step))
        if blurry:
            self._add_blurry(hidden * seq_len, channels)
        self._randomise()

    def _add_blurry(self, n_in, channels):
        from braindec._compat import ensure_torchvision

        ensure_torchvision()
        from diffusers.models.autoencoders.vae import Decoder

        net = self.backbone
        net.blin1 = nn.Linear(n_in, 64 * self.side**2)
        net.bnorm = nn.GroupNorm(1, 64)
        net.bupsampler = Decoder(
            in_channels=64, out_channels=4, up_block_types=["UpDecoderBlock2D"] * len(channels),
            block_out_channels=list(channels), layers_per_block=1,
        )  # fmt: skip
        net.b_maps_projector = nn.Sequential(
            nn.Conv2d(64, 512, 1, bias=False), nn.GroupNorm(1, 512), nn.ReLU(),
            nn.Conv2d(512, 512, 1, bias=False), nn.GroupNorm(1, 512), nn.ReLU(), nn.Conv2d(512, 512, 1),
        )  # fmt: skip

    @torch.no_grad()
    def _randomise(self):
        """Norms begin as ones and zeros, which would hide what they do."""
        noise = torch.Generator().manual_seed(1)
        for parameter in self.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=noise))

    @torch.no_grad()
    def forward(self, voxels, subject):
        """(trial, step, voxel) to the published outputs by our names, in the published shapes."""
        net = self.backbone
        x = self.ridge.linears[subject](voxels)
        made = {"ridge": x}
        over_dims, over_steps = x, x.permute(0, 2, 1)
        for first, second in zip(net.mixer_blocks1, net.mixer_blocks2, strict=True):
            x = first(x) + over_dims
            over_dims = x
            x = second(x.permute(0, 2, 1)) + over_steps
            over_steps = x
            x = x.permute(0, 2, 1)
        flat = x.reshape(len(x), -1)
        made["backbone"] = net.backbone_linear(flat).reshape(len(x), *self.tokens)
        if "clip_proj" in net._modules:
            made["clip"] = net.clip_proj(made["backbone"])
        if "blin1" in net._modules:
            first = net.bnorm(net.blin1(flat).reshape(len(x), -1, self.side, self.side))
            made["latents"] = net.bupsampler(first)
            made["latent_maps"] = net.b_maps_projector(first).flatten(2).permute(0, 2, 1)
        return made


def _block(n):
    hidden = nn.Sequential(nn.Linear(n, n), nn.GELU(), nn.Dropout(0.0), nn.Linear(n, n))
    return nn.Sequential(nn.LayerNorm(n), hidden)


def plain_prior_tensors(tokens, heads=2, head_width=8, depth=2, n_steps=50):
    """Random tensors under the names of a published prior, and its cosine schedule."""
    noise = torch.Generator().manual_seed(2)
    (n, d), width = tokens, heads * head_width
    net = {
        "learned_query": (n, d), "null_brain_embeds": (n, d), "null_image_embed": (n, d),
        "to_time_embeds.0.1.net.0.0.weight": (2 * d, d), "to_time_embeds.0.1.net.0.0.bias": (2 * d,),
        "to_time_embeds.0.1.net.1.0.weight": (2 * d, 2 * d), "to_time_embeds.0.1.net.1.0.bias": (2 * d,),
        "to_time_embeds.0.1.net.2.weight": (d, 2 * d), "to_time_embeds.0.1.net.2.bias": (d,),
        "causal_transformer.rel_pos_bias.relative_attention_bias.weight": (32, heads),
        "causal_transformer.norm.g": (d,), "causal_transformer.project_out.weight": (d, d),
    }  # fmt: skip
    for i in range(depth):
        layer = f"causal_transformer.layers.{i}."
        net |= {
            layer + "0.null_kv": (2, head_width), layer + "0.norm.g": (d,),
            layer + "0.to_q.weight": (width, d), layer + "0.to_kv.weight": (2 * head_width, d),
            layer + "0.to_out.0.weight": (d, width), layer + "0.to_out.1.g": (d,),
            layer + "1.0.g": (d,), layer + "1.1.weight": (8 * d, d), layer + "1.5.weight": (d, 4 * d),
        }  # fmt: skip
    made = {f"diffusion_prior.net.{k}": torch.randn(s, generator=noise) for k, s in net.items()}
    n_turned = min(32, head_width)
    for i in range(depth):
        name = f"diffusion_prior.net.causal_transformer.layers.{i}.0.rotary_emb.freqs"
        made[name] = 1e4 ** (-torch.arange(0, n_turned, 2) / n_turned)
    t = torch.linspace(0, 1, n_steps + 1, dtype=torch.float64)
    left = torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
    added = (1 - left[1:] / left[:-1]).clip(0, 0.999)
    made["diffusion_prior.noise_scheduler.betas"] = added.float()
    made["diffusion_prior.noise_scheduler.alphas_cumprod"] = (1 - added).cumprod(0).float()
    return made


@pytest.fixture(scope="session")
def plain_mindeye2():
    """`PlainMindEye2`."""
    return PlainMindEye2


@pytest.fixture(scope="session")
def plain_mindeye2_prior():
    """`plain_prior_tensors`."""
    return plain_prior_tensors
