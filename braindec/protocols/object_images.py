"""Natural images before NSD: generic object decoding and BOLD5000."""

from __future__ import annotations

from braindec.protocols import Pool, Protocol, table

_PICTURES = ("pixel_correlation", "ssim", "two_way_identification")

PROTOCOLS = table(
    Protocol(
        "god_50", 1, "concept", "test_stimuli", "before",
        ("image_retrieval_top1", "image_retrieval_top5", "pairwise_identification"),
        "Horikawa & Kamitani 2017, doi:10.1038/ncomms15037",
        picture_metrics=_PICTURES, n_repeats=35, direction="stimulus", chance=(1 / 50, 5 / 50, 0.5),
        pool=Pool("the 50 test images, one a category; no test category is trained on", 50),
    ),
    Protocol(
        "bold5000_113", 1, "stimulus", "test_stimuli", "before",
        ("image_retrieval_top1", "image_retrieval_top5", "pairwise_identification"),
        "Chang et al. 2019, doi:10.1038/s41597-019-0052-3: shown three or four times; all repeats held out, averaged",
        picture_metrics=_PICTURES, direction="stimulus", chance=(1 / 113, 5 / 113, 0.5),
        pool=Pool("the 113 repeated images (repeated_stimuli_113_list.txt)", 113),
    ),
)  # fmt: skip
