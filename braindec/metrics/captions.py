"""Captions: is a decoded description like those that people wrote of the presented picture?

Every number comes from the library that published evaluations use. Where one needs what this machine lacks (WordNet,
Java, a package), `Metric.status` says so and the metric is not computed: nothing else goes by its name. Chance is the
value of other items' captions (`mismatched`): plain sentences share much.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib import util
from shutil import which
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks
from braindec.metrics import Metric
from braindec.metrics.perceptual import cosine_similarity

Texts = Sequence[str]
References = Sequence[str | Sequence[str]]

CLIP_SCORE_SCALE = 2.5  # Hessel et al. 2021, section 3
CIDER_SCALE = 10.0  # Vedantam et al. 2015: the value of a caption that equals its one reference
LINE = "pip install 'braindec[captions]'"


def bleu(references: References, decoded: Texts, *, order: int = 4) -> Tensor:
    """Each item's pseudo-value of corpus BLEU: their mean is the score of the whole set, their spread its error.

    Parameters
    ----------
    references : sequence of str or of sequences of str, length n_items
    decoded : sequence of str, length n_items
    order : int
        Longest n-gram.

    Returns
    -------
    Tensor of float64, shape (n_items,)
        The mean lies in [0, 1]; single values may not.

    Notes
    -----
    Papineni et al. 2002, doi:10.3115/1073083.1073135; counted by sacrebleu (tokenizer 13a, lower case), not smoothed.
    BLEU is a ratio of sums over the corpus and not a mean over items.
    """
    _require("BLEU", _lacks("sacrebleu"))
    from sacrebleu.metrics import BLEU

    counter = BLEU(max_ngram_order=order, lowercase=True, smooth_method="none", effective_order=True)
    rows = [
        (*s.counts, *s.totals, s.sys_len, s.ref_len)
        for s in (counter.sentence_score(text, refs) for refs, text in _pairs(references, decoded))
    ]
    counts = np.array(rows, dtype=np.float64)  # (item, 2 * order + 2)
    n, value = len(counts), float(_bleu_of(counts.sum(0), order))
    if n == 1:
        return torch.tensor([value], dtype=torch.float64)
    pseudo = n * value - (n - 1) * _bleu_of(counts.sum(0) - counts, order)
    return torch.as_tensor(pseudo - pseudo.mean() + value)


def _bleu_of(sums: np.ndarray, order: int) -> np.ndarray:
    """BLEU of summed (matches, n-grams, length, reference length), along the last axis."""
    matches, made, lengths = sums[..., :order], sums[..., order : 2 * order], sums[..., -2:]
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.exp(np.log(np.where(made > 0, matches / made, 0.0)).mean(-1))
        brevity = np.exp(np.minimum(0.0, 1 - lengths[..., 1] / lengths[..., 0]))
    return np.where(matches.min(-1) > 0, precision * brevity, 0.0)


def rouge(references: References, decoded: Texts, *, kind: str = "rougeL") -> Tensor:
    """F-measure of shared words (``"rouge1"``) or of the longest common subsequence (``"rougeL"``), best reference.

    Parameters
    ----------
    references, decoded
        As in `bleu`.
    kind : str

    Returns
    -------
    Tensor of float64, shape (n_items,)
        In [0, 1].

    Notes
    -----
    Lin 2004, ACL W04-1013; rouge-score without stemmer, as in MindEye2's evaluation.
    """
    checks.one_of("kind", kind, ("rouge1", "rougeL"))
    _require("ROUGE", _lacks("rouge_score"))
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer([kind], use_stemmer=False)
    found = [scorer.score_multi(refs, text)[kind].fmeasure for refs, text in _pairs(references, decoded)]
    return torch.tensor(found, dtype=torch.float64)


def meteor(references: References, decoded: Texts, *, wordnet: Any | None = None) -> Tensor:
    """METEOR of each decoded caption against its best reference.

    Parameters
    ----------
    references, decoded
        As in `bleu`.
    wordnet : nltk corpus reader, optional
        Where synonyms come from; nltk's WordNet if not given.

    Returns
    -------
    Tensor of float64, shape (n_items,)
        In [0, 1); a caption that equals its reference gets a little less than 1.

    Raises
    ------
    MissingPackageError
        If nltk or its WordNet is not there.

    Notes
    -----
    Banerjee & Lavie 2005, ACL W05-0909; nltk, as in MindEye2's evaluation. The Java program of the COCO captions gives
    other values.
    """
    _require("METEOR", _lacks("nltk") if wordnet is not None else meteor_lacks())
    from nltk.corpus import wordnet as of_nltk
    from nltk.tokenize import word_tokenize
    from nltk.translate.meteor_score import meteor_score

    source = of_nltk if wordnet is None else wordnet
    split = partial(
        word_tokenize, preserve_line=True
    )  # a caption is one sentence; finding them needs more data
    return torch.tensor(
        [
            meteor_score([split(r) for r in refs], split(text), wordnet=source)
            for refs, text in _pairs(references, decoded)
        ],
        dtype=torch.float64,
    )


def cider(references: References, decoded: Texts) -> Tensor:
    """CIDEr-D of each decoded caption: n-grams weighted by how rare they are in all items' references.

    Parameters
    ----------
    references, decoded
        As in `bleu`; words are weighted by the references of all items together.

    Returns
    -------
    Tensor of float64, shape (n_items,)
        In [0, 10].

    Raises
    ------
    MissingPackageError
        If pycocoevalcap or Java, which splits the captions into words, is not there.

    Notes
    -----
    Vedantam et al. 2015, arXiv:1411.5726; pycocoevalcap with its Penn Treebank tokenizer.
    """
    _require("CIDEr", cider_lacks())
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    pairs = list(enumerate(_pairs(references, decoded)))
    tokenizer = PTBTokenizer()
    true = tokenizer.tokenize({i: [{"caption": r} for r in refs] for i, (refs, _) in pairs})
    made = tokenizer.tokenize({i: [{"caption": text}] for i, (_, text) in pairs})
    return torch.as_tensor(np.asarray(Cider().compute_score(true, made)[1], dtype=np.float64))


def clip_score(presented: Tensor, decoded: Tensor) -> Tensor:
    """2.5 times the cosine of a presented picture and a decoded caption in CLIP's space, 0 where it is negative.

    Parameters
    ----------
    presented, decoded : Tensor, shape (n_items, dim)
        Embeddings of pictures and of captions.

    Returns
    -------
    Tensor of float64, shape (n_items,)
        In [0, 2.5].

    Notes
    -----
    Hessel et al. 2021, arXiv:2104.08718 (CLIPScore without references).
    """
    return CLIP_SCORE_SCALE * cosine_similarity(presented, decoded).clamp(min=0)


def meteor_lacks() -> str:
    """What METEOR lacks on this machine, or an empty text."""
    if lacking := _lacks("nltk"):
        return lacking
    import nltk

    for place in ("corpora/wordnet", "corpora/wordnet.zip"):
        try:
            nltk.data.find(place)
        except LookupError:
            continue
        return ""
    return "WordNet: python -m nltk.downloader wordnet"


def cider_lacks() -> str:
    """What CIDEr lacks on this machine, or an empty text."""
    return _lacks("pycocoevalcap") or ("" if which("java") else "Java, which splits captions into words")


def _lacks(package: str) -> str:
    return "" if util.find_spec(package) else f"the package {package!r}: {LINE}"


def _require(metric: str, lacking: str) -> None:
    if lacking:
        raise checks.MissingPackageError(f"{metric} is not computed: it needs {lacking}")


def _pairs(references: References, decoded: Texts) -> list[tuple[list[str], str]]:
    """(references, caption) of every item, an item's references always a list."""
    checks.same_length("item", references=references, decoded=decoded)
    out = []
    for refs, text in zip(references, decoded, strict=True):
        several = [refs] if isinstance(refs, str) else list(refs)
        checks.at_least("references of an item", len(several), 1)
        out.append((several, text))
    return out


def _metric(
    name: str,
    compute: Callable[..., Tensor],
    source: str,
    missing: Callable[[], str],
    best: float | None = None,
) -> Metric:
    return Metric(name, "captions", None, "higher", source, compute, best=best, missing=missing)


_BLEU = (
    "Papineni et al. 2002, doi:10.3115/1073083.1073135: corpus BLEU-{}, sacrebleu, lower case, not smoothed"
)
_ROUGE = "Lin 2004, ACL W04-1013: {}, F-measure, rouge-score without stemmer"

METRICS = {
    metric.name: metric
    for metric in (
        _metric("bleu_1", partial(bleu, order=1), _BLEU.format(1), partial(_lacks, "sacrebleu")),
        _metric("bleu_4", partial(bleu, order=4), _BLEU.format(4), partial(_lacks, "sacrebleu")),
        _metric("rouge_1", partial(rouge, kind="rouge1"), _ROUGE.format("words"), partial(_lacks, "rouge_score")),
        _metric("rouge_l", rouge, _ROUGE.format("common subsequence"), partial(_lacks, "rouge_score")),
        _metric("meteor", meteor, "Banerjee & Lavie 2005, ACL W05-0909; nltk with WordNet", meteor_lacks),
        _metric("cider", cider, "Vedantam et al. 2015, arXiv:1411.5726: CIDEr-D, pycocoevalcap with Java's tokenizer",
                cider_lacks, best=CIDER_SCALE),
        Metric(
            "sentence_similarity", "texts:minilm.sentence", None, "higher",
            "Cosine of all-MiniLM-L6-v2 embeddings, Scotti et al. 2024 (MindEye2), arXiv:2403.11207", cosine_similarity,
        ),
        Metric(
            "caption_clip_similarity", "texts:clip_vit_l14.final", None, "higher",
            "Cosine of OpenAI CLIP ViT-L/14 text embeddings, Scotti et al. 2024 (MindEye2), arXiv:2403.11207",
            cosine_similarity,
        ),
        Metric(
            "clip_score", "image_text:clip_vit_l14.final", None, "higher",
            "Hessel et al. 2021, arXiv:2104.08718, with OpenAI CLIP ViT-L/14 (published: ViT-B/32)", clip_score,
            best=CLIP_SCORE_SCALE,
        ),
    )
}  # fmt: skip
