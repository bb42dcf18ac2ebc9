"""How often what must not be lost was lost: the tests behind docs/reliability.md run, counted and written down.

Run  python benchmarks/reliability.py          (some five minutes of two free cores)
     python benchmarks/reliability.py --soak   (also what takes hours)
     python benchmarks/reliability.py --only R1 R3
     python benchmarks/reliability.py --only    (nothing runs: the page is written again)

Each line of `LINES` is a figure, its target and the tests that show it. What a test says of itself
(`record_property`) is what is measured; else how many passed. A line that is not run keeps what stands in the results,
with its date.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULT, PAGE = HERE / "results" / "reliability.json", HERE.parent / "docs" / "reliability.md"
BEGIN, END = "<!-- measured: written by benchmarks/reliability.py -->", "<!-- end of what was measured -->"
LOST, GUARDS = "tests/slow/test_nothing_is_lost.py", "tests/unit/test_guards.py"


@dataclass(frozen=True)
class Line:
    """A figure, what it has to be, and the tests that say so (``soak``: these take hours)."""

    key: str
    figure: str
    target: str
    tests: tuple[str, ...]
    soak: bool = False


LINES = (
    Line("R1", "`kill -9` at random moments and inside a save, resumed: weights, metrics, logs sha256-equal",
         "20/20", (f"{LOST}::test_twenty_runs_killed_at_random_or_inside_a_save_end_with_the_same_bytes",)),
    Line("R1 soak", "The same, each fit killed one to three times", "200/200",
         ("tests/soak/test_killed_fits.py",), soak=True),
    Line("R2", "Two ranks, one or both killed, resumed: sha256-equal; survivors end within 30 s", "5/5",
         (f"{LOST}::test_two_ranks_killed_one_or_both_end_with_the_same_bytes",)),
    Line("R3", "SIGTERM, SIGUSR1, SIGINT: saved, ended within 10 s with 143, 75, 130, <= 1 step lost", "10/10",
         (f"{LOST}::test_ten_signals_to_stop_save_within_ten_seconds_and_lose_no_step",)),
    Line("R4", "Full disk, read-only disk, forbidden folder: the error names the file, the checkpoint before loads",
         "3/3", (f"{GUARDS}::test_a_checkpoint_that_has_no_room_is_an_error_and_the_one_before_is_whole",
                 f"{GUARDS}::test_a_folder_that_may_not_be_written_is_an_error_and_the_checkpoint_before_is_whole")),
    Line("R5", "Damaged files of every container: no crash, no hang, one error", "5,000/5,000",
         ("tests/soak/test_mutated_files.py::test_damaged_files_are_refused_or_read_with_an_equal_shape",), soak=True),
    Line("R6", "Silent corruption of files that braindec wrote, a few of each container (all of them: R5)", "0",
         ("tests/soak/test_mutated_files.py::test_a_few_damaged_files_are_refused_or_read_with_an_equal_shape",)),
    Line("R7", "Malicious files refused by every way in, the canary never made", ">= 30, all",
         ("tests/unit/security/test_nobody_gets_in.py",)),
    Line("R8", "A hub that flips, truncates, cuts, stalls, answers 500: the right sha256 or an error",
         "all", ("tests/unit/test_pull.py", "tests/unit/test_push.py", "tests/unit/test_killed_pull.py")),
    Line("R8 prepare", "A preparation that is killed and started again: sha256-equal", "3/3",
         (f"{LOST}::test_a_preparation_that_is_killed_and_started_again_writes_the_same_bytes",)),
    Line("R9", "Planted leaks found by name; clean splits without an alarm", "10 kinds; 20 splits",
         ("tests/recovery/leakage/test_planted_leaks.py", "tests/recovery/leakage/test_clean_splits.py")),
    Line("R10", "Shuffled pairs: top-1 inside the 99 % chance band", "20/20 seeds",
         ("tests/slow/test_shuffled_pairs.py",)),
    Line("R11", "Gradient of 2 and 4 ranks against one process", "<= 1e-6",
         ("tests/slow/test_ranks.py::test_the_gradient_of_a_global_batch_is_that_of_one_process",)),
    Line("R12", "Same seed, other process and PYTHONHASHSEED: sha256-equal", "equal",
         (f"{LOST}::test_another_process_with_another_hash_seed_writes_the_same_bytes",)),
    Line("R13", "Properties, 200 drawn cases each", ">= 40", ("tests/properties",)),
    Line("R14", "Coverage-guided fuzz of our own parsers, ten minutes: nothing uncaught", "0",
         ("tests/soak/test_parsers.py",), soak=True),
    Line("R15", "scikit-learn's `check_estimator` on our estimators", "all",
         ("tests/unit/test_estimators.py::test_all_of_scikit_learns_checks_pass",)),
    Line("memory", "A step that does not fit: divided with the same global loss to 1e-6, or what to set is said", "all",
         tuple(f"{GUARDS}::{name}" for name in (
             "test_a_step_in_pieces_has_the_losses_and_gradients_of_the_whole_step",
             "test_memory_that_runs_out_divides_the_step_and_changes_nothing_else",
             "test_a_step_whose_single_trials_do_not_fit_says_what_to_set",
             "test_what_cannot_be_divided_names_the_batch_size_that_may_fit",
         ))),
    Line("NaN", "NaN of inputs, embeddings, loss, gradients, weights, activations: stopped, first bad tensor named",
         "6/6 causes", (f"{GUARDS}::test_a_diverging_run_stops_and_names_the_first_bad_tensor",
                        f"{GUARDS}::test_an_overflow_in_one_subjects_adapter_is_told_of_that_subject")),
    Line("U3", "`braindec --help` and `import braindec`", "<= 0.5 s, 0.3 s", ("tests/unit/test_import_cost.py",)),
)  # fmt: skip


def main(words: list[str] | None = None) -> None:
    """Runs the lines that are asked for, and writes results and page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", help="lines by key; all but those that take hours by default")
    parser.add_argument("--soak", action="store_true", help="also what takes hours")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--page", type=Path, default=PAGE)
    chosen = parser.parse_args(words)
    known = json.loads(RESULT.read_text())["values"] if RESULT.is_file() else []
    kept = {row["line"]: row for row in known}
    for line in LINES:
        wanted = line.key in chosen.only if chosen.only is not None else chosen.soak or not line.soak
        if wanted:
            kept[line.key] = measured(line)
            print(f"{line.key}: {kept[line.key]['measured']}", flush=True)
            write(kept, chosen.out, chosen.page)
    write(kept, chosen.out, chosen.page)


def measured(line: Line) -> dict[str, Any]:
    """What the tests of a line say."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-n", "0", f"--junitxml={report}", *line.tests]
        subprocess.run(
            command,
            cwd=HERE.parent,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            check=False,
            capture_output=True,
        )
        cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    return row_of(line, cases, time.monotonic() - began)


def row_of(line: Line, cases: list[ElementTree.Element], seconds: float) -> dict[str, Any]:
    """One line of the results, from the cases of a JUnit report."""
    failed = [c for c in cases if c.find("failure") is not None or c.find("error") is not None]
    skipped = [c for c in cases if c.find("skipped") is not None]
    said = [(p.attrib["name"], p.attrib["value"]) for c in cases for p in c.iter("property")]
    talkative = sum(any(True for _ in c.iter("property")) for c in cases)
    passed = len(cases) - len(failed) - len(skipped)
    counted = f"{passed} of {len(cases)} tests" + (f", {len(skipped)} skipped" if skipped else "")
    return {
        "line": line.key,
        "figure": line.figure,
        "target": line.target,
        "measured": "; ".join(
            part for part in (joined(said), counted if talkative < len(cases) else "") if part
        ),
        "passed": passed,
        "failed": [c.attrib["name"] for c in failed],
        "skipped": len(skipped),
        "seconds": round(seconds, 1),
        "date": datetime.now(UTC).date().isoformat(),
        "command": "python -m pytest " + " ".join(line.tests),
    }


def joined(said: list[tuple[str, str]]) -> str:
    """What several tests said, added up where they counted kills."""
    counts = [re.match(r"(\d+)/(\d+) equal \((\d+) kills\)", value) for _, value in said]
    if said and all(counts):
        equal, n, kills = (sum(int(found[i]) for found in counts if found) for i in (1, 2, 3))
        return f"{equal}/{n} equal ({kills} kills)"
    values = [value for _, value in said]
    return (
        "; ".join(f"{name}: {value}" for name, value in said) if len(set(values)) > 1 else "".join(values[:1])
    )


def write(kept: dict[str, dict[str, Any]], out: Path, page: Path) -> None:
    """Results, and the table between the marks of the page."""
    rows = [kept[line.key] for line in LINES if line.key in kept]
    missing = [line.key for line in LINES if line.key not in kept]
    record = {
        "measured": True,
        "machine": {
            "processor": platform.processor() or platform.machine(), "cores": os.cpu_count(), "gpu": None,
            "load_average": os.getloadavg()[0],
        },
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("torch", "numpy", "scikit-learn", "hypothesis", "h5py")},
        "command": "python benchmarks/reliability.py",
        "not_measured": missing,
        "values": rows,
    }  # fmt: skip
    out.write_text(json.dumps(record, indent=1) + "\n")
    before, rest = page.read_text().split(BEGIN)
    page.write_text(f"{before}{BEGIN}\n\n{table(record)}\n{END}{rest.split(END)[1]}")


def table(record: dict[str, Any]) -> str:
    """The page's table of a results file."""
    rows = {row["line"]: row for row in record["values"]}
    lines = [
        "| line | figure | target | measured | seconds, date | tests |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for line in LINES:
        tests = "<br>".join(f"`{name}`" for name in dict.fromkeys(t.partition("::")[0] for t in line.tests))
        row = rows.get(line.key)
        if row is None:
            told, when = "not measured yet" + (": `make soak`" if line.soak else ""), ""
        else:
            told, when = row["measured"], f"{row['seconds']:.0f}, {row['date']}"
            if row["failed"]:
                told = f"**{len(row['failed'])} failed**: {told}"
        lines.append(f"| {line.key} | {line.figure} | {line.target} | {told} | {when} | {tests} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
