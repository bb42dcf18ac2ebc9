"""Protocols: named, versioned, frozen ways to evaluate; other constants are another name.

A member `braindec/protocols/<name>.py` defines a table `PROTOCOLS: dict[str, Protocol]`. What a paper did differently
is a protocol of its own, ``<name>_as_published_by_<system>``: `corrects` names the one it is shown beside.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from braindec import checks, config

CANDIDATES = ("test_stimuli", "fold_stimuli", "classes")
SIMILARITIES = ("own", "distance", "cosine")
DIRECTIONS = ("stimulus", "brain", "both", "none")
MINIATURE = (
    "_miniature"  # ends the name of a protocol that judges synthetic data in place of the listed stimuli
)
CONVENTIONS = (
    "best_test_step",
    "by_recording",
    "concept_centre",
    "concept_mean",
    "drawn_pools",
    "half_precision",
    "half_range",
    "low_level_blend",
    "named_metric",
    "off_by_one",
    "one_distractor",
    "padded_repeats",
    "picture_size",
    "raw_cosine",
    "strict_two_way",
    "swapped_names",
)


@dataclass(frozen=True)
class Pool:
    """Among which stimuli a decoded trial is searched for.

    Parameters
    ----------
    rule : str
        Which stimuli are candidates, in words.
    size : int or None
        Test stimuli, all of them candidates; a test part of another size is refused. None: as many as are held out.
    drawn : int or None
        Candidates of one choice, the truth among them, where that is fewer than `size`.
    n_draws : int or None
        None: the exact expectation over all such choices. A number: that many random draws, as published.
    ids : str
        What `sha256` is of: ``"stimulus"`` ids or ``"concept"`` names.
    sha256 : str or None
        Of the distinct ids, sorted by code point, joined by one newline, UTF-8 (`ids_sha256`); test stimuli of another
        hash are refused. None: `rule` and `size` say what is known of the list.
    list : str
        Where the list stands and what the hash was made from, or why there is none.
    """

    rule: str
    size: int | None = None
    drawn: int | None = None
    n_draws: int | None = None
    ids: str = "stimulus"
    sha256: str | None = None
    list: str = "the test part's own"


@dataclass(frozen=True)
class Pictures:
    """What is done to presented and reconstructed pictures before any metric; metrics then resize as their source says.

    Parameters
    ----------
    side : int or None
        Pixels a side that both are resized to; None: as the generator draws them.
    resize : str
        Interpolation.
    antialias : bool
        Whether shrinking averages over the pixels it leaves out.
    crop : str
        ``"none"``, or the part that is kept.
    colour : str
        Colour space and range of values.
    low_level_share : float
        Share of a decoded low-level picture that is mixed into the reconstruction, in [0, 1].
    """

    side: int | None = None
    resize: str = "bilinear"
    antialias: bool = False
    crop: str = "none"
    colour: str = "RGB in [0, 1]"
    low_level_share: float = 0.0


@dataclass(frozen=True)
class Windows:
    """How a continuous recording is cut for a decoder that answers while it runs.

    Parameters
    ----------
    length_s, step_s : float
        Seconds of signal that an answer is made from, all of them past, and seconds between answers.
    share : float
        A window has the class of an event that fills at least this share of it; every other window is idle.
    idle : str
        Name of the class of all other windows.
    """

    length_s: float
    step_s: float
    share: float
    idle: str = "idle"


@dataclass(frozen=True)
class Departure:
    """One thing that a paper did otherwise.

    Parameters
    ----------
    what : str
        In a sentence.
    how : str or None
        Name of the convention (`CONVENTIONS`) by which it is computed from the same predictions, pictures or recipe.
        None: it is only said.
    why : str
        Why it is only said; empty where it is computed.
    """

    what: str
    how: str | None = None
    why: str = ""

    def __post_init__(self) -> None:
        if self.how is not None:
            checks.one_of("how", self.how, CONVENTIONS)
        if (self.how is None) != bool(self.why):
            raise ValueError(f"{self.what!r} is computed by a convention, or says why it is not.")


@dataclass(frozen=True)
class Protocol:
    """What is held out, among what is chosen, and what is measured.

    Parameters
    ----------
    name : str
        What a recipe and a score say; nothing else has to be said.
    version : int
        Raised when any other field changes.
    unit : str
        Of the split: train and test share none of it.
    candidates : str
        Among what a decoded trial is identified: all stimuli of the test part (a fixed gallery), the held-out stimuli
        of its own fold, or the classes.
    repeats : str
        Repeats of a stimulus are averaged ``"before"`` the model, ``"after"`` it, or not (``"none"``).
    metrics : tuple of str
        Computed from predictions.
    source : str
        Where this way of evaluating comes from.
    picture_metrics : tuple of str
        Computed from reconstructed pictures, where a generator is given.
    scopes : tuple of str
        Preprocessing scopes that are allowed.
    similarity : str
        The distance. ``"own"``: the system's from its training data, cosine about the training stimuli's mean, or what
        the decoder learnt of its own errors. ``"distance"``: minus the squared distance of embeddings: how far, where
        scores are ranked over trials (the cosine to one of two classes only knows the side). ``"cosine"``: of the
        embeddings as they are. No other item of the test set enters a pair's value.
    pool : Pool
        Which stimuli are candidates, how many, and whether their list is known by its hash.
    n_repeats : int or None
        Repeats of every test stimulus that are averaged; other numbers are refused. None: all there are.
    pictures : Pictures
        Resizing, antialias, crop, colour and blend before any metric.
    layer : str
        What of which network is decoded and compared.
    ties : str
        What a tie earns.
    seed : int or None
        Of what is drawn in judging; None: nothing is.
    direction : str
        What is searched for: the ``"stimulus"`` of a brain response, the ``"brain"`` response of a stimulus, or both.
    chance : tuple of (float or None)
        Value of a decoder that knows nothing, a number a metric; None where it depends on how many are held out.
    caption_metrics, video_metrics, run_metrics : tuple of str
        Computed from decoded captions, from decoded videos, and from the answers to a continuous run.
    windows : Windows or None
        Of protocols that run over continuous recordings.
    published_by, corrects : str or None
        Of an as-published variant: the system, and the protocol without its departures.
    departures : tuple of Departure
        What that paper did otherwise.
    allows : tuple of str
        Kinds of leak (`data.leakage.KINDS`) that these data contain as they were published: the audit then tells them
        and does not refuse.
    """

    name: str
    version: int
    unit: str
    candidates: str
    repeats: Literal["none", "before", "after"]
    metrics: tuple[str, ...]
    source: str
    picture_metrics: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ("train", "unit_train_rows", "causal")
    similarity: str = "own"
    pool: Pool = Pool("all stimuli of the test part")
    n_repeats: int | None = None
    pictures: Pictures = Pictures()
    layer: str = "the recipe's target, all its tokens as one vector"
    ties: str = "shared: what a random order of the tied would earn on average"
    seed: int | None = None
    direction: str = "none"
    chance: tuple[float | None, ...] = ()
    caption_metrics: tuple[str, ...] = ()
    video_metrics: tuple[str, ...] = ()
    run_metrics: tuple[str, ...] = ()
    windows: Windows | None = None
    published_by: str | None = None
    corrects: str | None = None
    departures: tuple[Departure, ...] = ()
    allows: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        said = f"of protocol {self.name!r}"
        checks.one_of(f"candidates {said}", self.candidates, CANDIDATES)
        checks.one_of(f"repeats {said}", self.repeats, ("none", "before", "after"))
        checks.one_of(f"similarity {said}", self.similarity, SIMILARITIES)
        checks.one_of(f"direction {said}", self.direction, DIRECTIONS)
        if self.chance and len(self.chance) != len(self.metrics):
            raise ValueError(
                f"protocol {self.name!r} has {len(self.metrics)} metrics and {len(self.chance)} numbers for chance: "
                "give one a metric, None where it depends on how many are held out, or none at all."
            )
        told = (self.published_by is None, self.corrects is None, not self.departures)
        if len(set(told)) != 1:
            raise ValueError(f"{self.name}: published_by, corrects and departures come together.")
        if self.pool.n_draws is not None and self.published_by is None:
            raise ValueError(f"{self.name}: random draws of pools stand only in what is marked as published.")

    @property
    def content_hash(self) -> str:
        """sha256 of every field but the version and what only explains: what the version stands for."""
        content = {k: v for k, v in config.to_json(self).items() if k not in ("version", "kind")}
        content["pool"] = {k: v for k, v in content["pool"].items() if k != "list"}
        content["departures"] = [{k: v for k, v in d.items() if k != "why"} for d in content["departures"]]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def follows(self, how: str) -> bool:
        """Whether a convention of a paper is followed."""
        return any(departure.how == how for departure in self.departures)

    def check_pool(self, stimuli: Iterable[str], concepts: Iterable[str] | None = None) -> None:
        """Refuses a test part whose stimuli are not the ones that the name stands for.

        Parameters
        ----------
        stimuli : iterable of str
            Distinct ids of the test part.
        concepts : iterable of str, optional
            Their concepts, where they are known.

        Raises
        ------
        ConfigError
            If their number or hash is another one. A hash cannot tell which id differs, so both hashes are said, and
            where the list stands.
        """
        ids = sorted(set(stimuli))
        if self.pool.size is not None and len(ids) != self.pool.size:
            raise checks.ConfigError(
                f"protocol {self.name!r} is judged on {self.pool.size} test stimuli ({self.pool.rule}), got "
                f"{len(ids)}. Hold out those, or use a protocol without a fixed list: {self._open_protocol()!r}."
            )
        if self.pool.sha256 is None:
            return
        named = sorted(set(concepts or ())) if self.pool.ids == "concept" else ids
        found = ids_sha256(named)
        if found != self.pool.sha256:
            raise checks.ConfigError(
                f"protocol {self.name!r} is judged on a fixed list of {self.pool.ids}s with sha256 {self.pool.sha256}; "
                f"the {len(named)} of this test part have sha256 {found}. The list: {self.pool.list}. Prepare that "
                f"dataset, or use {self._open_protocol()!r} for other stimuli and {self.name + MINIATURE!r} for a "
                "miniature of it."
            )

    def miniature(self) -> Protocol:
        """The same evaluation of synthetic data: any number of other stimuli and repeats, under a name that says so.

        Its scores are those of no published list; chance follows the number of stimuli that are held out.
        """
        rule = f"a miniature's own stimuli in place of: {self.pool.rule}"
        pool = replace(self.pool, rule=rule, size=None, sha256=None, list="synthetic: none")
        return replace(
            self,
            name=self.name + MINIATURE,
            pool=pool,
            n_repeats=None,
            chance=tuple(None for _ in self.chance),
        )

    def check_repeats(self, counts: Mapping[str, int]) -> None:
        """Refuses a test part in which a stimulus was shown another number of times than the protocol averages."""
        wrong = {i: n for i, n in counts.items() if self.n_repeats is not None and n != self.n_repeats}
        if wrong:
            first = next(iter(wrong))
            raise checks.ConfigError(
                f"protocol {self.name!r} has {self.n_repeats} repeats of every test stimulus; {len(wrong)} of "
                f"{len(counts)} have another number, e.g. {first!r} has {wrong[first]}. Keep those repeats, or use "
                f"{self._open_protocol()!r}."
            )

    def _open_protocol(self) -> str:
        return "heldout_concepts" if self.unit == "concept" else "heldout_stimuli"


def ids_sha256(ids: Iterable[Any]) -> str:
    """sha256 of distinct ids, sorted, one a line: the form in which a protocol names a list."""
    return hashlib.sha256("\n".join(sorted({str(i) for i in ids})).encode()).hexdigest()


def table(*protocols: Protocol) -> dict[str, Protocol]:
    """Protocols by name."""
    checks.unique("protocols of a file", [p.name for p in protocols])
    return {p.name: p for p in protocols}
