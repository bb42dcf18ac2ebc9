"""Sparse autoencoders as folders in SAELens' layout: cfg.json and sae_weights.safetensors, read strictly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from braindec import __version__, checks, config, store
from braindec.sparse.autoencoder import Config, SparseAutoencoder

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
ARCHITECTURES = {
    "topk": "topk", "gradient_topk": "topk", "batch_topk": "jumprelu", "jump_relu": "jumprelu", "relu": "standard",
    "gated": "gated", "matching_pursuit": "matching_pursuit",
}  # fmt: skip


def save(model: SparseAutoencoder, folder: str | Path, about: Mapping[str, Any] | None = None) -> Path:
    """Writes a folder that SAELens' ``SAE.load_from_disk`` and `load` read.

    Parameters
    ----------
    model : SparseAutoencoder
        A BatchTopK model is written as JumpReLU with its one threshold, as SAELens does, and one of gradient TopK as
        TopK; `load` makes them what they were.
    folder : path
        Made where it does not exist.
    about : mapping, optional
        JSON values that name the inputs (space, provenance, layer); kept under ``metadata``.

    Returns
    -------
    Path
        The folder.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    architecture = ARCHITECTURES[model.config.activation]
    tensors = _named(model, architecture)
    with store.atomic_path(folder / WEIGHTS) as temporary:
        save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, temporary)
    own = {"version": __version__, "config": config.to_json(model.config)}
    data = {
        "architecture": architecture,
        "d_in": model.n_dims,
        "d_sae": model.n_latents,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {**(about or {}), "braindec": own, "weights_sha256": store.sha256_of(folder / WEIGHTS)},
    }
    if architecture == "topk":
        data |= {"k": model.config.n_active, "rescale_acts_by_decoder_norm": False}
    if architecture == "matching_pursuit":
        data |= {
            "max_iterations": model.config.n_active,
            "residual_threshold": 0.0,
            "stop_on_duplicate_support": False,
        }
    store.write_json(folder / CONFIG, data)
    return folder


def _named(model: SparseAutoencoder, architecture: str) -> dict[str, Tensor]:
    """Its tensors by SAELens' names, as SAELens shapes them."""
    named = {"W_enc": model.encoder.T, "W_dec": model.atoms, "b_dec": model.bias}
    if architecture == "gated":
        gates = {"b_gate": model.encoder_bias, "r_mag": model.log_scale, "b_mag": model.magnitude_bias}
        return named | gates
    if architecture == "matching_pursuit":
        return {"W_dec": model.atoms, "b_dec": model.bias}
    named["b_enc"] = model.encoder_bias
    if architecture == "jumprelu":
        named["threshold"] = model.thresholds().expand(model.n_latents)
    return named


def load(folder: str | Path) -> SparseAutoencoder:
    """The autoencoder of a folder in SAELens' layout, in eval mode, ours or SAELens' own.

    Raises
    ------
    FileNotFoundError
        If either file is missing.
    DataFileError
        If the configuration names something that is not read here (another architecture, a normalisation that was not
        folded into the weights), if tensors are missing, unexpected or of another shape (the atoms' before memory is
        taken for what the configuration describes), or if the weights are not those that were written with it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    path, weights = folder / CONFIG, folder / WEIGHTS
    data = store.read_json(path, "Save one with `braindec sae fit`, or with SAELens' save_inference_model.")
    checks.existing_file(weights, "Copy the folder whole.")
    told = data.get("metadata", {}).get("weights_sha256")
    if told is not None and told != store.sha256_of(weights):
        raise checks.DataFileError(
            weights, f"is not the file that {CONFIG} was written with", "Copy both again."
        )
    try:
        tensors = load_file(weights)
    except SafetensorError as error:
        raise checks.DataFileError(
            weights, f"is no readable safetensors file ({error})", "Copy it again."
        ) from error
    said, n_dims = _settings(path, data), int(data["d_in"])
    # Nothing that is built is larger than the atoms: asked before memory is taken.
    atoms = {name: tensor for name, tensor in tensors.items() if name == "W_dec"}
    _check(weights, atoms, {"W_dec": (said.n_latents, n_dims)})
    model = SparseAutoencoder(n_dims, said)
    named = _named(model, data["architecture"])
    _check(weights, tensors, {name: tuple(value.shape) for name, value in named.items()})
    _fill_(model, tensors, data, path)
    return model.eval()


def _settings(path: Path, data: Mapping[str, Any]) -> Config:
    for key in ("architecture", "d_in", "d_sae"):
        if key not in data:
            raise checks.DataFileError(
                path, f"has no {key!r}", "It is not the cfg.json of a sparse autoencoder."
            )
    _refuse(
        path,
        data,
        "normalize_activations",
        ("none", None),
        "Fold it into the weights first.",
    )
    _refuse(path, data, "reshape_activations", ("none", None), "Save that of flattened activations.")
    _refuse(
        path, data, "architecture", tuple(dict.fromkeys(ARCHITECTURES.values())), "Other kinds are not read."
    )
    # Before version 6 SAELens wrote TopK as "standard" with the activation beside it: read as ReLU it would run.
    _refuse(path, data, "activation_fn_str", ("relu", None), "Load it in SAELens 6 and save it again.")
    _refuse(path, data, "activation_fn", ("relu", None), "Load it in SAELens 6 and save it again.")
    # A pursuit that may stop early is another code of the same sample.
    _refuse(
        path, data, "residual_threshold", (0.0, None), "Save one that makes a fixed number of iterations."
    )
    _refuse(
        path,
        data,
        "stop_on_duplicate_support",
        (False, None),
        "Save one that makes a fixed number of iterations.",
    )
    own = data.get("metadata", {}).get("braindec")
    if own is not None:
        return config.from_json(Config, own["config"], f"{path} metadata.braindec.config")
    kinds: Mapping[str, Callable[[], Config]] = {
        "topk": lambda: Config(int(data["d_sae"]), "topk", int(data["k"])),
        "jumprelu": lambda: Config(int(data["d_sae"]), "jump_relu"),
        "standard": lambda: Config(int(data["d_sae"]), "relu"),
        "gated": lambda: Config(int(data["d_sae"]), "gated"),
        "matching_pursuit": lambda: Config(
            int(data["d_sae"]), "matching_pursuit", int(data.get("max_iterations") or data["d_in"])
        ),
    }
    return kinds[data["architecture"]]()


def _refuse(path: Path, data: Mapping[str, Any], key: str, allowed: tuple[Any, ...], way_out: str) -> None:
    if data.get(key) not in allowed:
        raise checks.DataFileError(path, f"says {key} {data[key]!r}, which is not read", way_out)


def _check(path: Path, tensors: Mapping[str, Tensor], wanted: Mapping[str, tuple[int, ...]]) -> None:
    lines = [f"missing: {k} {wanted[k]}" for k in sorted(wanted.keys() - tensors.keys())]
    lines += [f"unexpected: {k} {tuple(tensors[k].shape)}" for k in sorted(tensors.keys() - wanted.keys())]
    lines += [
        f"differs: {k} is {tuple(tensors[k].shape)}, the configuration says {wanted[k]}"
        for k in sorted(wanted.keys() & tensors.keys())
        if tuple(tensors[k].shape) != wanted[k]
    ]
    if lines:
        raise checks.DataFileError(
            path, "does not hold these weights:\n  " + "\n  ".join(lines), "Nothing was loaded."
        )


@torch.no_grad()
def _fill_(
    model: SparseAutoencoder, tensors: Mapping[str, Tensor], data: Mapping[str, Any], path: Path
) -> None:
    atoms, tied = tensors["W_dec"], "W_enc" not in tensors
    encoder = atoms if tied else tensors["W_enc"].T
    bias = torch.zeros(len(atoms)) if tied else tensors["b_gate" if "b_gate" in tensors else "b_enc"]
    if data.get("rescale_acts_by_decoder_norm", False):  # the same function with atoms of norm 1
        norms = atoms.norm(dim=1).clamp_min(torch.finfo(torch.float32).tiny)
        encoder, bias, atoms = encoder * norms[:, None], bias * norms, atoms / norms[:, None]
    added = torch.zeros_like(bias)  # what a bias that is not subtracted from inputs adds to pre-activations
    if not data.get("apply_b_dec_to_input", True):
        if tied:
            raise checks.DataFileError(
                path,
                "says of a pursuit that it begins at zero, which is not read",
                "Save one that begins at b_dec.",
            )
        added = encoder @ tensors["b_dec"]
    for parameter, value in (
        (model.encoder, encoder),
        (model.encoder_bias, bias + added),
        (model.atoms, atoms),
        (model.bias, tensors["b_dec"]),
    ):
        parameter.copy_(value)
    if "r_mag" in tensors:
        model.log_scale.copy_(tensors["r_mag"])
        model.magnitude_bias.copy_(tensors["b_mag"] + tensors["r_mag"].exp() * added)
    if "threshold" not in tensors:
        return
    threshold = tensors["threshold"].float()
    if bool((threshold < 0).any()):
        raise checks.DataFileError(path, "has thresholds below 0", "JumpReLU's are at least 0.")
    if model.config.activation == "batch_topk":
        model.threshold.copy_(threshold[0].double())
    else:
        model.log_threshold.copy_(threshold.log())
