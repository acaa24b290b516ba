"""mmengine's ``load`` without foreign code: pickles and YAML files that it reads hold data alone.

``mmengine.load`` is what ``NuScenesMetric``, every ``BaseDataset`` and ``Config.fromfile`` of a YAML file read with. As
it comes it unpickles whatever a file asks for, and lets YAML call any function. Importing this module replaces its
handlers for these endings; writing is theirs as before.
"""
from __future__ import annotations

from typing import Any

import yaml
from mmengine.fileio import register_handler
from mmengine.fileio.handlers import PickleHandler, YamlHandler

from ..data_only_pickle import loads_data
from .pickled_tensors import TENSORS_AND_BOXES

_ANYTHING_ELSE = ('Other pickles are read by pickle.load, which runs whatever the file says: only if you made the file '
                  'yourself.')


@register_handler(['pkl', 'pickle'])
class DataOnlyPickleHandler(PickleHandler):
    """Reads pickles of plain containers, NumPy arrays, tensors, and mmdet3d's boxes, as ``DumpResults`` writes them."""

    def load_from_fileobj(self, file: Any, **kwargs: Any) -> Any:
        """Read a file.

        Raises:
            ValueError: If it is damaged or carries anything but data.
        """
        if kwargs:
            raise ValueError(f'A pickle is read as data alone, without {", ".join(kwargs)}. {_ANYTHING_ELSE}')
        try:
            return loads_data(file.read(), getattr(file, 'name', 'the file'), more=TENSORS_AND_BOXES)
        except ValueError as error:
            raise ValueError(f'{error}\n{_ANYTHING_ELSE}') from error


@register_handler(['yaml', 'yml'])
class DataOnlyYamlHandler(YamlHandler):
    """Reads YAML of plain containers."""

    def load_from_fileobj(self, file: Any, **kwargs: Any) -> Any:
        """Read a file.

        Raises:
            ValueError: If it is no YAML, or asks for objects of Python.
        """
        kwargs['Loader'] = yaml.SafeLoader
        try:
            return super().load_from_fileobj(file, **kwargs)
        except yaml.YAMLError as error:
            raise ValueError(f'Cannot read {getattr(file, "name", "the file")} as YAML: {error}.\nIt is damaged, or '
                             'asks for Python objects; data and configs in YAML hold plain values alone.') from error
