"""What a dataset is, in a few named lines, without reading a response."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from braindec.data.dataset import NeuralDataset


def outlined(dataset: NeuralDataset) -> tuple[str, dict[str, str]]:
    """The dataset's name, and what `print` and notebooks show of it.

    Parameters
    ----------
    dataset : NeuralDataset
        Whole or a part.
    """
    rows = {
        key: f"{t.n_trials:,} trials of {' x '.join(map(str, t.responses.shape[1:]))} {_of(t.space.kind)}"
        for key, t in dataset.trials.items()
    }
    rows["stimuli"] = f"{len(dataset.stimulus_ids):,} ({dataset.stimuli.kind})"
    split = dataset.split
    if split is None:
        rows["split"] = "none"
    else:
        there = (
            set(dataset.stimulus_ids) if split.unit == "stimulus" else None
        )  # others were shown to other subjects
        sizes = ", ".join(
            f"{name} {len(values if there is None else there.intersection(values))}"
            for name, values in split.parts.items()
        )
        rows["split"] = f"{split.name} by {split.unit}: {sizes}"
    if dataset.part_name is not None:
        rows["part"] = dataset.part_name
    return dataset.name, rows


def _of(kind: str) -> str:
    return {"sensors": "channels x times", "array": "values"}.get(kind, kind)
