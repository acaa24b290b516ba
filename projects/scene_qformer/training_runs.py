"""Many trainings, each in a process and a folder of its own, some at a time; what is finished is not done again."""
from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from mmengine.config import Config

from .durable_file import OF_A_TOOL, write_durably

_TAIL = 2000  # characters of a failed run's output
_TOLD = ('mAP', 'NDS', 'accuracy')  # scores in a line of progress


class RunFailed(RuntimeError):
    """A training ended with another code than 0, or left no score."""


@dataclass(frozen=True)
class TrainingRun:
    """One training. Its folder is named by its settings, so runs of other settings never get in its place."""

    name: str
    seed: int
    cfg: Config
    settings: Mapping[str, str]  # all that decides the result: by name, text
    root: Path  # of the folders of all runs
    scored: bool = True  # ends with a validation
    after: tuple[TrainingRun, ...] = ()  # to be finished before, because it reads what they leave
    preparation: tuple[str, ...] = ()  # a Python script and its arguments, run before; what it writes lies elsewhere

    @property
    def slug(self) -> str:
        """The name, fit for a file system, and the seed."""
        return f'{re.sub("[^A-Za-z0-9]+", "-", self.name).strip("-")}_seed{self.seed}'

    @property
    def folder(self) -> Path:
        """Where it trains."""
        digest = hashlib.sha256(json.dumps(self.all_settings, sort_keys=True).encode()).hexdigest()
        return self.root / f'{self.slug}_{digest[:8]}'

    @property
    def all_settings(self) -> dict[str, str]:
        """Its own, and which runs it comes after: with other settings of theirs it is another run too."""
        return {**self.settings, **{f'after {run.slug}': run.folder.name for run in self.after}}

    def result(self) -> dict | None:
        """What came of it; None as long as it is not finished.

        Returns:
            ``seconds`` of the training, ``threads``, ``checkpoint`` (the last); with a preparation
            ``preparation_seconds``; of a scored run ``scores``, those of the last validation by the last part of their
            names, and of these ``mAP`` and ``NDS`` once more, where there are such.

        Raises:
            ValueError: If what it left is damaged.
        """
        path = self.folder / 'result.json'
        if not path.exists():
            return None
        try:
            result = _read(path)
        except ValueError as error:
            folder = str(self.folder)
            raise ValueError(f'{error} Expected the scores and times of a finished training. Move its folder aside, '
                             'and a run of these settings is trained anew:\n'
                             f'  mv {shlex.quote(folder)} {shlex.quote(f"{folder}-damaged")}') from error
        if 'scores' not in result and 'mAP' in result:  # as it was written at first
            result['scores'] = {name: result[name] for name in ('mAP', 'NDS')}
        return result

    def earlier(self) -> list[tuple[Path, list[str]]]:
        """Folders of finished runs of the same name and seed, and how their settings differ, as far as can be told."""
        found = []
        for path in sorted(self.root.glob(f'{self.slug}_????????/result.json')):
            if path.parent != self.folder:
                found.append((path.parent, self._differences(path.parent / 'settings.json')))
        return found

    def _differences(self, note: Path) -> list[str]:
        try:
            old = _read(note)
        except ValueError as error:
            return [f'settings unreadable: {error}']
        return differences({name: str(value) for name, value in old.items()}, self.all_settings)


def _read(path: Path) -> dict:
    """A JSON object that a finished run left.

    Raises:
        ValueError: If it is none.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f'{path} is missing or damaged ({_reason(error)}).') from error
    if not isinstance(content, dict):
        raise ValueError(f'{path} is missing or damaged (it holds {content!r:.60}, not a JSON object).')
    return content


def _reason(error: Exception) -> str:
    """Without the path, which stands before it."""
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Lines that differ, ``-`` for the old settings and ``+`` for the new ones."""
    lines = []
    for name in dict.fromkeys([*old, *new]):
        changed = difflib.unified_diff(old.get(name, '').splitlines(), new.get(name, '').splitlines(), n=0, lineterm='')
        lines += [f'{name}: {line[0]} {line[1:].strip()}' for line in changed
                  if not line.startswith(('---', '+++', '@@'))]
    return lines


def data_digest(data_root: str | Path, ann_files: Iterable[str | Path]) -> str:
    """What a data set holds: its info files, and name and size of every image below ``samples/CAM_*``."""
    root, digest = Path(data_root), hashlib.sha256()
    for name in dict.fromkeys(map(str, ann_files)):
        digest.update((root / name).read_bytes())
    for folder in sorted(root.glob('samples/CAM_*')):
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            digest.update(f'{entry.name} {entry.stat().st_size}\n'.encode())
    return digest.hexdigest()[:16]


def train_all(runs: Sequence[TrainingRun], train_script: str | Path, jobs: int = 1, arguments: Sequence[str] = (),
              report: Callable[[str], None] = print) -> dict[tuple[str, int], str]:
    """Train what is not finished, the runs first that others come after.

    Args:
        runs: In order; those that they come after need not be among them.
        train_script: ``tools/train.py``.
        jobs: Trainings at a time, which share the cores evenly.
        arguments: More arguments of the script.
        report: Takes lines of progress.

    Returns:
        Why runs failed, by name and seed; empty if none did. The others go on.

    Raises:
        ValueError: If ``jobs`` is not positive, or what a finished run left is damaged.
    """
    if jobs < 1:
        raise ValueError(f'Expected at least one training at a time, got {jobs}.')
    runs = with_earlier_ones(runs)
    waiting = {run.folder: run for run in runs if run.result() is None}
    report(f'{len(runs) - len(waiting)} of {len(runs)} runs are finished already')
    for run in waiting.values():
        for folder, lines in run.earlier()[:1]:
            report(f'{run.slug} is run anew, because its settings are not those of {folder.name}:')
            for line in [*lines[:6], *(['...'] if len(lines) > 6 else [])]:
                report(f'    {line}')
    failures: dict[tuple[str, int], str] = {}
    progress, threads = _Progress(len(waiting), report), max(_cores() // jobs, 1)
    processes = _Processes()
    running: dict[Future, TrainingRun] = {}
    pool = ThreadPoolExecutor(jobs)
    try:
        while waiting or running:
            for folder, run in list(waiting.items()):
                broken = [first.slug for first in run.after if (first.name, first.seed) in failures]
                if broken:
                    failures[run.name, run.seed] = f'it comes after {broken[0]}, which failed'
                    progress.tell(run, f'FAILED: {failures[run.name, run.seed]}')
                    del waiting[folder]
                elif len(running) < jobs and all(first.result() for first in run.after):
                    future = pool.submit(_train, run, train_script, arguments, threads, processes)
                    running[future] = waiting.pop(folder)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                run = running.pop(future)
                try:
                    progress.tell(run, _outcome(future.result()))
                except RunFailed as error:
                    failures[run.name, run.seed] = str(error)
                    progress.tell(run, f'FAILED: {error}')
    finally:  # also where somebody interrupts: no process is left behind
        processes.stop()
        pool.shutdown(wait=True, cancel_futures=True)
    return failures


def with_earlier_ones(runs: Iterable[TrainingRun]) -> list[TrainingRun]:
    """With the runs that they come after, each before those that need it, and once."""
    ordered: dict[Path, TrainingRun] = {}
    for run in runs:
        for each in (*with_earlier_ones(run.after), run):
            ordered.setdefault(each.folder, each)
    return list(ordered.values())


def _outcome(result: Mapping) -> str:
    """A finished run in a few words."""
    scores = ''.join(f'{name} {value:.4f}, ' for name, value in result.get('scores', {}).items() if name in _TOLD)
    return f'{scores}{result["seconds"] / 60:.1f} minutes'


class _Progress:
    """A line for every run that ended, with the time that all others will take."""

    def __init__(self, total: int, report: Callable[[str], None]) -> None:
        self._total, self._report = total, report
        self._ended = 0
        self._start = time.monotonic()

    def tell(self, run: TrainingRun, outcome: str) -> None:
        self._ended += 1
        minutes = (time.monotonic() - self._start) / 60
        left = minutes / self._ended * (self._total - self._ended)
        self._report(f'[{self._ended}/{self._total}, {minutes:.0f} minutes, about {left:.0f} left] {run.slug}: '
                     f'{outcome}')


def _cores() -> int:
    """That this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


class _Processes:
    """Those that run; after :meth:`stop` none does, and none starts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started: list[subprocess.Popen] = []
        self._stopped = False

    def start(self, command: Sequence[str], **options: Any) -> subprocess.Popen:
        with self._lock:
            if self._stopped:
                raise RunFailed('stopped before it started')
            self._started.append(subprocess.Popen(command, **options))
            return self._started[-1]

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            for process in self._started:
                if process.poll() is None:
                    process.terminate()


def _train(run: TrainingRun, train_script: str | Path, arguments: Sequence[str], threads: int,
           processes: _Processes) -> dict:
    run.root.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(f'{run.folder}.lock', timeout=0):
            # another process may have finished it since this one planned
            return run.result() or _train_alone(run, train_script, arguments, threads, processes)
    except Timeout:
        raise RunFailed(f'another process trains it now, in {run.folder}: when that has ended, start this one again, '
                        'or let this one work in another folder') from None


def _train_alone(run: TrainingRun, train_script: str | Path, arguments: Sequence[str], threads: int,
                 processes: _Processes) -> dict:
    shutil.rmtree(run.folder, ignore_errors=True)  # begun, and broken off
    run.folder.mkdir(parents=True)
    (run.folder / 'settings.json').write_text(json.dumps(run.all_settings, indent=1) + '\n')
    config = run.folder / 'config.py'
    run.cfg.dump(config)
    training = [str(train_script), str(config), '--work-dir', str(run.folder), *arguments]
    times = [_call(script, run.folder / 'output.txt', threads, processes)
             for script in (run.preparation, training) if script]
    note = run.folder / 'last_checkpoint'
    result: dict[str, Any] = dict(seconds=times[-1], threads=threads,
                                  checkpoint=Path(note.read_text().strip()).name if note.is_file() else None)
    if run.preparation:
        result['preparation_seconds'] = times[0]
    if run.scored:
        scores = _last_scores(run.folder)
        result.update({name: scores[name] for name in ('mAP', 'NDS') if name in scores}, scores=scores)
    write_durably(run.folder / 'result.json', f'{json.dumps(result, indent=1)}\n'.encode(), OF_A_TOOL)
    return result


def _call(script: Sequence[str], output: Path, threads: int, processes: _Processes) -> float:
    """Run a Python script in a process of its own; its seconds. What it prints is added to a file.

    Raises:
        RunFailed: If it ends with another code than 0.
    """
    start = time.monotonic()
    with open(output, 'a') as file:
        process = processes.start([sys.executable, *script], stdout=file, stderr=subprocess.STDOUT,
                                  stdin=subprocess.DEVNULL, env={**os.environ, 'OMP_NUM_THREADS': str(threads)})
        code = process.wait()
    if code != 0:
        tail = output.read_text(errors='replace').strip()[-_TAIL:]
        raise RunFailed(f'code {code}, see {output}, which ends:\n{tail}')
    return time.monotonic() - start


def _last_scores(work_dir: Path) -> dict[str, float]:
    """Of the last validation, by the last part of their names; ``<prefix>/<score>`` are what metrics give."""
    validations = [record for record in _scalars(work_dir) if any('/' in key for key in record)]
    if not validations:
        raise RunFailed(f'the training in {work_dir} ended without a validation')
    return {key.split('/')[-1]: value for key, value in validations[-1].items() if '/' in key}


def _scalars(work_dir: Path) -> Iterator[dict]:
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        yield from map(json.loads, path.read_text().splitlines())
