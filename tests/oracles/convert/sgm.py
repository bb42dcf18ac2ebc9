"""sgm's UNet and autoencoder after their description and naming scheme: an oracle, as small as they can be."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

GROUPS = 32


class Res(nn.Module):
    def __init__(self, n_in: int, n_out: int, n_time: int) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(
            nn.GroupNorm(GROUPS, n_in), nn.SiLU(), nn.Conv2d(n_in, n_out, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(n_time, n_out))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(GROUPS, n_out), nn.SiLU(), nn.Dropout(0), nn.Conv2d(n_out, n_out, 3, padding=1)
        )
        self.skip_connection = nn.Identity() if n_in == n_out else nn.Conv2d(n_in, n_out, 1)

    def forward(self, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
        h = self.in_layers(x) + self.emb_layers(time)[:, :, None, None]
        return self.skip_connection(x) + self.out_layers(h)


class Attention(nn.Module):
    def __init__(self, dim: int, n_context: int, head: int) -> None:
        super().__init__()
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_k, self.to_v = (nn.Linear(n_context, dim, bias=False) for _ in "kv")
        self.to_out = nn.Sequential(nn.Linear(dim, dim), nn.Dropout(0))
        self.head = head

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        def heads(y: Tensor) -> Tensor:
            return y.unflatten(-1, (-1, self.head)).transpose(1, 2)

        q, k, v = heads(self.to_q(x)), heads(self.to_k(context)), heads(self.to_v(context))
        weight = (q @ k.transpose(-1, -2) / math.sqrt(self.head)).softmax(-1)
        return self.to_out((weight @ v).transpose(1, 2).flatten(2))


class Gated(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, 8 * dim)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, -1)
        return value * functional.gelu(gate)


class Feed(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.net = nn.Sequential(Gated(dim), nn.Dropout(0), nn.Linear(4 * dim, dim))


class Layer(nn.Module):
    def __init__(self, dim: int, n_context: int, head: int) -> None:
        super().__init__()
        self.attn1, self.attn2 = Attention(dim, dim, head), Attention(dim, n_context, head)
        self.ff = Feed(dim)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim) for _ in range(3))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        h = self.norm1(x)
        x = x + self.attn1(h, h)
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff.net(self.norm3(x))


class Spatial(nn.Module):
    def __init__(self, dim: int, n_context: int, depth: int, head: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, dim, eps=1e-6)
        self.proj_in, self.proj_out = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.transformer_blocks = nn.ModuleList(Layer(dim, n_context, head) for _ in range(depth))

    def forward(self, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
        h = self.proj_in(self.norm(x).flatten(2).transpose(1, 2))
        for layer in self.transformer_blocks:
            h = layer(h, context)
        return x + self.proj_out(h).transpose(1, 2).reshape(x.shape)


class Down(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(dim, dim, 3, stride=2, padding=1)

    def forward(self, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
        return self.op(x)


class Up(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, 3, padding=1)

    def forward(self, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
        return self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))


class First(nn.Conv2d):
    def forward(self, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
        return super().forward(x)


class UNet(nn.Module):
    """openaimodel.UNetModel with num_classes "sequential", linear projections and a vector."""

    def __init__(
        self, width: int, mult: tuple[int, ...], depths: tuple[int, ...], n_resnets: int, n_context: int, n_vector: int,
        head: int,
    ) -> None:  # fmt: skip
        super().__init__()
        n_time = 4 * width
        self.width = width
        self.time_embed = nn.Sequential(nn.Linear(width, n_time), nn.SiLU(), nn.Linear(n_time, n_time))
        self.label_emb = nn.Sequential(
            nn.Sequential(nn.Linear(n_vector, n_time), nn.SiLU(), nn.Linear(n_time, n_time))
        )
        self.input_blocks = nn.ModuleList([nn.ModuleList([First(4, width, 3, padding=1)])])
        widths, n = [width], width
        for level, (m, depth) in enumerate(zip(mult, depths)):
            for _ in range(n_resnets):
                block = [Res(n, m * width, n_time)]
                n = m * width
                if depth:
                    block.append(Spatial(n, n_context, depth, head))
                self.input_blocks.append(nn.ModuleList(block))
                widths.append(n)
            if level < len(mult) - 1:
                self.input_blocks.append(nn.ModuleList([Down(n)]))
                widths.append(n)
        self.middle_block = nn.ModuleList(
            [Res(n, n, n_time), Spatial(n, n_context, depths[-1], head), Res(n, n, n_time)]
        )
        self.output_blocks = nn.ModuleList()
        for level, (m, depth) in reversed(list(enumerate(zip(mult, depths)))):
            for i in range(n_resnets + 1):
                block = [Res(n + widths.pop(), m * width, n_time)]
                n = m * width
                if depth:
                    block.append(Spatial(n, n_context, depth, head))
                if level and i == n_resnets:
                    block.append(Up(n))
                self.output_blocks.append(nn.ModuleList(block))
        self.out = nn.Sequential(nn.GroupNorm(GROUPS, n), nn.SiLU(), nn.Conv2d(n, 4, 3, padding=1))

    def forward(self, x: Tensor, level: Tensor, context: Tensor, vector: Tensor) -> Tensor:
        time = self.time_embed(code(level, self.width)) + self.label_emb(vector)
        kept = []
        for block in self.input_blocks:
            for layer in block:
                x = layer(x, time, context)
            kept.append(x)
        for layer in self.middle_block:
            x = layer(x, time, context)
        for block in self.output_blocks:
            x = torch.cat([x, kept.pop()], 1)
            for layer in block:
                x = layer(x, time, context)
        return self.out(x)


def code(value: Tensor, dim: int) -> Tensor:
    """Cosines, then sines, of frequencies from 1 to 1 / 10000."""
    frequency = torch.exp(-math.log(10000) * torch.arange(dim // 2) / (dim // 2))
    angle = value[:, None].float() * frequency
    return torch.cat([angle.cos(), angle.sin()], 1)


class Plain(nn.Module):
    """A residual block of the autoencoder."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(GROUPS, n_in, eps=1e-6), nn.GroupNorm(GROUPS, n_out, eps=1e-6)
        self.conv1, self.conv2 = nn.Conv2d(n_in, n_out, 3, padding=1), nn.Conv2d(n_out, n_out, 3, padding=1)
        if n_in != n_out:
            self.nin_shortcut = nn.Conv2d(n_in, n_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(functional.silu(self.norm1(x)))
        h = self.conv2(functional.silu(self.norm2(h)))
        return h + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class Look(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, dim, eps=1e-6)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(dim, dim, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = (part(h).flatten(2) for part in (self.q, self.k, self.v))  # (n, dim, place)
        weight = (q.transpose(1, 2) @ k / math.sqrt(q.shape[1])).softmax(-1)
        return x + self.proj_out((v @ weight.transpose(1, 2)).reshape(x.shape))


class Middle(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.block_1, self.attn_1, self.block_2 = Plain(dim, dim), Look(dim), Plain(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x)))


class Stage(nn.Module):
    def __init__(self, blocks: list[Plain], sampler: str, dim: int) -> None:
        super().__init__()
        self.block = nn.ModuleList(blocks)
        if sampler:
            held = nn.Module()
            held.conv = nn.Conv2d(
                dim, dim, 3, **({"stride": 2} if sampler == "downsample" else {"padding": 1})
            )
            setattr(self, sampler, held)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.block:
            x = block(x)
        if hasattr(self, "downsample"):
            return self.downsample.conv(functional.pad(x, (0, 1, 0, 1)))
        if hasattr(self, "upsample"):
            return self.upsample.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        return x


class Encoder(nn.Module):
    def __init__(self, widths: tuple[int, ...], n_resnets: int, n_latent: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, widths[0], 3, padding=1)
        self.down, n = nn.ModuleList(), widths[0]
        for i, width in enumerate(widths):
            blocks = [Plain(n if j == 0 else width, width) for j in range(n_resnets)]
            n = width
            self.down.append(Stage(blocks, "downsample" if i < len(widths) - 1 else "", n))
        self.mid, self.norm_out = Middle(n), nn.GroupNorm(GROUPS, n, eps=1e-6)
        self.conv_out = nn.Conv2d(n, 2 * n_latent, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for stage in self.down:
            x = stage(x)
        return self.conv_out(functional.silu(self.norm_out(self.mid(x))))


class Decoder(nn.Module):
    def __init__(self, widths: tuple[int, ...], n_resnets: int, n_latent: int) -> None:
        super().__init__()
        n = widths[-1]
        self.conv_in, self.mid = nn.Conv2d(n_latent, n, 3, padding=1), Middle(n)
        stages = []
        for i, width in reversed(list(enumerate(widths))):
            blocks = [Plain(n if j == 0 else width, width) for j in range(n_resnets + 1)]
            n = width
            stages.append(Stage(blocks, "upsample" if i else "", n))
        self.up = nn.ModuleList(reversed(stages))
        self.norm_out, self.conv_out = nn.GroupNorm(GROUPS, n, eps=1e-6), nn.Conv2d(n, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mid(self.conv_in(x))
        for stage in reversed(self.up):
            x = stage(x)
        return self.conv_out(functional.silu(self.norm_out(x)))


class Autoencoder(nn.Module):
    def __init__(self, widths: tuple[int, ...] = (32, 64), n_resnets: int = 1, n_latent: int = 4) -> None:
        super().__init__()
        self.encoder, self.decoder = (
            Encoder(widths, n_resnets, n_latent),
            Decoder(widths, n_resnets, n_latent),
        )
        self.quant_conv = nn.Conv2d(2 * n_latent, 2 * n_latent, 1)
        self.post_quant_conv = nn.Conv2d(n_latent, n_latent, 1)

    def mode(self, pictures: Tensor) -> Tensor:
        return self.quant_conv(self.encoder(pictures)).chunk(2, 1)[0]

    def decode(self, latents: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(latents))


def drawn() -> tuple[UNet, Autoencoder, dict[str, Tensor]]:
    """Small random networks, and the checkpoint that they make with an image encoder's tensor beside them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = UNet(32, (1, 2), (0, 2), 2, n_context=24, n_vector=4 * 16, head=16).eval()
        autoencoder = Autoencoder().eval()
    saved = {f"model.diffusion_model.{key}": value for key, value in unet.state_dict().items()}
    saved |= {f"first_stage_model.{key}": value for key, value in autoencoder.state_dict().items()}
    return unet, autoencoder, saved | {"conditioner.embedders.0.model.proj": torch.zeros(2, 2)}
