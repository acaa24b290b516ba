"""Scene Q-Former: scene tokens for driving language models, a plugin for MMDetection3D 1.x.

Importing this package registers all of its parts in mmdet3d's registries.
"""
from . import datasets, engine, models  # noqa: F401
from .apis import build_scene_qformer

__version__ = '0.1.0'

__all__ = ['build_scene_qformer']
