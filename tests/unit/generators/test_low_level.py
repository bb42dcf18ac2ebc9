"""The low-level path: latents of autoencoders as pictures, pictures that a drawing starts from, outlines of scenes."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch
from PIL import Image

from braindec import autoencoders, checks, tiny_autoencoder
from braindec.data.simulated import rendering, scenes
from braindec.generators import Guides, embedded_unclip, vae_latents
from braindec.targets import silhouette, tiny_openclip, vae


@lru_cache
def drawn(n: int = 12) -> tuple[list[scenes.Scene], np.ndarray]:
    made = scenes.sample_scenes(n, np.random.default_rng(5))
    return made, rendering.render_all(made)


def decibels(made: np.ndarray, true: np.ndarray) -> np.ndarray:
    error = (made.astype(float) - true.astype(float)) ** 2
    return 10 * np.log10(255**2 / error.mean((1, 2, 3)))


def show(generator, values: np.ndarray) -> np.ndarray:
    return generator.generate(values, generator=torch.Generator())


@pytest.mark.parametrize("layout", ["flat", "positions"])
def test_latents_of_the_shipped_autoencoder_come_back_as_their_scenes(layout):
    pictures = drawn()[1]
    target = vae.build(vae.Config("shipped", size=64, layout=layout))
    generator = vae_latents.of_space(target.space)
    assert generator.space == target.space and generator.shape == target.shape
    values = target.embed_images(pictures)
    found = decibels(show(generator, values), pictures)
    assert found.min() > 20 and found.mean() > 25
    assert decibels(show(generator, values[::-1]), pictures).mean() < 15


def test_a_real_tiny_autoencoder_of_two_files_shows_photographs_as_published(real_data):
    folder = real_data / "weights" / "taef2"
    files = sorted((real_data / "images_clothing_cc0" / "test").glob("*/*.jpg"))[::60]
    size = (128, 128)
    pictures = np.stack([np.asarray(Image.open(f).convert("RGB").resize(size)) for f in files])
    target = vae.build(vae.Config(str(folder), size=128))
    generator = vae_latents.of_space(target.space, str(folder))
    values = target.embed_images(pictures)
    assert values.shape[1:] == (256, 32)
    found = decibels(show(generator, values), pictures)
    assert found.min() > 24 and found.mean() > 28
    assert decibels(show(generator, values[::-1]), pictures).mean() < 15


def test_files_without_the_inner_maps_are_those_of_diffusers(tmp_path, rng):
    import diffusers
    from safetensors.torch import save_file

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = diffusers.AutoencoderTiny(
            num_encoder_blocks=(1, 2, 1, 1), num_decoder_blocks=(1, 1, 2, 1)
        ).eval()
    encoder = {name.removeprefix("layers."): v for name, v in network.encoder.state_dict().items()}
    decoder = {  # diffusers leaves the first layer, which has no weights, out of the sequence
        f"{int(name.split('.')[1]) + 1}.{name.split('.', 2)[2]}": v
        for name, v in network.decoder.state_dict().items()
    }
    save_file(encoder, tmp_path / "small_encoder.safetensors")
    save_file(decoder, tmp_path / "small_decoder.safetensors")
    mine = autoencoders.opened(tmp_path)
    x = torch.from_numpy(rng.standard_normal((2, 3, 32, 32)).astype(np.float32))
    with torch.inference_mode():
        latents = network.encode(x).latents
        torch.testing.assert_close(mine.encode(x), latents, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(mine.decode(latents), network.decode(latents).sample, atol=1e-4, rtol=1e-4)


def test_files_of_another_network_and_outputs_of_another_autoencoder_are_refused(tmp_path):
    from safetensors.torch import save_file

    for part in ("encoder", "decoder"):
        save_file({"layers.0.weight": torch.zeros(2, 2)}, tmp_path / f"x_{part}.safetensors")
    with pytest.raises(checks.DataFileError, match="tiny autoencoder"):
        tiny_autoencoder.load(*tiny_autoencoder.files(tmp_path))
    with pytest.raises(checks.SpaceMismatchError, match="autoencoder"):
        vae_latents.of_space(f"vae/AutoencoderKL/{'0' * 12}/64/flat")
    with pytest.raises(checks.ConfigError, match="VAE target"):
        vae_latents.of_space("pixels/16x16/rgb")


def test_a_drawing_that_starts_from_a_picture_stays_near_it_the_more_the_fewer_its_steps():
    pictures = drawn()[1][:8]
    others = tiny_openclip.build(tiny_openclip.Config()).embed_images(pictures[::-1])
    asked = {"guides": Guides(low_level=pictures), "n_steps": 10}

    def near(strength: float) -> float:
        made = embedded_unclip.build(embedded_unclip.Config(guidance=1.0, strength=strength))
        return decibels(
            made.generate(others, generator=torch.Generator().manual_seed(0), **asked), pictures
        ).mean()

    found = [near(strength) for strength in (0.2, 0.5, 1.0)]
    assert found[0] > found[1] > found[2]
    assert found[0] > found[2] + 5
    with pytest.raises(ValueError, match="no whole step"):
        near(0.05)


def test_outlines_and_depth_of_a_scene_are_those_of_its_objects():
    for scene in drawn()[0]:
        outline, near = rendering.silhouette(scene), rendering.nearness(scene)
        assert outline.dtype == near.dtype == np.float32 and outline.shape == near.shape == (64, 64)
        assert 0 <= outline.min() and outline.max() == pytest.approx(1)
        sizes = {thing.size for thing in scene.objects}
        assert near.max() == pytest.approx(max(rendering.NEARNESS[size] for size in sizes))
        assert ((near > 0) == (outline > 0)).all()


def test_the_target_of_silhouettes_sees_what_the_scene_holds_and_no_luminance():
    made, pictures = drawn(40)
    target = silhouette.build(silhouette.Config(side=64))
    found = target.embed_images(pictures).reshape(-1, 64, 64) > 0.5
    true = np.stack([rendering.silhouette(scene) for scene in made]) > 0.5
    overlap = (found & true).sum((1, 2)) / (found | true).sum((1, 2))
    assert np.median(overlap) > 0.85  # a pixel on an edge is either
    shuffled = (found & true[::-1]).sum((1, 2)) / (found | true[::-1]).sum((1, 2))
    assert np.median(shuffled) < 0.4
