"""`braindec stream`: decodes a recording while it is played or arrives, on a page of this machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from braindec import checks

if TYPE_CHECKING:
    from braindec.data import NeuralDataset
    from braindec.decoder import BrainDecoder
    from braindec.generators import Generator
    from braindec.stream import Decoded, LiveDecoder, LivePage
    from braindec.types import Embeddings

Response = tuple[np.ndarray, str, str | None]
"""One response, the name of its event, and the session, where the event is what was presented (else None)."""


def add_options(parser: Any) -> None:
    """Declares the options of the verb."""
    parser.add_argument("dir", type=Path, help="folder of a run, or of a saved decoder")
    parser.add_argument(
        "input", type=Path, nargs="?", default=None, help="recordings of one subject, as prepared, to play"
    )
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR",
        help="prepared dataset among whose stimuli to retrieve (its test part, where it has a split)",
    )  # fmt: skip
    parser.add_argument(
        "--lsl",
        type=str,
        default=None,
        metavar="NAME",
        help="stream of the lab streaming layer, instead of INPUT",
    )
    parser.add_argument(
        "--subject",
        type=str,
        default=None,
        metavar="KEY",
        help="whose decoder, e.g. sub-01_eeg; needed with --lsl",
    )
    parser.add_argument(
        "--every",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="seconds from one answer to the next (1); 0: none",
    )
    parser.add_argument(
        "--session", type=str, default="live", metavar="NAME",
        help="with --lsl: the training session whose statistics are used, where preprocessing has some for each",
    )  # fmt: skip
    parser.add_argument("--n", type=int, default=None, help="stop after so many answers")
    parser.add_argument("--k", type=int, default=5, help="stimuli retrieved for each (5)")
    parser.add_argument(
        "--pictures", action="store_true", help="draw with the recipe's generator, as often as it can"
    )
    parser.add_argument("--port", type=int, default=0, help="of 127.0.0.1; a free one by default")
    parser.add_argument("--no-browser", action="store_true", help="print the address and open nothing")


def run(options: Any) -> None:
    """Serves the page, decodes until the recording ends, and says how long answers took."""
    from braindec import report
    from braindec.cli import _saved
    from braindec.decoder import BrainDecoder
    from braindec.stream import LiveDecoder, LivePage

    if (options.input is None) == (options.lsl is None):
        raise checks.ConfigError("stream plays one INPUT, or listens to --lsl NAME.")
    chosen = _saved.recorded(report.read(options.dir).run)
    decoder = BrainDecoder.from_pretrained(_saved.decoder_folder(options.dir))
    dataset = _saved.read_dataset(chosen, options.data)
    gallery = _gallery(dataset, _saved.embedded(decoder, chosen, dataset, options.data))
    key, responses = _responses(options, decoder, gallery.ids)
    live = LiveDecoder(decoder, key, gallery, k=options.k, session=options.session)
    page = LivePage(f"{key}, live", _pictures(dataset))
    artist = _Artist(live, page, chosen.build_generator() if options.pictures else None)
    with page.serve(options.port) as server:
        print(f"watch it at {server.url}", flush=True)
        if options.no_browser:
            _decode(options, live, page, artist, responses)
        else:
            with server.browser():
                _decode(options, live, page, artist, responses)
    state = page.state()
    if state["number"]:
        print(
            f"{state['n']} answers; milliseconds each: median {state['p50_ms']:.1f}, 99 % within {state['p99_ms']:.1f}"
        )
    if state.get("n_known"):
        print(f"{state['hits']} of {state['n_known']} were retrieved first among {len(gallery.ids)} stimuli")


def _decode(
    options: Any, live: LiveDecoder, page: LivePage, artist: _Artist, responses: Iterator[Response]
) -> None:
    due = time.monotonic()
    for number, (response, event, session) in enumerate(responses):
        if options.n is not None and number >= options.n:
            break
        due += options.every
        decoded = live.decode(response, event, session=session)
        artist.take(
            page.show(decoded, known=session is not None), decoded, None if session is None else event
        )
        time.sleep(max(0.0, due - time.monotonic()))  # answers come as often as was asked, not at once
    artist.close()


class _Artist:
    """Draws the newest answer in a thread of its own; answers that came meanwhile are not drawn."""

    def __init__(self, live: LiveDecoder, page: LivePage, generator: Generator | None):
        self._live, self._page, self._generator = live, page, generator
        self._busy: threading.Thread | None = None

    def take(self, number: int, decoded: Decoded, event: str | None) -> None:
        """Begins to draw, unless there is nothing to draw with or another picture is being made."""
        if self._generator is None or (self._busy is not None and self._busy.is_alive()):
            return
        self._busy = threading.Thread(
            target=self._draw, args=(number, decoded, event, self._generator), daemon=True
        )
        self._busy.start()

    def close(self) -> None:
        """Waits for the picture that is being made."""
        if self._busy is not None:
            self._busy.join()

    def _draw(self, number: int, decoded: Decoded, event: str | None, generator: Generator) -> None:
        self._page.drawn(number, self._live.draw(decoded, generator), event=event)


def _gallery(dataset: NeuralDataset, embeddings: Embeddings) -> Embeddings:
    """Embeddings of the stimuli of the test part; of all where the dataset has no split."""
    if dataset.split is None:
        return embeddings
    shown = {str(i) for t in dataset.part("test").trials.values() for i in t.table["stimulus_id"]}
    ids = tuple(i for i in embeddings.ids if i in shown)
    return replace(embeddings, ids=ids, values=embeddings.of(ids))


def _responses(options: Any, decoder: BrainDecoder, gallery: Sequence[str]) -> tuple[str, Iterator[Response]]:
    """The subject's key, and its responses to gallery stimuli one after the other."""
    if options.lsl is not None:
        if options.subject is None:
            raise checks.ConfigError(
                "--lsl needs --subject: name whose decoder it is, e.g. --subject sub-01_eeg."
            )
        key = str(options.subject)
        return key, _heard(options, checks.known_key("subject", key, dict(decoder.info.signals)))
    from braindec.data import layout

    path = checks.existing_file(
        options.input, "Recordings are prepared with: braindec prepare NAME --raw DIR --out DIR."
    )
    trials = layout.read_trials(path)
    ids = trials.table["stimulus_id"]
    order = np.argsort(trials.table["acquisition_order"], kind="stable")
    order = order[np.isin(ids[order], gallery)]  # others may have been trained on
    if not len(order):
        raise checks.DataFileError(
            path,
            "holds no response to a stimulus of the gallery",
            "Name --data of its dataset, whose test part is shown.",
        )
    sessions = trials.table["session"]
    played = ((np.asarray(trials.responses[[i]])[0], str(ids[i]), str(sessions[i])) for i in order.tolist())
    return trials.key, played


def _heard(options: Any, signal: Any) -> Iterator[Response]:
    """Windows of a stream as long as the decoder's epochs, one every so many seconds."""
    from braindec.stream import SlidingWindows, from_lsl

    if len(signal.shape) != 2:
        raise checks.ConfigError(
            f"{signal.key} is decoded from {signal.modality}; --lsl takes M/EEG decoders."
        )
    n_channels, n_times = signal.shape
    step = options.every or 1 / signal.sfreq
    windows = SlidingWindows(signal.sfreq, n_times / signal.sfreq, step)
    heard = from_lsl(options.lsl, sfreq=signal.sfreq, n_channels=n_channels, units=signal.units)
    for block in heard:
        for window in windows.push(block.signal)[-1:]:  # what is older has passed
            yield window.signal, f"{window.end_s:.2f} s", None


def _pictures(dataset: NeuralDataset) -> Callable[[str], np.ndarray]:
    def picture(stimulus: str) -> np.ndarray:
        if stimulus not in dataset.stimuli.ids or dataset.stimuli.kind not in ("image", "video"):
            raise KeyError(stimulus)
        shown: np.ndarray = dataset.stimuli.images([stimulus])[0]
        return shown

    return picture
