"""What mmcv's operators are compiled for, and the name under which such a wheel is kept."""
from __future__ import annotations

import os
import platform
import re
import shutil
from dataclasses import dataclass
from typing import Any, Mapping, Optional

# Asks the torch in .venv what the operators have to fit.
TORCH_PROBE = """
import json, sys, torch
works = torch.cuda.is_available()
print(json.dumps(dict(version=torch.__version__, cuda=torch.version.cuda, cuda_works=works,
                      python='cp%d%d' % sys.version_info[:2],
                      capability='%d.%d' % torch.cuda.get_device_capability(0) if works else '')))
"""


@dataclass(frozen=True)
class OpsTarget:
    """Versions of mmcv and torch, the Python tag (``'cp311'``), and for a build with GPU kernels the CUDA version and
    the GPU's compute capability (``'13.0'``, ``'9.0'``); both are empty for CPU operators alone.
    """
    mmcv: str
    python: str
    torch: str
    cuda: str = ''
    capability: str = ''

    @property
    def key(self) -> str:
        """The cache folder's name: wheels of one key are interchangeable, of two keys not."""
        ops = f'cu{self.cuda}-sm{self.capability}' if self.cuda else 'cpu'
        text = f'mmcv{self.mmcv}-{self.python}-torch{self.torch}-ops{ops}-{platform.system()}-{platform.machine()}'
        return re.sub(r'[^A-Za-z0-9.+_-]', '_', text).lower()

    def cpu_only(self) -> OpsTarget:
        return OpsTarget(self.mmcv, self.python, self.torch)


def choose_target(mmcv: str, torch: Mapping[str, Any], nvcc: Optional[str]) -> OpsTarget:
    """GPU kernels where torch can use a GPU and CUDA's compiler is there, CPU operators elsewhere.

    Args:
        mmcv: Its pinned version.
        torch: The answer to :data:`TORCH_PROBE`.
        nvcc: What :func:`find_nvcc` found.
    """
    if torch['cuda'] and torch['cuda_works'] and nvcc:
        return OpsTarget(mmcv, torch['python'], torch['version'], torch['cuda'], torch['capability'])
    return OpsTarget(mmcv, torch['python'], torch['version'])


def find_nvcc(env: Mapping[str, str]) -> Optional[str]:
    """CUDA's compiler: under ``$CUDA_HOME``, on the PATH, or in the usual place."""
    places = [os.path.join(env['CUDA_HOME'], 'bin')] if env.get('CUDA_HOME') else []
    places += [env.get('PATH', ''), '/usr/local/cuda/bin']
    return shutil.which('nvcc', path=os.pathsep.join(places))
