"""Sensors of simulated EEG and MEG: where they are, and what they measure of a current dipole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from braindec import checks
from braindec.data.simulated.forward import dipole_topography, free_field, sphere_field
from braindec.types import SensorSpace

# Inclination from the vertex (negative on the left) and azimuth of the international 10-20 places on a sphere, degrees.
PLACES_DEG = {
    "Fp1": (-92, -72), "Fp2": (92, 72), "F7": (-92, -36), "F3": (-60, -51), "Fz": (46, 90), "F4": (60, 51),
    "F8": (92, 36), "FC5": (-72, -21), "FC1": (-32, -45), "FC2": (32, 45), "FC6": (72, 21), "T7": (-92, 0),
    "C3": (-46, 0), "Cz": (0, 0), "C4": (46, 0), "T8": (92, 0), "CP5": (-72, 21), "CP1": (-32, 45),
    "CP2": (32, -45), "CP6": (72, -21), "P7": (-92, 36), "P3": (-60, 51), "Pz": (46, -90), "P4": (60, -51),
    "P8": (92, -36), "PO7": (-92, 54), "PO3": (-74, 65), "POz": (69, -90), "PO4": (74, -65), "PO8": (92, -54),
    "O1": (-92, 72), "O2": (92, -72),
}  # fmt: skip
HEAD_M = 0.095
HELMET_M, HELMET_CENTRE_M = (
    0.115,
    (0.0, -0.005, 0.010),
)  # so that its sensors do not look straight at the origin
HELMET_TILT_DEG, HELMET_SPAN_DEG = 20.0, 105.0  # of its axis towards the back; from the axis to its edge
N_MAGNETOMETERS = 40


@dataclass(frozen=True, eq=False)
class Sensors:
    """Electrodes or magnetometers around a head that is a sphere around the origin; x right, y front, z up.

    Parameters
    ----------
    space : SensorSpace
        Head coordinates.
    normals : ndarray, shape (n_sensors, 3), optional
        Unit vector along which each magnetometer measures the field; None for electrodes.
    """

    space: SensorSpace
    normals: np.ndarray | None = None

    @property
    def modality(self) -> str:
        """``"eeg"`` or ``"meg"``."""
        return "eeg" if self.normals is None else "meg"

    @property
    def reference(self) -> np.ndarray:
        """What the recording system does to all sensors: (n_sensors, n_sensors), the average reference of EEG."""
        n = len(self.space.names)
        return np.eye(n) if self.modality == "meg" else np.eye(n) - 1 / n

    @property
    def kept(self) -> np.ndarray:
        """Orthonormal basis of what `reference` keeps: (n_sensors, n_sensors), one column fewer for EEG."""
        n = len(self.space.names)
        return np.eye(n) if self.modality == "meg" else np.linalg.svd(self.reference)[0][:, : n - 1]

    def of_dipole(self, place_m: np.ndarray, moment: np.ndarray) -> np.ndarray:
        """Signal of a dipole in the head, (n_sensors,): tesla per ampere metre; potentials up to a common factor."""
        if self.normals is None:
            return dipole_topography(self.space.positions, place_m, moment)
        return (sphere_field(self.space.positions, place_m, moment) * self.normals).sum(1)

    def of_distant_dipole(self, place_m: np.ndarray, moment: np.ndarray) -> np.ndarray:
        """Signal of a dipole outside the head, (n_sensors,)."""
        if self.normals is None:
            return dipole_topography(self.space.positions, place_m, moment)
        return (free_field(self.space.positions, place_m, moment) * self.normals).sum(1)


def eeg_cap() -> Sensors:
    """32 electrodes of the international 10-20 system on a sphere around the origin."""
    incline, azimuth = np.deg2rad(np.array(list(PLACES_DEG.values()), dtype=np.float64)).T
    unit = np.stack(
        [np.sin(incline) * np.cos(azimuth), np.sin(incline) * np.sin(azimuth), np.cos(incline)], 1
    )
    return Sensors(SensorSpace(tuple(PLACES_DEG), HEAD_M * unit, ("eeg",) * len(unit)))


def meg_helmet(n: int = N_MAGNETOMETERS) -> Sensors:
    """Magnetometers spread evenly (a Fibonacci spiral) over a helmet that reaches further down at the back.

    Parameters
    ----------
    n : int
        Number of sensors, >= 2.
    """
    checks.at_least("n", n, 2)
    k = np.arange(n)
    height = 1 - (1 - np.cos(np.deg2rad(HELMET_SPAN_DEG))) * (k + 0.5) / n
    turn, width = k * np.pi * (3 - np.sqrt(5)), np.sqrt(1 - height**2)
    unit = np.stack([width * np.cos(turn), width * np.sin(turn), height], 1)
    tilt = np.deg2rad(HELMET_TILT_DEG)
    rotation = np.array(
        [[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]]
    )  # moves the vertex towards the back
    unit = unit @ rotation.T
    names = tuple(f"MEG{i + 1:03d}" for i in range(n))
    return Sensors(SensorSpace(names, HELMET_M * unit + HELMET_CENTRE_M, ("mag",) * n), unit)


def sensors_of(modality: str) -> Sensors:
    """The cap of ``"eeg"`` or the helmet of ``"meg"``."""
    return eeg_cap() if checks.one_of("modality", modality, ("eeg", "meg")) == "eeg" else meg_helmet()
