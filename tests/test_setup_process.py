"""Long commands of the set-up: the log, the live line, and what is said of pip's output."""
import io
import os
import sys

from tools.setup.console import Console
from tools.setup.pip_progress import PipProgress
from tools.setup.process import Progress, run_logged, tail


class LineCounter(Progress):

    def __init__(self):
        self.lines = []

    def read(self, line):
        self.lines.append(line)

    def status(self, elapsed):
        return f'{len(self.lines)} lines'


def run(code, tmp_path):
    progress, said = LineCounter(), io.StringIO()
    log = tmp_path / 'log'
    status = run_logged([sys.executable, '-c', code], os.environ, log, progress, Console(said))
    return status, progress.lines, said.getvalue(), log


def test_output_of_both_streams_reaches_log_and_progress(tmp_path):
    status, lines, said, log = run(
        "import sys; print('one', flush=True); print('two', file=sys.stderr, flush=True); print('three'); sys.exit(5)",
        tmp_path)
    assert status == 5
    assert lines == ['one', 'two', 'three']
    assert log.read_text().endswith('one\ntwo\nthree\n')
    assert 'lines' in said and 'one' not in said


def test_no_input_is_waited_for(tmp_path):
    status, lines, _, _ = run('import sys; print(repr(sys.stdin.read()))', tmp_path)
    assert (status, lines) == (0, ["''"])


def test_log_grows_over_runs(tmp_path):
    run("print('first')", tmp_path)
    *_, log = run("print('second')", tmp_path)
    assert 'first' in log.read_text() and 'second' in log.read_text()


def test_tail_hides_addresses(tmp_path):
    log = tmp_path / 'log'
    log.write_text('old\n' * 20 + 'ERROR: no answer from https://user:secret@host.invalid/simple/torch/ (404)\nend\n')
    assert tail(log, 2) == 'ERROR: no answer from (address) (404)\nend'


def test_a_terminal_line_replaces_itself_and_ends_before_other_text():
    class Terminal(io.StringIO):
        def isatty(self):
            return True
    said = Terminal()
    console = Console(said)
    console.live('a long line')
    console.live('short')
    console.say('done')
    assert said.getvalue() == '\ra long line\rshort      \ndone\n'


def test_a_log_gets_a_line_now_and_then_only():
    said = io.StringIO()
    console = Console(said)
    for number in range(100):
        console.live(f'line {number}')
    assert said.getvalue() == 'line 0\n'


def test_steps_are_timed():
    said = io.StringIO()
    console = Console(said)
    with console.step('torch'):
        pass
    console.summary()
    assert '[set-up] torch: done in 0.0 s' in said.getvalue()
    assert [title for title, _ in console.durations] == ['torch']


def test_what_pip_does_in_a_line():
    progress = PipProgress('torch==2.13.0')
    progress.read('Collecting torch==2.13.0 (from -r requirements/torch.txt (line 2))')
    assert progress.status(2.0) == '  torch==2.13.0: collecting torch (2 s)'
    progress.read('  Downloading https://host.invalid/torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl (526.6 MB)')
    progress.read('Progress 105200000 of 526600000')
    status = progress.status(31.4)
    assert 'downloading torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl, 105 of 527 MB' in status
    assert 'host.invalid' not in status
    progress.read('Collecting filelock (from torch==2.13.0)')
    progress.read('Installing collected packages: filelock, torch')
    assert progress.status(60.0) == '  torch==2.13.0: installing (60 s)'
