import pytest
import torch

from scene_qformer.engine import bfloat16_is_fast


@pytest.mark.parametrize(('probes', 'fast'), [
    (dict(_is_avx512_bf16_supported=True, _is_amx_tile_supported=False), True),
    (dict(_is_avx512_bf16_supported=False, _is_amx_tile_supported=True), True),
    (dict(_is_avx512_bf16_supported=False, _is_amx_tile_supported=False), False),
    (dict(_is_avx512_bf16_supported=None, _is_amx_tile_supported=None), False),
], ids=['avx512', 'amx', 'neither', 'unknown torch'])
def test_mixed_precision_only_where_the_machine_has_it(probes, fast, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    for name, answer in probes.items():
        monkeypatch.setattr(torch.cpu, name, None if answer is None else lambda answer=answer: answer, raising=False)
    assert bfloat16_is_fast() is fast
