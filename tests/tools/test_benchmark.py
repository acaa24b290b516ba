import json
import sys
from functools import partial
from pathlib import Path

import pytest

from scene_qformer.benchmark import model, ops
from tools import benchmark

EMBEDDED = Path(__file__).parents[2] / 'configs' / 'scene_qformer' / 'scene-qformer_tiny_synthetic.py'


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    small = partial(ops.ops_tables, cases=(ops.Case('small', 2, 5, ((7, 3), (3, 2))), ))
    monkeypatch.setattr(ops, 'ops_tables', small)

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, 'argv', [
            'benchmark.py', *arguments, '--device', 'cpu', '--rounds', '1', '--work-dir', str(tmp_path / 'out')])
        benchmark.main()
        return capsys.readouterr().out
    return run


def test_parts_are_printed_and_written(run, tmp_path):
    page = tmp_path / 'page.md'
    page.write_text('before\n<!-- benchmark.py ops -->\nold\n<!-- end of ops -->\nafter\n')
    printed = run('ops', '--page', str(page))
    assert '### small, forward and backward' in printed and 'threads' in printed.splitlines()[0]
    written = page.read_text()
    assert (tmp_path / 'out' / 'ops.md').read_text() in written and 'old' not in written
    assert written.startswith('before\n') and written.endswith('after\n') and 'torch' in written
    content = json.loads((tmp_path / 'out' / 'ops.json').read_text())
    assert [table['title'] for table in content['tables']] == ['small, forward', 'small, forward and backward']
    assert content['tables'][0]['ways']['vectorized']['times_as_fast'] > 0


def test_the_model_of_a_config(run, monkeypatch):
    """Without what is compiled."""
    ways, aims = model.ways_on('cpu', 1)
    kept = {name: way for name, way in ways.items() if 'compiled' not in name}
    monkeypatch.setattr(model, 'ways_on', lambda device, batch_size: (kept, aims))
    assert '### scene-qformer_tiny_synthetic: 1 x 6 images of 448x112' in run('model', '--config', str(EMBEDDED))


def test_frames_are_written_where_there_are_none(tmp_path, monkeypatch):
    """Once; the second time they are there."""
    commands = []
    monkeypatch.setattr(benchmark.subprocess, 'run', lambda command, check: commands.append(command))
    root = benchmark.write_frames(tmp_path)
    tools = [Path(command[1]) for command in commands]
    assert [tool.name for tool in tools] == ['create_synthetic_nuscenes.py', 'create_data.py']
    assert all(tool.is_file() for tool in tools) and all(str(root) in command for command in commands)
    root.mkdir()
    (root / 'nuscenes_infos_val.pkl').touch()
    benchmark.write_frames(tmp_path)
    assert len(commands) == 2


def test_a_part_that_is_none_is_refused(run):
    with pytest.raises(SystemExit):
        run('wheels')
