"""Models in folders: found, never fetched, loaded whole, and told apart by their content alone."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from braindec import _compat, checks, pretrained, registry
from braindec.targets import (
    _known,
    _pretrained,
    timm_vision,
    transformers_audio,
    transformers_text,
    transformers_vision,
    vae,
)


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """An empty cache of huggingface_hub, and a machine on which every connection fails."""

    def refuse(*args, **kwargs):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture(scope="module")
def dinov2(tmp_path_factory) -> Path:
    transformers = pytest.importorskip(
        "transformers", reason="targets of transformers need the extra `models`"
    )
    _compat.ensure_torchvision()
    folder = tmp_path_factory.mktemp("dinov2")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        described = transformers.Dinov2Config(image_size=28, patch_size=14, **sizes)
        transformers.Dinov2Model(described).save_pretrained(folder)
    transformers.BitImageProcessor(
        size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}
    ).save_pretrained(folder)
    return folder


MISSING = {
    "transformers_vision": transformers_vision,
    "transformers_audio": transformers_audio,
    "transformers_text": transformers_text,
    "vae": vae,
}


@pytest.mark.parametrize("name", sorted(MISSING))
def test_a_missing_model_is_said_with_its_command_size_licence_and_place_and_nothing_is_fetched(hub, name):
    with pytest.raises(checks.DownloadError) as told:
        MISSING[name].build(MISSING[name].Config())
    said, model = str(told.value), MISSING[name].Config().model
    known = _known.MODELS[model]
    assert f"hf download {model}" in said and f"{known.megabytes} MB" in said and known.licence in said
    assert known.revision is None or f"--revision {known.revision}" in said
    assert str(hub) in said and name in said
    assert not hub.exists()


def test_missing_weights_of_timm_are_said_likewise(hub):
    with pytest.raises(
        checks.DownloadError, match=r"hf download timm/vit_base_patch14_dinov2\.lvd142m"
    ) as told:
        timm_vision.build(timm_vision.Config())
    assert "346 MB, licence apache-2.0" in str(told.value) and str(hub) in str(told.value)


def test_an_unknown_name_and_an_empty_folder_are_said_as_what_they_are(hub, tmp_path):
    with pytest.raises(checks.DownloadError, match="hf download someone/something --local-dir"):
        _pretrained.folder_of("someone/something", "vae")
    with pytest.raises(checks.DownloadError, match="finds no model in the folder"):
        _pretrained.folder_of(str(tmp_path), "vae")


def test_a_download_in_the_cache_is_found_by_name_and_only_at_the_recorded_commit(hub, dinov2):
    repository = "facebook/dinov2-base"
    snapshots = hub / "models--facebook--dinov2-base" / "snapshots"
    shutil.copytree(dinov2, snapshots / ("0" * 40))
    with pytest.raises(checks.DownloadError):
        _pretrained.folder_of(repository, "transformers_vision")
    recorded = snapshots / str(_known.MODELS[repository].revision)
    shutil.copytree(dinov2, recorded)
    assert _pretrained.folder_of(repository, "transformers_vision") == recorded
    assert transformers_vision.build(transformers_vision.Config(repository)).shape == (1, 16)


def test_two_copies_of_a_model_are_one_model_and_another_one_is_another(dinov2, tmp_path):
    shutil.copytree(dinov2, tmp_path / "copy")
    described = json.loads((tmp_path / "copy" / "config.json").read_text())
    (tmp_path / "copy" / "config.json").write_text(
        json.dumps(described | {"_name_or_path": "elsewhere", "transformers_version": "0"})
    )
    shutil.copytree(dinov2, tmp_path / "other")
    tensors = load_file(dinov2 / "model.safetensors")
    tensors["layernorm.bias"] = tensors["layernorm.bias"] + 1e-3
    save_file(tensors, tmp_path / "other" / "model.safetensors", metadata={"format": "pt"})
    one, copy, other = (
        transformers_vision.build(transformers_vision.Config(str(folder)))
        for folder in (dinov2, tmp_path / "copy", tmp_path / "other")
    )
    assert one.identity() == copy.identity() and one.space == copy.space
    assert one.identity() != other.identity() and one.space != other.space


def test_weights_that_are_missing_are_not_drawn_at_random(dinov2, tmp_path):
    shutil.copytree(dinov2, tmp_path / "broken")
    tensors = load_file(dinov2 / "model.safetensors")
    gone = next(name for name in tensors if "mlp.fc1.weight" in name)
    del tensors[gone]
    save_file(tensors, tmp_path / "broken" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(checks.DataFileError, match="lacks weights"):
        transformers_vision.build(transformers_vision.Config(str(tmp_path / "broken")))
    (tmp_path / "broken" / "model.safetensors").unlink()
    with pytest.raises((checks.DataFileError, OSError)):
        transformers_vision.build(transformers_vision.Config(str(tmp_path / "broken")))


def test_a_pooler_that_is_not_in_the_file_matters_only_to_who_asks_for_it(tmp_path):
    transformers = pytest.importorskip("transformers", reason="needs the extra `models`")
    _compat.ensure_torchvision()
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 16,
    }
    with torch.random.fork_rng(devices=[]):
        classifier = transformers.ViTForImageClassification(transformers.ViTConfig(**sizes))
    classifier.save_pretrained(tmp_path)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    assert transformers_vision.build(transformers_vision.Config(str(tmp_path))).shape == (1, 16)
    with pytest.raises(checks.DataFileError, match="pooler"):
        transformers_vision.build(transformers_vision.Config(str(tmp_path), pooling="model"))


@pytest.mark.parametrize("name", ["transformers_vision", "transformers_audio", "transformers_text"])
def test_without_transformers_the_line_that_installs_it_is_said(monkeypatch, name):
    monkeypatch.setattr(pretrained.util, "find_spec", lambda package: None)
    with pytest.raises(checks.MissingPackageError, match=r"pip install 'braindec\[models\]'"):
        MISSING[name].build(MISSING[name].Config())


def test_the_table_names_commits_or_says_that_none_is_known_and_targets_that_there_are():
    for name, model in _known.MODELS.items():
        assert model.repository == name and model.megabytes > 0 and model.licence
        assert model.revision is None or (len(model.revision) == 40 and int(model.revision, 16) >= 0)
        assert model.target in registry.names("targets")


def test_the_page_shows_the_table(repository):
    page = (repository / "docs" / "targets.md").read_text()
    for model in _known.MODELS.values():
        revision = f"`{model.revision}`" if model.revision else "not recorded"
        row = (
            f"| `{model.repository}` | {revision} | {model.megabytes} | {model.licence} | `{model.target}` |"
        )
        assert row in page, row
