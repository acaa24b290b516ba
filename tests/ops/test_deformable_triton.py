"""The Triton kernels: their cases in a process of its own, and that they compile for GPUs.

Triton decides when it is first imported whether it interprets, and other tests may have imported it by then.
"""
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from scene_qformer.ops import deformable_triton, triton_deformable_attention

CASES = Path(__file__).with_name('triton_cases.py')
NEEDS_TRITON = pytest.mark.skipif(importlib.util.find_spec('triton') is None, reason='Triton is not installed')
COMPILE = r"""
import itertools
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from scene_qformer.ops import deformable_kernels

single = ('grad_value', 'grad_projections', 'projections')
kernels = deformable_kernels.forward_kernel, deformable_kernels.backward_kernel
for kernel, (capability, surround, dtype) in itertools.product(kernels, [(80, False, '*fp32'), (90, True, '*bf16')]):
    sizes = dict(D=32, L=2, P=2, SURROUND=surround, BLOCK_Q=16, BLOCK_S=4, BLOCK_D=32)
    signature, constants, attributes = {}, {}, {}
    for place, name in enumerate(kernel.arg_names):
        if name in sizes:
            signature[name], constants[place, ] = 'constexpr', sizes[name]
        elif name in ('projections', 'visible') and not surround:
            signature[name], constants[place, ] = 'constexpr', None
        elif name == 'sides':
            signature[name] = ('i32', ) * 4
        elif name.startswith('num_'):
            signature[name] = 'i32'
        else:
            signature[name] = '*u8' if name == 'visible' else '*fp32' if name in single else dtype
            attributes[place, ] = [['tt.divisibility', 16]]
    compiled = triton.compile(ASTSource(kernel, signature, constants, attributes), GPUTarget('cuda', capability, 32))
    print(kernel.__name__, capability, len(compiled.asm['cubin']), 'ld.global.v' in compiled.asm['ptx'],
          'max.NaN' in compiled.asm['ptx'] and 'min.NaN' in compiled.asm['ptx'])
"""


def run_python(arguments, **environment):
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', **environment}
    if environment.get('TRITON_INTERPRET') == '0':
        del environment['TRITON_INTERPRET']
    return subprocess.run([sys.executable, *arguments], env=environment, cwd=CASES.parent, capture_output=True,
                          text=True, stdin=subprocess.DEVNULL)


@NEEDS_TRITON
@pytest.mark.parametrize('where', ['interpreter', 'GPU'])
def test_kernels_pass_their_cases(where):
    if where == 'GPU' and not torch.cuda.is_available():
        pytest.skip('no GPU; the same cases run in the interpreter')
    done = run_python(['-m', 'pytest', '-q', '-p', 'no:xdist', '-p', 'no:cacheprovider', '-W', 'ignore', str(CASES)],
                      TRITON_INTERPRET='1' if where == 'interpreter' else '0')
    assert done.returncode == 0, f'{done.stdout[-8000:]}\n{done.stderr[-2000:]}'
    assert ' passed' in done.stdout


@NEEDS_TRITON
def test_kernels_compile_for_gpus(tmp_path):
    """Down to machine code, which needs no GPU; channels are read in vectors, and no NaN is dropped.

    The interpreter keeps NaN in any case.
    """
    done = run_python(['-c', COMPILE], TRITON_INTERPRET='0', TRITON_CACHE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr[-6000:]
    compiled = [line.split() for line in done.stdout.splitlines()]
    assert [line[:2] for line in compiled] == [['forward_kernel', '80'], ['forward_kernel', '90'],
                                               ['backward_kernel', '80'], ['backward_kernel', '90']]
    for _, _, size, reads_vectors, keeps_nan in compiled:
        assert int(size) > 1000 and reads_vectors == keeps_nan == 'True'


def test_package_imports_without_triton():
    done = run_python(['-c', 'import sys; sys.modules["triton"] = None; import scene_qformer.ops'])
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture
def arguments():
    return torch.zeros(1, 1, 1, 1), ((1, 1), ), torch.zeros(1, 1, 1, 1, 1, 2), torch.zeros(1, 1, 1, 1)


def test_says_that_triton_is_missing(monkeypatch, arguments):
    monkeypatch.setitem(sys.modules, 'triton', None)
    deformable_triton._import_kernels.cache_clear()
    with pytest.raises(RuntimeError, match='needs Triton, which could not be imported. Install it'):
        triton_deformable_attention(*arguments)


@NEEDS_TRITON
def test_says_that_triton_is_too_old(monkeypatch, arguments):
    monkeypatch.setattr('triton.__version__', '3.2.0')
    deformable_triton._import_kernels.cache_clear()
    with pytest.raises(RuntimeError, match=r'needs Triton 3\.3 or newer, but here is 3\.2\.0\. Update it'):
        triton_deformable_attention(*arguments)


def test_says_that_kernels_are_for_gpus(monkeypatch, arguments):
    monkeypatch.setattr(deformable_triton, '_import_kernels', lambda: (None, False))
    with pytest.raises(RuntimeError, match='need tensors on a GPU, got cpu.*vectorized_deformable_attention'):
        triton_deformable_attention(*arguments)
