"""A pipeline's folder is opened strictly, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from braindec import checks
from braindec.generators import Guides, ip_adapter, latent_diffusion, sdxl_unclip

WEIGHTS = Path("unet") / "diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tiny_pipelines, tmp_path) -> Path:
    tiny_pipelines.stable_diffusion(tmp_path / "sd")
    return tmp_path / "sd"


def opened(folder: Path):
    config = latent_diffusion.Config(folder=str(folder), space="s", n_tokens=3, guidance=2.0)
    return latent_diffusion.build(config)


def changed(file: Path, **settings) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


def test_the_folder_as_it_was_saved_opens_with_frozen_networks(folder):
    made = opened(folder)
    assert not any(p.requires_grad for p in made.networks.unet.parameters())
    assert not made.networks.unet.training
    assert set(made.identity()["weights_sha256"]) == {
        "unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
    }  # fmt: skip


def test_identities_tell_settings_and_not_places(folder):
    made = opened(folder).identity()
    assert made["guidance"] == 2.0
    assert str(folder) not in json.dumps(made)


@pytest.mark.parametrize(("change", "says"), [("lost", "missing"), ("more", "left over"), ("shape", "unet")])
def test_weights_that_are_not_those_of_the_config_are_refused(folder, change, says):
    tensors = load_file(folder / WEIGHTS)
    if change == "lost":
        del tensors["conv_in.bias"]
    elif change == "more":
        tensors["extra.weight"] = torch.zeros(1)
    else:
        tensors["conv_in.bias"] = torch.zeros(3)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(checks.DataFileError, match=says):
        opened(folder)


def test_a_text_encoder_without_a_weight_is_refused(folder):
    file = folder / "text_encoder" / "model.safetensors"
    tensors = load_file(file)
    tensors.pop(next(key for key in tensors if "layers.1.mlp.fc1.weight" in key))
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(checks.DataFileError, match=r"missing.*fc1"):
        opened(folder)


def test_names_of_older_files_are_known(folder):
    """Tables of positions beside the text encoder's weights, and the autoencoder's attention by its first names."""
    before = opened(folder).networks.autoencoder.state_dict()
    file = folder / "text_encoder" / "model.safetensors"
    save_file(
        load_file(file) | {"text_model.embeddings.position_ids": torch.arange(10)[None]},
        file,
        {"format": "pt"},
    )
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    names = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    older = {}
    for key, value in load_file(file).items():
        for new, old in names.items():
            key = key.replace(new, old)
        older[key] = value
    assert any(".query." in key for key in older)
    save_file(older, file, {"format": "pt"})
    after = opened(folder).networks.autoencoder.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_published_weights_that_were_not_pulled_are_named_with_their_command(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(checks.DownloadError, match=r"braindec pull sd-1\.5"):
        opened(Path("sd-1.5"))


def test_pickled_weights_are_not_opened(folder):
    torch.save(load_file(folder / WEIGHTS), folder / "unet" / "diffusion_pytorch_model.bin")
    (folder / WEIGHTS).unlink()
    with pytest.raises(checks.DataFileError, match="safetensors"):
        opened(folder)


def test_another_pipeline_and_classes_outside_our_tables_are_refused(folder):
    with pytest.raises(
        checks.DataFileError, match="StableDiffusionPipeline, expected StableDiffusionXLPipeline"
    ):
        sdxl_unclip.build(sdxl_unclip.Config(folder=str(folder), space="s"))
    changed(folder / "model_index.json", unet=["somewhere", "EvilModel"])
    with pytest.raises(checks.DataFileError, match="EvilModel"):
        opened(folder)
    changed(folder / "model_index.json", unet=["diffusers", "UNet2DConditionModel"], scheduler=["x", "Evil"])
    with pytest.raises(checks.DataFileError, match="Evil as scheduler"):
        opened(folder)


def test_what_is_not_there_is_named(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="save_pretrained"):
        opened(tmp_path / "nowhere")
    (folder / "model_index.json").write_text("{")
    with pytest.raises(checks.DataFileError, match="is not JSON"):
        opened(folder)


@pytest.mark.parametrize("change", ["lost", "more", "other"])
def test_an_adapter_of_another_network_is_refused(folder, tiny_pipelines, tmp_path, change):
    file = tmp_path / "ip.safetensors"
    tensors = tiny_pipelines.ip_adapter(file, tiny_pipelines.unet())
    name = next(key for key in tensors if key.startswith("ip_adapter."))
    if change == "lost":
        del tensors[name]
    elif change == "more":
        tensors["ip_adapter.99.to_k_ip.weight"] = torch.zeros(2, 2)
    else:
        tensors["lora.weight"] = torch.zeros(2)
    save_file(tensors, file)
    with pytest.raises(checks.DataFileError, match=r"ip\.safetensors"):
        ip_adapter.build(ip_adapter.Config(folder=str(folder), space="s", adapter=str(file)))


def test_a_latent_diffusion_with_a_vector_quantised_autoencoder_and_no_texts_is_drawn(
    tiny_pipelines, tmp_path
):
    """As the first latent diffusion models were saved."""
    from diffusers import VQModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        quantised = VQModel(
            block_out_channels=(8, 8), latent_channels=4, norm_num_groups=4, num_vq_embeddings=32, sample_size=16,
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        )  # fmt: skip
    parts = {"unet": tiny_pipelines.unet(), "vqvae": quantised, "scheduler": tiny_pipelines.scheduler()}
    for name, part in parts.items():
        part.save_pretrained(tmp_path / name)
    index = {name: ["diffusers", type(part).__name__] for name, part in parts.items()}
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "LDMTextToImagePipeline", **index}))
    made, tokens = opened(tmp_path), np.ones((2, 3, 16), np.float32)
    asked = {"n_steps": 2, "guides": Guides(low_level=np.full((2, 16, 16, 3), 200, np.uint8))}
    drawn = made.generate(tokens, generator=torch.Generator().manual_seed(0), **asked)
    assert drawn.shape == (2, 16, 16, 3)
    assert drawn.std() > 0
