"""Films, speech and recordings that do not stop: clips, segments and sliding windows."""

from __future__ import annotations

from dataclasses import replace

from braindec.protocols import Departure, Pool, Protocol, Windows, table

_SEGMENTS = ("segment_retrieval_top1", "segment_retrieval_top5", "segment_retrieval_top10")

_CLIPS = (
    "frame_ssim", "frame_pixel_correlation", "motion_error", "frame_n_way_2", "frame_n_way_50", "clip_n_way_2",
    "clip_n_way_50",
)  # fmt: skip

# Films are standardised run by run without labels, as published: a held-out run too loses its own mean and drift.
_EACH_RUN = ("train", "unit_train_rows", "causal", "unit_unlabelled")

SEGMENTS = Protocol(
    "segment_retrieval", 1, "stimulus", "test_stimuli", "none", _SEGMENTS,
    "Defossez et al. 2023, doi:10.1038/s42256-023-00714-5: which 3 s of speech were heard",
    pool=Pool("every distinct segment of the test part once; segments are cut where sound of training ends"),
    direction="stimulus", chance=(None, None, None),
)  # fmt: skip

PROTOCOLS = table(
    Protocol(
        "cc2017_test", 3, "stimulus", "test_stimuli", "before",
        ("image_retrieval_top1", "image_retrieval_top5", "pairwise_identification"),
        "Wen et al. 2018, doi:10.1093/cercor/bhx268: five test films of eight minutes in clips of 2 s",
        pool=Pool(
            "the 1,200 clips of the films test1 to test5; no training film shows them", 1200,
            sha256="f178898b44c515f1680dc86aa445b25120048334678f62e09c4d5c6c0efe9d5a",
            list="made from the rule: test1-000 to test5-239, clips of 2 s in their order",
        ),
        direction="stimulus", chance=(1 / 1200, 5 / 1200, 0.5), scopes=_EACH_RUN,
        video_metrics=_CLIPS,
    ),
    Protocol(
        "heldout_clips", 1, "stimulus", "test_stimuli", "before",
        ("image_retrieval_top1", "image_retrieval_top5", "pairwise_identification"),
        "Clips of films that training did not show, every one a query; repeats averaged before the model",
        pool=Pool("all test clips, every one a query"), direction="stimulus", chance=(None, None, 0.5),
        scopes=_EACH_RUN, video_metrics=_CLIPS,
    ),
    SEGMENTS,
    replace(
        SEGMENTS, name="segment_retrieval_as_published_by_brainmagick", published_by="brainmagick",
        corrects=SEGMENTS.name, similarity="cosine",
        departures=(
            Departure("Scores are products with candidates of unit norm and no mean removed: for a given response the "
                      "order of the cosine.", "raw_cosine"),
            Departure("Shares are averaged over recordings, not over segments.", "by_recording"),
            Departure("A window begins at every word, so that neighbours overlap and are candidates of each other.",
                      why="segments are cut when a dataset is prepared, apart from each other"),
        ),
    ),
    Protocol(
        "pseudo_online", 1, "run", "classes", "none", ("normalised_mcc",),
        "Carrara & Papadopoulo 2024, doi:10.1088/1741-2552/ad171a: sliding windows with an idle class; the window, "
        "step and share are ours",
        scopes=("train", "causal"), pool=Pool("the classes of the events, and idle"), chance=(0.5,),
        run_metrics=("information_transfer_rate", "detection_latency_s"),
        windows=Windows(length_s=2.0, step_s=0.25, share=0.5),
    ),
)  # fmt: skip
