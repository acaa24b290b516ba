"""Many trainings, each in a process and a folder of its own, some at a time; what is finished is not done again."""
from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

_TAIL = 2000  # characters of a failed run's output


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

    @property
    def slug(self) -> str:
        """The name, fit for a file system, and the seed."""
        return f'{re.sub("[^A-Za-z0-9]+", "-", self.name).strip("-")}_seed{self.seed}'

    @property
    def folder(self) -> Path:
        """Where it trains."""
        digest = hashlib.sha256(json.dumps(dict(self.settings), sort_keys=True).encode()).hexdigest()
        return self.root / f'{self.slug}_{digest[:8]}'

    def result(self) -> dict | None:
        """``seconds``, ``threads``, ``checkpoint`` (the last), and of a scored run ``mAP``, ``NDS`` and all ``scores``.

        None as long as it is not finished.
        """
        path = self.folder / 'result.json'
        return json.loads(path.read_text()) if path.is_file() else None

    def earlier(self) -> list[tuple[Path, list[str]]]:
        """Folders of finished runs of the same name and seed, and how their settings differ."""
        found = []
        for path in sorted(self.root.glob(f'{self.slug}_????????/result.json')):
            if path.parent != self.folder:
                old = json.loads((path.parent / 'settings.json').read_text())
                found.append((path.parent, differences(old, self.settings)))
        return found


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
    """Train what is not finished.

    Args:
        runs: In order.
        train_script: ``tools/train.py``.
        jobs: Trainings at a time, which share the cores evenly.
        arguments: More arguments of the script.
        report: Takes lines of progress.

    Returns:
        Why runs failed, by name and seed; empty if none did. The others go on.
    """
    waiting = [run for run in runs if run.result() is None]
    report(f'{len(runs) - len(waiting)} of {len(runs)} runs are finished already')
    for run in waiting:
        for folder, lines in run.earlier()[:1]:
            report(f'{run.slug} is run anew, because its settings are not those of {folder.name}:')
            for line in [*lines[:6], *(['...'] if len(lines) > 6 else [])]:
                report(f'    {line}')
    failures: dict[tuple[str, int], str] = {}
    start, threads = time.monotonic(), max(_cores() // jobs, 1)
    processes = _Processes()
    pool = ThreadPoolExecutor(jobs)
    try:
        futures = {pool.submit(_train, run, train_script, arguments, threads, processes): run for run in waiting}
        for done, future in enumerate(as_completed(futures), start=1):
            run, minutes = futures[future], (time.monotonic() - start) / 60
            try:
                result = future.result()
                scores = f'mAP {result["mAP"]:.4f}, NDS {result["NDS"]:.4f}, ' if run.scored else ''
                outcome = f'{scores}{result["seconds"] / 60:.1f} minutes'
            except RunFailed as error:
                failures[run.name, run.seed] = str(error)
                outcome = f'FAILED: {error}'
            left = minutes / done * (len(waiting) - done)
            report(f'[{done}/{len(waiting)}, {minutes:.0f} minutes, about {left:.0f} left] {run.slug}: {outcome}')
    finally:  # also where somebody interrupts: no process is left behind
        processes.stop()
        pool.shutdown(wait=True, cancel_futures=True)
    return failures


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
    shutil.rmtree(run.folder, ignore_errors=True)  # begun, and broken off
    run.folder.mkdir(parents=True)
    (run.folder / 'settings.json').write_text(json.dumps(dict(run.settings), indent=1) + '\n')
    config = run.folder / 'config.py'
    run.cfg.dump(config)
    command = [sys.executable, str(train_script), str(config), '--work-dir', str(run.folder), *arguments]
    environment = {**os.environ, 'OMP_NUM_THREADS': str(threads)}
    start = time.monotonic()
    with open(run.folder / 'output.txt', 'w') as output:
        process = processes.start(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                  env=environment)
        code = process.wait()
    if code != 0:
        tail = (run.folder / 'output.txt').read_text(errors='replace').strip()[-_TAIL:]
        raise RunFailed(f'code {code}, see {run.folder / "output.txt"}, which ends:\n{tail}')
    note = run.folder / 'last_checkpoint'
    result: dict[str, Any] = dict(seconds=time.monotonic() - start, threads=threads,
                  checkpoint=Path(note.read_text().strip()).name if note.is_file() else None)
    if run.scored:
        scores = _last_scores(run.folder)
        result.update(mAP=scores['mAP'], NDS=scores['NDS'], scores=scores)
    path = run.folder / 'result.json'
    path.with_suffix('.part').write_text(json.dumps(result, indent=1) + '\n')
    path.with_suffix('.part').rename(path)  # whole, or not there
    return result


def _last_scores(work_dir: Path) -> dict[str, float]:
    """Of the last validation, by the last part of their names."""
    validations = [record for record in _scalars(work_dir) if any(key.endswith('/mAP') for key in record)]
    if not validations:
        raise RunFailed(f'the training in {work_dir} ended without a validation')
    return {key.split('/')[-1]: value for key, value in validations[-1].items()}


def _scalars(work_dir: Path) -> Iterator[dict]:
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        yield from map(json.loads, path.read_text().splitlines())
