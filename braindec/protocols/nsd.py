"""NSD: reconstruction and retrieval of the images that every subject saw, and imagery."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from braindec.protocols import Departure, Pictures, Pool, Protocol, table

_ALLEN = "Allen et al. 2022, doi:10.1038/s41593-021-00962-x"
_MINDEYE1 = "Scotti et al. 2023, arXiv:2305.18274"
_MINDEYE2 = "Scotti et al. 2024, arXiv:2403.11207"
_RETRIEVAL = ("image_retrieval_top1", "image_retrieval_top5", "brain_retrieval_top1")
_EIGHT = (
    "pixel_correlation_425", "ssim_425", "two_way_alexnet_2", "two_way_alexnet_5", "two_way_inception", "two_way_clip",
    "effnet_b1_distance", "swav_distance",
)  # fmt: skip
_PICTURES = (*_EIGHT, "two_way_identification")  # the last needs no download
_SHOWN = Pictures(
    side=256
)  # both papers' evaluations begin with a resize to 256, without antialias for tensors
# Of the betas that the field uses (GLMdenoise, ridge) regressors and shrinkage were chosen by the agreement of repeats,
# those of the test images too: dataset.json says so, and these protocols tell it instead of refusing.
_AS_DISTRIBUTED = ("betas",)
_SHARED = "the 1,000 images that all eight subjects saw (sharedix of nsd_expdesign.mat)"
_UNLISTED = (
    "not hashed: sharedix comes with NSD's data under its terms, and no whole copy of it was found in public "
    "repositories; preparation reads it from nsd_expdesign.mat"
)

MINDEYE2_1000 = Protocol(
    "nsd_mindeye2_1000", 2, "stimulus", "test_stimuli", "after", _RETRIEVAL,
    f"{_MINDEYE2}, 40 sessions; images of {_ALLEN}",
    picture_metrics=_PICTURES, pool=Pool(_SHARED, 1000, list=_UNLISTED), n_repeats=3, pictures=_SHOWN, direction="both",
    caption_metrics=("meteor", "rouge_1", "rouge_l", "sentence_similarity", "caption_clip_similarity"),
    chance=(1 / 1000, 5 / 1000, 1 / 1000), allows=_AS_DISTRIBUTED,
)  # fmt: skip

NSD_982 = Protocol(
    "nsd_982", 2, "stimulus", "test_stimuli", "before", _RETRIEVAL,
    f"{_MINDEYE1}, 37 sessions; images of {_ALLEN}",
    picture_metrics=_PICTURES, n_repeats=3, pictures=_SHOWN, direction="both",
    pool=Pool(f"{_SHARED}, those with all three repeats in sessions 1 to 37", 982, list=_UNLISTED),
    chance=(1 / 982, 5 / 982, 1 / 982), allows=_AS_DISTRIBUTED,
)  # fmt: skip

RETRIEVAL_300 = Protocol(
    "nsd_retrieval_300x30", 2, "stimulus", "test_stimuli", "after",
    ("image_retrieval_top1_of_300", "brain_retrieval_top1_of_300"),
    f"{_MINDEYE1} and {_MINDEYE2}: top-1 of 300; the 30 draws replaced by the exact expectation over pools",
    pool=Pool(_SHARED, 1000, drawn=300, list=_UNLISTED), n_repeats=3, direction="both", chance=(1 / 300, 1 / 300),
    allows=_AS_DISTRIBUTED,
)  # fmt: skip

_LETTERS = "not hashed: stimuli go by the letters of nsdimagery's files, which no public repository was found to list"
IMAGERY = Protocol(
    "nsd_imagery", 2, "stimulus", "test_stimuli", "before", ("image_retrieval_top1", "brain_retrieval_top1"),
    "Kneeland et al. 2025, NSD-Imagery benchmark (MIRAGE): six simple and six complex stimuli of the eighteen",
    picture_metrics=_PICTURES,
    pool=Pool("the first 12 of the 18 NSD-Imagery stimuli; the 6 words are left out", 12, list=_LETTERS),
    pictures=Pictures(side=512), direction="both", chance=(1 / 12, 1 / 12), allows=_AS_DISTRIBUTED,
)  # fmt: skip

_CAPTIONS = Protocol(
    "brainhub_captions", 2, "stimulus", "test_stimuli", "before", ("image_retrieval_top1", "brain_retrieval_top1"),
    "Xia et al. 2024 (UMBRAE, BrainHub): captions of 982 images against their five COCO captions",
    pool=Pool(f"{_SHARED}, those with all three repeats in sessions 1 to 37", 982, list=_UNLISTED),
    n_repeats=3, direction="both", chance=(1 / 982, 1 / 982), allows=_AS_DISTRIBUTED,
    caption_metrics=("bleu_1", "bleu_4", "meteor", "rouge_l", "cider", "sentence_similarity", "clip_score"),
)  # fmt: skip


def _published(base: Protocol, by: str, *departures: Departure, **changed: Any) -> Protocol:
    """A protocol with what one paper did otherwise; its numbers are shown beside the base's."""
    return replace(
        base, name=f"{base.name}_as_published_by_{by}", published_by=by, corrects=base.name,
        departures=departures, **changed,
    )  # fmt: skip


_MINDEYE2_LAYER = (
    "OpenCLIP ViT-bigG-14 (laion2b_s39b_b160k), 256 patch tokens of 1664, unprojected, as one unit vector"
)
_REPEATS = Departure(
    "Every repeat passes the model alone and the outputs are averaged; an image with one repeat counts it three times, "
    "with two repeats its first one twice.",
    "padded_repeats",
)

PROTOCOLS = table(
    MINDEYE2_1000,
    _published(
        MINDEYE2_1000, "mindeye2",
        Departure("A quarter of the low-level picture is mixed into the refined one before every metric.",
                  "low_level_blend"),
        Departure("Two-way identification counts a tie as lost.", "strict_two_way"),
        Departure("SSIM treats the rows of the gray picture as one dimension and its columns as channels "
                  "(scikit-image before 0.20).", "named_metric"),
        Departure("Betas were standardised per session with the test images among them, though the paper says not.",
                  why="it is done in the files that are distributed; from NSD's own betas it is another recipe"),
        pictures=replace(_SHOWN, low_level_share=0.25),
        picture_metrics=("pixel_correlation_425", "ssim_columns_425", *_PICTURES[2:]),
        metrics=(), chance=(), direction="none", caption_metrics=(), ties="lost in two-way identification",
    ),
    RETRIEVAL_300,
    _published(
        RETRIEVAL_300, "mindeye2",
        Departure("Only the ridge layer and the retrieval head predict; the diffusion prior takes no part.",
                  why="a decoder's retrieval never asks its prior: nothing differs"),
        Departure("The similarity helper returns the transpose: what is called image retrieval looks for the brain "
                  "response of an image, and the other way round.", "swapped_names"),
        Departure("The width of the network has to be read from the weights; the notebook's default is another one.",
                  why="it is about loading the published weights, which are not here"),
        _REPEATS,
        Departure("CLIP's own scaling is applied to images that are already in [0, 1]: the network sees [0.5, 1].",
                  "half_range"),
        Departure("Weights and activations are in half precision.", "half_precision"),
        Departure("30 random draws of 300 with numpy's seed, and an interval over the draws.", "drawn_pools"),
        Departure("Cosine of whole embeddings, no mean removed.", "raw_cosine"),
        source=f"{_MINDEYE2}, final_evaluations: 30 draws of 300 images", version=3,
        similarity="cosine", seed=42, layer=_MINDEYE2_LAYER, ties="the first of the tied",
        pool=replace(RETRIEVAL_300.pool, n_draws=30),
    ),
    NSD_982,
    _published(
        NSD_982, "brain_diffuser",
        Departure("Pictures are resized to 224 before everything else, with antialias (PIL).", "picture_size"),
        Departure("Two-way identification counts a tie as lost.", "strict_two_way"),
        pictures=Pictures(side=224, antialias=True), metrics=(), chance=(), direction="none",
        ties="lost in two-way identification",
    ),
    _published(
        NSD_982, "brain_captioning",
        Departure("The absolute value of every pixel correlation is averaged.", "named_metric"),
        Departure("Two-way identification takes one random reconstruction a picture as the only distractor, which may "
                  "be the picture's own, and counts a tie as won.", "one_distractor"),
        Departure("AlexNet is cut at the wrong index: outputs of features.2 and features.9 under the names of layers "
                  "2 and 5.", "named_metric"),
        Departure("SSIM takes its data range from each picture.", "named_metric"),
        Departure("Networks see the central 224 of 256 pixels.",
                  why="the networks of published evaluations are asked for whole pictures alone"),
        pictures=Pictures(side=256, crop="centre 224 for networks"), seed=42,
        picture_metrics=("absolute_pixel_correlation_425", "ssim_own_range_425", "two_way_alexnet_features_2",
                         "two_way_alexnet_features_9", "two_way_identification"), metrics=(), chance=(), version=3,
        direction="none", ties="won in two-way identification",
    ),
    IMAGERY,
    _published(
        IMAGERY, "mirage",
        Departure("Two-way identification subtracts one win too many: a perfect decoder of 12 stimuli gets 10 / 11.",
                  "off_by_one"),
        metrics=(), chance=(), direction="none", picture_metrics=("two_way_identification",),
        ties="lost in two-way identification",
    ),
    _CAPTIONS,
)  # fmt: skip
