"""A small model's folder comes back bit by bit, and a file that does not belong to the other is refused."""

from __future__ import annotations

import pytest
import torch

from braindec import store, tensor_folder
from braindec.checks import DataFileError


@pytest.fixture
def folder(tmp_path):
    tensors = {"a": torch.arange(6.0).reshape(2, 3).t(), "b": torch.tensor(3)}  # a is not contiguous
    return tensor_folder.write(tmp_path / "model", tensors, {"config": {"width": 3}})


def test_tensors_and_what_was_told_come_back(folder):
    about, tensors = tensor_folder.read(folder, "Make it.")
    assert about["config"] == {"width": 3} and set(tensors) == {"a", "b"}
    assert torch.equal(tensors["a"], torch.arange(6.0).reshape(2, 3).t()) and int(tensors["b"]) == 3
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "weights.safetensors"]


def test_weights_of_another_model_and_bytes_that_are_none_are_refused(folder, tmp_path):
    other = tensor_folder.write(tmp_path / "other", {"a": torch.zeros(1)}, {})
    kept = (folder / tensor_folder.WEIGHTS).read_bytes()
    (folder / tensor_folder.WEIGHTS).write_bytes((other / tensor_folder.WEIGHTS).read_bytes())
    with pytest.raises(DataFileError, match=r"is not the file that config\.json was written with"):
        tensor_folder.read(folder, "Make it.")
    (folder / tensor_folder.WEIGHTS).write_bytes(kept[: len(kept) // 2])
    told = store.read_json(folder / tensor_folder.CONFIG)
    told["weights_sha256"] = store.sha256_of(folder / tensor_folder.WEIGHTS)
    store.write_json(folder / tensor_folder.CONFIG, told)
    with pytest.raises(DataFileError, match="no readable safetensors file"):
        tensor_folder.read(folder, "Make it.")
    with pytest.raises(FileNotFoundError, match="Make it"):
        tensor_folder.read(tmp_path / "nowhere", "Make it.")


def test_a_config_that_holds_no_settings_is_refused(folder):
    store.write_json(folder / tensor_folder.CONFIG, ["width", 3])
    with pytest.raises(DataFileError, match=r"config\.json: holds no settings\. Make it"):
        tensor_folder.read(folder, "Make it.")
