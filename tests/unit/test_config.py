"""Settings go to JSON and back, and are overridden by path with the right type or refused by name."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from braindec import checks, config, registry


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    widths: tuple[int, ...] = (4, 2)
    mode: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer:
    n: int = 3
    name: str | None = None
    flag: bool = False
    inner: Inner = field(default_factory=Inner)
    pair: tuple[float, float] = (0.0, 1.0)
    extra: dict = field(default_factory=dict)


def test_settings_survive_json():
    value = Outer(5, "x", True, Inner(2.5, (1,), "b"), (3.0, 4.0), {"k": 1})
    assert config.from_json(Outer, json.loads(json.dumps(config.to_json(value)))) == value


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("n=7", Outer(n=7)),
        ("inner.rate=1", Outer(inner=Inner(rate=1.0))),
        ("inner.widths=[1, 2, 3]", Outer(inner=Inner(widths=(1, 2, 3)))),
        ("inner.mode=b", Outer(inner=Inner(mode="b"))),
        ("name=plain text", Outer(name="plain text")),
        ("name=null", Outer()),
        ("flag=true", Outer(flag=True)),
        ("flag=True", Outer(flag=True)),
        ("pair=[1, 2]", Outer(pair=(1.0, 2.0))),
    ],
)
def test_an_override_has_the_annotated_type(assignment, expected):
    before = Outer()
    assert config.override(before, [assignment]) == expected
    assert before == Outer()


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("nn=7", "Did you mean 'n'"),
        ("inner.rat=1", "Did you mean 'rate'"),
        ("n=2.5", "n must be int"),
        ("n=true", "n must be int"),
        ("flag=1", "flag must be bool"),
        ("inner.mode=c", "must be one of"),
        ("inner.widths=3", "must be a list"),
        ("pair=[1]", "must have 2 entries"),
        ("n", "written path=value"),
        ("n.deeper=1", "has no settings below"),
        ("inner.rate=NaN", "rate must be float, got 'NaN'"),
        ("inner.rate=-Infinity", "rate must be float, got '-Infinity'"),
        ("extra.n=3O", r"extra\.n must be a number \(it is 30\), got '3O'"),
        ("extra.deep.share=0,5", r"deep\.share must be a number"),
        ("extra.smooth=no", r"extra\.smooth must be true or false \(it is True\), got 'no'"),
    ],
)
def test_a_wrong_override_is_refused_by_name(assignment, message):
    with pytest.raises(checks.ConfigError, match=message):
        config.override(Outer(extra={"n": 30, "deep": {"share": 0.1}, "smooth": True}), [assignment])


def test_an_entry_without_an_annotation_takes_what_json_writes():
    before = Outer(extra={"n": 30, "where": "here", "none": None})
    said = ["extra.n=0.5", "extra.where=there", "extra.none=some"]
    assert config.override(before, said).extra == {"n": 0.5, "where": "there", "none": "some"}
    assert config.override(before, ["extra.n=null"]).extra["n"] is None


def test_unknown_keys_of_a_file_are_refused_with_the_closest_name():
    with pytest.raises(checks.ConfigError, match="Did you mean 'inner'"):
        config.from_json(Outer, {"iner": {}})


def test_a_component_carries_its_kind_and_is_resolved_only_inside_braindec():
    linear = registry.load("adapters", "linear")
    described = config.to_json(linear.Config())
    assert (described["kind"], described["name"]) == ("adapters", "linear")
    assert config.component_from_json(described, registry.load) == linear.Config()
    for name in ("os", "../adapters/linear", "_helper"):
        with pytest.raises(checks.ConfigError):
            config.component_from_json(described | {"name": name}, registry.load)
    with pytest.raises(checks.ConfigError, match="kind"):
        config.component_from_json(described | {"kind": "subprocess"}, registry.load)


def test_a_component_is_replaced_by_name():
    @dataclass(frozen=True)
    class Recipe:
        loss: object

    clip, mse = (registry.load("losses", name).Config() for name in ("clip", "mse"))
    assert config.override(Recipe(clip), ["loss=mse"], registry.load).loss == mse


def test_an_entry_of_a_tuple_is_reached_by_its_place():
    settings = Chain(({"a": 1}, {"a": 2}))
    assert config.override(settings, ["steps.1.a=5"]).steps == ({"a": 1}, {"a": 5})
    assert settings.steps[1] == {"a": 2}
    with pytest.raises(checks.ConfigError, match=r"place in steps.2.a must be one of \['0', '1'\]"):
        config.override(settings, ["steps.2.a=5"])
    assert config.override(Inner(), ["widths.1=7"]).widths == (4, 7)
    with pytest.raises(checks.ConfigError, match=r"widths\.0"):
        config.override(Inner(), ["widths.0=many"])


@dataclass(frozen=True)
class Chain:
    """Settings with a tuple of further settings."""

    steps: Any = ()


@dataclass(frozen=True)
class Together:
    """Settings of which one asks for another."""

    split: str = "run"
    within: bool = False
    n: int = 1

    def __post_init__(self):
        if self.split == "stimulus" and not self.within:
            raise checks.ConfigError("split=stimulus needs within.")


def test_settings_that_go_together_may_come_in_any_order():
    either = ["split=stimulus", "within=true"]
    for order in (either, either[::-1]):
        assert config.override(Together(), order) == Together("stimulus", True)
    with pytest.raises(checks.ConfigError, match="needs within"):
        config.override(Together(), ["split=stimulus", "n=3"])
    with pytest.raises(
        checks.ConfigError, match="needs within"
    ):  # the later of two for one setting wins, or none
        config.override(Together(), ["split=stimulus", "within=true", "split=run"])


def test_a_component_is_replaced_by_a_name_with_settings_also_among_a_recipes_own_numbers():
    from braindec.generators import embedded_unclip, in_words

    @dataclass(frozen=True)
    class Two:
        generator: Any = field(default_factory=embedded_unclip.Config)
        settings: dict[str, Any] = field(default_factory=lambda: {"second": embedded_unclip.Config(), "n": 3})

    said = '{"kind": "generators", "name": "in_words", "share": 1.0, "base": {"n_steps": 5}}'
    both = [f"generator={said}", f"settings.second={said}", "settings.second.base.guidance=3", "settings.n=4"]
    made = config.override(Two(), both, registry.load)
    assert made.generator == in_words.Config(1.0, embedded_unclip.Config(n_steps=5))
    assert made.settings["second"].base == embedded_unclip.Config(n_steps=5, guidance=3.0)
    assert made.settings["n"] == 4
    assert isinstance(
        config.override(Two(), ["settings.second=in_words"], registry.load).settings["second"],
        in_words.Config,
    )
    for wrong in (
        '{"kind": "losses", "name": "mse"}',
        '{"kind": "generators", "name": "in_words", "n": 1}',
        "unclip",
    ):
        with pytest.raises(checks.ConfigError):
            config.override(Two(), [f"settings.second={wrong}"], registry.load)
