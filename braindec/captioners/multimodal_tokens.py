"""A multimodal language model (LLaVA) that is asked about image tokens: predicted ones in place of its tower's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks
from braindec.captioners import Captioner, _models, checked_questions
from braindec.captioners._writing import WRITING, Writing, write

CLASSES = ("LlavaForConditionalGeneration",)
PICTURE = "<image>"  # where the picture stands in a prompt
QUESTION = "<question>"


@dataclass(frozen=True)
class Config:
    """Settings of a multimodal language model.

    Parameters
    ----------
    model : str
        Folder written by ``save_pretrained`` of a LlavaForConditionalGeneration, its tokenizer in it. The decoder's
        target is `transformers_vision` of the same folder with the layer and pooling that `space` names: of LLaVA 1.5
        ``layers=(-2,), pooling="patches"``.
    prompt : str
        What is asked for a caption, with ``<image>`` once where the picture stands.
    question_prompt : str
        What questions are put into, with ``<image>`` and ``<question>`` once each.
    writing : Writing
    device : str
        Where the model runs.
    """

    model: str = "weights/llava-1.5-7b-hf"
    prompt: str = "USER: <image>\nDescribe this image in one sentence. ASSISTANT:"
    writing: Writing = WRITING
    device: str = "cpu"
    question_prompt: str = "USER: <image>\n<question>\nAnswer in a few words. ASSISTANT:"

    def __post_init__(self) -> None:
        for name, places in (("prompt", (PICTURE,)), ("question_prompt", (PICTURE, QUESTION))):
            text = getattr(self, name)
            for place in places:
                if text.count(place) != 1:
                    raise checks.ConfigError(f"{name} must hold {place} once, got {text!r}.")


def build(config: Config) -> MultimodalTokens:
    """The captioner of a config, its weights loaded strictly.

    Raises
    ------
    ConfigError
        If the folder holds another class of model, or one that reads several layers of its tower.
    DataFileError
        If the folder lacks weights.
    """
    folder, model, tokenizer = _models.opened(config.model, CLASSES, "the captioner multimodal_tokens")
    return MultimodalTokens(config, folder, model, tokenizer)


class MultimodalTokens(Captioner):
    """Projector and language model behind a vision tower.

    Parameters
    ----------
    config : Config
    folder : Path
        For provenance.
    model, tokenizer
        Of transformers; the vision tower is taken out of the model.

    Notes
    -----
    Xia et al. 2024, "UMBRAE: unified multimodal brain decoding", arXiv:2404.07202: brain tokens take the place of image
    tokens, and captions, places or answers are asked for in words.
    """

    name = "multimodal_tokens"

    def __init__(self, config: Config, folder: Path, model: Any, tokenizer: Any) -> None:
        self.config, self._tokenizer = config, tokenizer
        vision, layer = model.config.vision_config, model.config.vision_feature_layer
        checks.of_type("vision_feature_layer", layer, int)
        kept = model.config.vision_feature_select_strategy
        patches = checks.known_key("vision_feature_select_strategy", kept, {"default": True, "full": False})
        self.shape = (_models.n_positions(vision) + (not patches), int(vision.hidden_size))
        self.space = _models.space_of(folder, model, str(layer), "patches" if patches else "all")
        self._identity = {"captioner": self.name, **_models.identity_of(folder, model)}
        model.config.vision_feature_layer, model.config.vision_feature_select_strategy = -1, "full"
        _owner(model).vision_tower = _models.GivenTokens(vision.patch_size)
        self._model = model.to(config.device)
        self._prompt = self._ids(config.prompt)

    def identity(self) -> dict[str, Any]:
        """Class and weights of the model, its prompts, and how captions are written."""
        prompts = {"prompt": self.config.prompt, "question_prompt": self.config.question_prompt}
        return self._identity | prompts | self.config.writing.identity()

    def caption(
        self, image_embeddings: np.ndarray, *, generator: torch.Generator, progress: bool = False
    ) -> tuple[str, ...]:
        """What the model answers to its prompt; see `Captioner.caption`."""
        return self._asked(image_embeddings, [self._prompt] * len(image_embeddings), generator, progress)

    def answer(
        self,
        image_embeddings: np.ndarray,
        questions: Sequence[str],
        *,
        generator: torch.Generator,
        progress: bool = False,
    ) -> tuple[str, ...]:
        """What the model answers to `question_prompt` with each question in it; see `Captioner.answer`."""
        for text in checked_questions(image_embeddings, questions):
            if PICTURE in text:
                raise ValueError(
                    f"a question must not hold {PICTURE}: the prompt says where the picture stands."
                )
        prompts = {
            text: self.config.question_prompt.replace(QUESTION, text) for text in dict.fromkeys(questions)
        }
        ids = {text: self._ids(prompt) for text, prompt in prompts.items()}
        return self._asked(image_embeddings, [ids[text] for text in questions], generator, progress)

    def _asked(
        self, image_embeddings: np.ndarray, asked: list[list[int]], generator: torch.Generator, progress: bool
    ) -> tuple[str, ...]:
        told = torch.from_numpy(self.checked(image_embeddings))[:, None].to(self.config.device)
        return write(self._written, told, self._tokenizer, self.config.writing, generator, progress, asked)

    def _ids(self, prompt: str) -> list[int]:
        """Ids of a prompt, the picture's own id as often as it has tokens."""
        before, after = prompt.split(PICTURE)
        picture = [int(self._model.config.image_token_index)] * self.shape[0]
        told = [*self._tokenizer(before).input_ids, *picture]
        return [*told, *self._tokenizer(after, add_special_tokens=False).input_ids]

    def _written(self, told: Tensor, ids: Tensor) -> Tensor:
        made = self._model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=told,
            **self.config.writing.arguments(),
        )  # fmt: skip
        return made[:, ids.shape[1] :]


def _owner(model: Any) -> Any:
    """The part of the model whose child the tower is: this moved in transformers 4.52."""
    return model.model if hasattr(model.model, "vision_tower") else model
