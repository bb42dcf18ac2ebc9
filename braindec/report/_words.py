"""What the names in a report mean, in words for its reader."""

from __future__ import annotations

import re
from typing import Any

METRICS = {
    "view_two_way": "turning views of the decoded object are more like those of the presented one than another's",
    "view_ten_way": "the same, of nine others",
    "volume_iou": "volume that both objects fill, as a share of what either fills",
    "chamfer_distance": "mean distance from points of one surface to the nearest of the other; lower is better",
    "earth_movers_distance": "mean way of points of one surface to those of the other, one each; lower is better",
    "f_score": "points of either surface that lie near the other",
    "trained_on_made_auc": "a classifier that was taught by made epochs alone tells recorded ones apart",
    "few_trials_auc": "a classifier that was taught by few recorded trials and made ones",
    "copied_auc": "whether made epochs lie nearer to training trials than held-out ones do; 0.5: as near",
    "hidden_predictivity": "responses while the ball is hidden, predicted in held-out films, over their ceiling",
    "change_alignment": "how distances between states changed over learning, in a recording and in networks",
    "recorded_successor_likeness": "states that follow each other soon lie near each other in a recording",
    "image_retrieval_top1": "the presented image is the nearest of the gallery to what was decoded",
    "image_retrieval_top5": "the presented image is among the five nearest of the gallery",
    "bits_per_trial": "what a trial tells of its image in a gallery without end; 2 ** bits images can be told apart",
    "top1_of_10000_predicted": "predicted: the presented image is the nearest of 10,000 like those of the gallery",
    "unique_nearest_share": "how many different truths the predictions point at: far below chance, a decoder names the "
    "same few things whatever was shown",
    "encoding_correlation": "held-out responses are predicted from features of the stimuli: correlation over stimuli "
    "(or volumes), mean over voxels whose training responses repeat",
    "genre_agreement_top1": "the retrieved clip is of the presented clip's genre",
    "genre_agreement_top10": "share of ten retrieved clips that are of the presented clip's genre",
    "brain_correlation": "an encoding model expects of the reconstruction the responses that were measured",
    "bleu_1": "words of the decoded caption that the caption of the presented image has",
    "bleu_4": "the same for one to four words in a row",
    "rouge_l": "longest common sequence of words of decoded and true caption",
    "brain_retrieval_top1": "the image's own brain response is the nearest of all responses",
    "two_way_identification": "a network finds the reconstruction more like the presented image than like a distractor",
    "pixel_correlation": "correlation of the pixel values of reconstruction and presented image",
    "ssim": "structural similarity of reconstruction and presented image",
    "category_accuracy": "the category is decoded right",
    "pairwise_identification": "the decoded item is more like the presented one than like a distractor",
    "pairwise_identification_within_class": "the same, with distractors of the same class only",
    "latent_auc": "a stimulus in which a latent is active has a higher reading than one in which it is not",
    "latency_spearman": "rank correlation of planted latencies of regions with those that fMRI and EEG give",
    "steered_has_concept": "share of the ten nearest training scenes that have what was switched on",
    "concept_found_in_decoded": "a decoded scene with the concept has more of its latents than one without",
    "drawn_has_concept": "share of the ten scenes nearest to the drawn picture that have what was switched on",
    "steered_scenes_with_factor": "share of the ten nearest scenes that have what was switched on",
    "segment_matched": "a segment is most like the others' of the same time, of all that do not overlap it",
    "picture_matched": "a picture's response is most like the others' to it, of all held-out ones",
    "region_recognised": "a region's distances are most like those of its own level",
    "integration_told": "an electrode that integrates gains more from the multimodal network than another one",
    "stitched_accuracy_relative": "classes of new stimuli named by a classifier of the other space",
    "stitched_accuracy_rotation": "classes of new stimuli named by a classifier of the other space",
    "stitched_identified_relative": "a stimulus is more like itself in the other space than like another one",
    "stitched_identified_rotation": "a stimulus is more like itself in the other space than like another one",
    "roc_auc": "a trial of one class is ranked above a trial of the other",
}

SYSTEMS = {
    "braindec": "the decoder",
    "ridge": "closed-form linear decoder on the same data",
    "mean": "always the mean of the training targets",
    "adapted": "the shared decoder, adapted to a new subject",
    "scratch": "the same decoder trained on the new subject's data alone",
    "shuffled": "the decoder refitted with shuffled brain-stimulus pairs",
    "nuisance": "a decoder that is told columns of the trial table (times, order, motion) and sees no brain",
    "sample": "pictures of single draws of the prior, each scored by itself",
    "selected": "of several draws, the one that something chose that did not see the truth",
    "prior": "pictures drawn without a brain",
    "nearest": "the training picture that lies nearest to what was decoded",
    "oracle": "the same generator told the true embedding",
    "contender": "a system that was chosen and trained under the same rules as those it is compared with",
}

CEILINGS = {
    "oracle_image": "told the true forward model, picks the most likely image",
    "oracle_linear": "best linear decoder into the same embedding, told the truth",
    "oracle_n": "best linear estimator told the priors and given the same trials",
    "repeatability": "agreement of repeated measurements",
    "other_subjects": "what the mean of the other subjects reaches",
    "ncsnr": "from the ratio of signal to noise of single trials",
}


SPELT = {"ssim": "SSIM", "two way": "two-way", "ten way": "ten-way", "iou": "IoU", "auc": "AUC", "eeg": "EEG",
         "erp": "ERP", "f1": "F1", "f score": "F-score", "r2": "R²", "db": "dB", "movers": "mover's",
         "ms": "(ms)"}  # fmt: skip


def title_of(name: str) -> str:
    """A metric's or system's name for a heading: words instead of underscores."""
    words = (
        name.replace("top1_of_10000_predicted", "top-1 of 10,000, predicted")
        .replace("_top1", " top-1")
        .replace("_top5", " top-5")
        .replace("roc_auc", "ROC AUC")
        .replace("rsa_rho_a:", "RSA (rho-a), ")
        .replace("latent_auc", "latents read (AUC)")
        .replace("latency_spearman", "latencies recovered (Spearman)")
        .replace("_", " ")
    )
    for written, spelt in SPELT.items():
        words = re.sub(rf"\b{written}\b", spelt, words)
    return words[:1].upper() + words[1:]


def subject_of(subject: int | str, modality: str) -> str:
    """``sub-01 fmri``; a summary over subjects is ``mean fmri``; of models only the name is said."""
    name = f"sub-{subject:02d}" if isinstance(subject, int) else {"group": "mean"}.get(subject, subject)
    return name if modality == "model" else f"{name} {modality}".strip()


def number(value: Any) -> str:
    """Three decimals, or three digits where that shows nothing; text as it is."""
    if not isinstance(value, float):
        return "–" if value is None else str(value)
    if value == 0 or 0.0005 <= abs(value) < 1e4:
        return f"{value:.3f}"
    return f"{value:.2e}"
