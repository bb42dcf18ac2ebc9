"""The command line: verbs, help that answers at once, and errors as one line.

Nothing heavy is imported before a verb runs: `braindec --help` must answer within half a second.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from braindec import __version__, checks, stopping
from braindec.cli import _lines

# verb -> (what follows it, what it does)
VERBS = {
    "demo": ("[--out DIR]", "decode simulated brains, whose truth is known, and write a report"),
    "prepare": ("NAME --raw DIR --out DIR", "bring a dataset's raw files into the form that recipes read"),
    "unpack": ("ARCHIVE --out DIR", "unpack a downloaded zip or tar: plain files alone, inside the folder"),
    "run": ("RECIPE --data DIR --out DIR", "run an experiment: fit, judge, write report and decoder"),
    "evaluate": ("DIR [--data DIR]", "judge a saved decoder again, or on recordings it never saw"),
    "audit": ("DIR [--data DIR]", "say what training and test data share, and what could not be checked"),
    "decode": ("DIR INPUT", "decode recordings with a saved decoder"),
    "report": ("DIR | --compare A B", "draw report.html again, or compare two runs on the same samples"),
    "explore": ("DIR [--out DIR]", "look around in a run: pictures, neighbours, latents, maps, scores"),
    "multiverse": (
        "RECIPE --data DIR --out DIR",
        "analyse in every declared way: how far choices move the score",
    ),
    "twin": ("DIR --recipe RECIPE", "say which score a recording allows, and which would be a leak"),
    "encoding": (
        "DIR --target NAME --out DIR",
        "predict the brain's responses from a network's layers, and map them",
    ),
    "compare": ("A B ...", "say how alike brains and models are, with ceilings, nulls and intervals"),
    "sae": (
        "fit|judge|brain DIR --target TARGET --out DIR",
        "take a network's embeddings apart into latents, and find these in the brain",
    ),
    "stream": (
        "DIR INPUT --data DIR",
        "decode a recording as it is played or arrives, on a page of this machine",
    ),
    "convert": (
        "NAME CHECKPOINT --out DIR",
        "bring a published checkpoint into braindec, every tensor accounted for",
    ),
    "pull": ("[NAME]", "fetch published weights at a commit, every byte verified"),
    "push": ("DIR OWNER/NAME", "share a decoder or a prepared dataset on the hub, in one commit"),
    "new": ("KIND NAME", "write the file of a new dataset, recipe or part, and its test"),
    "completion": ("SHELL", "print what lets bash, zsh or fish complete verbs, options and names"),
    "doctor": ("", "say what this machine has, and what it can run"),
    "list": ("[KIND]", "names of datasets, recipes and parts"),
    "info": ("NAME", "what a dataset, recipe or part is, and its settings"),
}
# What the operating system says, in words and with the way out.
SYSTEM = {
    errno.ENOSPC: "the disk is full. Make room, or name another disk with --out.",
    errno.EDQUOT: "your quota of the disk is used up. Make room, or name another disk with --out.",
    errno.EACCES: "may not be read or written by you. Change its permissions, or name another place.",
    errno.EPERM: "may not be changed by you. Change its owner or permissions, or name another place.",
    errno.EROFS: "lies on a disk that cannot be written. Name another place with --out.",
    errno.EEXIST: "is there already, and is no folder. Name another place with --out.",
    errno.ENOTDIR: "lies below a file, where a folder is needed. Name another place.",
    errno.EISDIR: "is a folder, where a file is needed. Name a file in it.",
    errno.ENAMETOOLONG: "has too long a name for this file system. Name a shorter one.",
    errno.EMFILE: "cannot be opened: too many files are open. Raise the limit: ulimit -n 4096.",
    errno.EADDRINUSE: "cannot listen: the port is in use. Name another one with --port, or 0 for any that is free.",
    errno.ENOMEM: "There is not enough memory: use smaller batches (--set train.batch_size=...; pieces of a batch with "
    "--set train.pieces=...), fewer subjects or a smaller region, or a machine with more.",
}
FAILED = 2  # exit code when the input was wrong; Python's own, 1, when braindec was
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        ``sys.argv[1:]`` if not given.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    # Threads that spin while they wait make small models ten times slower on small and shared machines.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if not sys.stderr.isatty():  # a log gets a line of progress now and then, not thousands
        os.environ.setdefault("TQDM_MININTERVAL", "30")
    try:
        with _lines.in_a_log(), stopping.obeyed():
            code = _run(words)
        sys.stdout.flush()  # what is still to be written would fail where nobody can say so
        return code
    except stopping.Stopped as stop:
        print(f"braindec: {stop}", file=sys.stderr)
        return stopping.EXIT_CODES[stop.name]
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except (checks.BraindecError, ValueError, TypeError, OSError, MemoryError, RuntimeError) as error:
        if isinstance(error, BrokenPipeError):  # `braindec list datasets | head -1`
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())  # Python writes the rest when it ends
            os.close(nowhere)
            return 0
        if debug or not _is_worded(error):
            raise
        print(f"braindec: {printable(_worded(error))}", file=sys.stderr)
        return FAILED


def printable(text: str) -> str:
    """Text from a file for a terminal, which obeys some characters instead of showing them."""
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


def usage() -> str:
    """The text of `braindec --help`."""
    width = max(len(f"{verb} {rest}") for verb, (rest, _) in VERBS.items()) + 2
    verbs = "\n".join(f"  {f'{verb} {rest}':<{width}} {what}" for verb, (rest, what) in VERBS.items())
    return (
        "usage: braindec VERB ...\n\n"
        "From brain recordings to what a person saw, heard or read.\n\n"
        f"{verbs}\n\n"
        "  braindec VERB --help shows the options of a verb; --debug shows where an error came from; --version.\n"
        "  Settings of a recipe are changed with --set, as often as needed: --set train.n_steps=100 --set seed=1"
    )


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if words[0] == "--version":
        print(f"braindec {__version__}")
        return 0
    checks.one_of("verb", words[0], list(VERBS))
    from braindec.cli import _verbs

    return _verbs.run(words[0], words[1:])


def _worded(error: Exception) -> str:
    """The message; of what the system itself refused, with the file and the way out."""
    if _is_memory(error):
        first = (str(error).strip().splitlines() or ["out of memory"])[0]
        return f"{first.rstrip('.')}. {SYSTEM[errno.ENOMEM]}"
    if not isinstance(error, OSError) or isinstance(error, checks.BraindecError):
        return str(error)
    said = SYSTEM.get(error.errno or 0)
    return str(error) if said is None else f"{'a file' if error.filename is None else error.filename}: {said}"


def _is_memory(error: Exception) -> bool:
    """Whether memory was short, of the machine or of a GPU (torch has a class of its own for that)."""
    told = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return told or isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def _is_worded(error: Exception) -> bool:
    """Whether the message is meant for the user: our own errors, files, and what our own lines refuse.

    A ValueError out of another library is a fault of braindec, and shows where it happened.
    """
    if isinstance(error, checks.BraindecError | OSError) or _is_memory(error):
        return True
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return False
    here = Path(__file__).resolve().parents[1]
    ours = (here, here.parent / "datasets", here.parent / "recipes")
    return any(Path(frames[-1].filename).resolve().is_relative_to(folder) for folder in ours)
