"""From six JPEG files to a normalised batch, on one core: mmdet3d's way and ours."""
from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import torch
from mmdet3d.registry import DATASETS, MODELS, TRANSFORMS
from mmengine.dataset import Compose, pseudo_collate
from torch import Tensor

from .table import Table
from .timing import time_ways

AIM = 5.  # times as fast as mmdet3d, a core
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
BASELINE, OURS, CACHED = 'mmdet3d: decode in full, resize as float32', 'LoadSurroundImages', (
    'LoadSurroundImages(cache=True), from the second epoch on')


def loader_table(root: str | Path, ann_file: str, size: tuple[int, int], frames: int, rounds: int,
                 report: Callable[[str], None] = lambda line: None) -> Table:
    """Load the first frames of a nuScenes root again and again.

    Args:
        root: The nuScenes root.
        ann_file: Info file, in it or absolute.
        size: Width and height in pixels of the loaded images.
        frames: How many.
        rounds: Timed calls.
        report: Takes lines of progress.
    """
    infos = read_frames(root, ann_file, frames)
    files = [Path(camera['img_path']).read_bytes() for info in infos for camera in info['images'].values()]
    pipelines: dict[str, list[dict]] = {
        BASELINE: [dict(type='LoadMultiViewImageFromFiles', to_float32=True, num_views=len(infos[0]['images'])),
                   dict(type='MultiViewWrapper', transforms=[dict(type='Resize', scale=size, keep_ratio=False)]),
                   dict(type='Pack3DDetInputs', keys=['img'])],
        OURS: _ours(size, cache=False),
        CACHED: _ours(size, cache=True)}

    def way(name: str) -> Callable[[], list[Tensor]]:
        steps = Compose([TRANSFORMS.build(step) for step in pipelines[name]])
        kind = 'Det3DDataPreprocessor' if name == BASELINE else 'SurroundImagePreprocessor'
        preprocess = MODELS.build(dict(type=kind, mean=MEAN, std=STD, bgr_to_rgb=True))
        return lambda: [preprocess(pseudo_collate([steps(copy.copy(info))]))['inputs']['imgs'] for info in infos]

    ways = {name: way(name) for name in pipelines}
    with one_thread():
        timings = time_ways(ways, rounds, report=report)
        floor = time_ways({'floor': lambda: [_smallest(content) for content in files]}, rounds)['floor'].median
        theirs, ours = (_pixels(ways[name]()) for name in (BASELINE, OURS))
    averaged = [cv2.resize(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR), size,
                           interpolation=cv2.INTER_AREA) for content in files]
    difference = {name: np.abs(ours - other).mean() for name, other in (
        ('theirs', theirs), ('averaged', np.stack(averaged)))}
    height, width = cv2.imdecode(np.frombuffer(files[0], np.uint8), cv2.IMREAD_COLOR).shape[:2]
    return Table(
        title=f'Loading: {len(infos[0]["images"])} JPEG files of {width}x{height} to {size[0]}x{size[1]}',
        timings=timings, baseline=BASELINE, samples=frames, unit='frame', floor=floor, aims={OURS: AIM},
        facts=(f'{frames} frames, {sum(map(len, files)) / len(files) / 1e3:.0f} kB a file, one thread, from the page '
               'cache of the system to a normalised batch on the CPU',
               f'mean absolute difference of pixels: {difference["theirs"]:.2f} of 255 from the baseline, whose '
               f'bilinear resize skips pixels; {difference["averaged"]:.2f} from decoding in full and averaging areas',
               f'largest error of the intrinsics: {intrinsic_error(infos, size):.1g} pixels',
               'floor: entropy decoding, as the time to decode to an eighth of each side'))


def _ours(size: tuple[int, int], cache: bool) -> list[dict]:
    return [dict(type='LoadSurroundImages', size=size, cache=cache), dict(type='PackSceneInputs', keys=('img', ))]


def read_frames(root: str | Path, ann_file: str, frames: int) -> list[dict]:
    """The first frames' infos, paths resolved.

    Raises:
        ValueError: If there are fewer.
    """
    dataset = DATASETS.build(dict(type='NuScenesSceneDataset', data_root=str(root), ann_file=ann_file))
    if len(dataset) < frames:
        raise ValueError(f'Expected {frames} frames in {ann_file} of {root}, got {len(dataset)}: ask for fewer.')
    infos = [dataset.get_data_info(index) for index in range(frames)]
    return [{key: info[key] for key in ('token', 'images')} for info in infos]


def intrinsic_error(infos: Sequence[dict], size: tuple[int, int]) -> float:
    """Of ``cam2img`` after loading against the files' matrices, scaled in each axis on its own; pixels."""
    load = TRANSFORMS.build(_ours(size, cache=False)[0])
    errors = []
    for info in infos:
        results = load(copy.deepcopy(info))
        height, width = results['ori_shape']
        scale = np.diag([size[0] / width, size[1] / height, 1.])
        errors += [float(np.abs(loaded[:3, :3] - scale @ np.asarray(camera['cam2img'])[:3, :3]).max())
                   for loaded, camera in zip(results['cam2img'], info['images'].values())]
    return max(errors)


def _pixels(batches: Sequence[Tensor]) -> np.ndarray:
    """As 8-bit BGR images ``(F * N, H, W, 3)``, in float32: the preprocessor undone."""
    images = torch.cat(list(batches)).flatten(0, 1).permute(0, 2, 3, 1).numpy()
    return (images * np.asarray(STD, np.float32) + np.asarray(MEAN, np.float32))[..., ::-1]


def _smallest(content: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_REDUCED_COLOR_8)


@contextmanager
def one_thread() -> Iterator[None]:
    """As a worker of a data loader computes."""
    threads, cv2_threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(cv2_threads)
