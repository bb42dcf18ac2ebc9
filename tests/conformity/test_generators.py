"""What every generator promises."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from braindec import checks, registry
from braindec.generators import NOTHING, Generator, Guides, _control
from braindec.maths.gap import Gap

NAMES = registry.names("generators")
N_FEATURES = 7  # of a brain


def unit(n: int, seed: int = 0, item: tuple[int, int] = (1, 128)) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((n, *item)).astype(np.float32)
    return x / np.linalg.norm(x, axis=(1, 2), keepdims=True)


def default(name: str, folder: Path, tiny: SimpleNamespace) -> Generator:
    module = registry.load("generators", name)
    return module.build(module.Config())


def gallery(name: str, folder: Path, tiny: SimpleNamespace) -> Generator:
    module = registry.load("generators", name)
    images = np.random.default_rng(0).integers(0, 256, (9, 64, 64, 3), dtype=np.uint8)
    return module.build(module.Config(), unit(9, seed=1), images, "a space")


def drawn(pipeline: str, **settings: Any) -> Callable[..., Generator]:
    """A member over the folder of a tiny pipeline."""

    def build(name: str, folder: Path, tiny: SimpleNamespace, **more: Any) -> Generator:
        module = registry.load("generators", name)
        getattr(tiny, pipeline)(folder)
        return module.build(
            module.Config(folder=str(folder), space="a space", guidance=2.0, batch_size=8, **settings, **more)
        )

    return build


def with_control(name: str, folder: Path, tiny: SimpleNamespace) -> Generator:
    made = tiny.stable_diffusion(folder)
    tiny.controlnet(folder / "control", made.unet)
    return drawn("stable_diffusion", n_tokens=5)(name, folder, tiny, control=str(folder / "control"))


def adapted(name: str, folder: Path, tiny: SimpleNamespace) -> Generator:
    tiny.ip_adapter(folder / "adapter.safetensors", tiny.stable_diffusion(folder).unet)
    return drawn("stable_diffusion", adapter=str(folder / "adapter.safetensors"), scale=6.0)(
        name, folder, tiny
    )


def twice(name: str, folder: Path, tiny: SimpleNamespace) -> Generator:
    tiny.sdxl(folder)
    module = registry.load("generators", name)
    return module.build(
        module.Config(folder=str(folder), batch_size=8), gallery("nearest_image", folder, tiny)
    )


def worded(name: str, folder: Path, tiny: SimpleNamespace) -> Generator:
    module = registry.load("generators", name)

    def embed(texts: list[str]) -> np.ndarray:
        return np.concatenate([unit(1, seed=sum(map(ord, text)))[0] for text in texts])

    return module.build(module.Config(), embed, Gap.between(unit(20, seed=2), unit(20, seed=3)))


def steered(name: str, folder: Path, tiny: SimpleNamespace) -> Generator:
    module = registry.load("generators", name)
    base = drawn("stable_diffusion", n_tokens=5)("latent_diffusion", folder, tiny)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        branch = _control.BrainControl(base.unet, N_FEATURES, _control.Config(4))
        for parameter in branch.parameters():  # trained ones are not zero
            parameter.data += 0.1 * torch.randn_like(parameter)
    return module.build(module.Config(), base, branch)


def chosen(name: str, folder: Path, tiny: SimpleNamespace) -> Generator:
    module = registry.load("generators", name)
    base = drawn("stable_diffusion", n_tokens=5)("latent_diffusion", folder, tiny)
    return module.build(
        module.Config(n_candidates=2), base, lambda p: p.reshape(len(p), 1, -1)[:, :, :80] / 255
    )


def changed(name: str, folder: Path, tiny: SimpleNamespace) -> Generator:
    module = registry.load("generators", name)
    base = drawn("stable_diffusion", n_tokens=5)("latent_diffusion", folder, tiny)
    return module.build(module.Config(), base, lambda x, level: -x, {"factor": -1.0})


def searched(name: str, folder: Path, tiny: SimpleNamespace) -> Generator:
    module = registry.load("generators", name)

    def squares(pictures: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(pictures, 4).flatten(1)[:, None]

    return module.build(module.Config(likeness="squares", lr=0.2), squares, "squares", (1, 48), (16, 16))


def bent(name: str, folder: Path, tiny: SimpleNamespace) -> Generator:
    module = registry.load("generators", name)
    base = registry.load("generators", "embedded_unclip")

    def corners(pictures: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(pictures, 8).flatten(1)[:, :128]

    return module.build(module.Config(), base.build(base.Config(n_steps=2, batch_size=2)), corners)


@dataclass(frozen=True)
class Case:
    """How the suite makes a member small, and what its embeddings and pictures are."""

    build: Callable[[str, Path, SimpleNamespace], Generator] = default
    item: tuple[int, int] = (1, 128)  # tokens and dims of an embedding
    side: int = 64
    length_tells: bool = False  # a longer embedding is another picture
    needs: frozenset[str] = frozenset()  # guides that it cannot draw without


CASES = {
    "nearest_image": Case(gallery),
    "pixels": Case(item=(1, 28 * 28), side=28, length_tells=True),
    "vae_latents": Case(item=(1, 6 * 16 * 16), length_tells=True),  # of the shipped autoencoder
    "stable_unclip": Case(drawn("stable_unclip"), (1, 16), 16, True),
    "ip_adapter": Case(adapted, (1, 16), 16, True),
    "latent_diffusion": Case(with_control, (5, 16), 16, True, frozenset({"control"})),
    "versatile_diffusion": Case(drawn("versatile_diffusion", n_tokens=5), (5, 16), 16, True),
    "sdxl_unclip": Case(drawn("sdxl_unclip", n_tokens=5), (5, 16), 16, True),
    "brain_control": Case(steered, (5, 16), 16, True, frozenset({"brain"})),
    "guided": Case(bent),
    "reranked": Case(chosen, (5, 16), 16, True),
    "edited": Case(changed, (5, 16), 16, True),
    "optimised": Case(searched, (1, 48), 16, True),
    "in_words": Case(worded, needs=frozenset({"texts"})),
    "refined": Case(twice, side=16, needs=frozenset({"texts"})),
}


@pytest.fixture(scope="module", params=NAMES)
def made(request, tmp_path_factory, tiny_pipelines) -> Generator:
    folder = tmp_path_factory.mktemp(request.param)
    return case(request.param).build(request.param, folder, tiny_pipelines)


def case(name: str) -> Case:
    return CASES.get(name, Case())


@pytest.fixture
def some(made) -> Callable[..., np.ndarray]:
    """Random embeddings of the generator's space, of unit length."""
    return partial(unit, item=case(made.name).item)


def guide(name: str, n: int, seed: int = 0) -> Guides:
    rng = np.random.default_rng(seed)
    return {
        "low_level": lambda: Guides(low_level=rng.integers(0, 256, (n, 20, 24, 3), dtype=np.uint8)),
        "control": lambda: Guides(control=rng.random((n, 20, 24), dtype=np.float32)),
        "brain": lambda: Guides(brain=rng.standard_normal((n, N_FEATURES)).astype(np.float32)),
        "texts": lambda: Guides(texts=tuple("a b"[: rng.integers(1, 4)] for _ in range(n))),
    }[name]()


def together(names: frozenset[str], n: int) -> Guides:
    return Guides(**{name: getattr(guide(name, n), name) for name in names})


def draw(made: Generator, embeddings: np.ndarray, seed: int = 0, guides: Guides | None = None) -> np.ndarray:
    guides = together(case(made.name).needs, len(embeddings)) if guides is None else guides
    made_of = torch.Generator().manual_seed(seed)
    return made.generate(embeddings, generator=made_of, guides=guides, n_steps=2)


def test_it_is_a_generator_that_names_itself_and_its_space(made):
    assert isinstance(made, Generator)
    assert made.name in NAMES
    assert made.space
    assert made.takes <= {field.name for field in dataclasses.fields(Guides)}


def test_pictures_are_bytes_one_for_each_embedding(made, some):
    pictures = draw(made, some(3))
    assert pictures.dtype == np.uint8
    side = case(made.name).side
    assert pictures.shape == (3, side, side, 3)
    assert draw(made, some(3)[:0]).shape == (0, side, side, 3)


def test_equal_seeds_give_equal_bytes_and_leave_the_global_generator_alone(
    made, some, global_state_untouched
):
    np.testing.assert_array_equal(draw(made, some(3)), draw(made, some(3)))


def test_the_first_pictures_do_not_depend_on_how_many_follow(made, some):
    """Up to rounding: matrix products of other sizes add up in another order."""
    few, many = draw(made, some(2)).astype(int), draw(made, some(5))[:2].astype(int)
    assert np.abs(few - many).max() <= 2


def test_pictures_do_not_depend_on_how_many_are_made_together(made, some, monkeypatch):
    """Up to rounding."""
    if not hasattr(made, "config") or not hasattr(made.config, "batch_size"):
        pytest.skip("nothing is made in batches")
    whole = draw(made, some(3)).astype(int)
    monkeypatch.setattr(made, "config", dataclasses.replace(made.config, batch_size=2))
    assert np.abs(draw(made, some(3)).astype(int) - whole).max() <= 2


def test_the_direction_of_an_embedding_matters_and_its_length_only_where_declared(made, some):
    difference = np.abs(draw(made, 30 * some(3)).astype(int) - draw(made, some(3))).max()
    assert (difference > 2) == case(made.name).length_tells
    assert (draw(made, some(3)) != draw(made, some(3, seed=5))).any()


def test_the_identity_is_json(made):
    assert json.loads(json.dumps(made.identity())) == made.identity()


def test_embeddings_of_another_shape_or_with_nan_are_refused(made, some):
    with pytest.raises(checks.SpaceMismatchError, match="target"):
        draw(made, some(2)[:, :, :-1])
    with pytest.raises(ValueError, match="NaN"):
        draw(made, some(2) * np.nan)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Guides)])
def test_a_guide_is_used_or_refused_and_never_ignored(made, some, name):
    needs = case(made.name).needs
    rest = together(needs - {name}, 2)
    told = dataclasses.replace(rest, **{name: getattr(guide(name, 2, seed=1), name)})
    if name not in made.takes:
        with pytest.raises(checks.ConfigError, match=rf"takes.*{name}"):
            draw(made, some(2), guides=told)
        return
    other = dataclasses.replace(rest, **{name: getattr(guide(name, 2, seed=2), name)})
    assert (draw(made, some(2), guides=told) != draw(made, some(2), guides=other)).any()


def test_a_guide_has_a_row_for_each_embedding(made, some):
    for name in made.takes:
        told = dataclasses.replace(
            together(case(made.name).needs - {name}, 2), **{name: getattr(guide(name, 3), name)}
        )
        with pytest.raises(ValueError, match="image_embeddings has 2"):
            draw(made, some(2), guides=told)


def test_a_guide_that_is_needed_and_not_told_is_refused(made, some):
    if needs := case(made.name).needs:
        with pytest.raises(checks.ConfigError, match=sorted(needs)[0]):
            draw(made, some(2), guides=NOTHING)
