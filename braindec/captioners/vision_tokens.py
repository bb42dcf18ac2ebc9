"""A captioner of pictures (GIT, BLIP) that is told vision tokens: what its own tower would have seen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec.captioners import Captioner, _models
from braindec.captioners._writing import WRITING, Writing, write

CLASSES = ("GitForCausalLM", "BlipForConditionalGeneration")


@dataclass(frozen=True)
class Config:
    """Settings of a captioner of vision tokens.

    Parameters
    ----------
    model : str
        Folder written by ``save_pretrained`` of a GitForCausalLM or BlipForConditionalGeneration, its tokenizer in it;
        or published weights that ``braindec pull`` fetched, by name or repository. The decoder's target is
        `transformers_vision` of the same folder with ``pooling="all"``.
    writing : Writing
    device : str
        Where the language model runs.
    """

    model: str = "microsoft/git-base-coco"
    writing: Writing = WRITING
    device: str = "cpu"


def build(config: Config) -> VisionTokens:
    """The captioner of a config, its weights loaded strictly.

    Raises
    ------
    ConfigError
        If the folder holds another class of model.
    DataFileError
        If the folder lacks weights.
    """
    folder, model, tokenizer = _models.opened(config.model, CLASSES, "the captioner vision_tokens")
    return VisionTokens(config, folder, model, tokenizer)


class VisionTokens(Captioner):
    """The language half of a captioner.

    Parameters
    ----------
    config : Config
    folder : Path
        For provenance.
    model, tokenizer
        Of transformers; the vision tower is taken out of the model.

    Notes
    -----
    Ferrante et al. 2023, "Brain Captioning: decoding human brain activity into images and text", arXiv:2305.11560:
    ridge from voxels to the 197 x 768 tokens of GIT's tower, which then go the way of true ones.
    """

    name = "vision_tokens"

    def __init__(self, config: Config, folder: Path, model: Any, tokenizer: Any) -> None:
        self.config, self._tokenizer = config, tokenizer
        vision = model.config.vision_config
        self.shape = (_models.n_positions(vision) + 1, int(vision.hidden_size))
        self.space = _models.space_of(folder, model, "last", "all")
        self._identity = {"captioner": self.name, **_models.identity_of(folder, model)}
        owner, tower = (model.git, "image_encoder") if hasattr(model, "git") else (model, "vision_model")
        setattr(owner, tower, _models.GivenTokens(vision.patch_size))
        self._model = model.to(config.device)

    def identity(self) -> dict[str, Any]:
        """Class and weights of the model, and how captions are written."""
        return self._identity | self.config.writing.identity()

    def caption(
        self, image_embeddings: np.ndarray, *, generator: torch.Generator, progress: bool = False
    ) -> tuple[str, ...]:
        """Captions of vision tokens; see `Captioner.caption`."""
        tokens = torch.from_numpy(self.checked(image_embeddings))[:, None]
        told, writing = tokens.to(self.config.device), self.config.writing
        return write(self._written, told, self._tokenizer, writing, generator, progress)

    def _written(self, told: Tensor) -> Tensor:
        return self._model.generate(pixel_values=told, **self.config.writing.arguments())
