"""Figures as bytes: the only room that draws. Every function returns PNG bytes or the text of an inline SVG.

No state of pyplot is touched; the one look of all figures is in `_style`.
"""

from __future__ import annotations

from braindec.plots.brains import montage, sensor_map
from braindec.plots.curves import time_by_time, time_course, training_curve
from braindec.plots.glass import flat_map, glass_brain
from braindec.plots.latents import brain_from_above, claim_scatter, latent_map, latent_timing, place_bars
from braindec.plots.pictures import encoded, image_grid, thumbnail
from braindec.plots.rdm import model_bars, rdm_matrix, rsa_time_course
from braindec.plots.scores import ScoreRow, confusion, null_histogram, region_bars, score_dots
from braindec.plots.sheets import brain_pixels, colour_table, sheet
from braindec.plots.specification import specification_curve

__all__ = [
    "ScoreRow",
    "brain_from_above",
    "brain_pixels",
    "claim_scatter",
    "colour_table",
    "confusion",
    "encoded",
    "flat_map",
    "glass_brain",
    "image_grid",
    "latent_map",
    "latent_timing",
    "model_bars",
    "montage",
    "null_histogram",
    "place_bars",
    "rdm_matrix",
    "region_bars",
    "rsa_time_course",
    "score_dots",
    "sensor_map",
    "sheet",
    "specification_curve",
    "thumbnail",
    "time_by_time",
    "time_course",
    "training_curve",
]
