"""Imports run one way. The rules stand in the table; a file that breaks one is named with its line."""
import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / 'projects' / 'scene_qformer'
ALL_PARTS = sorted(path.stem for path in PACKAGE.iterdir() if path.suffix == '.py' or (path / '__init__.py').is_file())
DEVKIT_USERS = ('datasets', 'synthetic', 'evaluation')


def imports_of(path: Path) -> list[tuple[int, str]]:
    """(line, module) of every import, relative ones as ``scene_qformer.<...>``."""
    found = []
    parts = path.relative_to(PACKAGE).with_suffix('').parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = ('scene_qformer', *parts[:len(parts) - node.level])
                module = '.'.join((*base, node.module)) if node.module else '.'.join(base)
                found += [(node.lineno, module)] + [(node.lineno, f'{module}.{alias.name}') for alias in node.names]
            else:
                found.append((node.lineno, node.module or ''))
    return found


def files_in(part: str) -> list[Path]:
    path = PACKAGE / part
    return sorted(path.rglob('*.py')) if path.is_dir() else [path.with_suffix('.py')]


def offenders(part: str, forbidden) -> list[str]:
    return [f'{path.relative_to(PACKAGE)}:{line} imports {module}' for path in files_in(part)
            for line, module in imports_of(path) if forbidden(module)]


def inside(module: str, part: str) -> bool:
    return module == f'scene_qformer.{part}' or module.startswith(f'scene_qformer.{part}.')


@pytest.mark.parametrize('part', [part for part in ('geometry', 'ops') if part in ALL_PARTS])
def test_geometry_and_ops_know_only_torch_and_numpy(part):
    allowed = ('__future__', 'torch', 'numpy', 'math', 'typing', 'collections', 'dataclasses', 'triton', 'functools',
               'warnings')
    bad = offenders(part, lambda module: module.split('.')[0] not in allowed and not inside(module, part)
                    and not inside(module, 'geometry'))
    assert not bad, bad


@pytest.mark.parametrize(('part', 'others'), [
    ('models', ('datasets', 'synthetic', 'evaluation', 'visualization', 'apis', 'optimization', 'benchmark')),
    ('datasets', ('models', 'synthetic', 'evaluation', 'visualization', 'apis', 'engine', 'optimization', 'benchmark')),
    ('synthetic', ('models', 'evaluation', 'visualization', 'apis', 'engine', 'optimization', 'benchmark')),
    ('engine', ('models', 'datasets', 'synthetic', 'visualization', 'apis', 'optimization', 'benchmark')),
    ('visualization', ('models', 'synthetic', 'optimization', 'benchmark')),
    ('optimization', ('datasets', 'synthetic', 'evaluation', 'visualization', 'apis', 'benchmark')),
])
def test_parts_do_not_reach_across(part, others):
    bad = offenders(part, lambda module: any(inside(module, other) for other in others))
    assert not bad, bad


def test_only_the_language_models_need_transformers():
    bad = [line for part in ALL_PARTS for line in offenders(
        part, lambda module: module.split('.')[0] in ('transformers', 'peft'))
           if not line.startswith('models/language/')]
    assert not bad, bad


def test_the_language_side_does_not_know_the_wiring():
    """The detector imports it, so the other way round would be a cycle."""
    bad = offenders('models/language', lambda module: inside(module, 'models')
                    and not inside(module, 'models.language'))
    assert not bad, bad


def test_only_the_data_side_needs_the_devkit():
    bad = [line for part in ALL_PARTS if part not in DEVKIT_USERS
           for line in offenders(part, lambda module: module.split('.')[0] == 'nuscenes')]
    assert not bad, bad


def test_imports_inside_the_package_are_relative():
    """So that it also works dropped into an mmdet3d checkout as ``projects.scene_qformer``."""
    bad = [f'{path.relative_to(PACKAGE)}:{node.lineno}' for path in PACKAGE.rglob('*.py')
           for node in ast.walk(ast.parse(path.read_text()))
           if (isinstance(node, ast.ImportFrom) and not node.level and (node.module or '').startswith('scene_qformer'))
           or (isinstance(node, ast.Import) and any(alias.name.startswith('scene_qformer') for alias in node.names))]
    assert not bad, bad


def test_the_rules_can_fail(tmp_path, monkeypatch):
    monkeypatch.setattr(f'{__name__}.PACKAGE', tmp_path)
    (tmp_path / 'models').mkdir()
    (tmp_path / 'models' / 'bad.py').write_text('from ..datasets import loading\nimport nuscenes\n')
    assert offenders('models', lambda module: inside(module, 'datasets'))[0] == (
        'models/bad.py:1 imports scene_qformer.datasets')
    assert offenders('models', lambda module: module == 'nuscenes') == ['models/bad.py:2 imports nuscenes']
