"""Decoders of what was seen in a clip, how it looked and how it moved, sharing nothing; and what each tells apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from braindec import seeding
from braindec.data import NeuralDataset
from braindec.decoder import BrainDecoder
from braindec.decoder.masked import Config as Masked
from braindec.decoder.two_views import Config as TwoViews
from braindec.evaluate.measures import protocol_named
from braindec.evaluate.nulls import permuted
from braindec.evaluate.outputs import by_output
from braindec.losses import mse
from braindec.types import Embeddings, Score

METRIC = "pairwise_identification"  # by which decoders are compared: chance is one half for all of them


@dataclass(frozen=True, eq=False)
class Apart:
    """Decoders of one part's trials that share nothing: one for what was seen, others for how it looked and moved.

    Parameters
    ----------
    main : BrainDecoder
        Of a picture embedding a clip, or one a frame (`targets.framewise`).
    others : mapping of str to BrainDecoder
        ``"structure"`` (roughly how the middle frame looks) and ``"motion"`` (`targets.block_motion`).
    """

    main: BrainDecoder
    others: Mapping[str, BrainDecoder] = field(default_factory=dict)

    def named(self) -> dict[str, BrainDecoder]:
        """All of them, ``main`` first."""
        return {"main": self.main, **self.others}


def fit_apart(
    recipe: Any,
    part: NeuralDataset,
    embeddings: Mapping[str, Embeddings],
    out_dir: Path | None = None,
) -> tuple[Apart, list[Apart]]:
    """Decoders of each of these embeddings, and the same fitted on permuted pairings.

    The main one is trained as the recipe says; the others, of which there is nothing to contrast, in closed form.

    Parameters
    ----------
    recipe : Recipe
        Its plan says how many nulls.
    part : NeuralDataset
        ``dataset.part("train")``.
    embeddings : mapping of str to Embeddings
        ``recipe.embed_each(...)``.
    out_dir : path, optional
        Where the main decoder's log goes.
    """
    protocol = protocol_named(recipe.protocol)
    ways = {name: of_output(recipe, name) for name in embeddings}

    def fitted(trials: NeuralDataset, folder: Path | None) -> Apart:
        made = {
            name: BrainDecoder.build(own, trials.info, embeddings[name].info).fit(
                trials, embeddings[name], folder if name == "main" else None, progress=False
            )
            for name, own in ways.items()
        }
        return Apart(made.pop("main"), made)

    draws = [seeding.numpy_generator(recipe.seed, "null clips", i) for i in range(recipe.plan.n_null)]
    return fitted(part, out_dir), [fitted(permuted(part, draw, protocol), None) for draw in draws]


def of_output(recipe: Any, name: str) -> Any:
    """The recipe of one decoder alone; beside the main one nothing is compared, so nothing is calibrated."""
    if name == "main":
        return replace(recipe, targets={})
    told = {"target": recipe.targets[name], "targets": {}, "loss": mse.Config(), "prior": None}
    return replace(recipe, **told, fit="closed_form", n_folds=0, calibrate=False)


def pretrained_with_nulls(
    recipe: Any,
    part: NeuralDataset,
    embeddings: Embeddings,
    settings: Masked | TwoViews,
    out_dir: Path | None = None,
) -> tuple[Apart, list[Apart]]:
    """The recipe's decoder, its trunk pretrained without labels, and the same fitted on permuted pairings.

    The trunk saw no label and is that of all of them.

    Parameters
    ----------
    recipe : Recipe
        Its plan says how many nulls.
    part : NeuralDataset
        ``dataset.part("train")``.
    embeddings : Embeddings
    settings : decoder.masked.Config or decoder.two_views.Config
    out_dir : path, optional
        Where the logs go.
    """
    progress, protocol = recipe.plan.progress, protocol_named(recipe.protocol)

    def built() -> BrainDecoder:
        return BrainDecoder.build(recipe, part.info, embeddings.info)

    decoder = built().pretrain(part, settings, out_dir, progress=progress)
    nulls = []
    for number in range(recipe.plan.n_null):
        wrong, other = (
            permuted(part, seeding.numpy_generator(recipe.seed, "null clips", number), protocol),
            built(),
        )
        other.pretrained = decoder.pretrained
        nulls.append(Apart(other.fit(wrong, embeddings, progress=False)))
    return Apart(decoder.fit(part, embeddings, progress=progress)), nulls


def decoded_apart(
    decoder: Apart,
    nulls: Sequence[Apart],
    recipe: Any,
    dataset: NeuralDataset,
    embeddings: Mapping[str, Embeddings],
) -> tuple[tuple[Score, ...], dict[str, dict[str, dict[str, float]]]]:
    """What each decoder tells apart by itself: its test clips from each other, in its own space.

    Returns
    -------
    scores : tuple of Score
        Of the main decoder, with ridge and the decoder of shuffled pairs beside.
    apart : dict of str to dict of str to dict
        By output and signal key: pairwise identification (``value``, ``low``, ``high``), mean of the refitted
        ``null``, and that of closed-form ``ridge``; chance is one half.
    """
    apart: dict[str, dict[str, dict[str, float]]] = {}
    scores: tuple[Score, ...] = ()
    for name, one in decoder.named().items():
        others, told = [n.named()[name] for n in nulls], {"main": embeddings[name]}
        judged = by_output(one, others, of_output(recipe, name), dataset, told, "main", (METRIC,))
        kept = [s for s in judged.scores if s.system != "contender"]
        ridge = {s.subject: s.value for s in kept if (s.name, s.system) == (METRIC, "ridge")}
        apart[name] = {
            f"sub-{s.subject:02d}_{s.modality}": {
                "value": s.value, "low": s.interval[0], "high": s.interval[1], "null": s.null,
                "ridge": ridge[s.subject],
            }
            for s in kept
            if (s.name, s.system) == (METRIC, "braindec") and s.subject != "group"
        }  # fmt: skip
        scores = tuple(kept) if name == "main" else scores
    return scores, apart


def apart_panel(
    apart: Mapping[str, Mapping[str, Mapping[str, float]]], words: Mapping[str, str]
) -> tuple[str, str, dict[str, Any]]:
    """A table of `decoded_apart`; `words` says what each output is."""
    rows = [
        [
            words[name], key.replace("_", " "), f"{v['value']:.3f} [{v['low']:.2f}, {v['high']:.2f}]",
            f"{v['null']:.3f}", f"{v['ridge']:.3f}",
        ]
        for name, keys in apart.items()
        for key, v in keys.items()
    ]  # fmt: skip
    columns = ["decoded", "subject", "two clips told apart (chance 0.5)", "null", "ridge"]
    return "What each output tells apart by itself", "table", {"columns": columns, "rows": rows}
