"""Where the responses go with what a decoder puts out: activation patterns, which weights are not.

A decoder's weights say how responses are combined, noise included: a voxel that only cancels another voxel's noise has
a large weight and says nothing of the stimulus, and one of two voxels that say the same may have none. How responses
vary with the decoder's output can be read as a map (Haufe et al. 2014, NeuroImage 87:96,
doi:10.1016/j.neuroimage.2013.10.067).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks, registry, seeding
from braindec.data import NeuralDataset, maps, splits
from braindec.decoder import BrainDecoder, average_groups, group_repeats
from braindec.decoder.decoding import classes_of
from braindec.evaluate.saved import seen_trials
from braindec.stats.permutation import permute_within_blocks
from braindec.types import Embeddings, Space, Trials


@dataclass(frozen=True, eq=False)
class Patterns:
    """One subject's patterns, a map for each output.

    Parameters
    ----------
    names : tuple of str, length n_outputs
        Classes, or ``"component 1"``, ... of predicted embeddings.
    values : float array, shape (n_outputs, *signal)
        Change of the response that goes with one standard deviation of the output, in units of the response.
    correlation : float array, shape (n_outputs, *signal)
        The same in standard deviations of the response, in [-1, 1].
    shown : float array, shape (n_outputs, *signal)
        Correlation of the response with what was shown in the output's place, no decoder between.
    p : float array, shape (n_outputs, *signal)
        Of `shown` either way, corrected by the maximum over outputs and features.
    agreement : float array, shape (n_outputs,)
        Correlation of each output with what was shown; near 0 the decoder knows nothing, and its patterns are noise.
    space : Space
        Of the signal's first axis.
    n : int
        Held-out trials, or stimuli whose repeats were averaged.
    """

    names: tuple[str, ...]
    values: np.ndarray
    correlation: np.ndarray
    shown: np.ndarray
    p: np.ndarray
    agreement: np.ndarray
    space: Space
    n: int

    def to_json(self) -> dict[str, Any]:
        """How well each output is decoded, and how many features go with what was shown, for a report."""
        found = (self.p < 0.05).reshape(len(self.names), -1).sum(1)
        return {
            name: {"agreement": float(a), "features": int(k), "n": self.n}
            for name, a, k in zip(self.names, self.agreement, found, strict=True)
        }


def patterns(
    decoder: BrainDecoder,
    part: NeuralDataset,
    embeddings: Embeddings | None = None,
    *,
    label_column: str | None = None,
    n_components: int = 3,
    n_null: int = 999,
    seed: int = 0,
) -> dict[str, Patterns]:
    """Activation patterns of a decoder in trials that it was not fitted on, by signal key.

    cov(x, y) / sd(y) of responses x as measured and outputs y: for an output alone, and for outputs that are
    uncorrelated, this is Haufe's A = cov(x) W cov(y)^-1, scaled. Outputs are the evidence for each class, one by one,
    or the principal components of predicted embeddings. Trials of classes are told about the mean of their
    exchangeability block and permuted within it; of embeddings the repeats of a stimulus are averaged.

    Parameters
    ----------
    decoder : BrainDecoder
        Fitted.
    part : NeuralDataset
        Held-out trials, ``dataset.part("test")``.
    embeddings : Embeddings, optional
        What was decoded; not of a decoder of classes, which takes `label_column` instead.
    label_column : str, optional
        Column with each trial's class.
    n_components : int
        Of predicted embeddings, >= 1.
    n_null : int
        Permutations of what was shown, >= 19.
    seed : int

    Returns
    -------
    dict of str to Patterns
        A pattern holds whatever varies with the output, noise that the decoder lets through among it: a feature is
        known to go with what was shown where its `p` is small, and no feature is known to be without information.

    Raises
    ------
    LeakageError
        If the decoder was fitted on one of these trials.
    ConfigError
        If embeddings and classes are told apart wrongly for this decoder.
    """
    checks.at_least("n_null", n_null, 19)
    checks.at_least("n_components", n_components, 1)
    classes = classes_of(decoder)
    if bool(classes) != (label_column is not None) or bool(classes) == (embeddings is not None):
        wanted = f"classes {list(classes)}: give label_column" if classes else "embeddings: give them"
        raise checks.ConfigError(f"this decoder tells {wanted}, and that alone.")
    for key, seen in seen_trials(decoder, part).items():
        if seen.n_seen:
            raise checks.LeakageError(
                f"{seen.n_seen} of {seen.n_trials} trials of {key} are among those that the decoder was fitted on, "
                'where patterns follow its own noise; give held-out ones: dataset.part("test").'
            )
    out = {}
    for key, trials in part.trials.items():
        if embeddings is None:
            labels = splits.stimulus_column(trials, part.stimuli, str(label_column)).astype(str)
            names, x, y, truth, blocks = _of_classes(decoder, trials, labels)
        else:
            names, x, y, truth, blocks = _of_embeddings(decoder, trials, embeddings, n_components)
        out[key] = _patterns(names, x, y, truth, blocks, trials, n_null, seed)
    return out


def write_patterns(found: Mapping[str, Patterns], folder: str | Path) -> list[Path]:
    """Correlations as maps that other programs open, of each subject; paths written, as `data.maps.write` names them.

    Parameters
    ----------
    found : mapping of str to Patterns
    folder : path
        Gets ``<key>_pattern-<output>.nii.gz`` and ``<key>_p-<output>.nii.gz`` of voxels.
    """
    written = []
    for key, one in found.items():
        values: dict[str, np.ndarray] = {}
        for i, name in enumerate(one.names):
            word = "".join(c if c.isalnum() else "-" for c in name)
            values |= {f"pattern-{word}": one.correlation[i], f"p-{word}": one.p[i]}
        written += maps.write(values, one.space, Path(folder) / key)
    return written


_Sides = tuple[tuple[str, ...], np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _of_classes(decoder: BrainDecoder, trials: Trials, labels: np.ndarray) -> _Sides:
    """(names, responses (n, *signal), outputs and truths (n, n_outputs), blocks (n,)) of single trials."""
    classes = classes_of(decoder)
    target = registry.load("targets", "category_prototypes")
    kind = decoder.outputs[decoder.main].identity["kind"]
    prototypes = target.build(target.Config(classes, kind)).embed(classes).reshape(len(classes), -1)
    evidence = decoder.predict(trials).values.reshape(trials.n_trials, -1) @ prototypes.T
    truth = (labels[:, None] == np.array(classes)[None]).astype(np.float64)
    return classes, np.asarray(trials.responses[:]), evidence, truth, trials.table["exchangeability_block"]


def _of_embeddings(
    decoder: BrainDecoder, trials: Trials, embeddings: Embeddings, n_components: int
) -> _Sides:
    """The same of stimuli, whose means may trade places freely; outputs are components of the predictions."""
    group, first = group_repeats(trials.table["stimulus_id"])
    x = average_groups(np.asarray(trials.responses[:]), group, len(first))
    found = decoder.predict(trials, repeats="before")
    predicted = found.values.reshape(len(found.ids), -1).astype(np.float64)
    true = np.asarray(embeddings.of(found.ids), dtype=np.float64).reshape(len(found.ids), -1)
    _, sizes, axes = np.linalg.svd(predicted - predicted.mean(0), full_matrices=False)
    kept = axes[: min(n_components, int((sizes > 1e-9 * max(sizes[0], 1e-30)).sum()))]
    kept = (
        kept * np.sign(kept[np.arange(len(kept)), np.abs(kept).argmax(1)])[:, None]
    )  # the same in every run
    names = tuple(f"component {i + 1}" for i in range(len(kept)))
    return names, x, predicted @ kept.T, true @ kept.T, np.zeros(len(x), dtype=int)


def _patterns(
    names: tuple[str, ...], x: np.ndarray, y: np.ndarray, truth: np.ndarray, blocks: np.ndarray,
    trials: Trials, n_null: int, seed: int,
) -> Patterns:  # fmt: skip
    n, shape = len(x), x.shape[1:]
    flat, member = x.reshape(n, -1).astype(np.float64), np.unique(blocks, return_inverse=True)[1]
    units, out, true = (_unit(values, member) for values in (flat, y.astype(np.float64), truth))
    spread = _within(flat, member).std(0)
    correlation, shown = out.T @ units, true.T @ units
    generator = seeding.numpy_generator(seed, "patterns", trials.key)
    largest = np.array(
        [
            np.abs(true[permute_within_blocks(blocks, generator)].T @ units).max(initial=0.0)
            for _ in range(n_null)
        ]
    )
    below = np.searchsorted(np.sort(largest), np.abs(shown) - 1e-12)
    p = (1 + n_null - below) / (1 + n_null)
    whole = (len(names), *shape)
    return Patterns(
        names, (correlation * spread).reshape(whole), correlation.reshape(whole), shown.reshape(whole),
        p.reshape(whole), (out * true).sum(0), trials.space, n,
    )  # fmt: skip


def _within(values: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Values (n, k) about the mean of their block."""
    n_blocks = int(member.max()) + 1
    mean = np.stack([values[member == b].mean(0) for b in range(n_blocks)])
    return np.asarray(values - mean[member])


def _unit(values: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Columns about the mean of their block, of length 1; one that varies by rounding alone is 0, in any unit."""
    about = _within(values, member)
    length = np.linalg.norm(about, axis=0)
    rounding = 1e-12 * len(values) ** 0.5 * np.abs(values).max(0)
    return np.asarray(about / np.where(length > rounding, length, np.inf))
