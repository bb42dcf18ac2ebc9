"""Addresses and sizes of the Natural Scenes Dataset's files in its public bucket."""

from __future__ import annotations

import numpy as np

from braindec import checks

BUCKET = "https://natural-scenes-dataset.s3.amazonaws.com"
N_SESSIONS = {1: 40, 2: 40, 3: 32, 4: 30, 5: 40, 6: 32, 7: 40, 8: 30}
# Voxels of func1pt8mm by subject; NSD data manual, "Technical notes".
GRIDS = {
    1: (81, 104, 83), 2: (82, 106, 84), 3: (81, 106, 82), 4: (85, 99, 80), 5: (79, 97, 78), 6: (85, 113, 83),
    7: (78, 95, 81), 8: (80, 103, 78),
}  # fmt: skip
CHUNKS = 1.045  # a file of int16 chunked by voxel is so much larger than its values
ROIS = ("nsdgeneral", "streams", "prf-visualrois", "floc-faces", "floc-bodies", "floc-places", "floc-words")
STIMULI_BYTES = 73_000 * 425 * 425 * 3


def listed(
    subjects: tuple[int, ...], sessions: tuple[int, ...] | None, betas: str, space: str
) -> dict[str, tuple[str, int]]:
    """Address and size in bytes (about) by path: what `prepare` reads of these subjects.

    Parameters
    ----------
    subjects : tuple of int
    sessions : tuple of int or None
    betas, space : str
    """
    checks.one_of("space", space, ("func1pt8mm",))
    paths = {
        "nsddata/experiments/nsd/nsd_expdesign.mat": 1_000_000,
        "nsddata/experiments/nsd/nsd_stim_info_merged.csv": 11_000_000,
        "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5": STIMULI_BYTES,
    }
    for subject in subjects:
        checks.one_of("subjects", subject, list(N_SESSIONS))
        own, n_voxels = f"subj{subject:02d}", int(np.prod(GRIDS[subject]))
        paths[f"nsddata/ppdata/{own}/behav/responses.tsv"] = 2_500_000
        paths[f"nsddata/ppdata/{own}/{space}/brainmask.nii.gz"] = 30_000
        paths |= {f"nsddata/ppdata/{own}/{space}/roi/{roi}.nii.gz": 70_000 for roi in ROIS}
        paths |= {f"nsddata/freesurfer/{own}/label/{roi}.mgz.ctab": 200 for roi in ROIS[1:]}
        folder = f"nsddata_betas/ppdata/{own}/{space}/{betas}"
        paths[f"{folder}/ncsnr.nii.gz"] = 1_100_000
        for session in sessions or range(1, N_SESSIONS[subject] + 1):
            checks.one_of("sessions", session, list(range(1, N_SESSIONS[subject] + 1)))
            paths[f"{folder}/betas_session{session:02d}.hdf5"] = int(CHUNKS * n_voxels * 750 * 2)
    return {path: (f"{BUCKET}/{path}", size) for path, size in paths.items()}
