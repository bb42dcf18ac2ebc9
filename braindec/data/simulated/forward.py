"""What sensors outside the head measure of a current dipole: potentials, and magnetic fields of a conducting sphere."""

from __future__ import annotations

import numpy as np

MU0_OVER_4PI = 1e-7  # T m / A


def dipole_topography(sensors_m: np.ndarray, place_m: np.ndarray, moment: np.ndarray) -> np.ndarray:
    """Potential of a dipole in an unbounded conductor, up to a factor: moment . r / |r|^3, shape (n_sensors,)."""
    r = sensors_m - place_m
    return (r @ moment) / np.linalg.norm(r, axis=1) ** 3


def sphere_field(sensors_m: np.ndarray, place_m: np.ndarray, moment: np.ndarray) -> np.ndarray:
    """Magnetic field outside a conducting sphere around the origin of a current dipole within it.

    Parameters
    ----------
    sensors_m : ndarray, shape (n_sensors, 3)
        Metres, outside the sphere.
    place_m : ndarray, shape (3,)
        Metres, inside the sphere.
    moment : ndarray, shape (3,)
        Ampere metres.

    Returns
    -------
    ndarray of float64, shape (n_sensors, 3)
        Tesla. Currents that flow back through the sphere are included; its radius does not matter, and neither does its
        conductivity where it depends on the distance from the origin alone. A radial dipole gives no field.

    Notes
    -----
    Sarvas 1987, Physics in Medicine and Biology 32:11-22, doi:10.1088/0031-9155/32/1/004, equation 25.
    """
    a = sensors_m - place_m
    a_length, r_length = np.linalg.norm(a, axis=1), np.linalg.norm(sensors_m, axis=1)
    along = (a * sensors_m).sum(1)
    f = a_length * (r_length * a_length + along)  # |r|^2 - r0 . r = a . r
    slope_r = a_length**2 / r_length + along / a_length + 2 * a_length + 2 * r_length
    slope_place = a_length + 2 * r_length + along / a_length
    gradient = slope_r[:, None] * sensors_m - slope_place[:, None] * place_m
    turned = np.cross(moment, place_m)
    return MU0_OVER_4PI * (f[:, None] * turned - (sensors_m @ turned)[:, None] * gradient) / f[:, None] ** 2


def free_field(sensors_m: np.ndarray, place_m: np.ndarray, moment: np.ndarray) -> np.ndarray:
    """Magnetic field of a current dipole alone, without any current that flows back (Biot-Savart).

    Parameters
    ----------
    sensors_m, place_m, moment
        As in `sphere_field`; the place may lie anywhere but on a sensor.

    Returns
    -------
    ndarray of float64, shape (n_sensors, 3)
        Tesla.
    """
    a = sensors_m - place_m
    return MU0_OVER_4PI * np.cross(moment, a) / np.linalg.norm(a, axis=1)[:, None] ** 3
