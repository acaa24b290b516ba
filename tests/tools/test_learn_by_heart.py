import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from tools.analysis import learn_by_heart

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_four_frames_are_learned_by_heart(tmp_path):
    """At least 0.8 of what perfect predictions score on the same frames."""
    done = subprocess.run([sys.executable, 'tools/analysis/learn_by_heart.py', '--data', str(tmp_path / 'data'),
                           '--work-dir', str(tmp_path / 'work')], cwd=ROOT, env=dict(os.environ), text=True,
                          capture_output=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    result = json.loads((tmp_path / 'work' / 'result.json').read_text())
    assert result['frames'] == 4 and result['mAP'] >= 0.8 * result['ceiling'] > 0


def cut_and_learn(root, work_dir, *arguments):
    """Two steps on two frames, without any demand on the result."""
    return subprocess.run(
        [sys.executable, 'tools/analysis/learn_by_heart.py', 'configs/scene_qformer/scene-qformer_r18_real-scene.py',
         '--cut', '--frames', '2', '--batch-size', '1', '--steps', '2', '--wanted', '0', '--work-dir', str(work_dir),
         *arguments], cwd=ROOT, text=True, capture_output=True, stdin=subprocess.DEVNULL,
        env={**os.environ, 'NUSCENES_ROOT': str(root), 'OMP_NUM_THREADS': '1'})


@pytest.mark.parametrize(('root', 'first', 'least_ceiling'), [
    ('synthetic_root', 0, 0.1), ('real_nuscenes_root', 7, 0.5)], ids=['synthetic', 'real'])
def test_frames_are_cut_trained_on_and_drawn(root, first, least_ceiling, request, tmp_path):
    """The ceiling is that of these frames."""
    root = request.getfixturevalue(root)
    done = cut_and_learn(root, tmp_path, '--first-frame', str(first))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    result = json.loads((tmp_path / 'result.json').read_text())
    assert result['frames'] == 2 and result['batch_size'] == 1 and least_ceiling < result['ceiling'] <= 1
    assert result['seconds_a_sample'] > 0
    assert len(list((tmp_path / 'frames').glob('*.jpg'))) == 2
    assert (done.stdout + done.stderr).count('NuScenes metric/pred_instances_3d_NuScenes/mAP:') == 1  # validated once

    note = json.loads((tmp_path / 'data' / 'learn_by_heart.json').read_text())
    assert note == dict(root=str(root.resolve()), scene=None, first_frame=first, frames=2)


@pytest.fixture
def noted(tmp_path):
    """Arguments of a run whose frames are there, and its config."""
    args = argparse.Namespace(data=tmp_path, cut=True, scene='scene-0103', first_frame=5, frames=3)
    cfg = Config(dict(val_dataloader=dict(dataset=dict(data_root=str(tmp_path / 'root')))))
    (tmp_path / learn_by_heart.NOTE).write_text(json.dumps(learn_by_heart.wanted_frames(cfg, args)))
    return args, cfg


def test_the_wanted_frames_are_read_again(noted):
    args, cfg = noted
    learn_by_heart.write_frames(cfg, args)  # the root is not there: it would fail if it looked
    with pytest.raises(FileNotFoundError, match='is no nuScenes root'):
        (args.data / learn_by_heart.NOTE).unlink()
        learn_by_heart.write_frames(cfg, args)


@pytest.mark.parametrize('changed', [
    dict(scene='scene-0916'), dict(scene=None), dict(first_frame=4), dict(frames=2), dict(cut=False)], ids=str)
def test_other_frames_are_refused(noted, changed):
    args, cfg = noted
    vars(args).update(changed)
    with pytest.raises(ValueError, match='holds other frames than are wanted now(.|\n)*give another --data'):
        learn_by_heart.write_frames(cfg, args)


def test_another_root_is_refused(noted):
    args, cfg = noted
    cfg.val_dataloader.dataset.data_root += '_2'
    with pytest.raises(ValueError, match='wanted: .*root_2'):
        learn_by_heart.write_frames(cfg, args)


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--scene', 'scene-0061'], 'No scene scene-0061 in the validation split of v1.0-mini'),
    (['--frames', '3'], 'has 2 frames: there are no 3 from index 0 on')])
def test_frames_that_are_not_there_end_the_tool(arguments, message, synthetic_root, tmp_path, monkeypatch):
    monkeypatch.setenv('SYNTHETIC_NUSCENES_ROOT', str(synthetic_root))
    monkeypatch.setattr(sys, 'argv', ['learn_by_heart.py', '--cut', '--frames', '2', '--work-dir', str(tmp_path),
                                      *arguments])
    with pytest.raises(SystemExit, match=message):
        learn_by_heart.main()
