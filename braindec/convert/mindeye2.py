"""MindEye2's checkpoints: a linear map a subject, the mixer with its heads, and the diffusion prior.

Scotti et al. 2024, arXiv:2403.11207. The order of subjects is not in the file. The published code trains on NSD's
subjects in ascending order, without the one that is held out for adaptation (`multisubject` checkpoints), or on one
alone (`final` checkpoints); the number of NSD's nsdgeneral voxels tells which is which.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from braindec import checks
from braindec.adapters import linear
from braindec.backbones import mixer
from braindec.convert._checkpoint import Checkpoint
from braindec.convert._design import Converted, Design
from braindec.convert._keys import KeyMap, Reading
from braindec.priors._mindeye2 import Published, published_tensors
from braindec.types import ArraySpace, SignalInfo, SubjectSignal

# Voxels of nsdgeneral at 1.8 mm by NSD subject (Allen et al. 2022, doi:10.1038/s41593-021-00962-x), as MindEye2 has
# them.
NSD_VOXELS = {1: 15724, 2: 14278, 3: 15226, 4: 13153, 5: 13039, 6: 17907, 7: 12682, 8: 14386}
TOKENS, CLIP, LATENTS, MAPS = "backbone", "clip", "latents", "latent_maps"  # our outputs
RIDGE, BACKBONE, PRIOR = "ridge.linears.", "backbone.", "diffusion_prior."
UP = "backbone.bupsampler."
RULES = {  # our name (a pattern) -> theirs
    r"encoder\.backbone\." + ours: theirs
    for ours, theirs in {
        r"mixing\.dims\.(\d+)\.norm\.(\w+)": r"backbone.mixer_blocks1.\1.0.\2",
        r"mixing\.dims\.(\d+)\.inner\.(\w+)": r"backbone.mixer_blocks1.\1.1.0.\2",
        r"mixing\.dims\.(\d+)\.outer\.(\w+)": r"backbone.mixer_blocks1.\1.1.3.\2",
        r"mixing\.tokens\.(\d+)\.norm\.(\w+)": r"backbone.mixer_blocks2.\1.0.\2",
        r"mixing\.tokens\.(\d+)\.inner\.(\w+)": r"backbone.mixer_blocks2.\1.1.0.\2",
        r"mixing\.tokens\.(\d+)\.outer\.(\w+)": r"backbone.mixer_blocks2.\1.1.3.\2",
        r"heads\.linear\.to_backbone\.(\w+)": r"backbone.backbone_linear.\1",
        r"projectors\.to_clip\.(\d+)\.(\w+)": r"backbone.clip_proj.\1.\2",
        r"blurry\.start\.(\w+)": r"backbone.blin1.\1",
        r"blurry\.norm\.(\w+)": r"backbone.bnorm.\1",
        r"blurry\.project\.(\d+)\.(\w+)": r"backbone.b_maps_projector.\1.\2",
        r"blurry\.decoder\.before\.(.*)": UP + r"mid_block.resnets.0.\1",
        r"blurry\.decoder\.after\.(.*)": UP + r"mid_block.resnets.1.\1",
        r"blurry\.decoder\.attention\.norm\.(\w+)": UP + r"mid_block.attentions.0.group_norm.\1",
        r"blurry\.decoder\.attention\.(q|k|v)\w+\.(\w+)": UP + r"mid_block.attentions.0.to_\1.\2",
        r"blurry\.decoder\.attention\.out\.(\w+)": UP + r"mid_block.attentions.0.to_out.0.\1",
        r"blurry\.decoder\.up\.(\d+)\.blocks\.(\d+)\.shortcut\.(\w+)": UP
        + r"up_blocks.\1.resnets.\2.conv_shortcut.\3",
        r"blurry\.decoder\.up\.(\d+)\.blocks\.(\d+)\.(.*)": UP + r"up_blocks.\1.resnets.\2.\3",
        r"blurry\.decoder\.up\.(\d+)\.grow\.(\w+)": UP + r"up_blocks.\1.upsamplers.0.conv.\2",
        r"blurry\.decoder\.norm\.(\w+)": UP + r"conv_norm_out.\1",
        r"blurry\.decoder\.(conv_in|conv_out)\.(\w+)": UP + r"\1.\2",
    }.items()
}


def read(source: Checkpoint, *, subjects: Sequence[int] | None = None, dims: int | None = None) -> Reading:
    """What a checkpoint holds, in our parts; sizes are read from its shapes.

    Parameters
    ----------
    source : Checkpoint
    subjects : sequence of int, optional
        Of ``ridge.linears.0``, ``1``, ...; by default NSD's subjects by their number of voxels, or 1, 2, ... where the
        numbers are not NSD's.
    dims : int, optional
        Values a token; needed only of a checkpoint with neither `clip_proj` nor a prior, whose shapes do not tell.

    Raises
    ------
    DataFileError
        If the tensors are not those of one MindEye2.
    ConfigError
        If the settings do not fit the checkpoint.
    """
    prior = published_tensors(source.under(PRIOR)) if source.under(PRIOR) else None
    backbone, outputs = _backbone(source, prior, dims)
    voxels = _voxels(source)
    numbers, said = _subjects(voxels, subjects)
    hidden, steps = source.shape(f"{RIDGE}0.weight", 2)[0], _steps(source)
    signals = [
        SubjectSignal(s, "fmri", (*steps, n), ArraySpace(n)) for s, n in zip(numbers, voxels, strict=True)
    ]
    design = Design(
        system="mindeye2",
        info=SignalInfo({signal.key: signal for signal in signals}),
        outputs=outputs,
        adapter=linear.Config(shared_dim=hidden, each_step=bool(steps)),
        backbone=backbone,
        prior=None if prior is None else _published_prior(prior),
        prior_output="" if prior is None else TOKENS,
    )
    keys = KeyMap(source, design)
    for i, signal in enumerate(signals):
        keys.rename({rf"encoder\.adapters\.{signal.key}\.linear\.(weight|bias)": rf"{RIDGE}{i}.\1"})
    keys.rename(RULES)
    if prior is not None:
        _take_prior(keys, prior)
    return keys.finish([said, *_notes(design)])


def affine_map(converted: Converted, key: str) -> mixer.AffineMap:
    """What a converted MindEye2 computes from one subject's voxels to its tokens, which is affine.

    Parameters
    ----------
    converted : Converted
    key : str
        ``sub-01_fmri``.

    Returns
    -------
    AffineMap
        ``left @ (right @ voxels) + bias`` is the flattened output ``backbone``.

    Notes
    -----
    At one token a mixer block sees a norm over one value, which is its bias; see `PublishedMixing`.
    """
    adapter = checks.of_type("adapter", converted.encoder.adapter(key), linear.LinearAdapter)
    backbone = checks.of_type("backbone", converted.encoder.backbone, mixer.MixerBackbone)
    found: mixer.AffineMap = backbone.affine_map(adapter.linear.weight, adapter.linear.bias, TOKENS)
    return found


def _voxels(source: Checkpoint) -> list[int]:
    """Voxels of each subject, in the file's order."""
    places = sorted({int(m[1]) for key in source if (m := re.match(re.escape(RIDGE) + r"(\d+)\.", key))})
    if not places or places != list(range(len(places))):
        raise source.refused(f"holds {RIDGE}* of the places {places}, which should be 0, 1, ...")
    return [source.shape(f"{RIDGE}{i}.weight", 2)[1] for i in places]


def _steps(source: Checkpoint) -> tuple[int, ...]:
    """(number of responses a trial consists of,) where it is not one alone, as in all that were published."""
    key = f"{BACKBONE}mixer_blocks2.0.0.weight"
    n_steps = source.shape(key, 1)[0] if key in source else 1
    return () if n_steps == 1 else (n_steps,)


def _subjects(voxels: list[int], given: Sequence[int] | None) -> tuple[list[int], str]:
    """Numbers of the subjects, and how they came about."""
    counted = f"{len(voxels)} subjects, in the order of the checkpoint's `{RIDGE}*`: "
    if given is not None:
        numbers = checks.unique("subjects", given)
        if len(numbers) != len(voxels) or min(numbers, default=0) < 1:
            raise checks.ConfigError(
                f"subjects must name the {len(voxels)} subjects of the checkpoint, who have {voxels} voxels, by "
                f"numbers from 1; got {numbers}."
            )
        return numbers, counted + f"{numbers}, as asked for."
    known = {n: subject for subject, n in NSD_VOXELS.items()}
    if len(set(voxels)) == len(voxels) and set(voxels) <= set(known):
        numbers = [known[n] for n in voxels]
        return numbers, counted + f"NSD's {numbers}, told by their numbers of nsdgeneral voxels {voxels}."
    numbers = list(range(1, len(voxels) + 1))
    return numbers, counted + (
        f"numbered {numbers} because their numbers of voxels {voxels} are not NSD's; name them with --subjects."
    )


def _backbone(
    source: Checkpoint, prior: Published | None, dims: int | None
) -> tuple[mixer.Config, dict[str, tuple[int, int]]]:
    n_values = source.shape(f"{BACKBONE}backbone_linear.weight", 2)[0]
    projects = bool(source.under(f"{BACKBONE}clip_proj."))
    found = source.shape(f"{BACKBONE}clip_proj.0.weight", 1)[0] if projects else None
    n_dims = found or (prior.shape[1] if prior is not None else dims)
    if n_dims is None:
        raise checks.ConfigError(
            f"the {n_values} values of a trial's tokens can be cut in many ways, and this checkpoint has neither "
            "clip_proj nor a prior that would tell; set dims."
        )
    if n_values % n_dims or (dims is not None and dims != n_dims):
        raise source.refused(
            f"holds {n_values} values of tokens of {n_dims} dims, and dims={dims} was asked for"
        )
    tokens = (n_values // n_dims, n_dims)
    if prior is not None and prior.shape != tokens:
        raise source.refused(f"holds a backbone of tokens {tokens} and a prior of tokens {prior.shape}")
    blocks = {m[1] for key in source if (m := re.match(r"backbone\.mixer_blocks1\.(\d+)\.", key))}
    config = mixer.Config(variant="published", n_blocks=len(blocks))
    outputs = {TOKENS: tokens}
    if projects:
        outputs[CLIP] = tokens
        config = dataclasses.replace(config, projected=((CLIP, TOKENS),))
    if not source.under(f"{BACKBONE}blin1."):
        return config, outputs
    blurry, shapes = _blurry(source)
    return dataclasses.replace(config, **blurry), outputs | shapes


def _blurry(source: Checkpoint) -> tuple[dict[str, Any], dict[str, tuple[int, int]]]:
    """Settings and outputs of the blurry head."""
    width = source.shape(f"{BACKBONE}bnorm.weight", 1)[0]
    n_first = source.shape(f"{BACKBONE}blin1.weight", 2)[0]
    side = math.isqrt(n_first // width)
    if side * side * width != n_first:
        raise source.refused(f"holds a blurry head of {n_first} values, which are no {width} square maps")
    blocks = {int(m[1]) for key in source if (m := re.match(re.escape(UP) + r"up_blocks\.(\d+)\.", key))}
    channels = [source.shape(f"{UP}up_blocks.{i}.resnets.0.conv1.weight", 4)[0] for i in sorted(blocks)]
    pixels = (side * 2 ** (len(channels) - 1)) ** 2
    outputs = {
        LATENTS: (source.shape(f"{UP}conv_out.weight", 4)[0], pixels),
        MAPS: (side * side, source.shape(f"{BACKBONE}b_maps_projector.6.weight", 4)[0]),
    }
    settings = {
        "latents": LATENTS,
        "latent_maps": MAPS,
        "latent_width": width,
        "latent_channels": tuple(channels[::-1]),
    }
    return settings, outputs


def _published_prior(prior: Published) -> Any:
    """The prior's settings with MindEye2's own sampler and guidance."""
    return dataclasses.replace(
        prior.config, sampler="as_published", guidance_hides="brain_and_image_as_published"
    )


def _take_prior(keys: KeyMap, prior: Published) -> None:
    for theirs, ours in prior.renamed.items():
        keys.move(f"prior.{ours}", theirs)
    for ours, value in prior.state.items():
        if ours not in prior.renamed.values():
            keys.fill(f"prior.{ours}", value, "not in the checkpoint: it takes embeddings as they are")
    for key, why in prior.left.items():
        keys.leave([key], why)


def _notes(design: Design) -> list[str]:
    backbone = checks.of_type("backbone", design.build_shapes().encoder.backbone, mixer.MixerBackbone)
    sizes: Mapping[str, int] = {name: p.numel() for name, p in backbone.named_parameters()}
    n_inert = sum(sizes[name] for name in backbone.inert)
    notes = [
        f"{n_inert:,} of the backbone's {sum(sizes.values()):,} values are inert (no output depends on them) and kept: "
        "blocks that a norm over one value cuts off, and biases that a norm or softmax takes away again."
    ]
    if not design.adapter.each_step:
        notes.append(
            f"Output `{TOKENS}` is an affine map of the voxels of rank {design.adapter.shared_dim} at most: "
            "`braindec.convert.mindeye2.affine_map`."
        )
    if LATENTS in design.outputs:
        n_channels, n_pixels = design.outputs[LATENTS]
        side = math.isqrt(n_pixels)
        notes.append(
            f"Output `{LATENTS}` is ({n_channels}, {side}, {side}) with its pixels in one axis: latents of Stable "
            f"Diffusion's autoencoder times 0.18215. Output `{MAPS}` is compared with a ConvNeXt's maps."
        )
    absent = {CLIP: "projector for retrieval (clip_proj)", LATENTS: "blurry head"}
    notes += [
        f"The checkpoint holds no {what}." for name, what in absent.items() if name not in design.outputs
    ]
    if design.prior is None:
        notes.append("The checkpoint holds no prior.")
    return notes
