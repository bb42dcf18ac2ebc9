"""`braindec new`: the one file of a new member, small and working, and its test."""

from __future__ import annotations

import keyword
import re
import shlex
from pathlib import Path
from typing import Any

from braindec import checks

LONGEST = 40  # characters of a name
TEMPLATES = Path(__file__).parent / "templates"
FOLDERS = {"loss": "losses"}  # whose plural has another ending
# kind -> files to write: (template, path below the checkout)
KINDS: dict[str, tuple[tuple[str, str], ...]] = {
    "dataset": (
        ("dataset", "datasets/{}/prepare.py"),
        ("dataset_card", "datasets/{}/README.md"),
        ("dataset_test", "tests/datasets/test_{}.py"),
    ),
    "recipe": (("recipe", "recipes/{}.py"), ("recipe_test", "tests/recipes/test_{}.py")),
} | {
    kind: (
        (kind, f"braindec/{FOLDERS.get(kind, f'{kind}s')}/{{}}.py"),
        (f"{kind}_test", f"tests/unit/{FOLDERS.get(kind, f'{kind}s')}/test_{{}}.py"),
    )
    for kind in ("backbone", "target", "adapter", "loss", "metric")
}
SUITES = {"dataset": "tests/datasets/test_cards.py", "recipe": "tests/recipes"}  # others: tests/conformity


def add_options(parser: Any) -> None:
    """The options of the verb."""
    parser.add_argument("kind", type=str, help=f"one of {', '.join(KINDS)}")
    parser.add_argument("name", type=str, help="its name: small letters, digits and _, e.g. two_layers")
    parser.add_argument(
        "--into",
        type=Path,
        default=None,
        metavar="DIR",
        help="the checkout of braindec to write into, by default the one that this braindec runs from and not the "
        "current folder; an installed package has none: clone the repository",
    )


def run(options: Any) -> None:
    """Writes the files, and says what finds and tests them."""
    kind = checks.one_of("kind", options.kind, tuple(KINDS))
    root = _checkout(options.into)
    paths = write(kind, options.name, root)
    print(f"written into the checkout {root} (--into names another):")
    for path in paths:
        print(f"    {path}")
    suite = SUITES.get(kind, f"tests/conformity/test_{FOLDERS.get(kind, f'{kind}s')}.py")
    print(
        "They work as they stand; fill in your own. Its tests, and those of its kind, which find it by itself:"
    )
    if root != Path.cwd():
        print(f"    cd {shlex.quote(str(root))}")
    print(f"    pytest {paths[-1].relative_to(root)} {suite} -k {options.name}")
    print("    make check")


def write(kind: str, name: str, root: Path) -> list[Path]:
    """The files of a new member, in the order of `KINDS`; all or none.

    Raises
    ------
    ConfigError
        If the name is no name for a module, or is taken.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name) or len(name) > LONGEST:
        raise checks.ConfigError(
            f"name must be a Python name in small letters, digits and _ that begins with a letter, got {name!r}."
            f"{_near(name)}"
        )
    places = [(template, root / path.format(name)) for template, path in KINDS[kind]]
    taken = [path for _, path in places if path.exists()]
    if taken:
        raise checks.ConfigError(f"{kind} {name!r} is there already: {taken[0]}. Choose another name.")
    for template, path in places:
        text = (TEMPLATES / f"{template}.txt").read_text(encoding="utf-8")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("@NAME@", name), encoding="utf-8")
    return [path for _, path in places]


def _near(name: str) -> str:
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    plain = plain if re.match(r"[a-z]", plain) else f"x{plain}"
    return f" Did you mean {plain!r}?" if plain != name and not keyword.iskeyword(plain) else ""


def _checkout(given: Path | None) -> Path:
    root = Path(__file__).resolve().parents[2] if given is None else given.resolve()
    lacking = [name for name in ("braindec/registry.py", "tests/conformity") if not (root / name).exists()]
    if lacking:
        raise checks.ConfigError(
            f"{root} is no checkout of braindec (it has no {lacking[0]}): members are files of a checkout, which an "
            "installed package is not. Clone the repository, install it with pip install -e DIR, and name it with "
            "--into DIR. A recipe needs none: braindec run ./mine.py runs any file."
        )
    return root
