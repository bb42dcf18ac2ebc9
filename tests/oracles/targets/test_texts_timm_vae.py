"""Text models of transformers, vision models of timm and VAEs of diffusers, each against its own library."""

from __future__ import annotations

from importlib import util

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from braindec import _compat, checks
from braindec.targets import efficientnet_lite0, minilm, timm_vision, transformers_text, vae

TEXTS = ["a large red circle at the top", "a house", "two dogs run over a meadow in the rain"]
needs_minilm = pytest.mark.skipif(
    util.find_spec(minilm.PACKAGE) is None, reason=f"the tokenizer comes in the package {minilm.PACKAGE}"
)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A small random BERT with a real tokenizer."""
    transformers = pytest.importorskip("transformers", reason="needs the extra `models`")
    _compat.ensure_torchvision()
    folder = tmp_path_factory.mktemp("bert")
    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm.model_folder(), local_files_only=True)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        described = transformers.BertConfig(vocab_size=len(tokenizer), max_position_embeddings=12, **sizes)
        transformers.BertModel(described).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@needs_minilm
@pytest.mark.parametrize("layers", [(), (1,), (0, 2)])
def test_a_text_is_pooled_over_its_own_pieces_one_text_at_a_time(bert, layers):
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = AutoModel.from_pretrained(bert).eval(), AutoTokenizer.from_pretrained(bert)
    for pooling, of in (("mean", lambda h: h.mean(0)), ("class", lambda h: h[0]), ("last", lambda h: h[-1])):
        config = transformers_text.Config(str(bert), layers, pooling, normalised=False)
        target = transformers_text.build(config)
        for text, mine in zip(TEXTS, target.embed_text(TEXTS), strict=True):
            inputs = tokenizer([text], return_tensors="pt", truncation=True, max_length=12)
            with torch.inference_mode():
                states = model(**inputs, output_hidden_states=True).hidden_states
            chosen = torch.stack([states[k][0] for k in layers or (-1,)]).mean(0)
            np.testing.assert_allclose(mine, of(chosen).numpy(), atol=2e-5)


@needs_minilm
def test_the_models_own_pooling_and_other_settings_are_other_spaces(bert):
    ways = [{}, {"pooling": "model"}, {"pooling": "class"}, {"layers": (1,)}, {"normalised": False}]
    targets = [transformers_text.build(transformers_text.Config(str(bert), **way)) for way in ways]
    assert len({t.space for t in targets}) == len({str(t.identity()) for t in targets}) == len(ways)
    np.testing.assert_allclose(np.linalg.norm(targets[0].embed_text(TEXTS), axis=1), 1, atol=1e-5)
    assert targets[0].embed_text([]).shape == (0, 32)


@needs_minilm
def test_a_long_text_is_cut_where_the_model_ends_also_where_places_begin_after_padding(tmp_path):
    """RoBERTa counts from the place after padding's: of 14 places 12 are left."""
    transformers = pytest.importorskip("transformers", reason="needs the extra `models`")
    _compat.ensure_torchvision()
    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm.model_folder(), local_files_only=True)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
    described = transformers.RobertaConfig(
        vocab_size=len(tokenizer), max_position_embeddings=14, pad_token_id=tokenizer.pad_token_id, **sizes
    )
    transformers.RobertaModel(described).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    target = transformers_text.build(transformers_text.Config(str(tmp_path)))
    left = described.max_position_embeddings - described.pad_token_id - 1
    assert target.identity()["max_length"] == left
    found = target.embed_text(["house " * 40, "house " * (left - 2)])  # two pieces begin and end a text
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


@needs_minilm
def test_real_sentence_embeddings_are_those_of_the_target_minilm():
    mine = transformers_text.build(transformers_text.Config(str(minilm.model_folder())))
    expected = minilm.build(minilm.Config()).embed_text(TEXTS)
    np.testing.assert_allclose(mine.embed_text(TEXTS), expected, atol=1e-6)
    near = mine.embed_text(["a dog", "a puppy", "a court of law"])
    assert near[0] @ near[1] > near[0] @ near[2] + 0.2  # the weights are real


@pytest.mark.skipif(
    util.find_spec(efficientnet_lite0.PACKAGE) is None, reason="the weights come as a package"
)
def test_real_features_of_a_timm_model_are_those_of_the_same_network_as_its_own_target(tmp_path, rng):
    network = efficientnet_lite0.load_network(efficientnet_lite0.weights_file())
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    name = efficientnet_lite0.ARCHITECTURE
    target = timm_vision.build(timm_vision.Config(name, str(tmp_path / "model.safetensors"), pooling="mean"))
    pictures = rng.integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)  # timm cuts the middle 224 of 256
    same = efficientnet_lite0.build(efficientnet_lite0.Config(size=224))
    expected = same.embed_images(pictures[:, 16:240, 16:240])
    np.testing.assert_allclose(target.embed_images(pictures), expected, atol=1e-4)


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    """A small random vision transformer of timm: (file, network)."""
    _compat.ensure_torchvision()
    import timm

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = timm.create_model("vit_tiny_patch16_224", img_size=32).eval()
    file = tmp_path_factory.mktemp("timm") / "vit.safetensors"
    save_file(network.state_dict(), file)
    return file, network


def test_layers_and_poolings_of_timm_are_its_blocks(vit, rng):
    file, network = vit
    pictures = rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255 * 2 - 1
    blocks: list = []
    handle = network.blocks[2].register_forward_hook(lambda _m, _i, out: blocks.append(out))
    with torch.inference_mode():
        features = network.forward_features(x)
    handle.remove()

    def found(**given):
        config = timm_vision.Config("vit_tiny_patch16_224", str(file), size=32, **given)
        return timm_vision.build(config).embed_images(pictures)

    # timm's transform cuts the middle out of a picture enlarged by 1 / crop_pct: here the layers alone are compared.
    target = timm_vision.build(
        timm_vision.Config("vit_tiny_patch16_224", str(file), size=32, layer=3, pooling="all")
    )
    np.testing.assert_allclose(target.embed_tensor(x).numpy(), blocks[0].numpy(), atol=2e-5)
    for pooling, expected in (
        ("all", features), ("class", features[:, :1]), ("model", features[:, :1]),
        ("mean", features[:, 1:].mean(1, keepdim=True)), ("patches", features[:, 1:]),
    ):  # fmt: skip
        config = timm_vision.Config("vit_tiny_patch16_224", str(file), size=32, pooling=pooling)
        mine = timm_vision.build(config).embed_tensor(x)
        np.testing.assert_allclose(mine.numpy(), expected.numpy(), atol=2e-5)
    assert found(layer=-1, pooling="mean").shape == (2, 1, 192)
    with pytest.raises(checks.ConfigError, match="layer 13 is none"):
        found(layer=13, pooling="mean")


def test_a_folder_of_timm_brings_its_own_transform(vit, tmp_path):
    import timm

    _, network = vit
    network.pretrained_cfg |= {"mean": (0.1, 0.2, 0.3)}
    timm.models.save_for_hf(network, tmp_path, model_config={"num_classes": 1000}, safe_serialization=True)
    given = {"model": "vit_tiny_patch16_224", "weights": str(tmp_path), "size": 32}
    target = timm_vision.build(timm_vision.Config(**given))
    assert target.identity()["transform"]["mean"] == [0.1, 0.2, 0.3]
    with pytest.raises(checks.SpaceMismatchError, match="vit_tiny"):
        timm_vision.build(timm_vision.Config(**given | {"model": "resnet18"}))


def test_weights_of_another_architecture_and_unknown_names_are_refused(vit):
    with pytest.raises(RuntimeError, match="state_dict"):
        timm_vision.build(timm_vision.Config("resnet18", str(vit[0])))
    with pytest.raises(checks.ConfigError, match="Did you mean 'resnet18'"):
        timm_vision.build(timm_vision.Config("resnet_18", str(vit[0])))


@pytest.fixture(scope="module")
def kl(tmp_path_factory):
    """A small random AutoencoderKL with a scale and a shift: (folder, network)."""
    _compat.ensure_torchvision()
    import diffusers

    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = diffusers.AutoencoderKL(
            block_out_channels=(8, 8), norm_num_groups=4, latent_channels=5, scaling_factor=0.4, shift_factor=0.2,
            **blocks,
        ).eval()  # fmt: skip
    folder = tmp_path_factory.mktemp("kl")
    network.save_pretrained(folder)
    return folder, network


def test_latents_are_the_mode_shifted_and_scaled_and_decode_as_the_librarys(kl, rng):
    folder, network = kl
    pictures = rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        mode = network.encode(x).latent_dist.mode()
    expected = ((mode - 0.2) * 0.4).numpy()
    flat = vae.build(vae.Config(str(folder), size=32, layout="flat"))
    positions = vae.build(vae.Config(str(folder), size=32))
    assert positions.shape == (16 * 16, 5) and flat.shape == (1, 5 * 16 * 16)
    np.testing.assert_allclose(flat.embed_images(pictures).reshape(expected.shape), expected, atol=1e-5)
    by_position = positions.embed_images(pictures)
    np.testing.assert_allclose(by_position.transpose(0, 2, 1).reshape(expected.shape), expected, atol=1e-5)
    for target, values in ((flat, flat.embed_images(pictures)), (positions, by_position)):
        torch.testing.assert_close(target.latents(values), mode, atol=1e-5, rtol=1e-5)
        with torch.inference_mode():
            torch.testing.assert_close(
                target.network.decode(target.latents(values)).sample, network.decode(mode).sample,
                atol=1e-4, rtol=1e-4,
            )  # fmt: skip
    assert flat.identity()["scaling_factor"] == 0.4


def test_a_tiny_autoencoder_has_latents_without_a_distribution(tmp_path, rng):
    import diffusers

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = diffusers.AutoencoderTiny(
            encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8), num_encoder_blocks=(1, 1),
            num_decoder_blocks=(1, 1),
        ).eval()  # fmt: skip
    network.save_pretrained(tmp_path)
    pictures = rng.integers(0, 256, (2, 24, 24, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = network.encode(torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1).latents
    target = vae.build(vae.Config(str(tmp_path), size=24))
    found = target.latents(target.embed_images(pictures))
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-5)


def test_a_folder_of_another_kind_of_model_is_no_vae(kl, tmp_path):
    (tmp_path / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    with pytest.raises(checks.ConfigError, match="AutoencoderKL"):
        vae.build(vae.Config(str(tmp_path)))
