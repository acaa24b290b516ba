"""The image branch in INT8: ONNX Runtime, static quantisation after training."""
from __future__ import annotations

import logging
import platform
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

EXAMPLE_SHAPE = (2, 3, 64, 96)  # of the export; the graph is for any number and size of images


class Int8ImageBranch(nn.Module):
    """Convolutions as products of 8-bit integers (VNNI), 32-bit sums.

    Weights are quantised symmetrically, a scale a channel (Krishnamoorthi, arXiv 1806.08342, section 3), activations by
    the smallest and largest number that the calibration images produce. Biases and sums stay in 32 bits, and the levels
    come out in float32. Where the processor adds products in 16 bits, weights have 7 bits: see
    :func:`products_saturate`.

    Args:
        branch: Its twin, float32 on the CPU, batch norm folded: a norm between them keeps convolutions apart.
        calibration: Normalised images ``(M, 3, H, W)``, batch by batch, such as the model will see.

    Attributes:
        num_bytes: Of the quantised network.

    Raises:
        ModuleNotFoundError: Without ONNX Runtime.
        ValueError: Without images.
    """

    def __init__(self, branch: nn.Module, calibration: Iterable[Tensor]) -> None:
        super().__init__()
        onnxruntime = import_onnxruntime()
        with tempfile.TemporaryDirectory() as folder:
            exported, quantised = Path(folder, 'float32.onnx'), Path(folder, 'int8.onnx')
            export(branch, exported)
            quantise(exported, quantised, calibration)
            model = quantised.read_bytes()
        self.num_bytes = len(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.add_session_config_entry('session.force_spinning_stop', '1')  # PyTorch's threads are next
        self._session = onnxruntime.InferenceSession(model, options, providers=['CPUExecutionProvider'])

    def forward(self, imgs: Tensor) -> list[Tensor]:
        """``(M, 3, H, W)`` to levels ``(M, C, Hl, Wl)`` float32."""
        levels = self._session.run(None, {'imgs': imgs.float().contiguous().numpy()})
        return [torch.from_numpy(level) for level in levels]


def export(branch: nn.Module, path: Path) -> None:
    """Write a branch as an ONNX file, for any number and size of images."""
    with warnings.catch_warnings(), torch.no_grad():
        # The exporter by tracing: the newer one fixes the image size, and asks for two more packages.
        warnings.simplefilter('ignore')
        torch.onnx.export(branch, (torch.zeros(EXAMPLE_SHAPE), ), str(path), dynamo=False, input_names=['imgs'],
                          dynamic_axes=dict(imgs={0: 'images', 2: 'height', 3: 'width'}))


def quantise(exported: Path, quantised: Path, calibration: Iterable[Tensor]) -> None:
    """Write the INT8 network of an ONNX file.

    Raises:
        ValueError: Without calibration images.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    reader = CalibrationImages(calibration)
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)  # it advises a preparation for graphs with norms
    try:
        quantize_static(str(exported), str(quantised), reader, quant_format=QuantFormat.QDQ, per_channel=True,
                        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                        reduce_range=products_saturate())
    finally:
        logging.getLogger().setLevel(level)


def products_saturate(cpuinfo: Path = Path('/proc/cpuinfo')) -> bool:
    """Whether sums of two products of 8-bit numbers, activation by weight, may be cut off at 16 bits here.

    On x86 without VNNI, ONNX Runtime multiplies with VPMADDUBSW, which does that; weights of 7 bits cannot reach so far
    (ONNX Runtime's documentation, "Quantize ONNX models", on ``reduce_range``). Other processors add in 32 bits.

    Args:
        cpuinfo: What Linux says about the processor. Where there is no such file, VNNI is not known, and on x86 the
            answer is True: a bit less costs little, cut off sums much.
    """
    if platform.machine().lower() not in ('x86_64', 'amd64', 'i386', 'i686', 'x86'):
        return False
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    flags = next((line.partition(':')[2].split() for line in lines if line.startswith('flags')), [])
    return not {'avx512_vnni', 'avx_vnni'} & set(flags)


class CalibrationImages:
    """Calibration batches, one after another, as ONNX Runtime asks for them.

    Raises:
        ValueError: If there are none.
    """

    def __init__(self, batches: Iterable[Tensor]) -> None:
        self._batches = iter(batches)
        try:
            self._first: Tensor | None = next(self._batches)
        except StopIteration:
            raise ValueError("precision='int8' is calibrated on images and got none: give some frames such as the "
                             'model will see, 8 or more, as `calibration`.') from None

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch by the name of the input; None at the end."""
        batch, self._first = self._first, None
        if batch is None:
            batch = next(self._batches, None)
        return None if batch is None else dict(imgs=batch.detach().float().contiguous().numpy())


def import_onnxruntime() -> Any:
    """ONNX Runtime, which is optional.

    Raises:
        ModuleNotFoundError: Tells how to install it.
    """
    try:
        import onnx  # noqa: F401  its quantisation reads and writes with it
        import onnxruntime
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"precision='int8' needs {error.name}, which is not installed: pip install onnx "
                                  "onnxruntime (the extra 'int8').", name=error.name) from error
    return onnxruntime
