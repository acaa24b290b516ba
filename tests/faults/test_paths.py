"""Paths that a file names and that lead out of its folder."""
import json
import pickle

import pytest

from scene_qformer.datasets.driving_images_dataset import DrivingImagesDataset
from scene_qformer.datasets.info_file import check_paths
from scene_qformer.inside_folder import check_inside

AREA = 'Paths'
REMEDY = ('Correct the path. To use files of another disk, put a link into the data root; links are followed. An info '
          'file that you trust: paths_outside_root=True.')
OUT = ['../x.jpg', 'CAM_FRONT/../../x.jpg', 'a/../../../etc/passwd', '/etc/passwd', '//etc/passwd', '~/x.jpg', '~a/x',
       'C:\\x.jpg', '..\\x.jpg', 'a\\..\\..\\x', 'http://localhost/x.jpg', 's3://bucket/x.jpg', 'file:///etc/passwd',
       '..', 'x\0.jpg', '', 7, None, ['x.jpg'], '/datasets/x.jpg']
INSIDE = ['x.jpg', 'CAM_FRONT/x.jpg', './x.jpg', 'a/../x.jpg', '...jpg', 'a/..x.jpg', '/data/x.jpg',
          '/data/../data/x.jpg']


@pytest.mark.fault(area=AREA, fault='a path that leads out of the data root', expected='refused', remedy=REMEDY)
@pytest.mark.parametrize('path', OUT, ids=repr)
def test_out(show, path):
    with pytest.raises(ValueError, match='infos.pkl, sample a: expected (the path of a file|a path inside)') as caught:
        check_inside(path, '/data', 'infos.pkl, sample a')
    if path in ('../x.jpg', ''):
        show(caught.value)


@pytest.mark.parametrize('path', INSIDE)
def test_inside(path):
    assert check_inside(path, '/data', 'infos.pkl') == path


@pytest.mark.fault(area=AREA, fault='an info file that names files of the system', expected='refused', remedy=REMEDY)
@pytest.mark.parametrize('key', ['img_path of CAM_FRONT', 'lidar_path'])
@pytest.mark.parametrize('path', ['/etc/passwd', '../../x.bin', 'http://localhost/x'])
def test_infos(show, key, path):
    info = dict(token='a', images=dict(CAM_FRONT=dict(img_path=path if 'img' in key else 'x.jpg')),
                lidar_points=dict(lidar_path=path if 'lidar' in key else 'x.bin'))
    with pytest.raises(ValueError, match=f'infos.pkl, sample a, {key}: expected a path inside') as caught:
        check_paths(info, '/data', 'infos.pkl')
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='a question file that names files of the system', expected='refused', remedy=REMEDY)
@pytest.mark.parametrize('path', ['/etc/passwd', '../../x.jpg', 'samples/../../x.jpg', 'http://localhost/x.jpg'])
def test_questions(tmp_path, show, path):
    (tmp_path / 'questions.json').write_text(json.dumps({'scene-a': dict(key_frames=dict(t0=dict(
        QA=dict(perception=[dict(Q='What?', A='A car.')]), image_paths=dict(CAM_FRONT=path))))}))
    with pytest.raises(ValueError, match='image of CAM_FRONT: expected a path inside the folder') as caught:
        DrivingImagesDataset(dict(type='DriveLMQuestions', path=str(tmp_path / 'questions.json')), str(tmp_path),
                             cam_names=('CAM_FRONT', ), check_images=False)
    show(caught.value)


def test_links_of_the_user_are_followed(tmp_path):
    """Whoever links a data root, or a folder in it, to another disk meant it."""
    (tmp_path / 'disk').mkdir()
    (tmp_path / 'disk' / 'x.pkl').write_bytes(pickle.dumps(7))
    (tmp_path / 'data').symlink_to(tmp_path / 'disk')
    path = tmp_path / 'data' / check_inside('x.pkl', str(tmp_path / 'data'), 'infos.pkl')
    assert path.read_bytes() == pickle.dumps(7)
