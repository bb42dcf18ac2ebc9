"""`braindec completion`: a script that lets a shell complete verbs, options and names.

What there is, is written into the script: to complete takes no Python, and so no time. Make it again after an update.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SHELLS = ("bash", "zsh", "fish")
NAMED = {  # verb -> what its first word is one of
    "prepare": ("datasets",),
    "run": ("recipes",),
    "multiverse": ("recipes",),
    "list": (),
    "info": ("datasets", "recipes"),
    "convert": (),
    "pull": (),
    "completion": (),
    "new": (),
}
HOW = {
    "bash": 'eval "$(braindec completion bash)"   # in ~/.bashrc',
    "zsh": 'eval "$(braindec completion zsh)"   # in ~/.zshrc, after compinit',
    "fish": "braindec completion fish > ~/.config/fish/completions/braindec.fish",
}


def add_options(parser: Any) -> None:
    """The options of the verb."""
    parser.add_argument("shell", type=str, help=f"one of {', '.join(SHELLS)}")


def run(options: Any) -> None:
    """Prints the script."""
    from braindec import checks

    shell = checks.one_of("shell", options.shell, SHELLS)
    print(script(shell), end="")


def script(shell: str) -> str:
    """The script of one shell, whole."""
    head = f"# Completion of braindec. {HOW[shell]}\n"
    return head + {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](_options(), _names())


def _options() -> dict[str, list[str]]:
    """Long options of each verb."""
    from braindec.cli import VERBS, _parser

    found = {}
    for verb in VERBS:
        actions = _parser.built(verb)._actions
        names = {name for action in actions for name in action.option_strings if name.startswith("--")}
        found[verb] = sorted({*names, "--debug"})
    return found


def _names() -> dict[str, list[str]]:
    """What may stand behind a verb, where that has names."""
    from braindec import convert
    from braindec.cli import _new, _show
    from braindec.weights import published

    found = {verb: sorted({n for kind in kinds for n in _show.names(kind)}) for verb, kinds in NAMED.items()}
    parts = {f"{kind}/{name}" for kind in _show.kinds() for name in _show.names(kind)}
    found["info"] = sorted({*found["info"], *parts})
    found["list"], found["convert"] = _show.kinds(), sorted(convert.FORMATS)
    found["pull"], found["completion"], found["new"] = (
        sorted(published.table()),
        list(SHELLS),
        list(_new.KINDS),
    )
    return found


def _bash(options: Mapping[str, Sequence[str]], names: Mapping[str, Sequence[str]]) -> str:
    cases = "".join(
        f"    {verb}) options={_quoted(words)}; names={_quoted(names.get(verb, ()))} ;;\n"
        for verb, words in options.items()
    )
    return f"""_braindec() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} options= names=
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W {_quoted([*options, "--help", "--version"])} -- "$word"))
    return
  fi
  case ${{COMP_WORDS[1]}} in
{cases}  esac
  if [[ $word == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$word"))
  elif ((COMP_CWORD == 2)) && [[ -n $names ]]; then
    COMPREPLY=($(compgen -W "$names" -- "$word"))
  fi
}}
complete -o default -F _braindec braindec
"""


def _zsh(options: Mapping[str, Sequence[str]], names: Mapping[str, Sequence[str]]) -> str:
    from braindec.cli import VERBS

    verbs = "\n".join(f"    {_one(f'{verb}:{what}')}" for verb, (_, what) in VERBS.items())
    cases = "".join(
        f"    {verb}) options=({' '.join(words)}); names=({' '.join(names.get(verb, ()))}) ;;\n"
        for verb, words in options.items()
    )
    return f"""_braindec() {{
  local -a verbs options names
  verbs=(
{verbs}
  )
  if ((CURRENT == 2)); then
    _describe verb verbs
    return
  fi
  case ${{words[2]}} in
{cases}  esac
  if [[ ${{words[CURRENT]}} == -* ]]; then
    compadd -- $options
  elif ((CURRENT == 3 && $#names)); then
    compadd -- $names
    _files
  else
    _files
  fi
}}
compdef _braindec braindec
"""


def _fish(options: Mapping[str, Sequence[str]], names: Mapping[str, Sequence[str]]) -> str:
    from braindec.cli import VERBS

    lines = []
    for verb, (_, what) in VERBS.items():
        lines.append(f"complete -c braindec -f -n __fish_use_subcommand -a {verb} -d {_one(what)}")
        seen = f"-n {_one(f'__fish_seen_subcommand_from {verb}')}"
        lines += [f"complete -c braindec {seen} -l {option[2:]}" for option in options[verb]]
        if names.get(verb):
            first = (
                f"-n {_one(f'__fish_seen_subcommand_from {verb}; and test (count (commandline -opc)) -eq 2')}"
            )
            lines.append(f"complete -c braindec {first} -a {_quoted(names[verb])}")
    return "\n".join(lines) + "\n"


def _quoted(words: Sequence[str]) -> str:
    return _one(" ".join(words))


def _one(text: str) -> str:
    """In single quotes, as all three shells read them."""
    return "'" + text.replace("'", "’") + "'"
