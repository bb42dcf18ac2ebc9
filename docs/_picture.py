"""The picture of the README, from a folder that `braindec demo` wrote: six best and six worst scenes, fMRI and EEG.

python docs/_picture.py runs/demo
"""

import sys
from pathlib import Path

from braindec import report

ROWS = (
    "presented",
    "reconstructed",
    "shuffled brain",
)  # the last: a decoder of wrong pairs, what chance looks like
PANELS = ("sub-01 fmri", "sub-05 eeg")

if __name__ == "__main__":
    made = report.picture(report.read(sys.argv[1]), ROWS, 12, panels=PANELS)
    (Path(__file__).parent / "images" / "demo.png").write_bytes(made)
