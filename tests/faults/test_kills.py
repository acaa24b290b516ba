"""A training that is killed at any moment and resumed does, bit by bit, what the uninterrupted one does."""
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch

from scene_qformer.engine import load_from_safe_file
from tests.faults.killed_training import STEPS, Training, die_at, limit_file_size, write_config
from tests.small_encoder import make_small_encoder

slow = pytest.mark.slow  # all but one, which is to be run with every change
LOGS = 400_000  # bytes for them
REMEDY = 'Start the same command again with --resume.'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('kills')


@pytest.fixture(scope='module')
def encoder(folder):
    return make_small_encoder(folder)


@pytest.fixture(scope='module')
def config(encoder, folder):
    return write_config(encoder, folder, 'training')


@pytest.fixture(scope='module')
def whole(config, folder):
    """The training that is left alone."""
    training = Training(config, folder / 'whole')
    assert not training.run()
    assert [step['step'] for step in training.steps] == list(range(1, STEPS + 1))
    return training


@pytest.fixture(scope='module')
def config_of_two(encoder, folder):
    """Each step, both have a frame, of different numbers of boxes."""
    return write_config(encoder, folder, 'of_two', more="train_dataloader['batch_size'] = 1")


@pytest.fixture(scope='module')
def whole_of_two(config_of_two, folder):
    """The training of two processes that is left alone."""
    training = Training(config_of_two, folder / 'whole_of_two', world_size=2)
    assert not training.run()
    assert [step['step'] for step in training.steps] == 2 * list(range(1, STEPS + 1))
    frames = [step['frames'] for step in training.steps]
    assert all(one != other for one, other in zip(frames[:STEPS], frames[STEPS:]))
    return training


def same(one, other):
    """Whether two contents of checkpoints are equal bit by bit."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def assert_as_if_left_alone(training, whole):
    assert training.differences(whole) == []
    last, expected = (load_from_safe_file(str(run.work_dir / f'iter_{STEPS}.pth')) for run in (training, whole))
    for part in ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers'):
        assert same(last[part], expected[part]), part
    losses = last['message_hub']['log_scalars']['train/loss'].data[0]
    np.testing.assert_array_equal(losses, expected['message_hub']['log_scalars']['train/loss'].data[0])
    kept = sorted(path.name for path in training.work_dir.glob('*.pth'))
    assert kept == ['iter_10.pth', 'iter_12.pth']  # whatever a kill left of older ones is gone, too
    for name in kept:
        check = subprocess.run(['sha256sum', '-c', f'{name}.sha256'], cwd=training.work_dir, capture_output=True)
        assert check.returncode == 0
    assert not list(training.work_dir.glob('.*.partial'))


@pytest.mark.fault(area='Checkpoints', fault='a training is killed (SIGKILL) at random moments, three times',
                   expected='resumed, it does the same steps, bit by bit', remedy=REMEDY)
@pytest.mark.parametrize(('seed', 'workers'), [(0, 0), *(
    pytest.param(seed, workers, marks=slow) for seed in range(6) for workers in (0, 2) if (seed, workers) != (0, 0))])
def test_killed_at_random_moments(seed, workers, encoder, whole, folder, count):
    config = write_config(encoder, folder, f'random_{seed}_{workers}', workers)
    training = Training(config, folder / f'random_{seed}_{workers}')
    rng = np.random.default_rng([seed, workers])
    steps = sorted(rng.integers(0, STEPS - 1, size=3).tolist())  # the last one soon enough to be in time
    kills = sum(training.kill_after(step, seconds) for step, seconds in zip(steps, rng.uniform(0, 0.3, size=3)))
    count(kills=kills)
    assert not training.run()
    assert kills
    assert_as_if_left_alone(training, whole)


@slow
@pytest.mark.fault(area='Checkpoints', fault='a training is killed while it writes a checkpoint',
                   expected='resumed, it does the same steps, bit by bit', remedy=REMEDY)
@pytest.mark.parametrize(('function', 'call'), [
    ('open', 1), ('open', 4), ('write', 1), ('write', 2), ('write', 3), ('write', 7), ('fsync', 3), ('fsync', 9),
    ('replace', 1), ('replace', 4), ('replace', 5), ('replace', 6), ('replaced', 4), ('replaced', 5), ('replaced', 6),
])
def test_killed_while_writing(function, call, config, whole, folder, count):
    training = Training(config, folder / f'{function}_{call}')
    assert training.run(die_at, function, call), 'it was to be killed'
    count(kills=1)
    assert not training.run()
    assert_as_if_left_alone(training, whole)


@slow
@pytest.mark.fault(area='Checkpoints', fault='the disk takes no more (the kernel refuses to write) during a training',
                   expected='it stops, says so, and goes on from the last checkpoint',
                   remedy='Make room, or keep fewer checkpoints (default_hooks.checkpoint.max_keep_ckpts); then '
                   '--resume.')
@pytest.mark.parametrize('size', [300_000, 900_000, 1_250_000])
def test_full_disk(size, config, whole, folder, show):
    training = Training(config, folder / f'full_{size}')
    assert training.run(die_at, 'replaced', 6)  # two checkpoints are whole
    with pytest.raises(RuntimeError) as stopped:
        training.run(limit_file_size, size)
    message = next(line for line in str(stopped.value).splitlines() if 'could not be written' in line)
    show(re.sub(r'[\d,]*\d bytes', 'N bytes', message.replace(f'full_{size}', 'work_dir')))
    assert 'iter_6.pth could not be written (File too large)' in message and 'bytes are needed' in message
    assert (training.work_dir / 'last_checkpoint').read_text().endswith('iter_4.pth')
    assert {path.name for path in training.work_dir.iterdir() if 'iter_' in path.name} == {
        'iter_2.pth', 'iter_2.pth.sha256', 'iter_4.pth', 'iter_4.pth.sha256'}
    assert not training.run()
    assert_as_if_left_alone(training, whole)


@pytest.fixture
def small_disk(tmp_path):
    """Mounts a disk of a size in bytes, in memory; another size, once mounted, is its new one."""
    mounted = []

    def mount(size):
        done = subprocess.run(['mount', '-t', 'tmpfs', '-o', f'{"remount," * len(mounted)}size={size}', 'tmpfs',
                               str(tmp_path)], capture_output=True, text=True) if shutil.which('mount') else None
        if done is None or done.returncode:
            pytest.skip(f'a disk cannot be mounted here: {done.stderr.strip() if done else "there is no mount"}')
        mounted[:] = [True]
        return tmp_path

    yield mount
    if mounted:
        subprocess.run(['umount', '--lazy', str(tmp_path)], check=True)


@slow
@pytest.mark.fault(area='Checkpoints', fault='the disk is full (a small one, mounted by root) during a training',
                   expected='it stops, says so, and goes on from the last checkpoint',
                   remedy='Make room, or keep fewer checkpoints (default_hooks.checkpoint.max_keep_ckpts); then '
                   '--resume.')
@pytest.mark.parametrize('room', [2.1, 2.4, 2.7])
def test_really_full_disk(room, config, whole, small_disk, show):
    """Room for so many checkpoints, beside logs. Two are kept, and the third is written before the first goes."""
    one = (whole.work_dir / 'iter_10.pth').stat().st_size
    training = Training(config, small_disk(int(room * one) + LOGS) / 'train')
    with pytest.raises(RuntimeError) as stopped:
        training.run()
    message = next(line for line in str(stopped.value).splitlines() if 'could not be written' in line)
    show(re.sub(r'[\d,]*\d bytes', 'N bytes', message.replace('/train/', '/work_dir/')))
    assert 'iter_6.pth could not be written (No space left on device)' in message and 'bytes are needed' in message
    free = int(re.search(r'([\d,]+) bytes are free', message).group(1).replace(',', ''))
    assert 0 <= free < one
    assert (training.work_dir / 'last_checkpoint').read_text().endswith('iter_4.pth')
    assert {path.name for path in training.work_dir.iterdir() if 'iter_' in path.name} == {
        'iter_2.pth', 'iter_2.pth.sha256', 'iter_4.pth', 'iter_4.pth.sha256'}
    small_disk(4 * one + LOGS)
    assert not training.run()
    assert_as_if_left_alone(training, whole)


@slow
@pytest.mark.fault(area='Processes', fault='one of two processes is killed (SIGKILL) at a random moment, three times',
                   expected='the other stops; resumed, both do the same steps, bit by bit', remedy=REMEDY)
@pytest.mark.parametrize('seed', range(4))
def test_one_of_two_is_killed(seed, config_of_two, whole_of_two, folder, count):
    training = Training(config_of_two, folder / f'two_{seed}', world_size=2)
    rng = np.random.default_rng([seed, 2])
    steps = sorted(rng.integers(0, STEPS - 1, size=3).tolist())
    kills = sum(training.kill_after(step, seconds, rank) for step, seconds, rank in zip(
        steps, rng.uniform(0, 0.3, size=3), rng.integers(0, 2, size=3)))
    count(kills=kills)
    assert not training.run()
    assert kills
    assert_as_if_left_alone(training, whole_of_two)


@slow
@pytest.mark.fault(area='Checkpoints', fault='the newest checkpoint is damaged after a kill',
                   expected='said; the one before is used, with the same steps',
                   remedy='None is needed; the damaged file is kept as *.torn.')
@pytest.mark.parametrize('damage', ['cut', 'flipped', 'empty'])
def test_newest_is_torn(damage, config, whole, folder, show):
    training = Training(config, folder / f'torn_{damage}')
    assert training.run(die_at, 'replaced', 9)
    newest = training.work_dir / 'iter_6.pth'
    content = bytearray(newest.read_bytes())
    content[len(content) // 3] ^= 16
    newest.write_bytes(dict(cut=content[:-1000], flipped=content, empty=b'')[damage])
    assert not training.run()
    line = next(line for line in training.output.splitlines() if 'passed over' in line)
    show(line.split('WARNING - ')[1].split(': its SHA')[0].replace(f'torn_{damage}', 'work_dir'))
    assert (training.work_dir / 'iter_6.pth.torn').is_file() and 'resumed epoch: 1, iter: 4' in training.output
    assert_as_if_left_alone(training, whole)


@slow
@pytest.mark.parametrize('lacking', [
    "default_hooks['exact_resume'] = dict(_delete_=True, type='KeepsPositionAlone')",
    "default_hooks['exact_resume'] = dict(_delete_=True, type='SyncBuffersHook')\n"
    "train_dataloader['sampler'] = dict(type='DefaultSampler', shuffle=True)",
], ids=['seeds of steps', 'all'])
def test_the_proof_can_fail(lacking, encoder, folder, request):
    """Without its parts, a kill changes what follows."""
    name = request.node.callspec.id.replace(' ', '_')
    config = write_config(encoder, folder, f'without_{name}', more=lacking)
    alone, training = Training(config, folder / f'{name}_alone'), Training(config, folder / f'{name}_killed')
    assert not alone.run()
    assert training.run(die_at, 'replaced', 9)
    assert not training.run()
    assert training.differences(alone)
