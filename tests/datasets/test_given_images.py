"""Images in memory through the loader of files."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from mmdet3d.registry import TRANSFORMS

SHAPE = (184, 296)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    coarse = np.random.default_rng(5).integers(0, 255, (23, 37, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / 'a.jpg'), cv2.resize(coarse, SHAPE[::-1], interpolation=cv2.INTER_CUBIC))
    return tmp_path / 'a.jpg'


def load(image, size, loader: str = 'TakeSurroundImages') -> dict:
    camera = dict(img_path=image, cam2img=np.diag([100.0, 100, 1]), lidar2cam=np.eye(4))
    return TRANSFORMS.build(dict(type=loader, size=size))(dict(images=dict(CAM_FRONT=camera), token='t'))


@pytest.mark.parametrize('size', [None, (224, 126), (592, 368), (112, 64), (37, 23)])  # decoded at 1, 1, 1, 1/2, 1/8
def test_as_files(file: Path, size):
    expected = load(str(file), size, 'LoadSurroundImages')
    for image in (str(file), file.read_bytes(), cv2.imread(str(file))):
        results = load(image, size)
        difference = np.abs(results['img'][0].astype(int) - expected['img'][0]).mean()
        if isinstance(image, np.ndarray) and size in ((112, 64), (37, 23)):
            assert 0 < difference < 2.5  # grey levels, of coloured noise
        else:
            assert difference == 0
        for key in ('cam2img', 'ori_cam2img', 'lidar2cam'):
            np.testing.assert_array_equal(results[key], expected[key])
        assert results['ori_shape'] == SHAPE and results['img_shape'] == expected['img_shape']
        assert results['img_path'] == [image if isinstance(image, str) else '']


@pytest.mark.parametrize('size', [None, SHAPE[::-1]])
def test_arrays_stay_the_callers(file: Path, size):
    image = cv2.imread(str(file))
    before = image.copy()
    load(image, size)
    assert image.flags.writeable and np.array_equal(image, before)
    image[:] = 0
