"""A causal language model that goes on from a prefix of vectors, which a small network makes of an embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from braindec import checks, store
from braindec.captioners import Captioner, checked_questions
from braindec.captioners._models import opened
from braindec.captioners._prefix_network import PrefixModel, load_mapping, mapping_of, save_mapping
from braindec.captioners._prefix_training import CAUSAL, language_model, train_
from braindec.captioners._writing import WRITING, Writing, write
from braindec.config import from_json, to_json

MAPPINGS = ("mlp", "tokens")
CAPTIONS, ANSWERS = TAUGHT = ("captions", "answers")


@dataclass(frozen=True)
class Config:
    """Settings of a prefix captioner.

    Parameters
    ----------
    model : str or None
        Folder written by ``save_pretrained`` of a causal language model (GPT-2) and its tokenizer. None: a small GPT-2
        with a token for every word of the training captions, trained from random weights with the prefix.
    mapping : {"mlp", "tokens"}
        All tokens of an embedding through one hidden layer into `n_prefix` vectors (ClipCap); or every token through
        one linear layer into a vector of its own (as GIT does with its vision tokens).
    n_prefix : int
        Vectors of the mapping "mlp".
    tuned : bool
        Whether the language model of a folder is trained too; ClipCap has both forms. A fresh one always is.
    width, depth, heads : int
        Of a fresh language model.
    noise : float
        Standard deviations of noise, each dim's own times this, that embeddings get in training: predictions from a
        brain are not exact (as CapDec does against the gap between texts and pictures).
    n_steps, batch_size, lr : int, int, float
        Of training with AdamW, the rate falling along a cosine to a tenth.
    writing : Writing
    device : str
        Where it is trained and writes.

    Notes
    -----
    Mokady et al. 2021, "ClipCap: CLIP prefix for image captioning", arXiv:2111.09734; noise: Nukrai et al. 2022,
    arXiv:2211.00575.
    """

    model: str | None = None
    mapping: Literal["mlp", "tokens"] = "mlp"
    n_prefix: int = 10
    tuned: bool = False
    width: int = 96
    depth: int = 2
    heads: int = 4
    noise: float = 0.0
    n_steps: int = 1000
    batch_size: int = 64
    lr: float = 1e-3
    writing: Writing = WRITING
    device: str = "cpu"

    def __post_init__(self) -> None:
        checks.one_of("mapping", self.mapping, MAPPINGS)
        for name in ("n_prefix", "width", "depth", "heads", "batch_size"):
            checks.at_least(name, getattr(self, name), 1)
        checks.at_least("n_steps", self.n_steps, 0)
        checks.at_least("noise", self.noise, 0.0)
        if self.width % self.heads:
            raise checks.ConfigError(f"width must be a multiple of heads, got {self.width} and {self.heads}.")


def build(
    config: Config,
    embeddings: np.ndarray,
    captions: Sequence[str],
    space: str,
    *,
    questions: Sequence[str] | None = None,
    generator: torch.Generator,
    progress: bool = False,
) -> Prefix:
    """The captioner, trained on pairs of image embedding and caption, and where questions are given on their answers.

    Parameters
    ----------
    config : Config
    embeddings : ndarray of float, shape (n_captions, n_tokens, dim)
        Of training stimuli alone; a stimulus with several captions or questions stands in several rows.
    captions : sequence of str, length n_captions
        Captions; answers where a row has a question.
    space : str
        Name of the embeddings' space.
    questions : sequence of str, length n_captions, optional
        A row's question, which its answer follows; empty where the row is a caption. Only answers are learnt.
    generator : torch.Generator
        Of first weights, batches and noise; the global generators stay as they were.
    progress : bool

    Raises
    ------
    MissingPackageError
        If transformers (extra `models`) is not installed.
    """
    checks.n_axes("embeddings", embeddings, ("caption", "token", "dim"))
    checks.finite("embeddings", embeddings)
    checks.at_least(
        "number of captions", checks.same_length("caption", embeddings=embeddings, captions=captions), 1
    )
    asked = tuple(questions) if questions is not None else ("",) * len(captions)
    checks.same_length("caption", captions=captions, questions=asked)
    taught = tuple(kind for kind, row in zip(TAUGHT, ("" in asked, any(asked)), strict=True) if row)
    values = torch.as_tensor(np.asarray(embeddings, np.float32))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(1 << 62, (), generator=generator, device=generator.device)))
        words, tokenizer = language_model(config, captions, asked, values.shape[1])
        model = PrefixModel(
            words, mapping_of(config.mapping, values, words.config.hidden_size, config.n_prefix)
        )
    train_(model.to(config.device), tokenizer, values, captions, asked, config, generator, progress)
    return Prefix(config, model, tokenizer, space, taught)


class Prefix(Captioner):
    """A language model and what makes its prefix.

    Parameters
    ----------
    config : Config
    model : PrefixModel
        Trained.
    tokenizer
        Of transformers.
    space : str
    taught : tuple of {"captions", "answers"}
        What it has learnt to write.
    """

    name = "prefix"

    def __init__(
        self,
        config: Config,
        model: PrefixModel,
        tokenizer: Any,
        space: str,
        taught: tuple[str, ...] = (CAPTIONS,),
    ) -> None:
        self.config, self.space, self._tokenizer, self.taught = config, space, tokenizer, taught
        self.model = model.eval().requires_grad_(False).to(config.device)
        self.shape = model.mapping.shape

    def identity(self) -> dict[str, Any]:
        """Kind of the language model, a hash of all weights, and how captions are written."""
        weights = {name: value.detach().cpu().numpy() for name, value in self.model.state_dict().items()}
        return {
            "captioner": self.name, "model": type(self.model.words).__name__, "mapping": self.config.mapping,
            "weights_sha256": store.content_hash(**weights), **self.config.writing.identity(),
        }  # fmt: skip

    def caption(
        self, image_embeddings: np.ndarray, *, generator: torch.Generator, progress: bool = False
    ) -> tuple[str, ...]:
        """Captions that go on from the embeddings' prefixes; see `Captioner.caption`."""
        self._needs(CAPTIONS, "captions of rows without a question")
        values = torch.from_numpy(self.checked(image_embeddings))
        told, writing = values.to(self.config.device), self.config.writing
        return write(self._written, told, self._tokenizer, writing, generator, progress)

    def answer(
        self,
        image_embeddings: np.ndarray,
        questions: Sequence[str],
        *,
        generator: torch.Generator,
        progress: bool = False,
    ) -> tuple[str, ...]:
        """Answers that go on from the embeddings' prefixes and the questions; see `Captioner.answer`."""
        self._needs(ANSWERS, "questions and their answers")
        asked = [self._tokenizer(text).input_ids for text in checked_questions(image_embeddings, questions)]
        values = torch.from_numpy(self.checked(image_embeddings))
        told, writing = values.to(self.config.device), self.config.writing
        longest, most = max((len(ids) for ids in asked), default=0), self.model.n_places - writing.n_tokens
        checks.in_range("tokens of the longest question", longest, 0, most)
        return write(self._written, told, self._tokenizer, writing, generator, progress, asked)

    def _needs(self, kind: str, how: str) -> None:
        if kind not in self.taught:
            raise ValueError(f"this prefix was not taught {kind}; build it with {how}.")

    def save_pretrained(self, folder: str | Path) -> Path:
        """Writes language model, tokenizer, mapping and settings into a folder that `from_pretrained` opens."""
        place = Path(folder)
        self.model.words.save_pretrained(place)
        self._tokenizer.save_pretrained(place)
        about = {"config": to_json(self.config), "shape": list(self.shape), "space": self.space,
                 "taught": list(self.taught)}  # fmt: skip
        return save_mapping(place, self.model.mapping, about)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Prefix:
        """The captioner that `save_pretrained` wrote; every weight is read from the folder.

        Raises
        ------
        DataFileError
            If weights are missing or of other shapes.
        """
        place, words, tokenizer = opened(str(folder), CAUSAL, "the captioner prefix")
        mapping, about = load_mapping(place, words.config.hidden_size)
        settings = {k: v for k, v in about["config"].items() if k not in ("kind", "name")}
        config = from_json(Config, settings, where="captioner")
        taught = tuple(about.get("taught", [CAPTIONS]))  # folders of before knew captions alone
        return cls(config, PrefixModel(words, mapping), tokenizer, about["space"], taught)

    def _written(self, told: Tensor, asked: Tensor | None = None) -> Tensor:
        prefix = self.model.mapping(told)
        if asked is not None:
            prefix = torch.cat([prefix, self.model.words.get_input_embeddings()(asked)], 1)
        return self.model.words.generate(
            inputs_embeds=prefix, attention_mask=torch.ones(prefix.shape[:2], device=prefix.device),
            pad_token_id=self._tokenizer.pad_token_id, eos_token_id=self._tokenizer.eos_token_id,
            **self.config.writing.arguments(),
        )  # fmt: skip
