"""Measure, over a whole synthetic set, how the rendered objects fit their annotations as nuscenes-devkit projects them.

The images hold no instance numbers, so every view is rendered once more from its world; the boxes come from the written
tables. Prints the worst pixel outside of its box, and how much of its projected box each class fills.

Example::

    python tools/analysis/check_synthetic.py data/synthetic_nuscenes
"""
from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
from nuscenes import NuScenes
from nuscenes.eval.detection.utils import category_to_detection_name
from nuscenes.utils.geometry_utils import BoxVisibility
from tqdm import tqdm

from scene_qformer.synthetic.projection_check import ObjectCheck, check_view
from scene_qformer.synthetic.renderer import SceneRenderer
from scene_qformer.synthetic.world import build_world

MATCH = 0.01  # metres between an annotation and its object in the world


@lru_cache(maxsize=1)
def _open(root: str, version: str) -> NuScenes:
    return NuScenes(version, root, verbose=False)


def check_scene(root: str, version: str, token: str, seed: int, every: int) -> list[ObjectCheck]:
    """Check every ``every``-th key frame of one scene, with all its cameras."""
    nusc = _open(root, version)
    scene = nusc.get('scene', token)
    world = build_world(scene['name'], scene['nbr_samples'], seed)
    renderer = SceneRenderer(world)
    checks, sample_token = [], scene['first_sample_token']
    for number, frame in enumerate(world.frames):
        sample = nusc.get('sample', sample_token)
        sample_token = sample['next']
        if number % every:
            continue
        centers = np.array([state.center for state in frame.objects])
        for camera in world.rig.cameras:
            _, boxes, cam2img = nusc.get_sample_data(sample['data'][camera.name], box_vis_level=BoxVisibility.NONE)
            numbered = []
            for box in boxes:
                annotation = nusc.get('sample_annotation', box.token)
                apart = np.linalg.norm(centers - annotation['translation'], axis=1)
                if apart.min() > MATCH:
                    raise ValueError(f'{scene["name"]}: no object of the world lies at annotation {box.token}. '
                                     f'Was the set written with --seed {seed}?')
                numbered.append((frame.objects[int(apart.argmin())].instance, box))
            view = renderer.render(frame, camera, np.random.default_rng(0))
            checks += check_view(view, numbered, np.asarray(cam2img))
    return checks


def report(checks: list[ObjectCheck]) -> bool:
    """Print the table; returns whether every pixel lies within 1 px of its box."""
    worst = max(check.worst for check in checks)
    late = sum(check.worst > 1 for check in checks)
    print(f'{len(checks)} visible objects, {sum(check.pixels for check in checks)} pixels; farthest pixel outside of '
          f'its box: {worst:.3f} px; objects beyond 1 px: {late}')
    classes: dict[str, list[ObjectCheck]] = defaultdict(list)
    for check in checks:
        classes[category_to_detection_name(check.category) or check.category].append(check)
    print(f'{"class":<22}{"objects":>8}{"worst px":>10}{"unoccluded":>12}{"fill mean":>11}{"min":>7}')
    for name, members in sorted(classes.items()):
        fills = [check.fill for check in members if check.fill is not None]
        share = f'{np.mean(fills):>11.3f}{min(fills):>7.3f}' if fills else f'{"-":>11}{"-":>7}'
        print(f'{name:<22}{len(members):>8}{max(check.worst for check in members):>10.3f}{len(fills):>12}{share}')
    return late == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('root', type=Path, help='folder that tools/create_synthetic_nuscenes.py wrote')
    parser.add_argument('--version', default='v1.0-mini', help='default: %(default)s')
    parser.add_argument('--seed', type=int, default=0, help='seed that the set was written with; default: %(default)s')
    parser.add_argument('--every', type=int, default=1, help='check each n-th key frame; default: all')
    parser.add_argument('--workers', type=int, default=2, help='processes; default: %(default)s')
    args = parser.parse_args()
    nusc = _open(str(args.root), args.version)
    checks: list[ObjectCheck] = []
    with ProcessPoolExecutor(args.workers) as pool:
        jobs = [pool.submit(check_scene, str(args.root), args.version, scene['token'], args.seed, args.every)
                for scene in nusc.scene]
        for job in tqdm(jobs, desc='Scenes', unit='scene'):
            checks += job.result()
    return 0 if report(checks) else 1


if __name__ == '__main__':
    sys.exit(main())
