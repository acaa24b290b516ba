"""Running a long command: its whole output goes to a log, one live line to the console."""
from __future__ import annotations

import os
import re
import selectors
import subprocess
import time
from pathlib import Path
from typing import List, Mapping

from tools.setup.console import Console


class Progress:
    """Reads a command's output line by line and says in one line how far it is."""

    def read(self, line: str) -> None:
        raise NotImplementedError

    def status(self, elapsed: float) -> str:
        """``elapsed`` in seconds since the command began."""
        raise NotImplementedError


def run_logged(command: List[str], env: Mapping[str, str], log: Path, progress: Progress, console: Console) -> int:
    """Run ``command`` without input, append its output to ``log`` and show ``progress``. Returns the exit status.

    The live line is renewed every second, so that a silent stretch is seen to be alive. If this process is interrupted,
    the command is ended first.
    """
    begin = time.monotonic()
    process = subprocess.Popen(command, env=dict(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    assert process.stdout is not None
    handle = process.stdout.fileno()
    pending = b''
    try:
        with log.open('ab') as stream, selectors.DefaultSelector() as selector:
            stream.write(('\n$ ' + ' '.join(command) + '\n').encode())
            selector.register(handle, selectors.EVENT_READ)
            while True:
                if selector.select(timeout=1.0):
                    block = os.read(handle, 65536)
                    if not block:
                        break
                    stream.write(block)
                    stream.flush()
                    *lines, pending = (pending + block).split(b'\n')
                    for line in lines:
                        progress.read(line.decode(errors='replace'))
                console.live(progress.status(time.monotonic() - begin))
        return process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    finally:
        process.stdout.close()


def tail(log: Path, lines: int = 15) -> str:
    """The end of a log, for an error message. Addresses are left out: they may carry a password."""
    end = log.read_text(encoding='utf-8', errors='replace').splitlines()[-lines:]
    return re.sub(r'\b\w+://\S+', '(address)', '\n'.join(end))
