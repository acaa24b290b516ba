"""What the package says in an environment of one's own that lacks what it needs."""
import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / 'projects' / 'scene_qformer'


def import_after(*lines):
    done = subprocess.run([sys.executable, '-c', '\n'.join(('import sys, types', *lines, 'import scene_qformer'))],
                          capture_output=True, text=True)
    assert done.returncode == 1
    return done.stderr


def test_says_that_mmdet3d_is_missing():
    said = import_after('sys.modules["mmdet3d"] = None')
    assert "is a plugin for MMDetection3D 1.4, which cannot be imported here: no module 'mmdet3d'. Install it" in said


@pytest.mark.parametrize('version', ['2.3.1+cu121', '1.13.1'])
def test_says_that_torch_is_too_old(version):
    """The message comes before any of the package is imported, which might fail in another way."""
    said = import_after('sys.modules["mmdet3d"] = types.ModuleType("mmdet3d")',
                        f'sys.modules["torch"] = types.SimpleNamespace(__version__="{version}")')
    assert f'ImportError: scene_qformer needs PyTorch 2.4 or newer, but here is {version}. Update it' in said
    assert 'make setup' in said


def test_operators_state_their_schemas():
    """PyTorch 2.4 infers none from the annotations of a file that imports ``annotations``."""
    calls = [node for path in (PACKAGE / 'ops').glob('*.py') for node in ast.walk(ast.parse(path.read_text()))
             if isinstance(node, ast.Call) and ast.unparse(node.func).endswith('custom_op')]
    assert len(calls) == 4
    for call in calls:
        assert 'schema' in {keyword.arg for keyword in call.keywords}, ast.unparse(call)
