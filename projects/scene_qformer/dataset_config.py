"""The config of a data set as tools take it apart: inside its wrappers, and transform by transform."""
from __future__ import annotations

import inspect
from typing import TypeVar

from mmdet3d.registry import TRANSFORMS

Settings = TypeVar('Settings', bound=dict)


def innermost_dataset(dataset: Settings) -> Settings:
    """The data set with a pipeline, inside wrappers such as mmengine's ``RepeatDataset``.

    Args:
        dataset: Config of a loader's ``dataset``.

    Returns:
        The very dict inside it, not a copy.

    Raises:
        ValueError: If there is none, or several, as in a ``ConcatDataset``.
    """
    inner = dataset
    while 'pipeline' not in inner and 'dataset' in inner:
        inner = inner['dataset']
    if 'pipeline' not in inner:
        several = f' of {len(inner["datasets"])} data sets' if 'datasets' in inner else ''
        raise ValueError(f'Expected the config of one data set with a pipeline, in wrappers with `dataset` or not; got '
                         f'{inner.get("type", "one without type")}{several}. Where several share their frames, as '
                         'files of questions do, one of them stands for all: give the config that the encoder was '
                         'trained with, or a config whose train_dataloader and test_dataloader have one.')
    return inner


def is_transform(step: dict, name: str, subclasses: bool = True) -> bool:
    """Whether a step of a pipeline is a transform of this registered name, or of a class derived from it.

    The registry decides, so that ``mmdet3d.Name``, ``Name`` and the class itself are the same.
    """
    found, wanted = (TRANSFORMS.get(kind) if isinstance(kind, str) else kind for kind in (step.get('type'), name))
    if not inspect.isclass(found) or not inspect.isclass(wanted):
        return False
    return issubclass(found, wanted) if subclasses else found is wanted
