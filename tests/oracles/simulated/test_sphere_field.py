"""Magnetic field of a current dipole in a sphere: against physics that needs no formula of Sarvas, and against mne."""

from __future__ import annotations

import numpy as np
import pytest

from braindec.data.simulated import forward, meeg_files, sensors

PLACES = np.array([[0.03, -0.05, 0.02], [-0.01, 0.02, 0.06], [0.0, -0.07, 0.0]])
MOMENTS = 1e-8 * np.array([[0.3, 0.5, -1.0], [1.0, 0.2, 0.4], [0.6, 0.0, 0.8]])


def test_a_radial_dipole_makes_no_field_and_a_tangential_one_does():
    where = sensors.meg_helmet().space.positions
    for place in PLACES:
        radial = forward.sphere_field(where, place, 1e-8 * place / np.linalg.norm(place))
        tangential = forward.sphere_field(where, place, 1e-8 * np.cross(place, [0, 0.6, 0.8]))
        assert np.abs(radial).max() < 1e-9 * np.abs(tangential).max()


def test_currents_that_flow_back_do_not_change_the_radial_field():
    """So that along sensors' own directions from the centre the law of Biot and Savart alone holds."""
    where = sensors.meg_helmet().space.positions
    outwards = where / np.linalg.norm(where, axis=1, keepdims=True)
    for place, moment in zip(PLACES, MOMENTS, strict=True):
        sphere, free = (f(where, place, moment) for f in (forward.sphere_field, forward.free_field))
        assert (sphere * outwards).sum(1) == pytest.approx((free * outwards).sum(1), rel=1e-9)
        assert np.abs(sphere - free).max() > 0.1 * np.abs(free).max()


def test_the_field_outside_the_head_has_neither_sources_nor_curl():
    step, at = 1e-4, np.array([0.05, -0.09, 0.06])
    points = at + step * np.concatenate([np.eye(3), -np.eye(3)])
    for place, moment in zip(PLACES, MOMENTS, strict=True):
        field = forward.sphere_field(points, place, moment)
        jacobian = (field[:3] - field[3:]) / (2 * step)  # row: derivative along; column: component
        assert abs(np.trace(jacobian)) < 1e-5 * np.abs(jacobian).max()
        assert np.abs(jacobian - jacobian.T).max() < 1e-5 * np.abs(jacobian).max()


def test_ten_nanoampere_metres_give_hundreds_of_femtotesla():
    field = sensors.meg_helmet().of_dipole(np.array([0.0, -0.065, 0.02]), np.array([1e-8, 0, 0]))
    assert 5e-14 < np.abs(field).max() < 2e-12


def test_magnetometers_measure_what_mne_computes_for_its_sphere_model():
    import mne

    helmet = sensors.meg_helmet(12)
    info = meeg_files.info_of(helmet, 100.0)
    sphere = mne.make_sphere_model(r0=(0.0, 0.0, 0.0), head_radius=None, verbose="error")
    directions = MOMENTS / np.linalg.norm(MOMENTS, axis=1, keepdims=True)
    source = mne.setup_volume_source_space(
        pos={"rr": PLACES, "nn": directions}, sphere=(0.0, 0.0, 0.0, 0.095), verbose="error"
    )
    solution = mne.make_forward_solution(info, None, source, sphere, eeg=False, mindist=0.0, verbose="error")
    free = solution["sol"]["data"].reshape(12, len(PLACES), 3)
    for i, (place, moment) in enumerate(zip(PLACES, MOMENTS, strict=True)):
        assert helmet.of_dipole(place, moment) == pytest.approx(free[:, i] @ moment, rel=1e-6, abs=1e-20)
