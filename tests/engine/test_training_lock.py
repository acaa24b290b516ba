import os
import signal
import subprocess
import sys

import pytest

from scene_qformer.engine.training_lock import LOCK, lock_folder, release_folder
from tests.small_training import make_runner, train_on, train_until

HOLD = """
import os, sys, time
from scene_qformer.engine.training_lock import lock_folder
lock_folder(sys.argv[1])
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


def test_another_training_is_refused_until_it_is_killed(other, tmp_path):
    with pytest.raises(RuntimeError, match=rf'Another training \(process {other.pid} on .*\) writes into {tmp_path}'):
        lock_folder(tmp_path)
    other.send_signal(signal.SIGKILL)
    other.wait()
    lock_folder(tmp_path)  # although the child lives on
    release_folder(tmp_path)


def test_a_training_lets_go_at_its_end(tmp_path):
    take = [sys.executable, '-c', HOLD.partition('if os.fork')[0], str(tmp_path)]
    train_until(tmp_path, 3)  # stopped by an error: this process may go on
    assert subprocess.run(take, capture_output=True).returncode == 1
    train_on(tmp_path)
    assert subprocess.run(take, capture_output=True).returncode == 0
    assert 'process' in (tmp_path / LOCK).read_text()


def test_nothing_else_is_touched(tmp_path):
    release_folder(tmp_path)
    lock_folder(tmp_path / 'not there')
    make_runner(tmp_path / 'a').train()
    lock_folder(tmp_path / 'a')
    release_folder(tmp_path / 'a')
    assert [path.name for path in tmp_path.iterdir()] == ['a']
