"""README.md of a saved decoder: what it decodes, from which data, how well, how it was audited, and for whom it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from braindec import __version__, checks

if TYPE_CHECKING:
    from braindec.types import Report, Score

PRIVACY = (
    "It was fitted on recordings of people. Its files hold statistics and a map of each person's responses; with other "
    "recordings of a person one may find out whether that person is among them. Subjects are numbers here; no names, "
    "dates or free texts of recordings' headers are in these files. Publish it only as far as the consent allows that "
    "the recordings were given under."
)
LIMITS = (
    "It decodes the people and the recordings it was fitted on, not other ones. Predictions of a new subject need "
    "`decoder.adapt`. What the scores stand on (gallery, repeats, preprocessing) is in the protocol they name and "
    "in report.json."
)
NOT_STATED = "other"  # the hub's word for a licence that is none of its list
LICENCES = (
    "apache-2.0", "mit", "bsd-3-clause", "gpl-3.0", "agpl-3.0", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0", "odbl", "odc-by", "pddl", "unlicense",
)  # fmt: skip
SPELT = re.compile(r"[a-z0-9]+([.+-][a-z0-9]+)*")


def check_licence(licence: str | None) -> None:
    """Refuses what the hub cannot read as the name of a licence; its list is longer than the one here."""
    if licence is not None and not SPELT.fullmatch(licence):
        near = "-".join(re.findall(r"[a-z0-9.]+", licence.lower()))
        raise checks.ConfigError(
            f"licence must be spelt as on the hub, e.g. 'cc-by-4.0' or {NOT_STATED!r}, got {licence!r}."
            f"{checks.suggest(near, LICENCES, 0.8)}"
        )


def model_card(
    config: Mapping[str, Any],
    report: Report | None,
    *,
    licence: str | None = None,
    files: Mapping[str, str] | None = None,
) -> str:
    """README.md of a saved decoder.

    Parameters
    ----------
    config : mapping
        What config.json holds: ``signals``, ``outputs``, ``settings``, ``training``.
    report : Report or None
        Its scores make the table, its audit the verdict.
    licence : str, optional
        Of the weights, as the hub spells it (``"cc-by-4.0"``).
    files : mapping of str to str, optional
        sha256 by name.
    """
    check_licence(licence)
    training = config.get("training") or {}
    scores = report.scores if report is not None else ()
    audit = (report.run.get("audit") if report is not None else None) or training.get("audit") or {}
    spaces = sorted({str(info["space"]) for info in config.get("outputs", {}).values()})
    subjects = ", ".join(map(code, sorted(config.get("signals", {})))) or "no subject yet"
    sections = [
        front_matter(_front(config, spaces, scores, licence)),
        "# Brain decoder",
        f"Decodes {subjects} into {', '.join(map(code, spaces))}. Made by braindec {__version__}.",
        "```python\nfrom braindec import BrainDecoder\n\n"
        'decoder = BrainDecoder.from_pretrained("OWNER/NAME", revision="40 HEX DIGITS OF A COMMIT")  # or a folder\n'
        "prediction = decoder.predict(trials)\n```",
        "## Data",
        _data(training),
        "## Scores",
        _scores(scores),
        "## Audit",
        plain(str(audit.get("verdict", "Not audited."))),
        "## Weights",
        _weights(config, files or {}),
        "## Privacy",
        PRIVACY,
        "## Licence",
        _licence(training, licence),
        "## Limits",
        LIMITS,
    ]
    return "\n\n".join(sections) + "\n"


def autoencoder_card(config: Mapping[str, Any], licence: str | None) -> str:
    """README.md of a sparse autoencoder, from its cfg.json."""
    check_licence(licence)
    about = config.get("metadata") or {}
    front = {
        "library_name": "braindec",
        "license": licence or NOT_STATED,
        "tags": ["braindec", "sparse-autoencoder"],
    }
    said = (
        f"{config['architecture']}, {config['d_in']} values to {config['d_sae']} latents, in SAELens' layout."
    )
    made = [
        f"- {plain(str(k))}: {plain(str(v))}" for k, v in about.items() if isinstance(v, str | int | float)
    ]
    sections = [
        front_matter(front),
        "# Sparse autoencoder",
        said,
        "```python\nfrom braindec import hub\nfrom braindec.sparse import saved\n\n"
        'model = saved.load(hub.local_or_download("OWNER/NAME", "40 HEX DIGITS OF A COMMIT"))\n```',
        "## Made of",
        "\n".join(made) or "Not stated.",
        "## Privacy",
        "Where it was fitted on activations of a decoder, it holds statistics of people's responses, and is published "
        "only as far as the consent allows that their recordings were given under; of a network's embeddings it holds "
        "nothing of people.",
    ]
    return "\n\n".join(sections) + "\n"


def front_matter(facts: Mapping[str, Any]) -> str:
    """YAML between two lines ``---``, each value as strict JSON, which is YAML; NaN is refused."""
    lines = [f"{key}: {json.dumps(value, allow_nan=False)}" for key, value in facts.items()]
    return "\n".join(["---", *lines, "---"])


def plain(text: str) -> str:
    """A text of elsewhere within Markdown: one line, none of whose characters makes markup."""
    words = " ".join(text.split())
    return "".join(f"\\{c}" if c in "`|<>[]*_#\\" else c for c in words)


def code(text: str) -> str:
    """The same as a span of code."""
    words = " ".join(text.split()).replace("`", "'")
    return f"`{words}`"


def _front(
    config: Mapping[str, Any], spaces: list[str], scores: Iterable[Score], licence: str | None
) -> dict[str, Any]:
    signals = sorted(config.get("signals", {}))
    training = config.get("training") or {}
    dataset = training.get("dataset") or {}
    front: dict[str, Any] = {
        "library_name": "braindec",
        "license": licence or NOT_STATED,
        "tags": ["braindec", "brain-decoding", *sorted({key.rpartition("_")[2] for key in signals})],
        "braindec_version": __version__,
        "target_spaces": spaces,
        "subjects": sorted({int(d) for key in signals if (d := key[4:].partition("_")[0]).isdigit()}),
    }
    if licence is None:
        front["license_name"] = "not-stated"
    if dataset.get("name"):
        front["datasets"] = [str(dataset["name"])]
    if dataset.get("split"):
        front["split"] = {key: dataset["split"].get(key) for key in ("name", "unit", "hash")}
    results = [_result(score, str(dataset.get("name", ""))) for score in scores if score.system == "braindec"]
    if results:
        front["model-index"] = [{"name": "brain decoder", "results": results}]
    return front


def _result(score: Score, dataset: str) -> dict[str, Any]:
    """A score as the hub reads it; the name says what a value cannot be read without."""
    low, high = score.interval
    said = (
        f"{score.name}, subject {score.subject} ({score.modality}), 95 % interval {low:.4g} to {high:.4g}, "
        f"chance {score.chance:.4g}, null {score.null:.4g}, n {score.n}"
    )
    return {
        "task": {"type": "brain-decoding"},
        "dataset": {"type": dataset or "own", "name": dataset or "own"},
        "metrics": [{"type": score.name, "value": float(score.value), "name": said}],
    }


def _data(training: Mapping[str, Any]) -> str:
    """What it was fitted on: names and hashes that pin the data down, nothing of the data."""
    dataset, counts = training.get("dataset") or {}, training.get("n_trials") or {}
    if not dataset:
        return "Not fitted yet."
    split = dataset.get("split")
    said = "all trials, no split"
    if split:
        name, unit, part = (
            plain(str(value)) for value in (split["name"], split["unit"], dataset.get("part"))
        )
        said = f"part {part} of split {name} by {unit}, sha256 `{split['hash']}`"
    head = f"Dataset {plain(str(dataset['name']))}; {said}."
    rows = [
        f"| {key} | {counts.get(key, '')} | `{digest}` |"
        for key, digest in sorted((dataset.get("recordings") or {}).items())
    ]
    return "\n".join([head, "", "| recording | trials fitted on | sha256 |", "| --- | --- | --- |", *rows])


def _weights(config: Mapping[str, Any], files: Mapping[str, str]) -> str:
    """How the weights were made, and their sha256."""
    training, settings = config.get("training") or {}, config.get("settings") or {}
    made = training.get("versions") or {}
    ema = (settings.get("train") or {}).get("ema")
    kind = "those of the last step" if ema is None else f"a running average of training's (decay {ema})"
    said = [f"The weights are {kind}; seed {settings.get('seed', 'not stated')}."]
    if training.get("best_step") is not None:
        said.append(f"Steps chosen on held-out training units: {training['best_step']}.")
    if made:
        said.append(
            f"Made with braindec {made.get('braindec')}, torch {made.get('torch')}, Python {made.get('python')}."
        )
    rows = [f"| {name} | `{digest}` |" for name, digest in sorted(files.items())]
    table = ["", "| file | sha256 |", "| --- | --- |", *rows] if rows else []
    return "\n".join([" ".join(said), *table])


def _licence(training: Mapping[str, Any], licence: str | None) -> str:
    said = f"The weights: {licence}." if licence else "Not stated by who made it: ask before you use it."
    data = training.get("data_licence")
    return said if not data else f"{said} The data it was fitted on: {plain(str(data))}."


def _scores(scores: Iterable[Score]) -> str:
    """A table a person can believe: interval, chance, null, ceiling and n beside each value."""
    rows = [
        f"| {s.name} | {s.system} | {s.subject} | {s.modality} | {s.value:.3f} | {s.interval[0]:.3f} to "
        f"{s.interval[1]:.3f} | {s.chance:.3g} | {s.null:.3g} | "
        f"{'' if s.ceiling is None else f'{s.ceiling:.3f} ({s.ceiling_kind})'} | {s.n} | {s.protocol} |"
        for s in scores
    ]
    if not rows:
        return "Not evaluated yet."
    head = "| metric | system | subject | modality | value | 95 % interval | chance | null | ceiling | n | protocol |"
    return "\n".join([head, "|" + " --- |" * 11, *rows])
