"""Two planted brains that watch a ball go behind an occluder, one that simulates it and one that does not, and models.

Each model's features of the same films predict both brains' responses, and err or do not err where they do: a study of
whether the measures of `encode_simulation` tell the two apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks, config, registry, seeding
from braindec.data.simulated import pong
from braindec.evaluate import encode_simulation, future_networks, study
from braindec.evaluate.encode_simulation import Answered, Predicted
from braindec.maths.principal import principal_components
from braindec.targets import ImageTarget
from braindec.types import Report, Score

NEURAL, OWN, ERRORS = "hidden_predictivity", "own_state_advantage", "error_likeness"
LEARNED, LATE = "foretelling_advantage", "foretelling_advantage_late"
LATENTS, UNTRAINED = "foretells latents", "untrained"
TRUE, LAST, IMAGINED = "true place", "place last seen", "imagined place"
STATES = {"simulates": (TRUE, LAST), "holds": (LAST, TRUE)}
SYSTEM = {LATENTS: "braindec", TRUE: "oracle", LAST: "oracle", IMAGINED: "oracle", "pixels": "nuisance"}
SHOWN = 8  # frames of a film on the page
WORDS = {
    "systems": {
        "braindec": "the network that foretells latents; of advantages, what was found",
        "contender": "another network on the same films",
        "nuisance": "the frame as it is",
        "oracle": "a place that was planted",
        "shuffled": "readouts fitted to films shuffled: mean and middle 95 % of the null's draws",
    },
    "null": "mean of what readouts fitted to shuffled films give; refits in brackets. p of advantages is not of these "
    "but of models that predict equally well, signs of films' differences drawn at random",
}
LIMITS = (
    "Both brains are planted, and one of them is what the true place predicts: the study shows that the measures tell "
    "such brains apart, not that a brain simulates. A recurrent network remembers where the ball went even untrained; "
    "only what training adds speaks for foretelling. Small networks, one kind of film, no feedback and no learning of "
    "the watcher. Intervals are over films, the fits and ceilings held fixed."
)


@dataclass(frozen=True)
class Settings:
    """Films, brains and networks.

    Parameters
    ----------
    n_films, n_training_films : int
        That brains watch; and that networks learn from, in which the ball reappears.
    n_times : int
        Frames of a film.
    n_units, n_repeats : int
        Of each planted population.
    noise : float
        SD of a repeat's noise over that of a unit's responses.
    n_components : int
        Leading principal components of pixels and of latents, learned from the training films.
    n_folds, n_null : int
        Folds of films; refits to shuffled films.
    network : future_networks.Settings
    seed : int
    """

    n_films: int = 96
    n_training_films: int = 500
    n_times: int = 20
    n_units: int = 40
    n_repeats: int = 4
    noise: float = 1.0
    n_components: int = 16
    n_folds: int = 5
    n_null: int = 20
    network: future_networks.Settings = field(default_factory=future_networks.Settings)
    seed: int = 0

    def __post_init__(self) -> None:
        checks.at_least("n_films", self.n_films, 20)
        checks.at_least("n_repeats", self.n_repeats, 2)
        checks.at_least("n_null", self.n_null, 2)


@dataclass(frozen=True, eq=False)
class Brain:
    """A planted brain: what it believes (film, time, particle, 2), responds and answers."""

    belief: np.ndarray
    responses: Tensor
    answers: np.ndarray


def plant(films: pong.Films, settings: Settings) -> dict[str, Brain]:
    """A brain of each kind of agent that watches these films."""
    made = {}
    for agent in pong.AGENTS:
        rng = seeding.numpy_generator(settings.seed, "brain", agent)
        belief = pong.beliefs(films, agent, rng)
        responses = pong.population(
            belief, rng, n_units=settings.n_units, n_repeats=settings.n_repeats, noise=settings.noise
        )
        made[agent] = Brain(belief, torch.from_numpy(responses), pong.interceptions(belief, rng))
    return made


def model_features(
    films: pong.Films, training: pong.Films, target: ImageTarget, settings: Settings
) -> dict[str, Tensor]:
    """Features (film, time, feature) of every model; networks learn from the training films alone.

    Parameters
    ----------
    films, training : Films
    target : ImageTarget
        The static picture network, whose latents are foretold.
    settings : Settings
    """
    frames = {"shown": pong.render(films), "training": pong.render(training)}
    latents = {name: _embedded(target, shown) for name, shown in frames.items()}
    pixels = {name: _pixels(shown) for name, shown in frames.items()}
    found: dict[str, Tensor] = {}
    reduced = {}
    for name, values in (("pixels", pixels), ("static network", latents)):
        reduced[name] = _components(values["training"], settings)
        found[name] = reduced[name](values["shown"])
    for name, of, values, n_steps in (
        (UNTRAINED, "static network", latents, 0),
        ("foretells pixels", "pixels", pixels, settings.network.n_steps),
        (LATENTS, "static network", latents, settings.network.n_steps),
    ):
        chosen = replace(settings.network, n_steps=n_steps, seed=settings.seed)
        network = future_networks.train_foreteller(reduced[of](values["training"]), chosen)
        found[name] = future_networks.film_states(network, found[of])
    grid = np.stack(np.meshgrid(np.linspace(0, 1, 7), np.linspace(0, 1, 7)), -1).reshape(-1, 2)
    another = pong.beliefs(films, "simulates", seeding.numpy_generator(settings.seed, "another"))
    states = {TRUE: films.place[:, :, None], LAST: pong.last_seen(films)[:, :, None], IMAGINED: another}
    found |= {name: torch.from_numpy(pong.tuned(x, grid, 0.15)).float() for name, x in states.items()}
    return found


def simulation_study(target: Any, settings: Settings, *, protocol: str = "heldout_stimuli") -> Report:
    """Films, planted brains and models made, and compared.

    Parameters
    ----------
    target : a picture target's Config
        The static network.
    settings : Settings
    protocol : str
        Name that the scores carry.
    """
    draw = seeding.numpy_generator(settings.seed, "films")
    films = pong.draw_films(settings.n_films, draw, n_times=settings.n_times)
    training = pong.draw_films(settings.n_training_films, draw, reappears=True, n_times=settings.n_times)
    network = registry.load(*registry.name_of(target)).build(target)
    models = model_features(films, training, network, settings)
    brains = plant(films, settings)
    told = {"n_folds": settings.n_folds, "n_null": settings.n_null, "seed": settings.seed}
    height = films.place[..., 1]
    neural = {
        agent: {
            name: encode_simulation.predictivity(x, brain.responses, films.hidden, **told)
            for name, x in models.items()
        }
        for agent, brain in brains.items()
    }
    errors = {
        agent: {
            name: encode_simulation.error_likeness(x, height, brain.answers, **told)
            for name, x in models.items()
        }
        for agent, brain in brains.items()
    }
    rows = _rows(neural, errors, brains, films, settings, protocol)
    rows.sort(key=lambda one: one.system not in ("braindec", "shuffled"))  # ours and its twin first
    panels = [
        _filmstrip(films, brains, models, settings),
        *_courses(neural),
        _bars("Responses while the ball is hidden", neural, "correlation over its ceiling"),
        _bars("Errors of the answers", errors, "partial correlation over its ceiling"),
        _durations(films, brains, errors),
    ]
    return study.report(
        "Does it go on when it is hidden? Models that foretell, beside planted brains", _said(rows), rows, panels,
        LIMITS, settings=config.to_json(settings), words=WORDS,
    )  # fmt: skip


def _embedded(target: ImageTarget, frames: np.ndarray) -> Tensor:
    """Latents (film, time, dim) of frames (film, time, height, width, 3)."""
    made = target.embed_images(list(frames.reshape(-1, *frames.shape[2:])), batch_size=128)
    return torch.from_numpy(np.asarray(made, dtype=np.float32)).reshape(*frames.shape[:2], -1)


def _pixels(frames: np.ndarray) -> Tensor:
    """Every second pixel's mean, (film, time, value), in [0, 1]."""
    n, t, height, width, _ = frames.shape
    small = frames.reshape(n, t, height // 2, 2, width // 2, 2, 3).mean((3, 5), dtype=np.float32) / 255
    return torch.from_numpy(small).flatten(2)


def _components(values: Tensor, settings: Settings) -> Any:
    """A function that takes features to their leading components in training films, in units of the first one's SD."""
    rows = values.flatten(0, 1)
    draw = seeding.torch_generator(settings.seed, "components")
    found = principal_components(rows, settings.n_components, draw)
    turned, mean = (found.directions / found.variance[0].sqrt()).float(), found.mean.float()
    return lambda x: (x - mean) @ turned.T


def _rows(
    neural: Mapping[str, Mapping[str, Predicted]], errors: Mapping[str, Mapping[str, Answered]],
    brains: Mapping[str, Brain], films: pong.Films, settings: Settings, protocol: str,
) -> list[Score]:  # fmt: skip
    n, rows = len(films), []
    for agent, found in neural.items():
        for name, one in found.items():
            told = {"ceiling": one.ceiling, "seen": one.seen}
            rows += _scored(
                NEURAL, one.hidden, one.interval, one.null, n, protocol, agent, SYSTEM.get(name, "contender"),
                name, **told,
            )  # fmt: skip
    for agent, found in neural.items():
        own, other = STATES[agent]
        half = int(found[own].moments.max()) // 2
        for label, a, b, after in (
            (OWN, own, other, 0), (LEARNED, LATENTS, UNTRAINED, 0), (LATE, LATENTS, UNTRAINED, half),
        ):  # fmt: skip
            gap = encode_simulation.difference(
                found[a], found[b], brains[agent].responses, films.hidden, after=after, seed=settings.seed
            )
            scored = study.scores(
                label, gap.value, gap.interval, gap.null, n, protocol=protocol, subject=agent, minuend=a, subtrahend=b
            )  # fmt: skip
            rows += [replace(scored[0], p=gap.p), scored[1]]
    for agent, answered in errors.items():
        for name, answer in answered.items():
            rows += _scored(
                ERRORS, answer.value, answer.interval, answer.null, n, protocol, agent,
                SYSTEM.get(name, "contender"), name, ceiling=answer.ceiling,
            )  # fmt: skip
    return rows


def _scored(
    label: str, value: float, ends: tuple[float, float], null: np.ndarray, n: int, protocol: str, agent: str,
    system: str, model: str, **details: Any,
) -> list[Score]:  # fmt: skip
    """A score of a model and a brain; its shuffled twin where it is ours."""
    ours, twin = study.scores(
        of_model(label, model), value, ends, null, n, protocol=protocol, subject=agent, model=model, **details
    )
    return [ours, twin] if system == "braindec" else [replace(ours, system=system)]


def of_model(label: str, model: str) -> str:
    """Name of a model's score."""
    return f"{label}: {model}"


def _said(rows: Sequence[Score]) -> list[str]:
    """What was found, in sentences."""

    def of(label: str, agent: str, model: str = "") -> Score:
        name = of_model(label, model) if model else label
        return next(s for s in rows if (s.name, s.subject) == (name, agent) and s.system != "shuffled")

    said = []
    for agent in pong.AGENTS:
        own, other = (of(NEURAL, agent, name) for name in STATES[agent])
        gap = of(OWN, agent)
        said.append(
            f"While the ball is hidden, the {own.details['model']} predicts the brain that {agent} at {own.value:.3f} "
            f"of its ceiling, the {other.details['model']} at {other.value:.3f} (difference {gap.value:+.3f} "
            f"[{gap.interval[0]:.2f}, {gap.interval[1]:.2f}], p {gap.p:.3g}; films shuffled {gap.null:.3f})."
        )
        ours, gain, late = of(NEURAL, agent, LATENTS), of(LEARNED, agent), of(LATE, agent)
        said.append(
            f"The network that foretells latents predicts it at {ours.value:.3f} [{ours.interval[0]:.2f}, "
            f"{ours.interval[1]:.2f}] (films shuffled {ours.null:.3f}, the static network "
            f"{of(NEURAL, agent, 'static network').value:.3f}); learning to foretell adds {gain.value:+.3f} "
            f"[{gain.interval[0]:.2f}, {gain.interval[1]:.2f}] (p {gain.p:.3g}) to the untrained one, "
            f"{late.value:+.3f} [{late.interval[0]:.2f}, {late.interval[1]:.2f}] (p {late.p:.3g}) in the later half."
        )
        alike = {name: of(ERRORS, agent, name) for name in (LATENTS, UNTRAINED, IMAGINED, LAST)}
        least = f"films shuffled {alike[LATENTS].null:.3f}, ceiling {alike[LATENTS].details['ceiling']:.3f}"
        said.append(
            f"Its errors where the ball arrives agree, of their ceiling, with those of the {LATENTS} network at "
            f"{alike[LATENTS].value:.3f}, the untrained one at {alike[UNTRAINED].value:.3f}, the place that another "
            f"simulation imagines at {alike[IMAGINED].value:.3f}, the {LAST} at {alike[LAST].value:.3f} ({least})."
        )
    return said


def _filmstrip(
    films: pong.Films, brains: Mapping[str, Brain], models: Mapping[str, Tensor], settings: Settings
) -> study.Panel:
    """One film: what is shown, what both brains believe, and the place that is read from the network's states."""
    bounced = np.abs(pong.folded(films.path[:, -1]) - films.path[:, -1]) > 0.2
    film = int(np.argmax(films.hidden.sum(1) + len(films.hidden[0]) * bounced))
    times = np.linspace(1, films.hidden.shape[1] - 1, SHOWN).astype(int)
    shown = pong.render(films, 48)[film, times]
    folds = encode_simulation.film_folds(len(films), settings.n_folds, settings.seed)
    place = torch.from_numpy(films.place).float()
    read = encode_simulation.film_predictions(models[LATENTS], place, folds)[0].double().numpy()
    rows = {"presented": shown}
    for agent, brain in brains.items():
        rows[f"{agent}: believed"] = np.stack(
            [_dots(frame, brain.belief[film, t]) for frame, t in zip(shown, times)]
        )
    rows[f"{LATENTS}: read"] = np.stack([_dots(f, read[film, t][None]) for f, t in zip(shown, times)])
    rows["where it is"] = np.stack([_dots(f, films.place[film, t][None]) for f, t in zip(shown, times)])
    caption = (
        "A film that no readout was fitted to, frame by frame; dots are places that a brain takes for equally likely, "
        "and the place that a linear readout of the network's states gives."
    )
    captions = [f"frame {t + 1}" for t in times]
    return (
        "What is seen, and what is believed",
        "image_grid",
        {"rows": rows, "captions": captions, "caption": caption},
    )


def _dots(frame: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The frame, pale, with dark dots at places (n, 2) of the field."""
    size = len(frame)
    made = (0.45 * frame + 0.55 * 255).astype(np.uint8)
    at = np.clip((places * size).astype(int), 1, size - 2)
    for x, y in at:
        made[y - 1 : y + 1, x - 1 : x + 1] = (20, 20, 30)
    return made


def _courses(neural: Mapping[str, Mapping[str, Predicted]]) -> list[study.Panel]:
    return [
        (
            f"Over time: the brain that {agent}", "curve",
            study.lines(
                next(iter(found.values())).moments,
                {name: one.course for name, one in found.items()},
                "frames since the ball was last seen", "share of ceiling", section="scores",
            ),
        )
        for agent, found in neural.items()
    ]  # fmt: skip


def _bars(title: str, found: Mapping[str, Mapping[str, Any]], xlabel: str) -> study.Panel:
    names = list(next(iter(found.values())))

    def value(one: Any) -> float:
        return one.hidden if isinstance(one, Predicted) else one.value

    series = {f"brain that {agent}": np.array([value(own[k]) for k in names]) for agent, own in found.items()}
    ends = {f"brain that {agent}": np.array([own[k].interval for k in names]) for agent, own in found.items()}
    return title, "regions", study.bars(names, series, xlabel, intervals=ends, chance=0.0)


def _durations(
    films: pong.Films, brains: Mapping[str, Brain], errors: Mapping[str, Mapping[str, Answered]]
) -> study.Panel:
    truth = films.place[:, -1, 1]
    sizes = {f"brain that {agent}": brain.answers.mean(0) - truth for agent, brain in brains.items()}
    some = next(iter(errors.values()))
    sizes |= {name: some[name].errors for name in ("static network", UNTRAINED, LATENTS, TRUE)}
    frames, found = encode_simulation.mean_error_by_duration(sizes, films.hidden)
    caption = "Mean distance of the answer from where the ball arrives; the field is 1 high."
    return (
        "Errors grow with what is hidden",
        "curve",
        study.lines(frames, found, "frames hidden", "size of error", caption),
    )
