"""Records scenes in parallel; each process keeps to one scene, because preparing one costs as much as many images."""
from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

import cv2
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


def _use_one_thread() -> None:
    cv2.setNumThreads(1)


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
    """One process, or this one if ``context`` is None, that works on one task at a time."""

    def __init__(self, context: multiprocessing.context.BaseContext | None) -> None:
        self.pool = None if context is None else ProcessPoolExecutor(1, context, _use_one_thread)
        self.job: _SceneJob | None = None
        self.future: Future | None = None
        self.frames: range | None = None  # None while it opens a scene

    def submit(self, job: _SceneJob, frames: range | None, task: Callable, *args: object) -> None:
        self.job, self.frames = job, frames
        if self.pool is not None:
            self.future = self.pool.submit(task, *args)
        else:
            self.future = Future()
            self.future.set_result(task(*args))


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
    recorders = [_Recorder(context) for _ in range(min(workers, len(names) * num_frames))]
    starts = range(0, num_frames, FRAMES_PER_TASK)
    waiting = deque(
        _SceneJob(name, deque(range(s, min(s + FRAMES_PER_TASK, num_frames)) for s in starts)) for name in names)
    running: list[_SceneJob] = []
    with tqdm(total=len(names) * num_frames, desc='Recording', unit='sample') as progress:
        try:
            while True:
                for recorder in recorders:
                    if recorder.future is None:
                        _next_task(recorder, waiting, running, root, num_frames, seed)
                futures = {r.future: r for r in recorders if r.future is not None}
                if not futures:
                    return
                for future in wait(futures, return_when=FIRST_COMPLETED).done:
                    recorder = futures[future]
                    job, frames, recorder.future = recorder.job, recorder.frames, None
                    assert job is not None
                    if frames is None:
                        job.world = future.result()
                        continue
                    job.measurements[frames.start] = future.result()
                    progress.update(len(frames))
                    measured = job.result(num_frames)
                    if measured is not None:
                        assert job.world is not None
                        running.remove(job)
                        yield job.world, measured
                        job.world = None
        finally:
            for recorder in recorders:
                if recorder.pool is not None:
                    recorder.pool.shutdown(wait=True, cancel_futures=True)
            _open.clear()
