"""How long the stages of a run took."""

from __future__ import annotations

import os
import time


class Laps:
    """Times stages: call it with a stage's name when the stage is over.

    Attributes
    ----------
    seconds, cpu_seconds : dict of str to float
        By stage: elapsed, and spent by this process and by those it waited for.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.cpu_seconds: dict[str, float] = {}
        self._last = self._now()

    def __call__(self, stage: str) -> None:
        """Ends a stage; what was measured since the last call is its time."""
        now = self._now()
        self.seconds[stage], self.cpu_seconds[stage] = (
            round(b - a, 2) for a, b in zip(self._last, now, strict=True)
        )
        self._last = now

    @staticmethod
    def _now() -> tuple[float, float]:
        spent = os.times()
        return time.perf_counter(), spent.user + spent.system + spent.children_user + spent.children_system

    def record(self) -> dict[str, dict[str, float]]:
        """For a report's `run`."""
        return {"stages": self.seconds, "stages_cpu": self.cpu_seconds}
