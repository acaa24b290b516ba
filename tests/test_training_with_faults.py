"""A training and a test of the embedded design, with camera dropout and a broken file, through mmengine's own loops."""
import json
import pickle

import pytest
from mmengine.runner import Runner

from tests.small_encoder import make_small_encoder


@pytest.mark.parametrize('policy', ['skip', 'mask'])
def test_goes_on_and_tells(tmp_path, policy):
    encoder = make_small_encoder(tmp_path)
    for split, number in (('train', 4), ('val', 1)):
        info = pickle.loads((encoder.root / f'nuscenes_infos_{split}.pkl').read_bytes())['data_list'][number]
        path = encoder.root / 'samples/CAM_FRONT' / info['images']['CAM_FRONT']['img_path']
        path.write_bytes(path.read_bytes()[:900])
    cfg = encoder.cfg
    pipeline = cfg.train_dataloader.dataset.pipeline
    pipeline[:2] = cfg.test_dataloader.dataset.pipeline[:2]
    pipeline.insert(-1, dict(type='RandomDropCameras', max_dropped=5, prob=0.7))
    cfg.train_dataloader.dataset.on_fault = policy
    cfg.test_dataloader.dataset.on_fault = 'mask'
    cfg.train_cfg.update(max_epochs=2, val_interval=9)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.test_evaluator.update(data_root=str(encoder.root), ann_file=f'{encoder.root}/nuscenes_infos_val.pkl')
    cfg.default_hooks.logger.interval = 1
    cfg.work_dir, cfg.experiment_name = str(tmp_path / 'out'), f'faults_{policy}'
    runner = Runner.from_cfg(cfg)
    runner.train()
    runner.test()

    log = next((tmp_path / 'out').glob('*/*.log')).read_text()
    said = dict(skip='1 samples were skipped', mask='1 cameras were masked')[policy]
    assert [f'Training, epoch {epoch}: {said}, in 6 samples' in log for epoch in (1, 2)] == [True, True]
    assert 'Test: 1 cameras were masked, in 3 samples. One: Camera CAM_FRONT of sample scene-0103-sample-1' in log
    assert 'is truncated: 900 bytes without an end marker' in log
    lines = next((tmp_path / 'out').glob('*/vis_data/scalars.json')).read_text().splitlines()
    assert len([line for line in lines if 'loss_heatmap' in json.loads(line)]) == 6
