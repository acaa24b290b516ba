"""Frames without an info file: DriveLM's images and questions alone."""
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet3d.registry import DATASETS, MODELS, TRANSFORMS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from question_files import CAMERAS, drivelm, generated, write

from scene_qformer.datasets import NUSCENES_CAMERAS

PIPELINE = [
    dict(type='LoadSurroundImages', size=(74, 46)),
    dict(type='CropSurroundImages', size=(62, 34), anchor=(0.5, 1.0)),
    dict(type='PackSceneInputs'),
]
TINY_MODEL = Path(__file__).parents[2] / 'configs/_base_/models/scene-qformer_tiny.py'
MATRICES = ('cam2img', 'lidar2cam', 'lidar2img', 'ori_cam2img', 'lidar_aug_matrix')


@pytest.fixture
def root(tmp_path):
    """Three frames; the grey level of an image tells its frame and camera."""
    for camera_number, camera in enumerate(CAMERAS):
        (tmp_path / 'nuscenes/samples' / camera).mkdir(parents=True)
        for frame in range(3):
            image = np.full((92, 148, 3), 7 * frame + 31 * camera_number, np.uint8)
            cv2.imwrite(str(tmp_path / f'nuscenes/samples/{camera}/t{frame}.jpg'), image)
    return tmp_path / 'nuscenes'


def build(root, content=None, source='DriveLMQuestions', pipeline=PIPELINE, **options):
    path = write(root, content or drivelm())
    return DATASETS.build(dict(type='DrivingImagesDataset', questions=dict(type=source, path=str(path)),
                               data_root=str(root), pipeline=pipeline, **options))


def test_a_frame(root):
    dataset = build(root)
    assert len(dataset) == 3
    packed = dataset[2]
    sample = packed['data_samples']
    assert packed['inputs']['img'].shape == (6, 3, 34, 62)
    # the order of the cameras is the dataset's, not the file's
    grey = [14 + 31 * CAMERAS.index(camera) for camera in NUSCENES_CAMERAS]
    assert np.abs(packed['inputs']['img'].float().mean((1, 2, 3)).numpy() - grey).max() < 2
    assert sample.cam_names == list(NUSCENES_CAMERAS) and sample.num_views == 6
    assert sample.img_path[1] == str(root / 'samples/CAM_FRONT_RIGHT/t2.jpg')
    assert sample.sample_token == 't2' and sample.sample_idx == 2
    assert sample.ori_shape == (92, 148) and sample.img_shape == (34, 62)
    assert [text['id'] for text in sample.gt_text] == [f'scene-b_t2_{number}' for number in range(4)]
    assert not set(MATRICES) & set(sample.metainfo)


def test_some_cameras(root):
    assert build(root, cam_names=['CAM_BACK', 'CAM_FRONT'])[0]['inputs']['img'].shape == (2, 3, 34, 62)


def test_paths_that_need_no_cutting(root):
    content = drivelm()
    for scene in content.values():
        for frame in scene['key_frames'].values():
            paths = frame['image_paths']
            frame['image_paths'] = {camera: str(root / path.split('nuscenes/')[1]) for camera, path in paths.items()}
    (root / 'elsewhere').mkdir()
    (root / 'samples').rename(root / 'elsewhere/samples')
    with pytest.raises(FileNotFoundError, match='18 of 18 images are missing'):
        build(root, content)
    (root / 'elsewhere/samples').rename(root / 'pictures')
    for scene in content.values():
        for frame in scene['key_frames'].values():
            frame['image_paths'] = {camera: path.replace('samples', 'pictures')
                                    for camera, path in frame['image_paths'].items()}
    assert len(build(root, content)) == 3  # an absolute path stays


def test_through_the_preprocessor_in_workers(root):
    loader = torch.utils.data.DataLoader(build(root), batch_size=3, num_workers=1, collate_fn=pseudo_collate)
    (batch, ) = loader
    batch = MODELS.build(dict(type='Det3DDataPreprocessor', pad_size_divisor=16))(batch, training=False)
    assert batch['inputs']['imgs'].shape == (3, 6, 3, 48, 64)
    assert [len(sample.gt_text) for sample in batch['data_samples']] == [2, 3, 4]


class TestModelsWithoutCalibration:
    """What docs/questions.md says of them: cameras known by number need no matrices, others say what they lack."""

    BY_NUMBER = {
        'model.positional_encoding': dict(_delete_=True, type='SumEncoding', encodings=[
            dict(type='Sine2DEncoding', embed_dims=128), dict(type='CameraIDEncoding', num_cameras=6, embed_dims=128)]),
        'model.scene_queries': dict(_delete_=True, type='SceneQueries', num_queries=7, embed_dims=128),
        'model.decoder.cross_attn_cfg': dict(_delete_=True, type='GlobalAttention', num_heads=4),
        'model.decoder.refine_reference_points': False,
        'model.bbox_head': None,
        'model.denoising': None,
    }

    def tokens(self, root, changes):
        config = Config.fromfile(TINY_MODEL)
        config.merge_from_dict(changes)
        model = MODELS.build(config.model).eval()
        batch = model.data_preprocessor(pseudo_collate([build(root)[0], build(root)[2]]), False)
        with torch.no_grad():
            return model(**batch, mode='tensor')

    def test_by_number(self, root):
        tokens = self.tokens(root, self.BY_NUMBER)
        assert tokens.shape == (2, 7, 192)
        assert (tokens[0] - tokens[1]).abs().max() > 1e-4  # they did look

    def test_by_projection(self, root):
        changes = {key: value for key, value in self.BY_NUMBER.items() if 'decoder' not in key}
        with pytest.raises(ValueError, match='SurroundDeformableAttention projects 3D points and needs lidar2img'):
            self.tokens(root, changes)


class TestErrors:

    def test_a_missing_image(self, root):
        (root / 'samples/CAM_BACK/t1.jpg').unlink()
        with pytest.raises(FileNotFoundError, match=r'1 of 18 images are missing, first .*samples/CAM_BACK/t1.jpg '
                                                    r'\(camera CAM_BACK of sample t1\).\ndata_root, now'):
            build(root)
        # with cached tokens, nobody needs the images
        assert len(build(root, check_images=False, pipeline=[dict(type='PackSceneTokens')])[1]['inputs']) == 0

    def test_a_missing_camera(self, root):
        content = drivelm()
        del content['scene-b']['key_frames']['t2']['image_paths']['CAM_BACK']
        with pytest.raises(ValueError, match='Sample t2 of .* has no image of CAM_BACK; it has CAM_FRONT, '):
            build(root, content)

    def test_a_source_without_paths(self, root):
        with pytest.raises(ValueError, match='Sample t0 of .* has no image paths, .* Use DrivingQuestionsDataset'):
            build(root, generated(), 'GeneratedQuestions')

    def test_answers_kept_back(self, root):
        content = drivelm()
        content['scene-b']['key_frames']['t2']['QA']['planning'][0]['A'] = ''
        with pytest.raises(ValueError, match='1 questions of .* have no answer to learn'):
            build(root, content)
        assert len(build(root, content, test_mode=True)) == 3

    @pytest.mark.parametrize('transform', ['RandomMirrorScene', 'RandomRotateScaleScene'])
    def test_moving_cameras_needs_their_matrices(self, root, transform):
        dataset = build(root, pipeline=[PIPELINE[0], dict(type=transform), PIPELINE[-1]])
        with pytest.raises(ValueError, match=f'{transform} moves cameras and needs lidar2cam, which sample t1'):
            dataset[1]

    @pytest.mark.parametrize('key, camera', [('cam2img', 'CAM_0'), ('lidar2cam', 'CAM_1')])
    def test_calibration_of_some_cameras_only(self, root, key, camera):
        cameras = {f'CAM_{n}': dict(img_path=str(root / 'samples/CAM_BACK/t0.jpg'), cam2img=np.eye(3),
                                    lidar2cam=np.eye(4)) for n in range(2)}
        del cameras[camera][key]
        with pytest.raises(ValueError, match=f'Camera {camera} of sample t0 has no {key}, while other matrices'):
            TRANSFORMS.build(PIPELINE[0])(dict(images=cameras, token='t0'))

    def test_half_of_the_matrices_in_packing(self, root):
        def forget(results):
            results['cam2img'] = np.stack([np.eye(4)] * 6)
            return results

        dataset = build(root, pipeline=[PIPELINE[0], forget, PIPELINE[-1]])
        with pytest.raises(ValueError, match='of sample t0 has no lidar2cam, .* Expected cam2img and lidar2cam of all'):
            dataset[0]


def test_other_image_transforms(root):
    """Resizing, padding and warping edit pixels alone."""
    transforms = [dict(type='ResizeSurroundImages', size=(37, 23)), dict(type='PadSurroundImages', size_divisor=16),
                  dict(type='RandomWarpSurroundImages', max_rotation=5.0)]
    packed = build(root, pipeline=[dict(type='LoadSurroundImages'), *transforms, PIPELINE[-1]])[0]
    assert packed['inputs']['img'].shape == (6, 3, 32, 48)
    assert not set(MATRICES) & set(packed['data_samples'].metainfo)
