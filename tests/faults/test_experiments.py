"""Experiments of several runs that cannot begin, break off, or find what others left."""
import json
import re
import subprocess
from dataclasses import replace

import pytest
from filelock import FileLock
from mmengine.config import Config

from scene_qformer.camera_loss import camera_names, choose_losses, scores_without, without_cameras
from scene_qformer.experiment import keep_other_results
from scene_qformer.marked_page import write_between
from scene_qformer.pipeline import Pipeline, StepFailed
from scene_qformer.training_runs import TrainingRun, train_all
from tests.small_encoder import BASE, make_small_encoder

AREA = 'Experiments'
# Stands for tools/train.py: fails, or leaves what mmengine does.
SCRIPT = '''
import json, pathlib, sys
settings = pathlib.Path(sys.argv[1]).read_text()
if 'bad' in settings:
    sys.exit('CUDA out of memory')
log = pathlib.Path(sys.argv[3], '20260101_000000', 'vis_data')
log.mkdir(parents=True)
record = dict(loss=3.0) if 'silent' in settings else {'metric/mAP': 0.25, 'metric/NDS': 0.5}
(log / 'scalars.json').write_text(json.dumps(record))
'''


@pytest.fixture
def script(tmp_path):
    (tmp_path / 'train.py').write_text(SCRIPT)
    return tmp_path / 'train.py'


@pytest.fixture
def make_run(tmp_path):
    def make(name, **settings):
        return TrainingRun(name, 0, Config(dict(name=name, **settings)), settings, tmp_path / 'runs')
    return make


def without_digests(text):
    """Folders are named by a digest of all settings, of those of later versions too."""
    return re.sub(r'(_seed\d)_[0-9a-f]{8}\b', r'\1_<digest>', text)


@pytest.mark.fault(area=AREA, fault='a training of an experiment fails', expected='said why; the others go on',
                   remedy='See the output that is named, correct the cause, and give the same command again: what is '
                          'finished is not done again.')
def test_a_training_fails(script, make_run, show):
    bad, silent, good = make_run('bad', kind='bad'), make_run('silent', kind='silent'), make_run('good')
    later = replace(make_run('later'), after=(bad, ))
    failures = train_all([bad, later, silent, good], script, report=lambda line: None)
    assert set(failures) == {('bad', 0), ('later', 0), ('silent', 0)} and good.result()
    assert 'CUDA out of memory' in failures['bad', 0] and 'ended without a validation' in failures['silent', 0]
    for reason in failures.values():
        show(without_digests(reason))


@pytest.mark.fault(area=AREA, fault='a training of an experiment runs already, in another process',
                   expected='left alone; the others go on',
                   remedy='Wait until that has ended, then give the same command again; or let this one work in '
                          'another folder.')
def test_another_process(script, make_run, show):
    run = make_run('a')
    run.folder.mkdir(parents=True)
    (run.folder / 'epoch_1.pth').write_text('of the other process')
    with FileLock(f'{run.folder}.lock'):
        failures = train_all([run], script, report=lambda line: None)
    show(without_digests(failures['a', 0]))
    assert (run.folder / 'epoch_1.pth').is_file() and run.result() is None


@pytest.mark.fault(area=AREA, fault='an experiment is repeated with other settings',
                   expected='said what differs; the old results stay',
                   remedy='None is needed. To use the old results, give the old settings.')
def test_other_settings(script, make_run, show):
    old, lines = make_run('a', budget='6 epochs'), []
    train_all([old], script, report=lines.append)
    assert not [line for line in lines if 'anew' in line]
    train_all([make_run('a', budget='7 epochs')], script, report=lines.append)
    place = next(number for number, line in enumerate(lines) if 'is run anew' in line)
    show(without_digests('\n'.join(lines[place:place + 3])))
    assert old.result()


DAMAGES = b'{"mAP": 0.', b'', b'null', b'[]', b'\xff', b'[' * 10 ** 5, 'a folder', 'nothing'


def damage_file(path, damage):
    path.unlink()
    if damage == 'a folder':
        path.mkdir()
    elif damage != 'nothing':
        path.write_bytes(damage)


@pytest.mark.fault(area=AREA, fault='what a finished training left is damaged', expected='said which file',
                   remedy='Move the folder aside as the message says; its training begins anew.')
@pytest.mark.parametrize('damage', DAMAGES, ids=lambda damage: f'{damage}'[:12])
def test_damaged_results(script, make_run, tmp_path, show, damage):
    run = make_run('a', budget='6 epochs')
    train_all([run], script, report=lambda line: None)
    (run.folder / 'precious').touch()
    damage_file(run.folder / 'result.json', damage)
    if damage == 'nothing':  # it was not finished, then
        assert train_all([run], script, report=lambda line: None) == {} and run.result()
        return
    with pytest.raises(ValueError, match='(?s)result.json is missing or damaged .* Move .* aside.* mv ') as caught:
        train_all([run], script, report=lambda line: None)
    assert (run.folder / 'precious').exists()
    if damage in (b'{"mAP": 0.', b'null'):
        show(without_digests(str(caught.value)))
    subprocess.run(str(caught.value).splitlines()[-1], shell=True, check=True)
    assert train_all([run], script, report=lambda line: None) == {} and run.result()
    assert len(list(tmp_path.glob('runs/*/precious'))) == 1


@pytest.mark.fault(area=AREA, fault='the settings of an older training are damaged',
                   expected='said; the new one begins',
                   remedy='None is needed: what differs from that training cannot be told.')
@pytest.mark.parametrize('damage', [*DAMAGES, b'{"budget": 6}'], ids=lambda damage: f'{damage}'[:14])
def test_damaged_settings(script, make_run, show, damage):
    old, new, lines = make_run('a', budget='6 epochs'), make_run('a', budget='7 epochs'), []
    train_all([old], script, report=lambda line: None)
    damage_file(old.folder / 'settings.json', damage)
    assert train_all([new], script, report=lines.append) == {}
    assert old.result() and new.result()
    place = next(number for number, line in enumerate(lines) if 'is run anew' in line)
    told = f'{lines[place]}\n{lines[place + 1]}'
    assert ('settings unreadable: ' in told) == (damage != b'{"budget": 6}')
    if damage in ('nothing', b'null'):
        show(without_digests(told))


@pytest.mark.fault(area=AREA, fault='no training at a time', expected='refused', remedy='Give --jobs of 1 or more.')
@pytest.mark.parametrize('jobs', [0, -1])
def test_no_jobs(script, make_run, show, jobs):
    with pytest.raises(ValueError, match=f'Expected at least one training at a time, got {jobs}') as caught:
        train_all([make_run('a')], script, jobs=jobs)
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='a step of the demo fails',
                   expected='its last lines are shown, and which step it was',
                   remedy='Correct what the lines above say, and give the same command again.')
def test_a_step_fails(tmp_path, show, capfd):
    (tmp_path / 'step.py').write_text('print("the reason")\nraise SystemExit(3)')
    with pytest.raises(StepFailed, match='step 1 of 7') as caught:
        Pipeline(7).run('train the detector', [str(tmp_path / 'step.py')], digest=lambda line: None)
    assert 'the reason' in capfd.readouterr().out
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='a page that a table is to be written into has no place for it',
                   expected='refused; the page stays as it is', remedy='Write both marks into the page.')
@pytest.mark.parametrize('text', ['', '# Page', '<!-- table --> alone', '<!-- end --> before <!-- table -->'])
def test_no_marks(tmp_path, show, text):
    page = tmp_path / 'page.md'
    page.write_text(text)
    with pytest.raises(ValueError, match='page.md lacks the marks') as caught:
        write_between(page, '<!-- table -->', '<!-- end -->', '| a | b |')
    assert page.read_text() == text
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='a folder of results holds those of other settings, or a damaged note of them',
                   expected='moved aside, and said where', remedy='None is needed.')
@pytest.mark.parametrize(('damage', 'said'), [
    (None, 'results of other settings'), (b'', 'as settings.json is damaged'), (b'{"epochs": ', 'is damaged'),
    (b'null', 'as settings.json holds no settings'), ('a folder', 'is damaged')], ids=repr)
def test_other_results(tmp_path, show, capsys, damage, said):
    out = tmp_path / 'demo'
    keep_other_results(out, dict(epochs=3))
    (out / 'results.md').write_text('precious')
    if damage is not None:
        damage_file(out / 'settings.json', damage)
    keep_other_results(out, dict(epochs=5))
    aside, = tmp_path.glob('demo_until_*')
    assert (aside / 'results.md').read_text() == 'precious'
    assert [path.name for path in out.iterdir()] == ['settings.json']
    assert json.loads((out / 'settings.json').read_text()) == dict(epochs=5)
    told = capsys.readouterr().out
    assert said in told and ('other settings' in told) == (damage is None)
    if damage != 'a folder':
        show(re.sub(r'until_\d{8}_\d{6}', 'until_DATE_TIME', told))


@pytest.mark.fault(area=AREA, fault='less than one set of cameras to be lost', expected='refused',
                   remedy='Correct --subsets of tools/analysis/lose_cameras.py.')
@pytest.mark.parametrize('number', [0, -1])
def test_no_subsets(show, number):
    with pytest.raises(ValueError, match='Expected at least one subset of cameras for each number') as caught:
        choose_losses(('CAM_FRONT', 'CAM_BACK'), number)
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='a config from which no camera can be taken away', expected='said why',
                   remedy='Let test_dataloader.dataset have cam_names, and its pipeline end with PackSceneInputs.')
@pytest.mark.parametrize('case', ['another packing', 'no pipeline', 'no cameras'])
def test_no_cameras(show, case):
    cfg = Config.fromfile(str(BASE))
    dataset = cfg.test_dataloader.dataset
    if case == 'no cameras':
        dataset.cam_names = []
    elif case == 'no pipeline':
        dataset.pipeline = []
    else:
        dataset.pipeline[-1] = dict(type='Pack3DDetInputs', keys=['img'])
    with pytest.raises(ValueError, match='Expected a test pipeline that ends with|Expected cam_names in the') as caught:
        without_cameras(cfg, camera_names(cfg)[:1])
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='cameras are lost under another metric than the official one', expected='refused',
                   remedy='Give a config whose test_evaluator is the official nuScenes metric.')
def test_another_metric(tmp_path, show):
    encoder = make_small_encoder(tmp_path)
    cfg = encoder.cfg
    cfg.test_evaluator = dict(type='mmengine.DumpResults', out_file_path=str(tmp_path / 'results.pkl'))
    cfg.test_dataloader.num_workers, cfg.test_dataloader.persistent_workers = 0, False
    with pytest.raises(ValueError, match='test_evaluator gives no NDS and no mAP: .*, got nothing') as caught:
        scores_without(cfg, encoder.checkpoint, ['CAM_BACK'], tmp_path / 'work_dir')
    show(caught.value)
