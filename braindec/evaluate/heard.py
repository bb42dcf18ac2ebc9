"""What was heard: clips identified from the brain, and the genre of what a decoded embedding retrieves elsewhere.

Brain2Music (Denk et al. 2023, arXiv:2307.11078) looks the decoded embedding up in a large collection. How often what it
finds is of the presented genre is a share with a chance that depends on the collection, so it stands beside refits to
shuffled pairs, a decoder that sees no brain, and the presented clip's own embedding looked up in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks, seeding
from braindec.data import NeuralDataset
from braindec.decoder import BrainDecoder
from braindec.evaluate.decoded import Decoded, candidates_of, decode
from braindec.evaluate.heard_sounds import Clips, Gallery
from braindec.evaluate.measures import Measured, measure, protocol_named, values
from braindec.evaluate.neighbours import ranks
from braindec.evaluate.scoring import Judged, scores_of
from braindec.evaluate.whole import Evaluation
from braindec.maths import nearest
from braindec.stats.intervals import proportion_interval
from braindec.targets._sound import resampled
from braindec.types import Embeddings, Score, Table

IDENTIFICATION, AGREEMENT = "pairwise_identification", "genre_agreement_top{}"
# Not the mean system: it points nowhere, and what it retrieves is arbitrary.
SYSTEMS = ("braindec", "ridge", "nuisance", "shuffled")
OWN = "oracle"
LISTEN_HZ = 8000.0  # of the excerpts on a page: 16 kB a second
WORDS = {"systems": {OWN: "the presented clip's own embedding, looked up in the same gallery"}}
LIMITS = (
    "A retrieved clip is one that exists: it says what the decoded embedding is nearest to, not what a person heard in "
    "it. A larger gallery, or one of other genres, has another chance and another ceiling.",
    "Genres go with loudness, tempo and instruments; that a retrieved clip is of the presented genre does not say that "
    "the brain holds genres. Sounds that few bands describe may do the same.",
    "Intervals are over clips, with people, the fitted decoder and the gallery as they are.",
)
Panel = tuple[str, str, Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class Retrieved:
    """What a system finds in a gallery for each test clip of one person.

    Parameters
    ----------
    ids : tuple of str
        Test clips.
    genres : str array, shape (n,)
        Presented.
    similarity : Tensor, shape (n, n_gallery)
    gallery : Gallery
    """

    ids: tuple[str, ...]
    genres: np.ndarray
    similarity: Tensor
    gallery: Gallery

    @property
    def first(self) -> np.ndarray:
        """The gallery's row that each clip is decoded as, int (n,)."""
        return self.similarity.argmax(1).numpy()

    def agreement(self, k: int) -> np.ndarray:
        """Share of the `k` most similar of the gallery that have the presented genre, (n,)."""
        checks.in_range("k", k, 1, len(self.gallery.ids))
        found = self.similarity.topk(k, dim=1).indices.numpy()
        return (self.gallery.genres[found] == self.genres[:, None]).mean(1)

    @property
    def chance(self) -> float:
        """The mean share of the gallery that has the presented genre: any clip, drawn without looking."""
        return float(np.mean([(self.gallery.genres == genre).mean() for genre in self.genres]))


@dataclass(frozen=True, eq=False)
class Heard:
    """Scores of all systems, and what each found, by system and person."""

    scores: tuple[Score, ...]
    retrieved: Mapping[str, Mapping[str, Retrieved]]
    judged: Mapping[str, Judged]


def genres_of(dataset: NeuralDataset, ids: Sequence[str], column: str = "category") -> np.ndarray:
    """Genres of stimuli, text (n,), from their table."""
    table = checks.of_type("table of the stimuli", dataset.stimuli.table, Table)
    genre = dict(zip(dataset.stimuli.ids, table[column].astype(str).tolist(), strict=True))
    return np.array([genre[i] for i in ids])


def retrieve(decoded: Decoded, dataset: NeuralDataset, gallery: Gallery, mean: np.ndarray) -> Retrieved:
    """The gallery by its similarity to what was decoded: the cosine, the training clips' mean removed from both.

    Parameters
    ----------
    decoded : Decoded
        Its predictions lack that mean.
    dataset : NeuralDataset
    gallery : Gallery
    mean : float array, shape (n_tokens, n_dims)
        Of the training clips.
    """
    others = torch.from_numpy(gallery.values - mean).flatten(1).double()
    similarity = nearest.similarity(decoded.prediction.double(), others)
    return Retrieved(decoded.ids, genres_of(dataset, decoded.ids), similarity, gallery)


def heard(
    recipe: Any, dataset: NeuralDataset, embeddings: Embeddings, found: Evaluation, nulls: Sequence[BrainDecoder],
    gallery: Gallery, top: Sequence[int] = (1, 10),
) -> Heard:  # fmt: skip
    """Identification among test clips, and genres of what is retrieved from the gallery.

    Parameters
    ----------
    recipe : Recipe
    dataset : NeuralDataset
        With music and the split that was evaluated.
    embeddings : Embeddings
        Of its clips.
    found : Evaluation
        Of `evaluate.held_out`: its decoded clips are judged here by further measures.
    nulls : sequence of BrainDecoder
        Of `fit_with_nulls`, fitted to shuffled pairs: the null of the decoder and of ridge.
    gallery : Gallery
    top : sequence of int
        Numbers of retrieved clips that agreement is a share of.
    """
    protocol = protocol_named(recipe.protocol)
    train, test = dataset.part("train"), dataset.part("test")
    mean = embeddings.of(train.stimulus_ids).mean(0)
    among = candidates_of(protocol, dataset, train, test, embeddings, None)
    own = {key: replace(d, prediction=d.truth) for key, d in found.judged["braindec"].decoded.items()}
    decoded: dict[str, Mapping[str, Decoded]] = {name: found.judged[name].decoded for name in SYSTEMS}
    retrieved = {
        name: {key: retrieve(d, dataset, gallery, mean) for key, d in those.items()}
        for name, those in {**decoded, OWN: own}.items()
    }
    drawn = [decode(null, test, embeddings, mean, protocol, among) for null in nulls]
    looked_up = [{key: retrieve(d, dataset, gallery, mean) for key, d in those.items()} for those in drawn]
    null = {
        key: {IDENTIFICATION: np.array([_identified(one[key], protocol) for one in drawn])}
        | {AGREEMENT.format(k): np.array([one[key].agreement(k).mean() for one in looked_up]) for k in top}
        for key in own
    }
    judged = {}
    for name in (*SYSTEMS, OWN):
        generator = seeding.numpy_generator(recipe.seed, "heard", name)
        measured: dict[str, dict[str, Measured]] = {}
        for key, one in retrieved[name].items():
            measured[key] = {m.name: m for m in (_agreed(one, k) for k in top)}
            if name != OWN:  # a truth is always most like itself
                pairs = measure(decoded[name][key], protocol, None, generator, only=(IDENTIFICATION,))
                measured[key] = pairs | measured[key]
        judged[name] = Judged(name, own if name == OWN else decoded[name], measured)
    rows = []
    for name, system in judged.items():
        compared = null if name in ("braindec", "ridge", "shuffled") else None
        rows += scores_of(system, protocol, null=compared, details={"gallery": gallery.said})
    return Heard(tuple(rows), retrieved, judged)


def _identified(decoded: Decoded, protocol: Any) -> float:
    return values(decoded, protocol, None, only=(IDENTIFICATION,))[IDENTIFICATION]


def _agreed(one: Retrieved, k: int) -> Measured:
    shares = one.agreement(k)
    low, high = proportion_interval(shares)[:2]
    name = AGREEMENT.format(k)
    return Measured(
        name, float(shares.mean()), (float(low), float(high)), one.chance, len(shares), "higher", shares
    )


def panels(found: Heard, dataset: NeuralDataset, *, n: int = 6, seconds: float = 4.0) -> list[Panel]:
    """Genres that were presented and retrieved, every clip beside what it was decoded as, and some of them to hear.

    Parameters
    ----------
    found : Heard
    dataset : NeuralDataset
        With music.
    n : int
        Clips of the first person that can be listened to, from the best to the worst; 0 for none.
    seconds : float
        Of each, from its middle.
    """
    ours, own = found.retrieved["braindec"], found.retrieved[OWN]
    key, first = next(iter(ours.items()))
    rows = [row for one, those in ours.items() for row in _rows(one, those, found.judged["braindec"].decoded)]
    columns = ["person", "presented", "genre", "rank", "retrieved", "its genre", "cosine", "same genre of 10"]
    said = (
        "Rank: of the presented clip among all test clips, by what was decoded. Retrieved: the clip of the gallery "
        f"({first.gallery.said}) most similar to what was decoded; no test clip's track is in it."
    )
    made = [
        _confusion("Genre retrieved by what was decoded", ours),
        _confusion("Genre retrieved by the presented clip's own embedding", own),
        ("Presented and retrieved", "table", {"columns": columns, "rows": rows, "caption": said}),
    ]
    if n:
        made.append(_listen(key, first, own[key], found, dataset, n, seconds))
    return made


def _ranks(decoded: Decoded) -> np.ndarray:
    """Place of each presented clip among the candidates by what was decoded, int (n,)."""
    return ranks(decoded.similarity, [decoded.candidates.index(i) for i in decoded.ids])


def _rows(key: str, one: Retrieved, decoded: Mapping[str, Decoded]) -> list[list[Any]]:
    place, first = _ranks(decoded[key]), one.first
    of_ten = one.agreement(min(10, len(one.gallery.ids)))
    best = one.similarity.max(1).values.tolist()
    return [
        [key.replace("_", " "), one.ids[i], str(one.genres[i]), int(place[i]), one.gallery.ids[first[i]],
         str(one.gallery.genres[first[i]]), best[i], f"{of_ten[i]:.0%}"]
        for i in np.lexsort((np.arange(len(first)), place)).tolist()
    ]  # fmt: skip


def _confusion(title: str, those: Mapping[str, Retrieved]) -> Panel:
    one = next(iter(those.values()))
    names = sorted({*one.gallery.genres.tolist(), *(g for r in those.values() for g in r.genres.tolist())})
    place = {name: i for i, name in enumerate(names)}
    matrix = np.zeros((len(names), len(names)), dtype=int)
    for r in those.values():
        for shown, row in zip(r.genres.tolist(), r.first.tolist(), strict=True):
            matrix[place[shown], place[r.gallery.genres[row]]] += 1
    caption = f"Counts of test clips over all people, {matrix.trace()} of {matrix.sum()} of the same genre."
    return title, "confusion", {"matrix": matrix, "labels": names, "caption": caption}


def _listen(
    key: str, first: Retrieved, own: Retrieved, found: Heard, dataset: NeuralDataset, n: int, seconds: float
) -> Panel:
    """Presented, retrieved by what was decoded, and retrieved by the clip's own embedding."""
    order = np.argsort(_ranks(found.judged["braindec"].decoded[key]), kind="stable")
    shown = order[np.unique(np.linspace(0, len(order) - 1, min(n, len(order))).round().astype(int))]
    read = checks.of_type("reader of the stimuli", dataset.stimuli.read, Clips)
    rows = {
        "presented": read([first.ids[i] for i in shown]),
        "retrieved": first.gallery.read([first.gallery.ids[first.first[i]] for i in shown]),
        "by its own embedding": own.gallery.read([own.gallery.ids[own.first[i]] for i in shown]),
    }
    notes = {
        "presented": [str(first.genres[i]) for i in shown],
        "retrieved": [str(first.gallery.genres[first.first[i]]) for i in shown],
        "by its own embedding": [str(own.gallery.genres[own.first[i]]) for i in shown],
    }
    heard_of = {
        label: np.stack([excerpt(one, rate, seconds) for one, rate in those]) for label, those in rows.items()
    }
    payload = {
        "rows": heard_of, "sfreq": LISTEN_HZ, "notes": notes, "captions": [first.ids[i] for i in shown],
        "caption": f"{key.replace('_', ' ')}: {len(shown)} of {len(order)} test clips from the best rank to the worst, "
        f"{seconds:g} s from the middle of each. These are excerpts of the music: who may hear it may have this page.",
    }  # fmt: skip
    return "Listen", "sounds", payload


def excerpt(samples: np.ndarray, sfreq: float, seconds: float) -> np.ndarray:
    """So many seconds from the middle of a sound, float32 (n,) at 8 kHz."""
    heard = resampled(samples, sfreq, LISTEN_HZ)
    n = min(len(heard), round(seconds * LISTEN_HZ))
    start = (len(heard) - n) // 2
    return heard[start : start + n]
