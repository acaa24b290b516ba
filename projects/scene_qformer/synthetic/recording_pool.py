"""Records scenes in parallel; each process keeps to one scene, because preparing one costs as much as many images."""
from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import cv2
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from .nuscenes_tables import FrameMeasurement
from .nuscenes_writer import write_frame, write_map
from .renderer import SceneRenderer
from .scene import World
from .world import build_world

FRAMES_PER_TASK = 5
_WORTH_STEALING = 3  # tasks that a scene must have left for an idle process to prepare it a second time


# ----- in the recording process, which holds one scene

_open: dict[str, SceneRenderer] = {}


def _open_new(root: Path, name: str, num_frames: int, seed: int) -> World:
    world = build_world(name, num_frames, seed)
    write_map(root, world, seed)
    return _open_built(world)


def _open_built(world: World) -> World:
    _open.clear()
    _open[world.name] = SceneRenderer(world)
    return world


def _record(root: Path, name: str, frames: range) -> list[FrameMeasurement]:
    return [write_frame(root, _open[name], _open[name].world, frame) for frame in frames]


def _serve(connection: Connection) -> None:
    """Run the tasks that arrive for as long as the process that sends them lives."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that hands out the work ends this one
    parent = os.getppid()
    while os.getppid() == parent:
        if not connection.poll(2.0):
            continue
        try:
            task, arguments = connection.recv()
        except EOFError:
            return
        try:
            connection.send((task(*arguments), None))
        except Exception:
            connection.send((None, traceback.format_exc()))


# ----- in the process that hands out the work


@dataclass
class _SceneJob:
    """One scene's progress."""

    name: str
    tasks: deque[range]
    world: World | None = None
    measurements: dict[int, list[FrameMeasurement]] = field(default_factory=dict)

    def result(self, num_frames: int) -> list[FrameMeasurement] | None:
        """The measurements in the order of the frames, once all are there."""
        ordered = [m for _, part in sorted(self.measurements.items()) for m in part]
        return ordered if len(ordered) == num_frames else None


class _Recorder:
    """Works on one task at a time, in a process of its own or in this one."""

    def __init__(self, context: multiprocessing.context.BaseContext | None) -> None:
        self.job: _SceneJob | None = None
        self.frames: range | None = None  # None while it opens a scene
        self.busy = False
        self.connection: Connection | None = None
        if context is not None:
            self.connection, other_end = context.Pipe()
            self.process = context.Process(target=_serve, args=(other_end,), daemon=True)  # type: ignore[attr-defined]
            self.process.start()
            other_end.close()

    def submit(self, job: _SceneJob, frames: range | None, task: Callable, *arguments: object) -> None:
        self.job, self.frames, self.busy = job, frames, True
        if self.connection is None:
            self._result = task(*arguments)
        else:
            self.connection.send((task, arguments))

    def result(self) -> Any:
        """What the task returned.

        Raises:
            RuntimeError: If it raised, or if its process is gone.
        """
        self.busy = False
        assert self.job is not None
        if self.connection is None:
            return self._result
        try:
            result, error = self.connection.recv()
        except EOFError:
            self.process.join()
            raise RuntimeError(f'The process that recorded {self.job.name} ended with exit code '
                               f'{self.process.exitcode}; -9 mostly means that memory ran out: pass fewer --workers.'
                               ) from None
        if error is not None:
            raise RuntimeError(f'Recording {self.job.name} failed:\n{error}')
        return result

    def stop(self) -> None:
        if self.connection is not None:
            self.process.terminate()
            self.process.join()
            self.connection.close()


def _next_task(recorder: _Recorder, waiting: deque[_SceneJob], running: list[_SceneJob], root: Path, num_frames: int,
               seed: int) -> None:
    job = recorder.job
    if job is not None and job.tasks:
        frames = job.tasks.popleft()
        recorder.submit(job, frames, _record, root, job.name, frames)
    elif waiting:
        job = waiting.popleft()
        running.append(job)
        recorder.submit(job, None, _open_new, root, job.name, num_frames, seed)
    else:
        longest = max((j for j in running if j.world is not None), key=lambda j: len(j.tasks), default=None)
        if longest is not None and len(longest.tasks) >= _WORTH_STEALING:
            recorder.submit(longest, None, _open_built, longest.world)


def record_scenes(root: Path, names: list[str], num_frames: int, seed: int,
                  workers: int) -> Iterator[tuple[World, list[FrameMeasurement]]]:
    """Build worlds, write their maps and recordings, and yield each scene when it is complete.

    What is written does not depend on ``workers``; only the order of the scenes does.

    Args:
        root (Path): With the folders of `nuscenes_writer.make_folders`.
        names (list[str]): Scene names.
        num_frames (int): Key frames a scene.
        seed (int): Of the data set.
        workers (int): Processes; 1 works in this process.
    """
    methods = multiprocessing.get_all_start_methods()
    context = None if workers == 1 else multiprocessing.get_context('fork' if 'fork' in methods else None)
    # One thread each. A process forked from one with OpenCV's threads running could hang, and OpenBLAS's threads,
    # which have little to do here, take a tenth of the processors by waiting.
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    blas_threads = threadpool_limits(1, user_api='blas')
    recorders = [_Recorder(context) for _ in range(min(workers, len(names) * num_frames))]
    starts = range(0, num_frames, FRAMES_PER_TASK)
    waiting = deque(
        _SceneJob(name, deque(range(s, min(s + FRAMES_PER_TASK, num_frames)) for s in starts)) for name in names)
    running: list[_SceneJob] = []
    try:
        with tqdm(total=len(names) * num_frames, desc='Recording', unit='sample') as progress:
            while True:
                for recorder in recorders:
                    if not recorder.busy:
                        _next_task(recorder, waiting, running, root, num_frames, seed)
                busy = [recorder for recorder in recorders if recorder.busy]
                if not busy:
                    return
                ready = wait([r.connection for r in busy if r.connection is not None]) if context else []
                for recorder in busy:
                    if context is None or recorder.connection in ready:
                        result, job, frames = recorder.result(), recorder.job, recorder.frames
                        assert job is not None
                        if frames is None:
                            job.world = result
                            continue
                        job.measurements[frames.start] = result
                        progress.update(len(frames))
                        measured = job.result(num_frames)
                        if measured is not None:
                            assert job.world is not None
                            running.remove(job)
                            yield job.world, measured
                            job.world = None
    finally:
        for recorder in recorders:
            recorder.stop()
        cv2.setNumThreads(threads)
        blas_threads.restore_original_limits()
        _open.clear()
