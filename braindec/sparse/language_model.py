"""A causal language model that writes what a latent stands for, and judges whether a text fits a caption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from braindec import checks, pretrained, store
from braindec.sparse.explanations import NOTHING

WAY_OUT = "Give a folder written by save_pretrained, with a causal language model's weights and tokenizer."
FEATURE = "a language model that explains latents"
EXPLAIN = (
    "Pictures of the first kind:\n{active}\nPictures of the second kind:\n{silent}\n"
    "In a few words, only pictures of the first kind show"
)
JUDGE = "Picture: {caption}\nDescription: {explanation}\nDoes the description fit the picture? Answer:"


@dataclass(frozen=True)
class Config:
    """Settings of a language model.

    Parameters
    ----------
    folder : str
        As ``save_pretrained`` of model and tokenizer writes it; no code of it is run.
    explain : str
        What it is told before it goes on with an explanation, up to the end of the line; with ``{active}`` and
        ``{silent}``, where captions stand.
    judge : str
        With ``{explanation}`` and ``{caption}``.
    answers : tuple of str, str
        What it may answer where the explanation fits, and where it does not; a token each.
    n_tokens : int
        Of an explanation, at most.
    temperature : float
        0: the likeliest token each time.
    batch_size : int
        Questions that are asked at once.
    device : str
    """

    folder: str
    explain: str = EXPLAIN
    judge: str = JUDGE
    answers: tuple[str, str] = (" yes", " no")
    n_tokens: int = 16
    temperature: float = 0.0
    batch_size: int = 32
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name, fields in (("explain", ("active", "silent")), ("judge", ("explanation", "caption"))):
            absent = [f for f in fields if "{" + f + "}" not in getattr(self, name)]
            if absent:
                raise checks.ConfigError(f"{name} must hold {{{absent[0]}}}, got {getattr(self, name)!r}.")
        checks.at_least("n_tokens", self.n_tokens, 1)
        checks.at_least("batch_size", self.batch_size, 1)
        checks.at_least("temperature", self.temperature, 0.0)


def build(config: Config) -> LanguageModel:
    """The model of the config's folder, loaded strictly from safetensors.

    Raises
    ------
    MissingPackageError
        If transformers (extra `models`) is not installed.
    FileNotFoundError
        If there is no such folder.
    DataFileError
        If weights are missing.
    ConfigError
        If an answer is more than one token, or both are the same.
    """
    pretrained.needs_transformers(FEATURE)
    import transformers

    folder = checks.existing_folder(config.folder, WAY_OUT)
    if not any(folder.glob("*.safetensors")):
        raise checks.DataFileError(
            folder, "holds no .safetensors file", "Save the model with save_pretrained."
        )
    model = pretrained.loaded(folder, transformers.AutoModelForCausalLM.from_pretrained, pooler=False)
    with pretrained.quiet():
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    return LanguageModel(config, model.to(config.device), tokenizer, folder)


class LanguageModel:
    """A causal language model and its tokenizer.

    Parameters
    ----------
    config : Config
    model
        Of transformers, in eval mode on the config's device.
    tokenizer
        Of transformers.
    folder : Path
    """

    def __init__(self, config: Config, model: Any, tokenizer: Any, folder: Path) -> None:
        self.config, self._model, self._tokenizer, self._folder = config, model, tokenizer, folder
        self._answers = [self._token(answer) for answer in config.answers]
        if self._answers[0] == self._answers[1]:
            raise checks.ConfigError(
                f"answers must be two tokens, got {list(config.answers)}, which are one to this tokenizer."
            )

    def identity(self) -> dict[str, Any]:
        """Class, weights and prompts, as JSON values."""
        return {
            "language_model": type(self._model).__name__,
            "weights_sha256": pretrained.weights_digest(self._folder),
            "config_sha256": pretrained.config_digest(self._folder),
            "prompts_sha256": store.content_hash(
                prompts=[self.config.explain, self.config.judge, *self.config.answers]
            ),
            "n_tokens": self.config.n_tokens,
            "temperature": self.config.temperature,
        }

    @torch.inference_mode()
    def explain(
        self, active: Sequence[Sequence[str]], silent: Sequence[Sequence[str]], *, generator: torch.Generator
    ) -> tuple[str, ...]:
        """An explanation of each latent, a line at most.

        Parameters
        ----------
        active, silent : sequence of sequence of str, length n_latents
            Captions of training stimuli in which the latent is most active, and of others in which it is silent. A
            latent without active ones gets `NOTHING`.
        generator : torch.Generator
            Seeds each draw where the temperature is above 0; the global generators stay as they were.
        """
        n = checks.same_length("latent", active=active, silent=silent)
        seeds = torch.randint(1 << 62, (n,), generator=generator, device=generator.device).tolist()
        return tuple(
            self._written(self.config.explain.format(active=_listed(yes), silent=_listed(no)), seed) if yes else NOTHING
            for yes, no, seed in zip(active, silent, seeds, strict=True)
        )  # fmt: skip

    @torch.inference_mode()
    def fits(self, explanations: Sequence[str], captions: Sequence[str]) -> Tensor:
        """Log odds of the first answer against the second, float64 (n_captions, n_explanations); 0 of `NOTHING`."""
        known = sorted({text for text in explanations if text != NOTHING})
        asked = [
            self.config.judge.format(explanation=text, caption=caption)
            for text in known
            for caption in captions
        ]
        odds = self._odds(asked).view(len(known), len(captions))
        place = {text: i for i, text in enumerate(known)}
        out = torch.zeros(len(captions), len(explanations), dtype=torch.float64)
        for k, text in enumerate(explanations):
            if text != NOTHING:
                out[:, k] = odds[place[text]]
        return out

    def _odds(self, asked: Sequence[str]) -> Tensor:
        ids = [self._tokenizer(text).input_ids for text in asked]
        self._fit(max((len(row) for row in ids), default=0), "the longest question")
        out = torch.zeros(len(ids), dtype=torch.float64)
        # Questions of equal length together: nothing is padded, so that no answer depends on another question.
        for length in sorted({len(row) for row in ids}):
            rows = [i for i, row in enumerate(ids) if len(row) == length]
            for start in range(0, len(rows), self.config.batch_size):
                some = rows[start : start + self.config.batch_size]
                told = torch.tensor([ids[i] for i in some], device=self.config.device)
                last = self._model(input_ids=told).logits[:, -1].double().cpu()
                out[some] = last[:, self._answers[0]] - last[:, self._answers[1]]
        return out

    def _written(self, prompt: str, seed: int) -> str:
        told = torch.tensor([self._tokenizer(prompt).input_ids], device=self.config.device)
        self._fit(told.shape[1] + self.config.n_tokens, "captions, prompt and explanation")
        sampled = self.config.temperature > 0
        how: dict[str, Any] = {"do_sample": sampled, "num_beams": 1}
        if sampled:
            how |= {"temperature": self.config.temperature, "top_k": 0, "top_p": 1.0}
        devices = [told.device] if told.device.type == "cuda" else []
        end = self._tokenizer.eos_token_id
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            written = self._model.generate(
                input_ids=told, attention_mask=torch.ones_like(told), max_new_tokens=self.config.n_tokens,
                pad_token_id=end, eos_token_id=end, **how,
            )  # fmt: skip
        text = self._tokenizer.decode(written[0, told.shape[1] :], skip_special_tokens=True)
        lines = text.strip().splitlines() or [NOTHING]
        return " ".join(lines[0].split())

    def _fit(self, n_tokens: int, what: str) -> None:
        most = getattr(self._model.config, "max_position_embeddings", None)
        if most is not None and n_tokens > most:
            raise ValueError(
                f"the model has places for {most} tokens, {what} take {n_tokens}; give fewer or shorter captions."
            )

    def _token(self, answer: str) -> int:
        ids = self._tokenizer(answer, add_special_tokens=False).input_ids
        if len(ids) != 1:
            raise checks.ConfigError(
                f"each of answers must be one token, but {answer!r} is {len(ids)} to this tokenizer."
            )
        return int(ids[0])


def _listed(captions: Sequence[str]) -> str:
    return "\n".join(f"- {caption}" for caption in captions)
