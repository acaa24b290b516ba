"""Primitive parts: closed, wound outwards, of the right size."""
from __future__ import annotations

import numpy as np
import pytest

from scene_qformer.synthetic import meshes as m

GREY = (0.5, 0.5, 0.5)


def volume(mesh: m.Mesh) -> float:
    """Positive for closed meshes whose triangles run counter-clockwise from outside (divergence theorem)."""
    a, b, c = np.moveaxis(mesh.positions, 1, 0)
    return float(np.sum(a * np.cross(b, c)) / 6)


SECTION = [(1, 0), (1, 2), (-1, 2), (-1, 0)]  # y, z, counter-clockwise from the front: 2 x 2


@pytest.mark.parametrize('mesh, expected', [
    (m.box((7, -3, 11), (2, 3, 5), GREY), 30.0),
    (m.box((0, 0, 0), (2, 2, 3), GREY, top=(0.5, 0.5)), 7.0),  # h / 3 (A + a + sqrt(A a)) = 4 + 1 + 2
    (m.cylinder((5, 1, 0), (5, 1, 3), 2, GREY, segments=4), 24.0),  # a square of diagonal 4
    (m.cylinder((0, 0, 0), (3, 0, 4), 1, GREY, segments=360), 5 * np.pi),
    (m.ellipsoid((1, 2, 3), (1, 2, 3), GREY, segments=90, rings=90), 8 * np.pi),
    (m.loft(np.array([[(x, y, z) for y, z in SECTION] for x in (-2.0, 0.5, 3.0)]), GREY), 20.0),
])
def test_parts_are_closed_and_wound_outwards(mesh, expected):
    assert volume(mesh) == pytest.approx(expected, rel=2e-3)
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=-1), 1, atol=1e-9)


def test_flat_faces_keep_their_normals_and_smooth_ones_share_them():
    box = m.box((0, 0, 0), (1, 1, 1), GREY)
    up = box.normals[box.normals[:, 0, 2] > 0.5]
    np.testing.assert_allclose(up, np.broadcast_to([0, 0, 1], up.shape))
    tube = m.cylinder((0, 0, 0), (0, 0, 1), 1, GREY, segments=12)
    wall = np.abs(tube.normals[..., 2]).max(axis=1) < 1e-9
    radial = tube.positions[wall] * [1, 1, 0]
    assert (np.sum(tube.normals[wall] * radial, axis=-1) > np.cos(np.radians(6))).all()  # faces lie 15 deg off


def test_panel_lies_above_its_quad():
    quad = np.array([(0., 0, 0), (2, 0, 0), (2, 3, 0), (0, 3, 0)])
    patch = m.panel(quad, GREY, inset=(0.25, 0.75, 0.0, 1.0), lift=0.1)
    np.testing.assert_allclose(patch.bounds[0], [0.5, 0, 0.1])
    np.testing.assert_allclose(patch.bounds[1], [1.5, 3, 0.1])


def test_mirrored_stays_closed_and_fit_fills_the_box():
    part = m.mirrored(m.box((0, 2, 0), (1, 1, 1), GREY))
    assert volume(part) == pytest.approx(2.0)
    fitted = m.fit_to_box(part, 7, 3, 5)
    np.testing.assert_allclose(fitted.bounds, [[-3.5, -1.5, -2.5], [3.5, 1.5, 2.5]])
    np.testing.assert_allclose(np.linalg.norm(fitted.normals, axis=-1), 1)


def test_colours_are_stored_as_bgr():
    np.testing.assert_allclose(m.box((0, 0, 0), (1, 1, 1), (0.1, 0.2, 0.3)).colors[0], [0.3, 0.2, 0.1])
