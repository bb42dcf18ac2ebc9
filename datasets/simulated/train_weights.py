"""Trains everything in braindec/weights from seeded scenes; resumable, one checkpoint a stage.

Run     python datasets/simulated/train_weights.py --cache CACHE [--stage network clip ...]
Needs   about 90 minutes on two cores with bf16 (AVX-512), 4 GB of memory and 2 GB in CACHE
Writes  braindec/weights: *.safetensors (fp16), *.json, training.json, SHA256SUMS

Stages run in this order; clip and vae do not need each other and may run as two processes, and unclip may be shared by
two: torchrun --nproc-per-node 2 datasets/simulated/train_weights.py --cache CACHE --stage unclip --threads 1.
A stage that is interrupted goes on from its last checkpoint with the same draws.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from _loop import SEED, Stage, checkpoint, fit, rank  # type: ignore[import-not-found]  # the file beside this one
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from braindec import _compat, seeding, weights
from braindec.data.simulated import network, rendering, scenes
from braindec.generators._unclip import UnclipDecoder, add_noise, cosine_alphas_cumprod
from braindec.targets._words import WordTokenizer

N_SCENES = 80_000
PARTIAL = 0.3  # share of captions that leave something out
KL_WEIGHT = 2e-4
SEEN_WEIGHT = 0.1  # of how far a decoded picture embeds from the one it should be
LATENT_NOISE = 0.1  # largest noise of latents in the decoder's second training, in their standard deviations
DROPPED = 0.1  # share of samples whose embedding the generator is not told, for guidance
CONDITION_NOISE = 0.5  # largest length of the noise added to an embedding of length 1


ARCHITECTURES = json.loads((Path(__file__).parent / "architectures.json").read_text())
OPENCLIP, VAE, UNCLIP = (ARCHITECTURES[name] for name in ("openclip", "vae", "unclip"))
STAGES = {
    "network": Stage(n_steps=1200, batch_size=256, lr=3e-3),
    "clip": Stage(n_steps=1500, batch_size=128, lr=2e-3, ema=0.99, n_scenes=40_000),
    "vae": Stage(n_steps=2000, batch_size=16, lr=2e-3, ema=0.99),
    "decoder": Stage(n_steps=1200, batch_size=32, lr=1.5e-3, ema=0.99, n_scenes=48_000),
    "sketch": Stage(n_steps=1500, batch_size=128, lr=3e-3, ema=0.99, n_scenes=48_000),
    "unclip": Stage(n_steps=2000, batch_size=64, lr=1.5e-3, ema=0.995, n_scenes=48_000),
}


def pool(cache: Path) -> tuple[list[scenes.Scene], np.ndarray]:
    """The training scenes and their pictures, drawn once and kept in the cache."""
    drawn = scenes.sample_scenes(N_SCENES, seeding.numpy_generator(SEED, "pool"))
    path = cache / f"pool_{N_SCENES}.npy"
    if not path.exists():
        half_written = path.with_suffix(f".{os.getpid()}.npy")
        np.save(half_written, rendering.render_all(drawn, progress=True))
        half_written.replace(path)
    return drawn, np.load(path, mmap_mode="r")


def factor_loss(logits: Tensor, labels: dict[str, Tensor]) -> Tensor:
    """Mean cross-entropy of the factors; those of a place count where an object is, its emptiness everywhere."""
    sizes = [network.N_CELLS * c for c in network.CELL_CLASSES.values()]
    names = [*network.CELL_CLASSES, *network.GROUND_CLASSES]
    split = logits.float().split([*sizes, *network.GROUND_CLASSES.values()], 1)
    parts = dict(zip(names, split, strict=True))
    loss = logits.new_zeros((), dtype=torch.float32)
    for name in network.CELL_CLASSES:
        x, y = parts[name].unflatten(1, (network.N_CELLS, -1)).flatten(0, 1), labels[name].flatten()
        each = F.cross_entropy(x, y, reduction="none")
        loss = loss + each[y > 0].mean() + each[y == 0].mean()
    for name in network.GROUND_CLASSES:
        loss = loss + 0.3 * F.cross_entropy(parts[name], labels[name])
    return loss


def half(model: nn.Module) -> dict[str, Tensor]:
    """Weights as they are shipped: contiguous float16 (integers unchanged)."""
    state = model.state_dict()
    return {k: (v.half() if v.is_floating_point() else v).contiguous().clone() for k, v in state.items()}


def ship(name: str, state: dict[str, Tensor], cache: Path) -> None:
    """Writes one model's weights into the cache's `export` folder."""
    from safetensors.torch import save_file

    (cache / "export").mkdir(exist_ok=True)
    save_file(state, cache / "export" / f"{name}.safetensors")


def train_network(cache: Path) -> None:
    """The network of the simulated brains: names all factors at all places."""
    drawn, pictures = pool(cache)
    labels = network.cell_labels(drawn)
    torch.manual_seed(seeding.derive(SEED, "network", "init"))
    model = network.SceneNetwork().train()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a keyword torch's stubs lack

    def loss_of(batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        x = network.to_input(pictures[batch.numpy()])
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(x)
        return {"factors": factor_loss(logits, {k: v[batch] for k, v in labels.items()})}

    fit("network", STAGES["network"], model, loss_of, cache)
    ship("scene_network", half(model), cache)


class ClipTraining(nn.Module):
    """The CLIP model with heads that name the factors; the heads serve training alone and are not shipped."""

    def __init__(self, config: dict[str, Any]) -> None:
        from open_clip.model import CLIP

        super().__init__()
        self.clip = CLIP(**config)
        n_factors = sum(network.GROUND_CLASSES.values()) + network.N_CELLS * sum(
            network.CELL_CLASSES.values()
        )
        self.factors = nn.Linear(config["embed_dim"], n_factors)  # read from either tower's embedding
        self.offsets = nn.Linear(config["embed_dim"], network.N_CELLS * 2)

    def forward(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Unit embeddings of images and texts."""
        image, text = self.clip.encode_image(images).float(), self.clip.encode_text(tokens).float()
        return F.normalize(image, dim=1), F.normalize(text, dim=1)


def train_clip(cache: Path) -> None:
    """OpenCLIP by contrast of pictures and captions, helped by naming factors from both embeddings."""
    drawn, pictures = pool(cache)
    drawn = drawn[: STAGES["clip"].n_scenes]
    labels = network.cell_labels(drawn)
    tokenizer = WordTokenizer(scenes.VOCABULARY, OPENCLIP["text_cfg"]["context_length"])
    words = seeding.numpy_generator(SEED, "captions")
    full = tokenizer([scenes.caption(s) for s in drawn])
    partial = tokenizer([scenes.captions(s, 1, words)[0] for s in drawn])
    config = OPENCLIP | {"text_cfg": OPENCLIP["text_cfg"] | {"vocab_size": tokenizer.vocab_size}}
    torch.manual_seed(seeding.derive(SEED, "clip", "init"))
    model = ClipTraining(config).train()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a keyword torch's stubs lack

    def loss_of(batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        some = torch.rand(len(batch), 1, generator=generator) < PARTIAL
        tokens = torch.where(some, partial[batch], full[batch])
        x = network.to_input(pictures[batch.numpy()]).contiguous(memory_format=torch.channels_last)
        # The mathematical form of attention runs its backward pass several times faster than the fused one on CPUs.
        with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            image, text = model(x, tokens)
        model.clip.logit_scale.data.clamp_(max=math.log(50.0))
        logits = model.clip.logit_scale.exp() * image @ text.T
        same = torch.arange(len(batch))
        mine = {k: v[batch] for k, v in labels.items()}
        known = ~some[:, 0]
        told = {k: v[known] for k, v in mine.items()}
        there = (mine["shape"] > 0)[..., None]
        offsets = (model.offsets(image * 8).unflatten(1, (-1, 2)) - mine["offsets"]) ** 2
        return {
            "contrast": (F.cross_entropy(logits, same) + F.cross_entropy(logits.T, same)) / 2,
            "image": factor_loss(model.factors(image * 8), mine),
            "text": 0.5 * factor_loss(model.factors(text[known] * 8), told),
            "offsets": (offsets * there).sum() / there.sum(),
        }

    fit("clip", STAGES["clip"], model, loss_of, cache)
    ship("openclip", half(model.clip), cache)
    transform = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "shortest"}
    content = {"model_cfg": config, "preprocess_cfg": transform, "vocabulary": list(scenes.VOCABULARY)}
    write_json(cache / "export" / "openclip.json", content)


def train_vae(cache: Path) -> None:
    """Autoencoder of pictures (64x64x3) into latents (16x16x6): squared and absolute error, a weak pull to a normal."""
    from diffusers import AutoencoderKL

    _, pictures = pool(cache)
    torch.manual_seed(seeding.derive(SEED, "vae", "init"))
    model = AutoencoderKL(**VAE).train()

    def loss_of(batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        x = F.pixel_unshuffle(network.to_input(pictures[batch.numpy()]), 2)
        with torch.autocast("cpu", torch.bfloat16):
            posterior = model.encode(x).latent_dist
            y = model.decode(posterior.sample(generator)).sample.float()
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        kl = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).mean()
        return {"mse": F.mse_loss(y, x), "l1": 0.2 * F.l1_loss(y, x), "kl": KL_WEIGHT * kl}

    fit("vae", STAGES["vae"], model, loss_of, cache)
    ship("vae", half(model), cache)
    write_json(cache / "export" / "vae.json", VAE)


def train_decoder(cache: Path) -> None:
    """The decoder of the autoencoder again, for latents as they are: what it draws also has to embed as it should."""
    from diffusers import AutoencoderKL

    latents, embeddings = encoded(cache)
    pictures = pool(cache)[1]
    model = AutoencoderKL(**VAE)
    model.load_state_dict(weights.tensors(cache / "export" / "vae.safetensors"), strict=True)
    model.encoder.requires_grad_(False)
    tower = image_tower(cache).requires_grad_(False)

    spread = LATENT_NOISE * latents.std((0, 2, 3))[:, None, None]

    def loss_of(batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        x = network.to_input(pictures[batch.numpy()])
        noise = torch.randn(latents[batch].shape, generator=generator)
        noise *= spread * torch.rand(len(batch), 1, 1, 1, generator=generator)
        with torch.autocast("cpu", torch.bfloat16):
            y = F.pixel_shuffle(model.decoder(latents[batch] + noise), 2).float()
            seen = tower.encode_image(y.clamp(-1, 1), normalize=True).float()
        apart = 1 - (seen * embeddings[batch]).sum(1).mean()
        return {"mse": F.mse_loss(y, x), "l1": 0.2 * F.l1_loss(y, x), "seen": SEEN_WEIGHT * apart}

    fit("decoder", STAGES["decoder"], model.decoder.train(), loss_of, cache)
    ship("vae", half(model), cache)


def image_tower(cache: Path) -> Any:
    """The exported CLIP model."""
    from open_clip.model import CLIP

    config = json.loads((cache / "export" / "openclip.json").read_text())["model_cfg"]
    clip = CLIP(**config).eval()
    clip.load_state_dict(weights.tensors(cache / "export" / "openclip.safetensors"), strict=True)
    return clip


def train_sketch(cache: Path) -> None:
    """The part of the generator that comes before the UNet: latents to be expected from an embedding alone."""
    latents, embeddings = encoded(cache)
    torch.manual_seed(seeding.derive(SEED, "unclip", "init"))
    model = UnclipDecoder(UNCLIP).train()
    model.latent_mean.copy_(latents.mean((0, 2, 3)))
    model.latent_std.copy_(latents.std((0, 2, 3)))
    latents = model.from_autoencoder(latents)
    start_from_heads_(model, cache)
    part = nn.ModuleDict({"hidden": model.hidden, "to_map": model.to_map, "sketch": model.sketch})

    def loss_of(batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        told = blurred(embeddings[batch], generator)
        with torch.autocast("cpu", torch.bfloat16):
            where = model.read(told, torch.zeros(len(told), dtype=torch.bool))[1]
            expected = model.sketch(where)[:, : model.n_channels]
        return {"expected": F.mse_loss(expected.float(), latents[batch])}

    fit("sketch", STAGES["sketch"], part, loss_of, cache)
    if rank() == 0:
        checkpoint(cache / "sketch_done.pt", model.state_dict())


def train_unclip(cache: Path) -> None:
    """Latent diffusion told the image embedding, which is blurred by noise of random strength."""
    latents, embeddings = encoded(cache)
    torch.manual_seed(seeding.derive(SEED, "unclip", "init"))
    model = UnclipDecoder(UNCLIP).train()
    model.load_state_dict(torch.load(cache / "sketch_done.pt", weights_only=True), strict=True)
    latents = model.from_autoencoder(latents)
    alphas_cumprod = cosine_alphas_cumprod()

    def loss_of(batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        n = len(batch)
        noise = torch.randn(latents[batch].shape, generator=generator)
        level = torch.randint(len(alphas_cumprod), (n,), generator=generator)
        dropped = torch.rand(n, generator=generator) < DROPPED
        noisy, velocity = add_noise(latents[batch], noise, level, alphas_cumprod)
        told = blurred(embeddings[batch], generator)
        with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            predicted, expected = model(noisy, level, told, dropped)
        aside = F.mse_loss(expected.float()[~dropped], latents[batch][~dropped])
        return {"velocity": F.mse_loss(predicted.float(), velocity), "expected": 0.5 * aside}

    fit("unclip", STAGES["unclip"], model, loss_of, cache)
    if rank() == 0:
        ship("unclip", half(model), cache)
        digest = weights.sha256(cache / "export" / "openclip.safetensors")
        space = {"space": f"openclip/openclip/{digest[:12]}/pooled"}
        write_json(cache / "export" / "unclip.json", UNCLIP | space)


def encoded(cache: Path) -> tuple[Tensor, Tensor]:
    """What `encode` kept: latents (n, 6, 16, 16) and unit image embeddings (n, 128)."""
    with np.load(cache / "encoded.npz") as kept:
        return torch.from_numpy(kept["latents"]), torch.from_numpy(kept["embeddings"])


def blurred(embeddings: Tensor, generator: torch.Generator) -> Tensor:
    """Unit embeddings, half of them exact and half with noise of random strength, as decoded ones have."""
    noise = torch.randn(embeddings.shape, generator=generator) / math.sqrt(embeddings.shape[1])
    strength = (2 * torch.rand(len(embeddings), 1, generator=generator) - 1).clamp(min=0)
    return F.normalize(embeddings + CONDITION_NOISE * strength * noise, dim=1)


def start_from_heads_(model: UnclipDecoder, cache: Path) -> None:
    """Lets the first units of the hidden layer begin as the heads that named the factors in the training of CLIP."""
    heads = torch.load(cache / "clip.pt", weights_only=True)["average"]
    n = 0
    for name, scale in (("factors", 0.3), ("offsets", 1.0)):
        weight, bias = heads[f"{name}.weight"], heads[f"{name}.bias"]
        rows = slice(n, n + len(bias))
        # The heads read 8 times the embedding, this layer sqrt(dim) times; logits are tamed to other units' scale.
        model.hidden.weight.data[rows] = weight * scale * 8 / math.sqrt(model.embedding_dim)
        model.hidden.bias.data[rows] = bias * scale
        n += len(bias)


def encode(cache: Path) -> None:
    """Latents (n, 6, 16, 16) and unit image embeddings (n, 128) of the first scenes of the pool, kept in the cache."""
    from diffusers import AutoencoderKL

    clip, vae = image_tower(cache), AutoencoderKL(**VAE).eval()
    vae.load_state_dict(weights.tensors(cache / "export" / "vae.safetensors"), strict=True)
    latents, embeddings = [], []
    pictures, n = pool(cache)[1], STAGES["unclip"].n_scenes
    for start in range(0, n, 250):
        x = network.to_input(pictures[start : min(start + 250, n)])
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            latents.append(vae.encode(F.pixel_unshuffle(x, 2)).latent_dist.mean.float().numpy())
            embeddings.append(clip.encode_image(x, normalize=True).float().numpy())
    np.savez(cache / "encoded.npz", latents=np.concatenate(latents), embeddings=np.concatenate(embeddings))


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes a JSON file with a final newline."""
    path.write_text(json.dumps(content, indent=1) + "\n")


def export(cache: Path) -> None:
    """Copies what was trained into braindec/weights, with checksums and the record of the training."""
    record = {
        "seed": SEED,
        "n_scenes": N_SCENES,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
        "stages": {k: asdict(v) | {"seconds": seconds_of(cache / f"{k}.pt")} for k, v in STAGES.items()},
    }
    write_json(cache / "export" / "training.json", record)
    for path in sorted((cache / "export").iterdir()):
        shutil.copyfile(path, weights.FOLDER / path.name)
    found = (p for p in weights.FOLDER.iterdir() if p.suffix in (".safetensors", ".json"))
    shipped = sorted(p for p in found if p.name != "published.json")  # a table about the weights of others
    lines = [f"{weights.sha256(p)}  {p.name}\n" for p in shipped]
    (weights.FOLDER / "SHA256SUMS").write_text("".join(lines))
    print(f"{sum(p.stat().st_size for p in shipped) / 1e6:.2f} MB in {weights.FOLDER}")


def seconds_of(path: Path) -> int:
    """Wall time of a finished stage, its interruptions left out."""
    return round(torch.load(path, weights_only=True)["seconds"])


TRAIN = {
    "network": train_network,
    "clip": train_clip,
    "vae": train_vae,
    "encode": encode,
    "decoder": train_decoder,
    "sketch": train_sketch,
    "unclip": train_unclip,
    "export": export,
}


def main() -> None:
    """Runs the asked stages in order."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--cache", type=Path, required=True, help="folder of scene pool and checkpoints")
    parser.add_argument("--stage", nargs="+", choices=list(TRAIN), default=list(TRAIN))
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    _compat.ensure_torchvision()
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group("gloo")
    for stage in args.stage:
        TRAIN[stage](args.cache)


if __name__ == "__main__":
    main()
