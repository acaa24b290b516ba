"""The suite's own plugin: it counts right, keeps the page true, and cannot be passed by keeping silent."""
import json
from pathlib import Path

import pytest

# Here, since pytester forgets what its sessions imported, and torch cannot be imported twice.
import scene_qformer  # noqa: F401
from faults.page import BEGIN, END, read_blocks

pytest_plugins = ['pytester']

TESTS = Path(__file__).resolve().parents[1]
ATTACKS = '''
import pytest
from faults.conftest import count, show

@pytest.mark.fault(area='Files', fault='cut off', expected='said', remedy='Copy it again.')
@pytest.mark.parametrize('size', [2, 3, 5])
def test_cut(show, tmp_path, size):
    show(f'{tmp_path}/x has {size} bytes')

@pytest.mark.fault(area='Kills', fault='node lost', expected='goes on', remedy='Start it again.', kills=True)
def test_kill(show, count):
    count(kills=2)
    show('goes on at step 7')

@pytest.mark.fault(area='Files', fault='drawn at random', expected='no crash', remedy='None.')
def test_drawn(count):
    count(generated=11)

def test_of_something_else():
    pass
'''
SILENT = '''
@pytest.mark.fault(area='Files', fault='empty', expected='said', remedy='Copy it again.')
def test_empty():
    with pytest.raises(ValueError):
        pass

@pytest.mark.fault(area='Files', fault='empty', expected='said', remedy='Copy it again.')
def test_wrong():
    assert 2 == 3

@pytest.mark.fault(area='Files', fault='empty', expected='said', remedy='Copy it again.')
def test_skipped():
    pytest.skip('not here')
'''


@pytest.fixture
def suite(pytester, monkeypatch):
    """A folder with a page, and what runs attacks in it as `make faults` does."""
    monkeypatch.delenv('PYTEST_XDIST_WORKER', raising=False)
    pytester.makefile('.toml', pyproject='[tool.pytest.ini_options]\nmarkers = ["fault", "slow"]')
    pytester.makeconftest(f'import sys\nsys.path.insert(0, {str(TESTS)!r})\npytest_plugins = ["faults.collecting"]')
    pytester.path.joinpath('page.md').write_text(f'Before\n{BEGIN}\n\n{END}\nAfter\n')

    def run(source, *options):
        pytester.makepyfile(test_attacks=source)
        done = pytester.runpytest_inprocess('-p', 'no:cacheprovider', *options)
        return done, pytester.path / 'page.md'

    return run


@pytest.mark.parametrize('options', [(), ('-n', '2')])
def test_counts_and_table(suite, options):
    done, page = suite(ATTACKS, '--faults-json', 'out/faults.json', *options)
    assert done.ret == 0
    done.stdout.fnmatch_lines(['| area  | fault *', '| Files | cut off         | said     | 3     | as expected |',
                               '| Kills | node lost *| 1 *as expected |',
                               '3 distinct bad inputs, 3 kills, 11 generated inputs: 0 silent losses, 0 wrong*'])
    written = json.loads((page.parent / 'out' / 'faults.json').read_text())
    assert written['totals'] == dict(bad_inputs=3, kills=3, generated=11, as_expected=5, silent=0, wrong=0, not_run=0)
    assert [case['shown'] for case in written['faults'][0]['cases']] == [
        [f'FOLDER/x has {size} bytes'] for size in (2, 3, 5)]


def test_silence_and_wrong_results_are_told_apart(suite):
    done, _ = suite(ATTACKS + SILENT)
    assert done.ret == 1
    done.stdout.fnmatch_lines(['| Files | empty *| 3 *| 1 said nothing, 1 went wrong, 1 not run |',
                               '*: 1 silent losses, 1 wrong results, 1 not run.'])


def test_a_crashed_process_is_no_silent_loss(suite):
    crash = ATTACKS + '''
@pytest.mark.fault(area='Files', fault='a bomb', expected='said', remedy='None.')
def test_bomb():
    import os
    os._exit(3)
'''
    done, page = suite(crash, '-n', '2', '--faults-json', 'faults.json')
    assert done.ret == 1
    assert json.loads((page.parent / 'faults.json').read_text())['totals']['wrong'] == 1


def test_the_page_is_written_and_checked(suite):
    done, page = suite(ATTACKS, '--faults-page', 'page.md')
    assert page.read_text().startswith(f'Before\n{BEGIN}\n\n[Files](#files) (1) · [Kills](#kills) (1)\n\n## Files\n')
    assert page.read_text().endswith('After\n')
    assert read_blocks(page.read_text()) == {
        ('Files', 'cut off'): ([f'FOLDER/x has {size} bytes' for size in (2, 3, 5)], 'Copy it again.'),
        ('Kills', 'node lost'): (['goes on at step 7'], 'Start it again.')}
    assert suite(ATTACKS, '--faults-check', 'page.md')[0].ret == 0


@pytest.mark.parametrize(('old', 'new', 'named'), [
    ('step 7', 'step 11', 'Kills: node lost'),
    ('Start it again.', 'Restart.', 'Kills: node lost'),
    ("'drawn at random'", "'drawn'", None),  # it shows nothing
    ('[2, 3, 5]', '[2, 3, 5, 7]', 'Files: cut off'),
])
def test_a_page_that_is_no_longer_true(suite, old, new, named):
    suite(ATTACKS, '--faults-page', 'page.md')
    done, page = suite(ATTACKS.replace(old, new), '--faults-check', 'page.md')
    assert done.ret == (1 if named else 0)
    if named:
        done.stdout.fnmatch_lines([f'  {named}'])


def test_part_of_the_run_takes_nothing_from_the_page(suite):
    """`make test` leaves the slow attacks out."""
    slow = ATTACKS.replace("@pytest.mark.fault(area='Kills'", "@pytest.mark.slow\n@pytest.mark.fault(area='Kills'")
    _, page = suite(slow, '--faults-page', 'page.md')
    before = page.read_text()
    assert suite(slow, '-m', 'not slow', '--faults-page', 'page.md', '--faults-check', 'page.md')[0].ret == 0
    assert page.read_text() == before


def test_an_attack_without_a_remedy(suite):
    done, _ = suite(ATTACKS.replace(", remedy='None.'", ''))
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(['*test_attacks.py::test_drawn: expected @pytest.mark.fault(area=*'])
