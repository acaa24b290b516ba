"""What processes compare is the same wherever it means the same. How they stop: tests/faults/test_processes.py."""
import functools
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from scene_qformer.engine.process_settings import settings_of

ROOT = Path(__file__).parents[2]


def chosen(module):
    return False


class Part:
    """Without a ``repr`` of its own."""

    def called(self):
        return None


def values():
    """Of a config that is written in Python, made anew; `local` differs by its address."""
    def local(module):
        return True

    return dict(policy=local, part=Part(), method=Part().called, bound=functools.partial(local, module=Part()),
                names={'car', 'bus', 'cone', 'van'}, hooks=[dict(type=Part, when=local), (local, )])


def test_objects_are_the_same_in_every_process():
    """Another process has other addresses, and another order of sets."""
    code = ('import json\nfrom mmengine.config import Config\nfrom scene_qformer.engine.process_settings import '
            f'settings_of\nfrom {__name__} import values\nprint(json.dumps(settings_of(Config(values()))))')
    path = ':'.join(map(str, (ROOT / 'projects', ROOT, Path(__file__).parent)))
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, cwd=ROOT,
                          env={**os.environ, 'PYTHONHASHSEED': '3', 'PYTHONPATH': path})
    here = settings_of(Config(values()))
    assert json.loads(done.stdout.splitlines()[-1]) == here
    assert '0x' not in str(here) and here['names'] == "{'bus', 'car', 'cone', 'van'}"


def test_other_objects_differ():
    policies = chosen, values, Part, len, None, 'chosen'
    kept = [settings_of(Config(dict(policy=policy)))['policy'] for policy in policies]
    assert len(set(kept)) == len(kept) and kept[0] == f'{__name__}.chosen'
    assert settings_of(Config(dict(size=[1, 2.5, 'a'])))['size'] == "[1, 2.5, 'a']"
    assert settings_of(Config(dict(model=dict(depth=3))))['model.depth'] == '3'


@pytest.mark.parametrize(('version', 'same'), [(('3', '11', '2'), True), (('3', '11', '14'), True),
                                               (('3', '12', '2'), False)])
def test_versions(version, same, monkeypatch):
    """Patches of Python may differ, its minor version and PyTorch not."""
    monkeypatch.setattr(platform, 'python_version_tuple', lambda: ('3', '11', '9'))
    wanted = settings_of(Config({}))
    assert wanted['the version of PyTorch'] == torch.__version__
    monkeypatch.setattr(platform, 'python_version_tuple', lambda: version)
    monkeypatch.setattr(platform, 'python_version', lambda: '.'.join(version))
    assert (settings_of(Config({})) == wanted) == same
