"""What there is: names of datasets, recipes and parts, and what each of them is."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import shutil
import sys
import textwrap
from pathlib import Path

from braindec import checks, registry
from braindec.cli import _named, _protocols

NEAR = 0.7  # how like a name must be to be suggested where a folder may have been meant
SCORES = "scores"  # as reports print them: no kind that is listed
PACKAGE = Path(__file__).resolve().parents[1]


def kinds() -> list[str]:
    """Everything that has names."""
    return ["datasets", "recipes", *(kind for kind in registry.KINDS if registry.names(kind))]


def names(kind: str) -> list[str]:
    """The members of a kind, sorted."""
    checks.one_of("kind", kind, kinds())
    if kind == "datasets":
        return sorted(path.parent.name for path in _beside("datasets").glob("*/prepare.py"))
    if kind == "recipes":
        return sorted(path.stem for path in _beside("recipes").glob("*.py") if not path.stem.startswith("_"))
    if kind == "protocols":
        return sorted(_protocols.protocols())
    return registry.names(kind)


def listing(kind: str | None, *, terminal: bool | None = None) -> str:
    """Names for a person (with a sentence each) or for a program: untruncated, one a line.

    Datasets are a table, whoever reads: a line each, which begins with the name.

    Parameters
    ----------
    kind : str or None
        None lists the kinds.
    terminal : bool, optional
        Whether a person reads; found out if not given.
    """
    person = sys.stdout.isatty() if terminal is None else terminal
    found = kinds() if kind is None else names(kind)
    if kind == "datasets":
        return _datasets(found)
    if not person:
        return "\n".join(found)
    said = {
        name: (f"{len(names(name))} members" if kind is None else _sentence(kind, name)) for name in found
    }
    width = max((len(name) for name in found), default=0)
    if kind == "protocols":  # what is frozen is read in full
        return "\n".join(f"{name:<{width}}  {what}" for name, what in said.items())
    line = max(40, shutil.get_terminal_size().columns - width - 4)
    return "\n".join(
        f"  {name:<{width}}  {textwrap.shorten(what, line, placeholder=' …')}" for name, what in said.items()
    )


def _datasets(found: list[str]) -> str:
    from braindec.data import catalogue

    rows: list[tuple[str, ...]] = [
        ("dataset", "modality", "subjects", "trials each", "size", "licence", "access")
    ]
    for name in found:
        facts = catalogue.card(name).facts
        short = facts["in_a_line"]
        shown = (facts["subjects"], *(short[key] for key in ("trials", "size", "licence", "access")))
        rows.append((name, " ".join(facts["modality"]), *map(str, shown)))
    width = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, width, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def info(name: str) -> str:
    """What a dataset, recipe or part is, and its settings with their defaults; or what a prepared folder holds.

    A score is found by the name that reports print, a recipe by that of the published system that it stands for too.

    Raises
    ------
    ConfigError
        If nothing has this name (with the closest one) and no folder does, or several kinds or recipes do.
    FileNotFoundError
        If it is a folder that holds no prepared dataset.
    """
    if (Path(name) / "dataset.json").is_file():
        return _prepared(Path(name))
    if Path(name).is_dir() and not _is_name(name):
        return _prepared(Path(name))  # which says what it is instead
    kind, member = _resolve(name)
    if kind == "datasets":
        return _dataset(member)
    if kind == "recipes":
        return _recipe(member)
    if kind == SCORES:
        return _named.score(member, *_named.metrics()[member])
    return _protocols.info(member) if kind == "protocols" else _member(kind, member)


def _recipe(name: str) -> str:
    said = _docstring(_beside("recipes") / f"{name}.py")
    lines = ["", "Settings, for --set", *(f"  {line}" for line in _named.settings(name))]
    return "\n".join([f"recipe {name}", "", said, *lines])


def _is_name(name: str) -> bool:
    kind, slash, member = name.partition("/")
    return kind in kinds() and member in names(kind) if slash else any(name in names(k) for k in kinds())


def _resolve(name: str) -> tuple[str, str]:
    kind, slash, member = name.partition("/")
    if slash and kind not in kinds():
        other = "" if kind in ("", ".", "..", "~") else f" Nor is {kind!r} one of the kinds {kinds()}."
        raise checks.ConfigError(f"no folder {name} exists.{other}{checks.suggest(kind, kinds())}")
    if slash:
        return checks.one_of("kind", kind, kinds()), checks.one_of(f"{kind} member", member, names(kind))
    found = [kind for kind in kinds() if name in names(kind)]
    if not found:
        known = _otherwise(name)
        if known is not None:
            return known
        every = sorted({member for kind in kinds() for member in names(kind)} | set(_named.metrics()))
        raise checks.ConfigError(
            f"no folder {name} exists, and nothing is called {name!r}.{checks.suggest(name, every, NEAR)} "
            f"`braindec list` shows the kinds of names, `braindec list KIND` their {len(every)} names."
        )
    if len(found) > 1:
        raise checks.ConfigError(
            f"{name!r} is in {found}; say which: {' or '.join(f'{kind}/{name}' for kind in found)}."
        )
    return found[0], name


def _otherwise(name: str) -> tuple[str, str] | None:
    """(kind, member) of a score as reports print it, of a name in other letters, or of the one recipe of a system."""
    plain = name.lower()
    if plain in _named.metrics():
        return SCORES, plain
    found = [(kind, member) for kind in kinds() for member in names(kind) if member.lower() == plain]
    if len(found) == 1:
        return found[0]
    recipes = _named.systems().get(name.lower(), [])
    if len(recipes) > 1:
        raise checks.ConfigError(f"{name!r} is in the recipes {recipes}; name one of them.")
    return ("recipes", recipes[0]) if recipes else None


def _prepared(folder: Path) -> str:
    from braindec.data import NeuralDataset, layout

    manifest = layout.read_manifest(folder)
    lines = [repr(NeuralDataset.read(folder)), f"what its split lets through: braindec audit {folder}"]
    if manifest["name"] in names("datasets"):
        lines += [f"where it is from: braindec info datasets/{manifest['name']}"]
    return "\n".join(lines)


def _dataset(name: str) -> str:
    from braindec.data import catalogue

    card = catalogue.card(name)
    lines = [f"dataset {name}", ""]
    for key, value in card.facts.items():
        wrapped = textwrap.wrap(" ".join(_told(value).split()), 96) or [""]
        lines += [f"{key:<14} {wrapped[0]}", *(f"{'':<14} {line}" for line in wrapped[1:])]
    return "\n".join([*lines, "", card.text])


def _told(value: object) -> str:
    """A fact of a card in words: lists and tables without their brackets."""
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_told(one)}" for key, one in value.items())
    return " ".join(map(_told, value)) if isinstance(value, list) else str(value)


def _member(kind: str, name: str) -> str:
    module = registry.load(kind, name)
    lines = [f"{kind}/{name}", "", (module.__doc__ or "").strip()]
    config = vars(module).get("Config")
    if config is not None and dataclasses.is_dataclass(config):
        lines += ["", "Settings"]
        width = max((len(field.name) for field in dataclasses.fields(config)), default=0)
        lines += [
            f"  {field.name:<{width}}  {_kind_of(field)}{_default(field)}"
            for field in dataclasses.fields(config)
        ]
        lines += ["", inspect.cleandoc(config.__doc__ or "")]
    for table in ("METRICS", "MEASURES"):
        entries = vars(module).get(table)
        if isinstance(entries, dict):
            lines += [
                "",
                table.capitalize(),
                *(f"  {key}: {getattr(entry, 'source', '')}" for key, entry in entries.items()),
            ]
    return "\n".join(lines).rstrip()


def _kind_of(field: dataclasses.Field[object]) -> str:
    return field.type if isinstance(field.type, str) else getattr(field.type, "__name__", str(field.type))


def _default(field: dataclasses.Field[object]) -> str:
    if field.default is not dataclasses.MISSING:
        return f" = {field.default!r}"
    if field.default_factory is not dataclasses.MISSING:
        return f" = {field.default_factory()!r}"
    return " (needed)"


def _sentence(kind: str, name: str) -> str:
    """The first line of a member's docstring, or the title on a dataset's card; nothing is imported."""
    if kind == "protocols":
        return _protocols.sentence(name)
    path = _beside("recipes") / f"{name}.py" if kind == "recipes" else PACKAGE / kind / f"{name}.py"
    return (_docstring(path).splitlines() or [""])[0]


def _docstring(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").strip()


def _beside(kind: str) -> Path:
    """The folder of datasets or recipes: in an installed wheel, else in the checkout."""
    installed = PACKAGE / f"_{kind}"
    return installed if installed.is_dir() else PACKAGE.parent / kind
