"""Which build of torch this machine gets.

On Linux the plain ``torch`` of the Python package index is the CUDA build; CPU-only wheels carry the local version
``+cpu`` and come from PyTorch's own index, which is not named here: somebody who wants it gives its address in
``SCENE_QFORMER_TORCH_INDEX`` (CONTRIBUTING.md).
"""
from __future__ import annotations

import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, List, Mapping, Optional, Tuple

from tools.setup.console import SetupError

CUDA_DISK_GIB = 8.0
CPU_DISK_GIB = 2.5


@dataclass(frozen=True)
class TorchPlan:
    """How to install torch.

    ``attempts`` are pip arguments, tried in order; ``explanation`` is what the user reads first.
    """
    wants_cuda: bool
    attempts: Tuple[Tuple[str, ...], ...]
    explanation: str

    @property
    def disk_gib(self) -> float:
        return CUDA_DISK_GIB if self.wants_cuda else CPU_DISK_GIB


def nvidia_gpus(run: Callable[..., 'subprocess.CompletedProcess[bytes]'] = subprocess.run,
                device: Path = Path('/dev/nvidia0')) -> List[str]:
    """Names of the NVIDIA GPUs that the driver shows; empty without one."""
    try:
        done = run(['nvidia-smi', '--query-gpu=name', '--format=csv,noheader'], stdout=subprocess.PIPE,
                   stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, timeout=30)
        if done.returncode == 0:
            return [line.strip() for line in done.stdout.decode().splitlines() if line.strip()]
    except (OSError, subprocess.SubprocessError):
        pass
    return ['NVIDIA GPU'] if device.exists() else []


def plan_torch(requirement: str, env: Mapping[str, str], gpus: List[str],
               system: Optional[str] = None) -> TorchPlan:
    """Decide for this machine.

    Args:
        requirement: The pin, e.g. ``'torch==2.13.0'``.
        env: ``SCENE_QFORMER_TORCH`` (``cpu`` or ``cuda``) overrules the look at the machine;
            ``SCENE_QFORMER_TORCH_INDEX`` names the package index to take torch from.
        gpus: What :func:`nvidia_gpus` found.
        system: ``platform.system()``'s name; this machine's if not given.

    Raises:
        SetupError: if ``SCENE_QFORMER_TORCH`` is something else.
    """
    system = system or platform.system()
    asked = env.get('SCENE_QFORMER_TORCH', '').strip().lower()
    if asked not in ('', 'cpu', 'cuda'):
        raise SetupError(f"SCENE_QFORMER_TORCH is '{asked}'; expected 'cpu', 'cuda' or nothing.")
    wants_cuda = system == 'Linux' and (asked == 'cuda' or (asked == '' and bool(gpus)))
    why = f'SCENE_QFORMER_TORCH={asked}' if asked else (f'found {", ".join(gpus)}' if gpus else 'no NVIDIA GPU found')
    kind = 'CUDA' if wants_cuda else 'CPU'

    index = env.get('SCENE_QFORMER_TORCH_INDEX', '').strip()
    if index:
        return TorchPlan(wants_cuda, ((requirement, '--index-url', index), ),
                         f'{kind} build of torch wanted ({why}); from the index in SCENE_QFORMER_TORCH_INDEX')
    if wants_cuda:
        return TorchPlan(True, ((requirement, ), ), f'CUDA build of torch ({why}); several GB to download')
    if system == 'Linux':
        return TorchPlan(False, ((requirement + '+cpu', ), (requirement, )),
                         f'CPU build of torch ({why}); where no index of yours offers one, the CUDA build, which runs '
                         'on CPU too but takes several GB (see SCENE_QFORMER_TORCH_INDEX in CONTRIBUTING.md)')
    return TorchPlan(False, ((requirement, ), ), f'the build of torch for {system} ({why})')


def complaint(plan: TorchPlan, version: str, cuda: Optional[str], cuda_works: bool) -> Optional[str]:
    """What is wrong with the torch that was installed; ``None`` if it is what was planned.

    Args:
        plan: What was planned.
        version, cuda, cuda_works: ``torch.__version__``, ``torch.version.cuda``, ``torch.cuda.is_available()``.
    """
    if not plan.wants_cuda:
        return None
    if cuda is None:
        return (f'torch {version} is a CPU build though a GPU is there: the package index or wheel folder that pip '
                'uses offered that one.\nWhat to do: set SCENE_QFORMER_TORCH_INDEX to an index with CUDA wheels and '
                'run `make clean-venv setup`, or set SCENE_QFORMER_TORCH=cpu to accept it.')
    if not cuda_works:
        return (f'torch {version} is built for CUDA {cuda} but cannot use the GPU; often the driver is older than that '
                'CUDA needs.\nWhat to do: update the driver, or set SCENE_QFORMER_TORCH_INDEX to the index of an older '
                'CUDA and run `make clean-venv setup`. Until then everything runs on the CPU.')
    return None
