"""Natural images before NSD: generic object decoding and BOLD5000."""

from __future__ import annotations

from braindec.protocols import Pool, Protocol, table

_PICTURES = ("pixel_correlation", "ssim", "two_way_identification")

PROTOCOLS = table(
    Protocol(
        "god_50", 2, "concept", "test_stimuli", "before",
        ("image_retrieval_top1", "image_retrieval_top5", "pairwise_identification"),
        "Horikawa & Kamitani 2017, doi:10.1038/ncomms15037",
        picture_metrics=_PICTURES, n_repeats=35, direction="stimulus", chance=(1 / 50, 5 / 50, 0.5),
        pool=Pool(
            "the 50 test images, one a category; no test category is trained on", 50,
            sha256="145d9f78a929889d3c7d39ce31fc2514d2d4f2c6abbc8daa156d977048de5002",
            list="ImageNet's names, e.g. n01443537_22563, in data/stimulus_ImageNetTest.tsv and imageID_test.csv of "
            "github.com/KamitaniLab/GenericObjectDecoding (b0cecdc), which agree",
        ),
    ),
    Protocol(
        "bold5000_113", 2, "stimulus", "test_stimuli", "before",
        ("image_retrieval_top1", "image_retrieval_top5", "pairwise_identification"),
        "Chang et al. 2019, doi:10.1038/s41597-019-0052-3: shown three or four times; all repeats held out, averaged",
        picture_metrics=_PICTURES, direction="stimulus", chance=(1 / 113, 5 / 113, 0.5),
        pool=Pool(
            "the 113 repeated images (repeated_stimuli_113_list.txt)", 113,
            sha256="f5ff070b83c6cda145f2fb2db3e10b7246a403228f45a729fd366259e39ab942",
            list="names without ending of repeated_stimuli_113_list.txt (BOLD5000_Stimuli.zip; copied in "
            "github.com/eminorhan/bold-5000, f6ea5d2); the images that events.tsv of OpenNeuro ds001499 (5be66b2) "
            "repeats for CSI1 to CSI3 are the same",
        ),
    ),
)  # fmt: skip
