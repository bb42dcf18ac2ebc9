"""Which part of a recording a decoder needs: it is silenced, as much elsewhere too, and ridge learns without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from braindec import checks, seeding
from braindec.data import NeuralDataset, spaces
from braindec.data.rows import RowsView
from braindec.decoder import Direction, Prediction, Repeats
from braindec.evaluate.exam import Exam, in_memory
from braindec.evaluate.measures import protocol_named
from braindec.evaluate.scoring import Judged, compare, judge
from braindec.evaluate.systems import RidgeFitter, System, signal_features
from braindec.types import Embeddings, SensorSpace, Trials

CENTRAL = 0.8  # height on the unit sphere above which a sensor lies at the vertex: within 37 degrees of it


@dataclass(frozen=True, eq=False)
class Silenced:
    """A system that is not told some of the values: they are what they were on average in training.

    Parameters
    ----------
    system : System
    means : mapping of str to mapping of str to array, shape (n_voxels,) or (n_channels, n_times)
        By signal key and session: mean response of its training trials.
    silent : mapping of str to bool array, shape (n_voxels,), (n_channels,) or (n_channels, n_times)
        What is silenced, by signal key.
    """

    system: System
    means: Mapping[str, Mapping[str, np.ndarray]]
    silent: Mapping[str, np.ndarray]

    def predict(self, trials: Trials, *, repeats: Repeats) -> Prediction:
        """What the system predicts without them."""
        responses = np.array(trials.responses[np.arange(trials.n_trials)])
        silent = self.silent[trials.key]
        for session in np.unique(trials.table["session"]):
            rows = np.flatnonzero(trials.table["session"] == session)
            told = responses[rows]
            known = checks.known_key("session of training trials", str(session), self.means[trials.key])
            told[:, silent] = known[silent]
            responses[rows] = told
        return self.system.predict(replace(trials, responses=responses), repeats=repeats)

    def similarity(
        self, prediction: Prediction, candidates: np.ndarray, direction: Direction = "image"
    ) -> Tensor:
        """The system's own."""
        return self.system.similarity(prediction, candidates, direction)


def network_ablation(
    system: System,
    recipe: Any,
    dataset: NeuralDataset,
    embeddings: Embeddings,
    networks: Mapping[str, Mapping[str, np.ndarray]],
    metric: str,
    *,
    n_draws: int = 5,
) -> tuple[dict[str, Any], ...]:
    """What silencing each network costs a fitted system: a row a network and subject.

    Two numbers stand beside each cost: what silencing as many voxels at random costs (a large network costs more
    for its size alone), and what closed-form ridge loses that is fitted without the network, so that others may stand
    in for it.

    Parameters
    ----------
    system : System
        Fitted on ``dataset.part("train")`` with whole recordings.
    recipe : Recipe
        Its protocol, seed, and preprocessing for ridge.
    dataset : NeuralDataset
        Whole, with the split in use.
    networks : mapping of str to mapping of str to bool array, shape (n_voxels,) or (n_channels,)
        Members by name and signal key, from `regions` or `sensor_groups`.
    metric : str
        Of the protocol.
    n_draws : int
        Random sets of as many voxels, averaged.

    Returns
    -------
    tuple of dict
        ``network``, ``key``, ``n_voxels``, ``intact``, ``cost`` with ``interval`` and ``p`` (paired over queries),
        ``random`` (mean cost of as many voxels), ``without`` (ridge's cost).
    """
    if dataset.split is None:
        raise ValueError("the dataset has no split; give it one with with_split(...).")
    exam = Exam(in_memory(dataset), embeddings, [dataset.split], protocol_named(recipe.protocol), recipe.seed,
                progress=False, only=(metric,))  # fmt: skip
    means = {key: session_means(trials) for key, trials in dataset.part("train").trials.items()}
    ridge = RidgeFitter(signal_features(recipe.preprocessing))
    intact = judge("intact", lambda *_: system, exam, 0)
    whole = judge("ridge", ridge, exam, 0)

    def without(voxels: Mapping[str, np.ndarray]) -> Judged:
        return judge("silenced", lambda *_: Silenced(system, means, voxels), exam, 0)

    rows: list[dict[str, Any]] = []
    for network, voxels in networks.items():
        silenced = without(voxels)
        drawn = [without(_as_many(voxels, recipe.seed, number)) for number in range(n_draws)]
        refitted = judge("ridge", ridge, replace(exam, dataset=_cut(exam.dataset, voxels)), 0)
        for found in compare(intact, silenced, metric, recipe.seed):
            key = found["key"]
            value, of = intact.measured[key][metric].value, [d.measured[key][metric].value for d in drawn]
            rows.append({
                "network": network, "key": key, "n_voxels": int(voxels[key].sum()), "metric": metric, "intact": value,
                "cost": found["difference"], "interval": found["interval"], "p": found["p"], "n": found["n"],
                "random": value - float(np.mean(of)),
                "without": whole.measured[key][metric].value - refitted.measured[key][metric].value,
            })  # fmt: skip
    return tuple(rows)


def regions(dataset: NeuralDataset, names: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
    """Members of regions of every subject's space, by name and signal key."""
    trials = dataset.trials.items()
    return {name: {key: spaces.members_of(t.space, name) for key, t in trials} for name in names}


def sensor_groups(dataset: NeuralDataset) -> dict[str, dict[str, np.ndarray]]:
    """Sensors by where they lie on the head: central, frontal, left, posterior, right; by name and signal key.

    Raises
    ------
    TypeError
        If a subject has no sensors.
    """
    found: dict[str, dict[str, np.ndarray]] = {}
    for key, trials in dataset.trials.items():
        positions = checks.of_type("space", trials.space, SensorSpace).positions
        x, y, z = (positions / np.linalg.norm(positions, axis=1, keepdims=True)).T
        central = z > CENTRAL
        groups = {
            "central": central,
            "frontal": ~central & (y >= np.abs(x)),
            "left": ~central & (x < -np.abs(y)),
            "posterior": ~central & (y <= -np.abs(x)),
            "right": ~central & (x > np.abs(y)),
        }
        for name, members in groups.items():
            found.setdefault(name, {})[key] = members
    return found


def session_means(trials: Trials) -> dict[str, np.ndarray]:
    """Mean response (n_voxels,) of each session's trials."""
    session = trials.table["session"]
    return {
        str(s): np.asarray(trials.responses[np.flatnonzero(session == s)]).mean(0) for s in np.unique(session)
    }


def panel(rows: Sequence[Mapping[str, Any]]) -> tuple[str, str, dict[str, Any]]:
    """A table of `network_ablation`."""
    columns = ["removed", "subject", "channels", "intact", "cost", "95 %", "p", "as many", "ridge without"]
    cells = [
        [r["network"], str(r["key"]).replace("_", " "), str(r["n_voxels"]), f"{r['intact']:.3f}", f"{r['cost']:+.3f}",
         f"[{r['interval'][0]:+.3f}, {r['interval'][1]:+.3f}]", f"{r['p']:.3g}", f"{r['random']:+.3f}",
         f"{r['without']:+.3f}"]
        for r in rows
    ]  # fmt: skip
    metric = str(rows[0]["metric"]).replace("_", " ")
    caption = (
        f"Loss of {metric} where these channels say what they said on average in training; where as many drawn at "
        "random do; and of closed-form ridge that is fitted without them. A cost says that this decoder uses them, "
        "not that they alone know."
    )
    return (
        "What the removal of each part costs",
        "table",
        {"columns": columns, "rows": cells, "caption": caption},
    )


def _as_many(voxels: Mapping[str, np.ndarray], seed: int, number: int) -> dict[str, np.ndarray]:
    """As many voxels of every subject, drawn from all."""
    out = {}
    for key, members in voxels.items():
        draw = seeding.numpy_generator(seed, "ablation", key, number)
        out[key] = np.zeros_like(members)
        out[key][draw.permutation(len(members))[: int(members.sum())]] = True
    return out


def _cut(dataset: NeuralDataset, voxels: Mapping[str, np.ndarray]) -> NeuralDataset:
    """The dataset without these voxels."""
    return replace(dataset, trials={k: _without(t, voxels[k]) for k, t in dataset.trials.items()})


def _without(trials: Trials, members: np.ndarray) -> Trials:
    kept = RowsView(trials.responses, np.arange(trials.n_trials), ~members)
    return replace(trials, responses=kept, space=spaces.restrict(trials.space, ~members))
