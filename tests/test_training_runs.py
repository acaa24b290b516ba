"""Many trainings: what is finished stays, what changed is done anew, and one that fails stops no other."""
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock
from mmengine.config import Config

from scene_qformer.training_runs import TrainingRun, data_digest, differences, train_all

# Stands for tools/train.py: notes that it ran and leaves what mmengine does.
SCRIPT = '''
import json, os, pathlib, sys
config, _, work_dir = sys.argv[1:4]
lines = pathlib.Path(config).read_text()
with open(pathlib.Path(__file__).with_name('calls.txt'), 'a') as calls:
    calls.write(f'{pathlib.Path(work_dir).name} {os.environ["OMP_NUM_THREADS"]} {sys.argv[4:]}\\n')
if 'bad' in lines:
    sys.exit('the reason')
log = pathlib.Path(work_dir, '20260101_000000', 'vis_data')
log.mkdir(parents=True)
prefix = 'NuScenes metric/pred_instances_3d_NuScenes'
records = [dict(loss=3.0, step=1)]
if 'silent' not in lines:
    records += [{f'{prefix}/mAP': 0.1, f'{prefix}/NDS': 0.2, 'step': 1},
                {f'{prefix}/mAP': 0.25, f'{prefix}/NDS': 0.5, 'step': 2}]
(log / 'scalars.json').write_text('\\n'.join(map(json.dumps, records)) + '\\n')
'''


@pytest.fixture
def script(tmp_path):
    path = tmp_path / 'train.py'
    path.write_text(SCRIPT)
    return path


@pytest.fixture
def make_run(tmp_path):
    def make(name, seed=0, **settings):
        cfg = Config(dict(name=name, **settings))
        return TrainingRun(name, seed, cfg, dict(config=cfg.pretty_text, **settings), tmp_path / 'runs')
    return make


def calls(script):
    path = script.with_name('calls.txt')
    return path.read_text().splitlines() if path.is_file() else []


def test_what_another_process_trains_is_left_alone(script, make_run):
    run = make_run('a')
    run.folder.mkdir(parents=True)
    (run.folder / 'epoch_1.pth').write_text('of the other process')
    with FileLock(f'{run.folder}.lock'):
        failures = train_all([run, make_run('b')], script)
    assert list(failures) == [('a', 0)] and 'another process trains it now' in failures['a', 0]
    assert (run.folder / 'epoch_1.pth').is_file() and len(calls(script)) == 1
    assert train_all([run], script) == {} and run.result()


def test_trains_reports_and_does_nothing_twice(script, make_run):
    runs, lines = [make_run('a x b'), make_run('a x b', seed=3), make_run('c')], []
    assert train_all(runs, script, jobs=2, arguments=['--amp'], report=lines.append) == {}
    assert runs[0].result()['mAP'] == 0.25 and runs[0].result()['NDS'] == 0.5  # the last validation's
    assert len({run.folder for run in runs}) == 3 and runs[1].folder.name.startswith('a-x-b_seed3_')
    assert len(calls(script)) == 3 and all("['--amp']" in call for call in calls(script))
    assert lines[0] == '0 of 3 runs are finished already' and lines[-1].startswith('[3/3, ')
    assert 'mAP 0.2500, NDS 0.5000' in lines[-1]

    lines.clear()
    assert train_all(runs, script, report=lines.append) == {}
    assert lines == ['3 of 3 runs are finished already'] and len(calls(script)) == 3


def test_other_settings_make_another_run_and_the_old_result_stays(script, make_run):
    old, new, lines = make_run('a', budget='6 epochs'), make_run('a', budget='7 epochs'), []
    train_all([old], script)
    train_all([new], script, report=lines.append)
    assert len(calls(script)) == 2
    assert old.result() and new.result() and old.folder != new.folder
    told = '\n'.join(lines)
    assert f'is run anew, because its settings are not those of {old.folder.name}' in told
    assert 'budget: - 6 epochs' in told and 'budget: + 7 epochs' in told


def test_a_training_without_validation(script, make_run, tmp_path):
    run, lines = replace(make_run('a', kind='silent'), scored=False), []
    script.write_text(SCRIPT + "pathlib.Path(work_dir, 'last_checkpoint').write_text('/somewhere/epoch_3.pth')\n")
    assert train_all([run], script, report=lines.append) == {}
    assert run.result()['checkpoint'] == 'epoch_3.pth' and 'mAP' not in run.result() and 'mAP' not in lines[-1]


def test_a_broken_off_run_starts_over(script, make_run):
    run = make_run('a')
    run.folder.mkdir(parents=True)
    (run.folder / 'half').touch()
    train_all([run], script, report=print)
    assert run.result() and not (run.folder / 'half').exists()


def test_a_failure_is_told_and_repeated(script, make_run):
    runs, lines = [make_run('a', kind='bad'), make_run('b', kind='silent'), make_run('c')], []
    failures = train_all(runs, script, report=lines.append)
    assert set(failures) == {('a', 0), ('b', 0)}
    assert 'the reason' in failures['a', 0] and 'output.txt' in failures['a', 0]
    assert 'ended without a validation' in failures['b', 0]
    assert runs[2].result() and sum('FAILED' in line for line in lines) == 2
    train_all(runs, script)
    assert len(calls(script)) == 5


def test_runs_wait_for_those_that_they_come_after(script, make_run, tmp_path):
    """Those are run first, once, even if nobody names them; what they are is a setting too."""
    prepare = tmp_path / 'prepare.py'
    prepare.write_text('import pathlib, sys\npathlib.Path(sys.argv[1]).write_text("ready")\nprint("prepared")\n')
    first = make_run('first')
    note = first.folder / 'note.txt'  # only its finished training has made the folder
    second = replace(make_run('second'), after=(first, ), preparation=(str(prepare), str(note)))
    third = replace(make_run('third'), after=(first, second))
    lines = []
    assert train_all([third, second], script, jobs=2, report=lines.append) == {}
    assert [call.split('_')[0] for call in calls(script)] == ['first', 'second', 'third']
    assert note.read_text() == 'ready' and 'prepared' in (second.folder / 'output.txt').read_text()
    assert second.result()['preparation_seconds'] > 0 and 'preparation_seconds' not in first.result()
    assert lines[0] == '0 of 3 runs are finished already'

    other = replace(second, after=(make_run('first', budget='7 epochs'), ))
    assert other.folder != second.folder and other.all_settings['after first_seed0'] != first.folder.name
    lines.clear()
    train_all([other], script, report=lines.append)
    assert f'after first_seed0: - {first.folder.name}' in '\n'.join(lines)


def test_what_comes_after_a_failure_fails_and_says_so(script, make_run, tmp_path):
    bad = make_run('bad one', kind='bad')
    after = replace(make_run('after'), after=(bad, ))
    last, free = replace(make_run('last'), after=(after, )), make_run('free')
    failures = train_all([last, free], script)
    assert set(failures) == {('bad one', 0), ('after', 0), ('last', 0)} and free.result()
    assert failures['after', 0] == 'it comes after bad-one_seed0, which failed'
    assert len(calls(script)) == 2

    broken = tmp_path / 'broken.py'
    broken.write_text('raise OSError("no room")')
    prepared = replace(make_run('prepared'), preparation=(str(broken), ))
    assert 'no room' in train_all([prepared], script)['prepared', 0]
    assert len(calls(script)) == 2 and prepared.result() is None


def test_scores_of_other_metrics_and_of_old_files(script, make_run):
    script.write_text(SCRIPT.replace("{f'{prefix}/mAP': 0.25, f'{prefix}/NDS': 0.5, 'step': 2}",
                                     "{'driving_qa/accuracy': 0.375, 'driving_qa/accuracy_count': 0.25, 'step': 2}"))
    run, lines = make_run('a'), []
    train_all([run], script, report=lines.append)
    assert run.result()['scores'] == dict(accuracy=0.375, accuracy_count=0.25) and 'mAP' not in run.result()
    assert 'accuracy 0.3750, 0.0 minutes' in lines[-1]
    (run.folder / 'result.json').write_text(json.dumps(dict(seconds=3, threads=2, checkpoint=None, mAP=0.25, NDS=0.5)))
    assert run.result()['scores'] == dict(mAP=0.25, NDS=0.5)


def test_interrupting_leaves_no_process(tmp_path, make_run):
    script = tmp_path / 'train.py'
    script.write_text('import time, sys, pathlib\nif "quick" in pathlib.Path(sys.argv[1]).read_text(): sys.exit(1)\n'
                      'time.sleep(100)\n')

    def interrupt(line):
        if line.startswith('[1/'):
            raise KeyboardInterrupt
    slow, quick, third = make_run('slow'), make_run('quick'), make_run('third')
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        train_all([slow, quick, third], script, jobs=2, report=interrupt)
    assert time.monotonic() - start < 60
    assert slow.result() is None and third.result() is None


def test_differences():
    assert differences(dict(a='1\n2\n3', b='x'), dict(a='1\n4\n3', b='x', c='y')) == ['a: - 2', 'a: + 4', 'c: + y']


def test_data_digest_sees_labels_and_pixels(tmp_path):
    (tmp_path / 'samples/CAM_FRONT').mkdir(parents=True)
    (tmp_path / 'samples/CAM_FRONT/one.jpg').write_bytes(b'123')
    (tmp_path / 'infos.pkl').write_bytes(b'labels')
    first = data_digest(tmp_path, ['infos.pkl'])
    assert data_digest(tmp_path, ['infos.pkl', 'infos.pkl']) == first
    (tmp_path / 'samples/CAM_FRONT/one.jpg').write_bytes(b'1234')
    second = data_digest(tmp_path, ['infos.pkl'])
    (tmp_path / 'infos.pkl').write_bytes(b'others')
    assert len({first, second, data_digest(tmp_path, ['infos.pkl'])}) == 3


def test_settings_are_kept_as_text(script, make_run):
    run = make_run('a', precision='float32')
    train_all([run], script)
    kept = json.loads((run.folder / 'settings.json').read_text())
    assert kept == dict(run.settings) and Path(sys.executable).exists()
