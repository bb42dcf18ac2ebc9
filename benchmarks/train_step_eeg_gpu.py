"""The training steps of `train_step_eeg.py` in bfloat16 on a GPU.

Run     python benchmarks/train_step_eeg_gpu.py            (make bench-gpu)
Writes  benchmarks/results/train_step_eeg_gpu.json
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.argv[1:1] = ["--device", "cuda"]
    runpy.run_path(str(Path(__file__).with_name("train_step_eeg.py")), run_name="__main__")
