import os
import shutil
import signal
import subprocess
import sys

import pytest
from mmengine.dist import get_rank

from scene_qformer.engine import lock_training, training_lock
from scene_qformer.engine.training_lock import LOCK, lock_folder, release_folder
from tests.processes import run_processes
from tests.small_training import make_runner, train_on, train_until

# By hand, as importing the package takes seconds.
TAKE = f"""
import fcntl, os, sys, time
file = os.open(sys.argv[1] + '/{LOCK}', os.O_RDWR | os.O_CREAT)
fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
"""
HOLD = TAKE + """
os.pwrite(file, f'process {os.getpid()} on node7'.encode(), 0)
if os.fork() == 0:  # as a worker of a data loader, which may outlive it by seconds
    time.sleep(60)
print('held', flush=True)
time.sleep(60)
"""


@pytest.fixture
def other(tmp_path):
    """A process that trains in tmp_path, with a child."""
    with subprocess.Popen([sys.executable, '-c', HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True,
                          start_new_session=True) as process:
        assert process.stdout.readline() == 'held\n'
        yield process
        os.killpg(process.pid, signal.SIGKILL)  # the child, too
        process.stdout.close()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(training_lock, 'PATIENCE', 0.)


def is_free(folder):
    """For another process."""
    done = subprocess.run([sys.executable, '-c', TAKE, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0 or 'BlockingIOError' in done.stderr, done.stderr
    return done.returncode == 0


def test_another_training_is_refused_until_it_is_killed(other, tmp_path, impatient):
    for take in (lambda: lock_training([tmp_path]), make_runner(tmp_path).train, lambda: train_on(tmp_path)):
        with pytest.raises(RuntimeError, match=rf'training \(process {other.pid} on node7\) writes into {tmp_path}'):
            take()
    assert not list(tmp_path.glob('*.pth'))
    other.send_signal(signal.SIGKILL)
    other.wait()
    train_on(tmp_path)  # although the child lives on


def test_it_waits_for_the_end_of_the_other(other, tmp_path, monkeypatch):
    monkeypatch.setattr(training_lock.time, 'sleep', lambda seconds: (other.kill(), other.wait()))
    lock_training([tmp_path])
    release_folder(tmp_path)


def lock_both(folder):
    training_lock.PATIENCE = 0.
    try:
        lock_training([folder])
    except RuntimeError as error:
        return get_rank(), str(error)


def test_all_processes_are_refused(other, tmp_path):
    first, second = run_processes(2, lock_both, str(tmp_path))
    assert (first[0], second[0]) == (0, 1) and first[1] == second[1] and f'process {other.pid} on' in first[1]


def test_a_training_lets_go_at_its_end(tmp_path):
    elsewhere = tmp_path / 'elsewhere'
    checkpoint = dict(interval=1, out_dir=str(elsewhere))
    train_until(tmp_path / 'work', 3, checkpoint=checkpoint)  # stopped by an error: this process may go on
    folders = [tmp_path / 'work', elsewhere / 'work']
    assert [is_free(folder) for folder in folders] == [False, False]
    assert (tmp_path / 'work' / LOCK).read_text().startswith(f'process {os.getpid()} on ')  # which loses the lock
    make_runner(tmp_path / 'work', checkpoint=checkpoint).train()
    assert [(folder / LOCK).read_text() for folder in folders] == ['', '']
    assert [is_free(folder) for folder in folders] == [True, True]


def test_a_lock_that_was_lost_is_taken_again(tmp_path):
    """By copying the folder, which closes the file; by removing it."""
    work, copies = tmp_path / 'work', iter('ab')
    lock_folder(work)
    for lose in (lambda: shutil.copytree(work, tmp_path / next(copies)), lambda: shutil.rmtree(work)):
        lose()
        lock_folder(work)
        assert not is_free(work)
    release_folder(work)


def test_a_training_stops_where_another_has_come(tmp_path):
    """As after somebody removed the lock of a training that he took for dead."""
    def come(path):
        (tmp_path / LOCK).unlink(missing_ok=True)
        process = subprocess.Popen([sys.executable, '-c', HOLD, str(tmp_path)], stdout=subprocess.PIPE,
                                   start_new_session=True)
        assert process.stdout.readline() == b'held\n'
        return process

    lock_folder(tmp_path)
    process = come(tmp_path)
    try:
        with pytest.raises(RuntimeError, match=f'process {process.pid} on'):
            lock_folder(tmp_path)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_a_forked_process_does_not_take_it_for_its_own(tmp_path):
    lock_folder(tmp_path)
    pid = os.fork()
    if pid == 0:
        try:
            lock_folder(tmp_path)
        except RuntimeError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert not is_free(tmp_path)
    release_folder(tmp_path)


def test_a_full_disk_takes_nothing_but_the_name(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, 'pwrite', full)
    lock_folder(tmp_path)
    assert not is_free(tmp_path) and (tmp_path / LOCK).stat().st_size == 0
    release_folder(tmp_path)
