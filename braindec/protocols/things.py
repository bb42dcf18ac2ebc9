"""THINGS: zero-shot retrieval of object images from EEG, MEG and fMRI."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from braindec.protocols import Departure, Pool, Protocol, table

_RETRIEVAL = ("image_retrieval_top1", "image_retrieval_top5", "brain_retrieval_top1")
_PICTURES = ("pixel_correlation", "ssim", "two_way_identification")


def _zero_shot(
    name: str,
    n_repeats: int,
    rule: str,
    pool: tuple[int, str, str],
    source: str,
    *,
    version: int = 2,
    allows: tuple[str, ...] = (),
) -> Protocol:
    """Repeats averaged before the model, every test image a query among all of them, no test concept in training.

    `pool`: how many, sha256 of the concepts' names as THINGS numbers them (``aircraft_carrier``, ``chest2``), and where
    these stand.
    """
    n, sha256, where = pool
    return Protocol(
        name, version, "concept", "test_stimuli", "before", _RETRIEVAL, source, picture_metrics=_PICTURES,
        pool=Pool(rule, n, ids="concept", sha256=sha256, list=where), n_repeats=n_repeats, direction="both",
        chance=(1 / n, 5 / n, 1 / n),
        allows=allows,
    )  # fmt: skip


EEG2 = _zero_shot(
    "things_eeg2_200", 80, "one image of each of the 200 test concepts (test_images, image_metadata.npy)",
    (200, "b5f97049165a571442fd8588a1cb87689c590f20aeb9694c5f4ccb5fa9fa1376",
     "the test concepts of image_metadata.npy (https://osf.io/3jk45); hashed from the names of the 200 test images as "
     "BrainFLORA lists them (github.com/ncclab-sustech/BrainFLORA, Caption/EEG_caption/caption_EEG_GT.json, 2b94307)"),
    "Gifford et al. 2022, doi:10.1016/j.neuroimage.2022.119754; as judged since Song et al. 2024, arXiv:2308.13234",
)  # fmt: skip
MEG = _zero_shot(
    "things_meg_200", 12,
    "the 200 test images of the recording (trial_type test), one a concept; training leaves out all images of their "
    "concepts",
    (200, "8019b2aea59fa59f7640a18ba293cceeba4ee0f90b442a3b6d148c459114fc36",
     "the concepts of the test trials of OpenNeuro ds004212 (events.tsv of all four subjects, 136f529, alike in all), "
     "whose numbers are THINGS' (github.com/ViCCo-Group/THINGS-data, MRI/data/size_fixed.csv)"),
    "Hebart et al. 2023, doi:10.7554/eLife.82580: the recording's own test images; papers draw other concepts",
)  # fmt: skip
FMRI = _zero_shot(
    "things_fmri_100", 12,
    "the 100 test images of the recording (trial_type test), one a concept; training leaves out all images of their "
    "concepts",
    (100, "c8fa0a57931fcc42e37a9c4e80c578ed12239521e42359ff783f3d110d40b1cf",
     "the file names of the test trials of OpenNeuro ds004192 (events.tsv of all three subjects, e919915, alike in "
     "all); BrainFLORA's caption_fMRI_GT.json names the same images"),
    "Hebart et al. 2023, doi:10.7554/eLife.82580",
    # Of the published betas the shrinkage was chosen by the repeats of the test images: dataset.json says so.
    version=3, allows=("betas",),
)  # fmt: skip

_RAW = Departure("Cosine of whole embeddings, no mean removed.", "raw_cosine")


def _published(base: Protocol, by: str, *departures: Departure, **changed: Any) -> Protocol:
    return replace(
        base, name=f"{base.name}_as_published_by_{by}", published_by=by, corrects=base.name, departures=departures,
        similarity="cosine", picture_metrics=(), **changed,
    )  # fmt: skip


PROTOCOLS = table(
    EEG2,
    _published(
        EEG2, "atm",
        _RAW,
        Departure("The best test accuracy of all training epochs is reported: the test set chooses the model.",
                  "best_test_step"),
        Departure("Noise whitening was fitted on training and test trials together (the dataset's own files).",
                  why="those files are prepared by files=17_channels, under their own name; the audit says so"),
        version=3,
        layer="OpenCLIP ViT-H-14 (laion2b_s32b_b79k), pooled 1024, of the image that was shown",
    ),
    _published(
        EEG2, "nice",
        _RAW,
        Departure("Candidates are concepts: the mean feature of other images of the concept.", "concept_centre"),
        version=3,
        layer="OpenAI CLIP, pooled 768, mean over other images of the concept",
    ),
    MEG,
    _published(
        MEG, "brainflora",
        _RAW,
        Departure("The query is the mean response to all images of a concept, the candidate its first image only; "
                  "the same as the corrected one where a concept has one image.", "concept_mean"),
        Departure("Another 200 concepts: those whose ids occur exactly 12 times, drawn with Python's seed 42.",
                  why="it is another test set, of which training leaves out other concepts: another split and fit"),
        layer="OpenCLIP ViT-H-14 (laion2b_s32b_b79k), pooled 1024",
    ),
    FMRI,
)  # fmt: skip
