"""Frames with scene tokens from a cache instead of images."""
from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from mmdet3d.registry import DATASETS, TRANSFORMS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader

from scene_qformer.token_cache import Provenance, StaleTokenCacheError, TokenCacheWriter
from tests.small_encoder import SmallEncoder, make_small_encoder, save_weights

CONFIGS = Path(__file__).parents[2] / 'configs/scene_language'


@pytest.fixture(scope='module')
def encoder(tmp_path_factory) -> SmallEncoder:
    return make_small_encoder(tmp_path_factory.mktemp('encoder'))


@pytest.fixture
def cache(encoder, tmp_path) -> Path:
    """Tokens of the three validation frames: (5, 7) of the numbers 0, 1 and 2."""
    dataset = build(encoder, [])
    provenance = Provenance.of(encoder.cfg, encoder.checkpoint, 'queries', 'float16')
    with TokenCacheWriter(tmp_path / 'cache', provenance) as writer:
        writer.begin('val', dataset.ann_file, len(dataset))
        for index in range(len(dataset)):
            writer.add(dataset.get_data_info(index)['token'], torch.full((5, 7), float(index)))
    return tmp_path / 'cache'


def build(encoder: SmallEncoder, pipeline: list, root: Path | None = None):
    config = encoder.cfg.test_dataloader.dataset
    return DATASETS.build({**config, 'pipeline': pipeline, 'data_root': str(root or encoder.root)})


def test_frames_come_without_their_images(encoder, cache, tmp_path):
    """The data root here holds the info files alone."""
    (tmp_path / 'root').mkdir()
    shutil.copy(encoder.root / 'nuscenes_infos_val.pkl', tmp_path / 'root')
    dataset = build(encoder, [dict(type='LoadSceneTokens', cache=str(cache)), dict(type='PackSceneTokens')],
                    tmp_path / 'root')
    frame = dataset[2]
    assert frame['inputs'].keys() == {'scene_queries'}
    torch.testing.assert_close(frame['inputs']['scene_queries'], torch.full((5, 7), 2, dtype=torch.float16))
    assert frame['data_samples'].metainfo['sample_token'] == dataset.get_data_info(2)['token']
    assert len(frame['data_samples'].metainfo['cam_names']) == 6
    batches = list(DataLoader(dataset, 3, num_workers=1, collate_fn=pseudo_collate))
    assert [int(query[0, 0]) for query in batches[0]['inputs']['scene_queries']] == [0, 1, 2]


def test_questions_ride_along():
    text = [dict(id='a', type='count', turns=[('How many cars?', '3')])]
    packed = TRANSFORMS.build(dict(type='PackSceneTokens'))(
        dict(token='t', gt_text=text, scene_queries=torch.zeros(5, 7), images={}))
    assert packed['data_samples'].gt_text == text and packed['inputs']['scene_queries'].shape == (5, 7)


def test_a_blind_pipeline_has_no_inputs(encoder):
    frame = build(encoder, [dict(type='PackSceneTokens')])[0]
    assert frame['inputs'] == {} and 'sample_token' in frame['data_samples'].metainfo


def test_a_stale_cache_is_refused(encoder, cache, tmp_path):
    def load(**options):
        return TRANSFORMS.build(dict(type='LoadSceneTokens', cache=str(cache), **options))

    assert 'queries' in repr(load(config=str(encoder.config), checkpoint=str(encoder.checkpoint)))
    other = save_weights(encoder.config, tmp_path / 'other.pth', seed=5)
    with pytest.raises(StaleTokenCacheError, match='is stale.*\n  weights: of .*encoder.pth there, of .*other.pth'):
        load(checkpoint=str(other))
    changed = tmp_path / 'changed.py'
    changed.write_text(f"_base_ = '{encoder.config}'\nmodel = dict(scene_queries=dict(num_queries=11))\n")
    with pytest.raises(StaleTokenCacheError, match='is stale.*\n  model.scene_queries.num_queries: 13 there, 11 here'):
        load(config=str(changed))
    with pytest.raises(ValueError, match=r'holds queries \(5, 7\), but tokens are wanted'):
        load(space='tokens')


def test_the_data_set_tells_whose_tokens_it_reads(encoder, cache, tmp_path):
    pipeline = [dict(type='LoadSceneTokens', cache=str(cache))]
    provenance = Provenance.of(encoder.cfg, encoder.checkpoint, 'queries', 'float16')
    assert build(encoder, pipeline).metainfo['scene_tokens'] == dict(space='queries',
                                                                     weights_sha256=provenance.weights_sha256)
    assert 'scene_tokens' not in build(encoder, []).metainfo
    (tmp_path / 'root').mkdir()
    shutil.copy(encoder.root / 'nuscenes_infos_train.pkl', tmp_path / 'root/nuscenes_infos_val.pkl')
    with pytest.raises(StaleTokenCacheError, match='is not of the frames in .*root/nuscenes_infos_val.pkl, but of val'):
        build(encoder, pipeline, tmp_path / 'root')


def shipped_loader(name: str) -> dict:
    return Config.fromfile(str(CONFIGS / f'{name}.py')).train_dataloader.dataset.pipeline[0]


def write_cache(monkeypatch, folder: Path, config: Path, checkpoint: Path) -> None:
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(state_dict={'decoder.w': torch.arange(3.)}), checkpoint)
    cfg = Config.fromfile(str(config))
    with TokenCacheWriter(folder, Provenance.of(cfg, checkpoint, 'queries', 'float32')):
        pass
    monkeypatch.setenv('SCENE_TOKENS', str(folder))


@pytest.mark.parametrize(('reader', 'encoder_config'), [
    ('scene-language_tiny-tokens_synthetic', '../scene_qformer/scene-qformer_tiny_synthetic.py'),
    ('scene-language_r50_lora-tokens_8xb2-6e_nus-qa', 'scene-language_r50_stage1_8xb2-6e_nus-qa-336.py')])
def test_shipped_configs_notice_an_encoder_that_was_trained_anew(reader, encoder_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the recipes' work_dirs are here
    checkpoint = Path('work_dirs/scene-language_r50_stage1_8xb2-6e_nus-qa-336/epoch_6.pth')
    write_cache(monkeypatch, tmp_path / 'tokens', CONFIGS / encoder_config, checkpoint)
    TRANSFORMS.build(shipped_loader(reader))
    torch.save(dict(state_dict={'decoder.w': torch.arange(3.) + 1}), checkpoint)
    with pytest.raises(StaleTokenCacheError, match='is stale.*\n  weights: of .*epoch_6.pth there, of .*epoch_6.pth'):
        TRANSFORMS.build(shipped_loader(reader))


def test_the_recipe_that_goes_on_with_a_projector_wants_its_encoder(tmp_path, monkeypatch):
    """Not merely a cache that is current."""
    monkeypatch.chdir(tmp_path)
    config = CONFIGS / 'scene-language_r50_q64_stage1_8xb2-6e_nus-qa-336.py'
    write_cache(monkeypatch, tmp_path / 'tokens', config,
                Path('work_dirs/scene-language_r50_stage1_8xb2-6e_nus-qa-336/epoch_6.pth'))
    with pytest.raises(StaleTokenCacheError, match='is stale.*\n  model.scene_queries.num_queries: 64 there, 512 here'):
        TRANSFORMS.build(shipped_loader('scene-language_r50_lora-tokens_8xb2-6e_nus-qa'))


def test_a_frame_that_is_not_in_the_cache(encoder, cache):
    transform = TRANSFORMS.build(dict(type='LoadSceneTokens', cache=str(cache)))
    with pytest.raises(LookupError, match='holds 3 samples, of val .3 frames., but not sample elsewhere'):
        transform(dict(token='elsewhere'))
