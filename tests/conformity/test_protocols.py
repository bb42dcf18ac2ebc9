"""What every protocol promises: existing metrics, a right chance, content that does not change under its name."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from braindec import evaluate, registry
from braindec.cli import _protocols
from braindec.data import NeuralDataset, Split
from braindec.decoder.prediction import Prediction, with_repeats
from braindec.evaluate.measures import metric_table, protocol_table
from braindec.evaluate.systems import centred_cosine
from braindec.metrics.online import RUN_METRICS
from braindec.protocols import Departure, Pictures, Pool, Protocol, Windows
from braindec.types import ArraySpace, Embeddings, StimulusSet, Table, Trials

PROTOCOLS = protocol_table()
FROZEN = json.loads((Path(__file__).parent / "frozen_protocols.json").read_text())
N_DIMS = 3
ON_PREDICTIONS = [
    n for n, p in PROTOCOLS.items() if p.metrics and p.published_by is None and p.windows is None
]


def test_no_two_members_define_one_name():
    assert len(PROTOCOLS) == sum(
        len(registry.load("protocols", member).PROTOCOLS) for member in registry.names("protocols")
    )


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_a_name_and_version_stand_for_one_content(name):
    # A change of a protocol is a new version (and a new line in the file), or better a new name.
    protocol = PROTOCOLS[name]
    assert FROZEN.get(f"{name} {protocol.version}") == protocol.content_hash


def test_no_frozen_protocol_has_gone():
    assert {key.rpartition(" ")[0] for key in FROZEN} == set(PROTOCOLS)


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_a_protocol_names_metrics_that_exist(name):
    protocol, known = PROTOCOLS[name], metric_table()
    for metric in (
        *protocol.metrics,
        *protocol.picture_metrics,
        *protocol.caption_metrics,
        *protocol.video_metrics,
    ):
        assert metric in known
    assert set(protocol.run_metrics) <= set(RUN_METRICS)
    assert all(known[metric].needs == "similarity" for metric in protocol.metrics if "retrieval" in metric)
    assert not any(known[metric].whole_test_set for metric in protocol.metrics)


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_the_chance_of_a_protocol_is_that_of_its_metrics(name):
    protocol = PROTOCOLS[name]
    for metric, chance in zip(protocol.metrics, protocol.chance, strict=True):
        theory = metric_table()[metric].chance_of(protocol.pool.size or 7)
        assert chance is None if protocol.pool.size is None and theory != 0.5 else chance == theory


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_what_a_paper_did_otherwise_is_marked_and_corrected(name):
    protocol = PROTOCOLS[name]
    assert ("_as_published_by_" in name) == (protocol.published_by is not None)
    if protocol.published_by is None:
        return
    assert name == f"{protocol.corrects}_as_published_by_{protocol.published_by}"
    base = PROTOCOLS[protocol.corrects]
    assert base.published_by is None
    assert (protocol.unit, protocol.pool.size, protocol.pool.rule) == (
        base.unit,
        base.pool.size,
        base.pool.rule,
    )
    assert all(d.what.endswith(".") for d in protocol.departures)


@dataclasses.dataclass
class Knows:
    """A decoder that knows nothing: noise from its own generator, whatever it is shown."""

    rng: np.random.Generator
    mean: np.ndarray

    def predict(self, trials: Trials, *, repeats: str) -> Prediction:
        def noise(rows: np.ndarray) -> np.ndarray:
            return self.rng.standard_normal((len(rows), 1, N_DIMS)).astype(np.float32)

        return dataclasses.replace(
            with_repeats(np.zeros((trials.n_trials, 1), np.float32), trials.table, repeats, noise),
            key=trials.key,
        )

    def similarity(self, prediction: Prediction, candidates: np.ndarray, *, direction: str = "image"):
        return centred_cosine(prediction, candidates, self.mean)


def toy(protocol: Protocol) -> tuple[NeuralDataset, Embeddings]:
    """As many test stimuli and repeats as the protocol wants, in two classes, a run and session and concept each."""
    rng = np.random.default_rng(1)
    n_test, n_repeats = protocol.pool.size or 24, protocol.n_repeats or 1
    ids = [f"s{i:04d}" for i in range(n_test + 8)]
    shown = np.array([i for i in ids[:n_test] for _ in range(n_repeats)] + ids[n_test:])
    part = np.where(np.isin(shown, ids[:n_test]), 1, 0)
    n = np.arange(len(shown))
    table = Table({
        "stimulus_id": shown, "session": part, "run": part, "repeat": np.zeros(len(n), int), "onset_s": 1.0 * n,
        "acquisition_order": n, "exchangeability_block": np.zeros(len(n), int),
    })  # fmt: skip
    responses = rng.standard_normal((len(n), 2)).astype(np.float32)
    trials = [Trials(responses, table, ArraySpace(2), "a.u.", 1, "fmri")]
    stimuli = StimulusSet(
        tuple(ids), "none", table=Table({"concept": ids, "category": ["ab"[i % 2] for i in range(len(ids))]})
    )
    values = rng.standard_normal((len(ids), 1, N_DIMS)).astype(np.float32)
    of = {"stimulus": (ids[n_test:], ids[:n_test]), "concept": (ids[n_test:], ids[:n_test])}
    train, test = of.get(protocol.unit, (("0",), ("1",)))
    split = Split("toy", protocol.unit, {"train": tuple(train), "test": tuple(test)})
    return NeuralDataset.from_trials(trials, stimuli, split, name="toy"), Embeddings(
        tuple(ids), values, "toy", {"model": "toy"}, "0" * 64
    )


@pytest.mark.parametrize("name", [n for n in ON_PREDICTIONS if PROTOCOLS[n].unit != "subject"])
def test_a_decoder_that_knows_nothing_is_at_the_protocol_s_chance(name):
    protocol = PROTOCOLS[name]
    protocol = dataclasses.replace(protocol, pool=dataclasses.replace(protocol.pool, sha256=None))
    dataset, embeddings = toy(protocol)
    rounds = 4 if protocol.pool.size and protocol.pool.size > 500 else 12
    found = []
    for number in range(rounds):
        decoded = evaluate.cross_decode(
            lambda part, e, seed: Knows(np.random.default_rng(seed), e.of(part.stimulus_ids).mean(0)),
            dataset, embeddings, [dataset.split], protocol, number, "category",
        )["sub-01_fmri"]  # fmt: skip
        labels = np.array([{"a": "a", "b": "b"}["ab"[int(i[1:]) % 2]] for i in decoded.ids])
        found.append(evaluate.measure(decoded, protocol, labels, np.random.default_rng(0)))
    for metric in protocol.metrics:
        values, chance = np.array([f[metric].value for f in found]), found[0][metric].chance
        samples = np.concatenate([f[metric].per_sample for f in found])
        error = max(values.std(ddof=1) / rounds**0.5, samples.std() / len(samples) ** 0.5, 1 / len(samples))
        assert values.mean() == pytest.approx(chance, abs=4.5 * error), metric


def field_rows() -> list[str]:
    """The docs' tables of fields, made from the objects."""
    rows = []
    for kind in (Protocol, Pool, Pictures, Windows, Departure):
        prefix = "" if kind is Protocol else f"{kind.__name__.lower()}."
        rows += [
            f"| `{prefix}{f.name}` | {_protocols.meaning(kind, f.name)} |" for f in dataclasses.fields(kind)
        ]
    return rows


def protocol_row(protocol: Protocol) -> str:
    """A protocol's line in the docs, made from the object."""
    size = protocol.pool.size or "all held out"
    size = f"{size}, {protocol.pool.drawn} at a time" if protocol.pool.drawn else size
    repeats = {"none": "single trials", "before": "mean response", "after": "mean prediction"}[
        protocol.repeats
    ]
    repeats += f" of {protocol.n_repeats}" if protocol.n_repeats else ""
    what = [*protocol.metrics, *protocol.picture_metrics, *protocol.caption_metrics, *protocol.video_metrics]
    metrics = ", ".join([*what, *protocol.run_metrics])
    return f"| `{protocol.name}` | {protocol.unit} | {size} | {repeats} | {metrics} |"


def departure_rows(protocol: Protocol) -> list[str]:
    """What a paper did otherwise, a line each."""
    how = {d.what: "computed" if d.how else f"said only: {d.why}" for d in protocol.departures}
    return [f"  - {what} *({said})*" for what, said in how.items()]


def test_the_docs_tables_are_made_from_the_objects(repository):
    lines = set((repository / "docs" / "judging.md").read_text().splitlines())
    corrected = [p for p in PROTOCOLS.values() if p.published_by is None]
    published = [p for p in PROTOCOLS.values() if p.published_by is not None]
    wanted = field_rows() + [protocol_row(p) for p in corrected]
    wanted += [f"- `{p.name}`" for p in published] + [row for p in published for row in departure_rows(p)]
    assert [row for row in wanted if row not in lines] == []


def test_an_as_published_variant_is_not_run_by_itself(planted):
    protocol = PROTOCOLS["nsd_982_as_published_by_brain_diffuser"]
    with pytest.raises(ValueError, match="shown beside 'nsd_982'"):
        evaluate.cross_decode(
            evaluate.fit_mean, planted.dataset, planted.embeddings, [planted.dataset.split], protocol, 0
        )


def test_a_tie_earns_what_a_random_order_would(generator):
    constant = torch.zeros(40, 40)
    for name in {m for p in PROTOCOLS.values() for m in p.metrics if "retrieval" in m}:
        metric = metric_table()[name]
        assert metric.value(constant, torch.arange(40)) == pytest.approx(metric.chance_of(40), abs=1e-9)


@pytest.mark.slow
def test_the_worked_example_in_the_docs_prints_what_the_docs_say(repository):
    text = (repository / "docs" / "judging.md").read_text()
    code, printed = text.split("```python\n")[1].split("```")[0], text.split("```python\n")[1].split("```")[2]
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True
    )
    for ours, theirs in zip(run.stdout.strip().splitlines(), printed.strip().splitlines(), strict=True):
        assert ours.split()[:2] == theirs.split()[:2]
        assert float(ours.split()[2]) == pytest.approx(float(theirs.split()[2]), abs=0.003)
