from numba.core.registry import CPUDispatcher

from scene_qformer.synthetic import lidar, posing, rasterizer, shading, shadows, sky
from scene_qformer.synthetic.kernels import compile_kernels


def test_recording_processes_find_every_kernel_compiled():
    compile_kernels()
    kernels = {name: kernel for module in (lidar, posing, rasterizer, shading, shadows, sky)
               for name, kernel in vars(module).items()
               if isinstance(kernel, CPUDispatcher) and kernel.targetoptions.get('inline') != 'always'}
    assert {'shade', 'draw', 'paint_sky'} <= kernels.keys()
    assert [name for name, kernel in kernels.items() if not kernel.signatures] == []
