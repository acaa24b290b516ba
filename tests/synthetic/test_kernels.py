from scene_qformer.synthetic import lidar, normals, posing, rasterizer, shading, shadows, sky
from scene_qformer.synthetic.kernels import compile_kernels

# The kernels that Python calls; the others are compiled into these.
ENTRY_POINTS = (lidar._cast, normals.corner_normals, posing._place, rasterizer.draw, shading.shade, shadows._cast,
                sky.paint_sky)


def test_recording_processes_find_every_kernel_compiled():
    compile_kernels()
    assert [kernel.__name__ for kernel in ENTRY_POINTS if not kernel.signatures] == []
