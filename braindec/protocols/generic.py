"""Protocols that suit any dataset: they name the unit that is held out."""

from __future__ import annotations

from braindec.protocols import Pool, Protocol, table

_RETRIEVAL = ("image_retrieval_top1", "image_retrieval_top5", "brain_retrieval_top1")
_PAIRWISE = ("pairwise_identification", "pairwise_identification_within_class")
_PICTURES = ("two_way_identification", "pixel_correlation", "ssim")
_CAPTIONS = ("bleu_1", "bleu_4", "rouge_l", "meteor")  # where stimuli have captions
_GALLERY = Pool("all test stimuli, every one a query")
_FOLD = Pool("held-out stimuli of the same fold")
_CLASSES = Pool("the classes; each the mean embedding of its training stimuli")
_RUN_ONE_OUT = (
    "; a stimulus may recur in training, so this asks whether decoding carries over, not for zero-shot"
)

PROTOCOLS = table(
    Protocol(
        "heldout_stimuli", 2, "stimulus", "test_stimuli", "before", _RETRIEVAL,
        "Fixed gallery of all test stimuli, every one a query; repeats averaged before the model",
        picture_metrics=_PICTURES, caption_metrics=_CAPTIONS, pool=_GALLERY, direction="both",
        chance=(None, None, None),
    ),
    Protocol(
        "heldout_concepts", 2, "concept", "test_stimuli", "before", _RETRIEVAL,
        "Zero-shot: training shows no stimulus of a test stimulus's concept; otherwise heldout_stimuli",
        picture_metrics=_PICTURES, caption_metrics=_CAPTIONS, pool=_GALLERY, direction="both",
        chance=(None, None, None),
    ),
    Protocol(
        "heldout_stimuli_folds", 1, "stimulus", "fold_stimuli", "none", _PAIRWISE,
        "K-fold over stimuli; training-fold mean subtracted, distractors from the held-out fold",
        pool=_FOLD, chance=(0.5, 0.5),
    ),
    Protocol(
        "heldout_stimuli_folds_without_classes", 1, "stimulus", "fold_stimuli", "none", _PAIRWISE[:1],
        "K-fold over stimuli whose classes are not known: that classes alone tell stimuli apart cannot be ruled out; "
        "training-fold mean subtracted, distractors from the held-out fold",
        pool=_FOLD, chance=(0.5,),
    ),
    Protocol(
        "leave_one_run_out", 1, "run", "fold_stimuli", "none", _PAIRWISE[:1],
        "Each run held out once; training-fold mean subtracted, distractors from the held-out run" + _RUN_ONE_OUT,
        pool=_FOLD, chance=(0.5,),
    ),
    Protocol(
        "leave_one_session_out", 1, "session", "fold_stimuli", "none", _PAIRWISE[:1],
        "Each session held out once; training-fold mean subtracted, distractors from the held-out session"
        + _RUN_ONE_OUT,
        pool=_FOLD, chance=(0.5,),
    ),
    Protocol(
        "leave_one_subject_out", 1, "subject", "fold_stimuli", "none", _PAIRWISE[:1],
        "Each subject held out once, for systems that predict a subject they never met" + _RUN_ONE_OUT,
        pool=_FOLD, chance=(0.5,),
    ),
    Protocol(
        "leave_one_run_out_categories", 1, "run", "classes", "none", ("category_accuracy",),
        "Each run held out once; the label-free statistics of the held-out run may be used and are then printed",
        scopes=("train", "unit_train_rows", "causal", "unit_unlabelled"), pool=_CLASSES, chance=(None,),
    ),
    Protocol(
        "leave_one_run_out_auc", 1, "run", "classes", "none", ("roc_auc",),
        "Each run held out once, every trial of it scored; area under the ROC within runs",
        similarity="distance", pool=_CLASSES, chance=(0.5,),
    ),
)  # fmt: skip
