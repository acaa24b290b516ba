"""Scene Q-Former: scene tokens for driving language models, a plugin for MMDetection3D 1.x.

Importing this package registers all of its parts in mmdet3d's registries.
"""
try:
    import mmdet3d  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f'scene_qformer is a plugin for MMDetection3D 1.4, which cannot be imported here: no module {error.name!r}. '
        'Install it in the environment that you work in, or type `make setup` in a clone, which builds one in .venv.'
    ) from error
import torch

if tuple(map(int, torch.__version__.split('.')[:2])) < (2, 4):  # torch.library.custom_op, of ops/
    raise ImportError(
        f'scene_qformer needs PyTorch 2.4 or newer, but here is {torch.__version__}. Update it, and mmcv for it, in '
        'the environment that you work in, or type `make setup` in a clone, which builds one in .venv.')

from . import datasets, engine, evaluation, models  # noqa: F401
from .apis import build_scene_qformer
from .scene_tokenizer import SceneTokenizer

__version__ = '0.1.0'

__all__ = ['SceneTokenizer', 'build_scene_qformer']
