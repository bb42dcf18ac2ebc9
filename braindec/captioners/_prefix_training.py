"""Training a prefix, and where no language model is given a small one with it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from tqdm import tqdm

from braindec import checks, pretrained
from braindec.captioners._models import opened
from braindec.captioners._prefix_network import PrefixModel

if TYPE_CHECKING:
    from braindec.captioners.prefix import Config

CAUSAL = ("GPT2LMHeadModel",)
END, PAD, UNKNOWN = "<end>", "<pad>", "<unknown>"
LAST_SHARE = 0.1  # of the learning rate, at the end
CAPTION_SHARE = (
    0.25  # of batches where answers are learnt too: a caption has many tokens that tell, an answer one
)


def language_model(
    config: Config, texts: Sequence[str], questions: Sequence[str], n_tokens: int
) -> tuple[Any, Any]:
    """(language model, tokenizer): of the config's folder, or fresh with the texts' and questions' own words.

    Parameters
    ----------
    config : Config
    texts, questions : sequence of str, length n
        As of `train_`.
    n_tokens : int
        Of an embedding: a fresh model has places for a prefix of as many.
    """
    if config.model is not None:
        _, words, tokenizer = opened(config.model, CAUSAL, "the captioner prefix")
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        return words, tokenizer
    pretrained.needs_transformers("the captioner prefix")
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = word_tokenizer([*texts, *questions])
    asked = max(len(ids) for ids in tokenizer(list(questions)).input_ids)
    longest = max(len(ids) for ids in tokenizer(list(texts)).input_ids) + 1
    prefix = config.n_prefix if config.mapping == "mlp" else n_tokens
    described = GPT2Config(
        vocab_size=len(tokenizer), n_embd=config.width, n_layer=config.depth, n_head=config.heads,
        n_positions=prefix + asked + max(longest, config.writing.n_tokens) + 1, resid_pdrop=0.0, embd_pdrop=0.0,
        attn_pdrop=0.0, bos_token_id=tokenizer.eos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    return GPT2LMHeadModel(described), tokenizer


def word_tokenizer(captions: Sequence[str]) -> Any:
    """A tokenizer of transformers with a token for each word of the captions, in lower case."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    counted = Counter(word for text in captions for word in re.findall(r"\w+|[^\w\s]+", text.lower()))
    known = [END, PAD, UNKNOWN, *sorted(counted)]
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(known)}, unk_token=UNKNOWN))
    words.normalizer, words.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        eos_token=END,
        pad_token=PAD,
        unk_token=UNKNOWN,
        clean_up_tokenization_spaces=False,
    )


def train_(
    model: PrefixModel,
    tokenizer: Any,
    embeddings: Tensor,
    texts: Sequence[str],
    questions: Sequence[str],
    config: Config,
    generator: torch.Generator,
    progress: bool,
) -> None:
    """Trains mapping and, where it is fresh or tuned, language model.

    Parameters
    ----------
    embeddings : Tensor, shape (n, n_tokens, dim)
    texts : sequence of str, length n
        Captions, and answers: what is learnt.
    questions : sequence of str, length n
        What stands before an answer and is read alone; empty before a caption.
    generator : torch.Generator
        Of batches and noise.
    """
    ids, mask = token_ids(tokenizer, texts, questions, model.n_places)
    trained = model if config.model is None or config.tuned else model.mapping
    model.requires_grad_(False).train()
    parameters = list(trained.requires_grad_(True).parameters())
    optimiser = torch.optim.AdamW(parameters, lr=config.lr, betas=(0.9, 0.99), weight_decay=0.01)
    told = model.mapping.standardised(embeddings.to(config.device)).detach()
    kinds = [torch.tensor(some) for some in _by_kind(questions) if some]
    for step in tqdm(range(config.n_steps), desc="captioner", disable=not progress):
        for group in optimiser.param_groups:
            group["lr"] = config.lr * _share(step, config.n_steps)
        rows = _batch(kinds, config.batch_size, generator)
        x, some = told[rows], mask[rows]
        if config.noise:
            drawn = torch.randn(x.shape, generator=generator, device=generator.device)
            x = x + config.noise * drawn.to(x)
        end = int(some.nonzero()[:, 1].max()) + 1
        loss = model.loss(x, ids[rows, :end].to(x.device), some[:, :end].to(x.device))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
    checks.finite("trained weights", torch.cat([p.detach().flatten() for p in parameters]))


def _by_kind(questions: Sequence[str]) -> tuple[list[int], list[int]]:
    """Rows of captions, and rows of answers."""
    captions: list[int] = []
    answers: list[int] = []
    for row, question in enumerate(questions):
        (answers if question else captions).append(row)
    return captions, answers


def _batch(kinds: Sequence[Tensor], size: int, generator: torch.Generator) -> Tensor:
    """Rows of one kind, captions or answers: a batch of short answers is not filled up to the length of captions."""
    device = generator.device
    some = kinds[0]
    if len(kinds) > 1 and torch.rand((), generator=generator, device=device) >= CAPTION_SHARE:
        some = kinds[1]
    return some[torch.randint(len(some), (size,), generator=generator, device=device).cpu()]


def token_ids(
    tokenizer: Any, texts: Sequence[str], questions: Sequence[str], n_places: int
) -> tuple[Tensor, Tensor]:
    """(ids, mask), each (n, n_ids): questions and their texts, ended by the end token; 1 where a text and its end are.

    Texts longer than the places that a question leaves are cut.
    """
    asked, said = (tokenizer(list(some)).input_ids for some in (questions, texts))
    end = tokenizer.eos_token_id
    checks.in_range("tokens of the longest question", max(len(q) for q in asked), 0, n_places - 2)
    rows = [[*q, *t[: n_places - 1 - len(q)], end] for q, t in zip(asked, said, strict=True)]
    n = max(len(row) for row in rows)
    ids = torch.tensor([row + [end] * (n - len(row)) for row in rows])
    mask = torch.tensor(
        [
            [0.0] * len(q) + [1.0] * (len(row) - len(q)) + [0.0] * (n - len(row))
            for q, row in zip(asked, rows, strict=True)
        ]
    )
    return ids, mask


def _share(step: int, n_steps: int) -> float:
    """Of the learning rate: a short rise, then a cosine to `LAST_SHARE`."""
    rise = min(1.0, (step + 1) / max(1, n_steps // 20))
    return rise * (LAST_SHARE + (1 - LAST_SHARE) * 0.5 * (1 + math.cos(math.pi * step / n_steps)))
