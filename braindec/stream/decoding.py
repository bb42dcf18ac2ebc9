"""A fitted decoder that meets one response at a time: it retrieves at once, and draws when there is time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from braindec import checks, seeding
from braindec.generators import Generator
from braindec.types import UNKNOWN, Embeddings, Table, Trials

if TYPE_CHECKING:
    from braindec.decoder import BrainDecoder, Prediction

ALONE = ("train", "unit_train_rows")  # scopes whose statistics one response needs no others for


@dataclass(frozen=True, eq=False)
class Decoded:
    """What one response was decoded to.

    Parameters
    ----------
    event : str
    prediction : Prediction
        Of one row.
    found : tuple of str
        Gallery stimuli, most similar first.
    similarity : float32 array, shape (k,)
    took_ms : float
        Milliseconds from the response to these.
    """

    event: str
    prediction: Prediction
    found: tuple[str, ...]
    similarity: np.ndarray
    took_ms: float


class LiveDecoder:
    """`BrainDecoder.predict` and `similarity` for one response of one subject after the other.

    Parameters
    ----------
    decoder : BrainDecoder
        Fitted.
    key : str
        The subject's signal, e.g. ``"sub-01_eeg"``.
    gallery : Embeddings
        Among which stimuli to retrieve, of the decoder's target space.
    k : int
        How many.
    session : str
        Of what is being recorded. Where preprocessing has statistics of each session or run, those of one that it was
        fitted on are used: name it.

    Raises
    ------
    ConfigError
        If the decoder does not know the subject, its preprocessing looks at trials that come later or came before
        (scopes ``"unit_unlabelled"`` and ``"causal"``), or the gallery is of another space or smaller than `k`.
    """

    def __init__(
        self, decoder: BrainDecoder, key: str, gallery: Embeddings, k: int = 5, *, session: str = "live"
    ):
        self.signal = checks.known_key("subject", key, dict(decoder.info.signals))
        for step in decoder.preprocessing[key].steps:
            if step.scope not in ALONE:
                raise checks.ConfigError(
                    f"{type(step).__name__} of {key} has the scope {step.scope!r} and needs further trials; one "
                    f"response at a time can be decoded where steps have one of {list(ALONE)}. Fit such a decoder."
                )
        self._session = session
        checks.same_target("gallery", gallery.info, decoder.outputs[decoder.main], "Embed it by that target.")
        checks.in_range("k", k, 1, len(gallery.ids))
        self.decoder, self.gallery, self._k = decoder.eval(), gallery, k
        self.candidates = np.asarray(gallery.values[:], dtype=np.float32)

    def decode(self, response: np.ndarray, event: str = UNKNOWN, *, session: str | None = None) -> Decoded:
        """What one response is decoded to.

        Parameters
        ----------
        response : array, shape (n_voxels,) or (n_channels, n_times)
            As measured: the decoder's fitted preprocessing is applied here.
        event : str
            Its name, for whoever looks at the answer; decoding does not see it.
        session : str, optional
            Of this response, where that is another than the one told before.
        """
        began = time.perf_counter()
        prediction = self.decoder.predict(self.trial(response, event, session))
        scores = self.decoder.similarity(prediction, self.candidates)[0]
        best = scores.topk(self._k)
        found = tuple(self.gallery.ids[i] for i in best.indices.tolist())
        took = 1e3 * (time.perf_counter() - began)
        return Decoded(event, prediction, found, best.values.numpy(), took)

    def draw(self, decoded: Decoded, generator: Generator, *, seed: int = 0) -> np.ndarray:
        """A picture of what was decoded, uint8 (height, width, 3): prior and generator run, which takes its time."""
        space = self.decoder.outputs[self.decoder.main].space
        checks.same_space("generator", generator.space, space, "Choose a generator of this space.")
        embedding = self.decoder.image_embedding(decoded.prediction, seed=seed)
        picture: np.ndarray = generator.generate(
            embedding, generator=seeding.torch_generator(seed, "picture")
        )[0]
        return picture

    def trial(self, response: np.ndarray, event: str = UNKNOWN, session: str | None = None) -> Trials:
        """The response as the one trial of a table."""
        where = self._session if session is None else session
        values = np.asarray(response, dtype=np.float32)
        if values.shape != tuple(self.signal.shape):
            raise ValueError(
                f"a response has shape {values.shape}; {self.signal.key} was fitted on {tuple(self.signal.shape)}."
            )
        one = np.zeros(1, dtype=np.int64)
        table = Table({
            "stimulus_id": np.array([event]), "session": np.array([where]), "run": np.array([where]), "repeat": one,
            "onset_s": np.zeros(1), "acquisition_order": one - 1, "exchangeability_block": np.array([where]),
        })  # fmt: skip
        s = self.signal
        return Trials(values[None], table, s.space, s.units, s.subject, s.modality, s.sfreq, s.tmin)


def class_answer(live: LiveDecoder) -> Callable[[np.ndarray], np.ndarray]:
    """The `Answer` of a decoder whose gallery holds one embedding a class: windows (n, ...) to (n, n_classes).

    Scores are similarities to the gallery's embeddings, in its order. Every window is decoded alone.
    """

    def answer(windows: np.ndarray) -> np.ndarray:
        rows = [
            live.decoder.similarity(live.decoder.predict(live.trial(w)), live.candidates)[0].numpy()
            for w in windows
        ]
        return np.stack(rows)

    return answer
