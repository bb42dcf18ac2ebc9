"""Fixtures shared by all tests, and a sys.path that looks like a user's."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: see the Makefile

import numpy as np
import pytest
import torch

import braindec
from braindec import _compat
from braindec.data import NeuralDataset, Split
from braindec.types import ArraySpace, Embeddings, StimulusSet, Table, Trials

REPOSITORY = Path(__file__).resolve().parents[1]

# `python -m pytest` and the editable install put the repository root on sys.path, where its folders `datasets` and
# `recipes` would be importable (and the first would stand in for Hugging Face's package). braindec is already found.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != REPOSITORY]

# Two cores are what continuous integration has; a caller that asked for fewer threads gets fewer.
torch.set_num_threads(min(2, torch.get_num_threads()))


@pytest.fixture
def repository() -> Path:
    """The root of the checkout that is tested."""
    assert Path(braindec.__file__).resolve().parents[1] == REPOSITORY, "another braindec is installed"
    return REPOSITORY


@pytest.fixture
def rng() -> np.random.Generator:
    """The test's own numpy generator, the same in every run."""
    return np.random.default_rng(0)


@pytest.fixture
def generator() -> torch.Generator:
    """The test's own torch generator, the same in every run."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def tiny_pipelines() -> SimpleNamespace:
    """Makers of small diffusion pipelines of the published classes, `tests/tiny_pipelines.py`."""
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("tiny_pipelines.py"))))


@pytest.fixture(scope="session")
def planted() -> Planted:
    """A small dataset of two subjects whose responses are a known linear map of the embeddings, plus noise."""
    return plant()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real recordings that BRAINDEC_REAL_DATA names."""
    return _folder_from_environment("BRAINDEC_REAL_DATA", "real recordings")


@pytest.fixture(scope="session")
def parity() -> Path:
    """The folder of published models' weights and outputs that BRAINDEC_PARITY names."""
    return _folder_from_environment("BRAINDEC_PARITY", "published models' weights and outputs")


@pytest.fixture(scope="session")
def captioner_folder(tmp_path_factory) -> Callable[[str], Path]:
    """Folders of small random captioners with tokenizer and image processor: "git", "blip", "llava" or "gpt2"."""
    pytest.importorskip("transformers", reason="captioners of transformers need the extra `models`")
    _compat.ensure_torchvision()
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                for part in _captioner_parts(name):
                    part.save_pretrained(made[name])
        return made[name]

    return folder


def _captioner_parts(name: str) -> list:
    """Model, tokenizer and image processor; weights so wide that different pictures get different captions."""
    import transformers as t

    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    wide = {"initializer_range": 1.0}
    ids = {"vocab_size": 24, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    tower = {**small, "image_size": 16, "patch_size": 8}
    if name == "git":
        model = t.GitForCausalLM(t.GitConfig(vision_config=tower, **small, **ids, **wide))
    elif name == "blip":
        text = {**small, **ids, "encoder_hidden_size": 16, "sep_token_id": 1, **wide}
        model = t.BlipForConditionalGeneration(t.BlipConfig(text_config=text, vision_config=tower))
        with torch.no_grad():  # its classes draw narrow weights whatever a config says
            for weight in (p for p in model.parameters() if p.ndim > 1):
                weight.normal_(0, 0.5)
    elif name == "llava":
        seen, said = t.CLIPVisionConfig(**tower), t.LlamaConfig(**small, **ids, **wide)
        described = t.LlavaConfig(
            vision_config=seen, text_config=said, image_token_index=4, vision_feature_layer=-2
        )
        model = t.LlavaForConditionalGeneration(described)
    else:
        model = t.GPT2LMHeadModel(t.GPT2Config(n_embd=16, n_layer=1, n_head=2, n_positions=40, **ids))
    processor = t.CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    return [model, _word_tokenizer(), *([] if name == "gpt2" else [processor])]


def _word_tokenizer():
    """24 words, the first five special."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ("<s>", "</s>", "<pad>", "<unk>", "<image>")
    plain = "a red blue two star on white dog house runs the green sky tree one at is what saw".split()
    known = Tokenizer(models.WordLevel({w: i for i, w in enumerate((*special, *plain))}, unk_token="<unk>"))
    known.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=known, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def _folder_from_environment(variable: str, content: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is unset; it names the folder with {content}")
    folder = Path(value)
    if not folder.is_dir():
        pytest.fail(f"{variable}={value} is no folder")
    return folder


@dataclass(frozen=True)
class Planted:
    """Two subjects, 120 training and 40 test stimuli of 16 dims shown three times, and a third subject apart."""

    dataset: NeuralDataset
    newcomer: NeuralDataset
    embeddings: Embeddings


def plant(n_train: int = 120, n_test: int = 40, n_dims: int = 16, noise: float = 1.0) -> Planted:
    """The planted dataset; its noise leaves a linear decoder far above chance and below perfection."""
    rng = np.random.default_rng(7)
    ids = tuple(f"stimulus-{i:03d}" for i in range(n_train + n_test))
    values = rng.standard_normal((len(ids), 1, n_dims)).astype(np.float32) + 0.5
    subjects = [_planted_trials(rng, values, ids, subject, 40 + 5 * subject, noise) for subject in (1, 2, 3)]
    split = Split("default", "stimulus", {"train": ids[:n_train], "test": ids[n_train:]})
    category = np.where(values[:, 0, 0] > 0.5, "a", "b")
    stimuli = StimulusSet(ids, "none", table=Table({"category": category}))
    embeddings = Embeddings(ids, values, "planted", {"model": "planted"}, "0" * 64)
    both = NeuralDataset.from_trials(subjects[:2], stimuli, split, name="planted")
    return Planted(both, NeuralDataset.from_trials(subjects[2:], stimuli, split, name="newcomer"), embeddings)


def _planted_trials(
    rng: np.random.Generator,
    values: np.ndarray,
    ids: tuple[str, ...],
    subject: int,
    n_voxels: int,
    noise: float,
) -> Trials:
    order = rng.permutation(np.repeat(np.arange(len(ids)), 3))
    weights = rng.standard_normal((values.shape[2], n_voxels)) / np.sqrt(values.shape[2])
    responses = values[order, 0] @ weights + noise * rng.standard_normal((len(order), n_voxels))
    n = np.arange(len(order))
    table = Table(
        {
            "stimulus_id": np.array(ids)[order],
            "session": np.ones(len(n), int),
            "run": n // 60,
            "repeat": [int((order[:i] == s).sum()) for i, s in enumerate(order)],
            "onset_s": 3.0 * (n % 60),
            "acquisition_order": n,
            "exchangeability_block": np.ones(len(n), int),
        }
    )
    return Trials(responses.astype(np.float32), table, ArraySpace(n_voxels), "a.u.", subject, "fmri")
