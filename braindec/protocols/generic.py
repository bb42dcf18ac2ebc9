"""Protocols that suit any dataset: they name the unit that is held out."""

from __future__ import annotations

from braindec.protocols import Protocol

_RETRIEVAL = ("image_retrieval_top1", "image_retrieval_top5", "brain_retrieval_top1")
_PICTURES = ("two_way_identification", "pixel_correlation", "ssim")

PROTOCOLS = {
    p.name: p
    for p in (
        Protocol(
            "heldout_stimuli", 1, "stimulus", "test_stimuli", "before", _RETRIEVAL,
            "Fixed gallery of all test stimuli, every one a query; repeats averaged before the model",
            picture_metrics=_PICTURES,
        ),
        Protocol(
            "heldout_stimuli_folds", 1, "stimulus", "fold_stimuli", "none",
            ("pairwise_identification", "pairwise_identification_within_class"),
            "K-fold over stimuli; training-fold mean subtracted, distractors from the held-out fold",
        ),
        Protocol(
            "leave_one_run_out_categories", 1, "run", "classes", "none", ("category_accuracy",),
            "Each run held out once; the label-free statistics of the held-out run may be used and are then printed",
            scopes=("train", "unit_train_rows", "causal", "unit_unlabelled"),
        ),
        Protocol(
            "leave_one_run_out_auc", 1, "run", "classes", "none", ("roc_auc",),
            "Each run held out once, every trial of it scored; area under the ROC within runs",
            similarity="distance",
        ),
    )
}  # fmt: skip
