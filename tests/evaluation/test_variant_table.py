import json

from scene_qformer.evaluation.variant_table import VariantResult, to_json, to_markdown

BASE = VariantResult('', 'plain', '', 2_000_000, {0: dict(mAP=0.1, NDS=0.2), 1: dict(mAP=0.2, NDS=0.3)}, 50.0)
FASTER = VariantResult('attention', 'A', "model.x=dict(type='A')", 1_234_567,
                       {0: dict(mAP=0.15, NDS=0.25), 1: dict(mAP=0.16, NDS=0.29)}, 25.0, (24.0, 27.5))
HALF = VariantResult('queries', 'B', "model.q=dict(type='B')", 2_000_001, {1: dict(mAP=0.5, NDS=0.6)})


def test_markdown():
    lines = to_markdown(BASE, [FASTER, HALF], (0, 1), dict(budget='6 epochs')).splitlines()
    assert lines[0] == '- budget: 6 epochs'
    assert lines[2] == ('|  | mAP, seed 0 | mAP, seed 1 | mAP | NDS, seed 0 | NDS, seed 1 | NDS | parameters | '
                        'ms a frame | of the base |')
    assert lines[4] == ('| **base: plain** | 0.100 | 0.200 | **0.150** | 0.200 | 0.300 | **0.250** | 2.00 M | 50.0 | '
                        '1.00 |')
    assert lines[5].startswith('| **attention** |')
    assert lines[6] == '| A | 0.150 | 0.160 | **0.155** | 0.250 | 0.290 | **0.270** | 1.23 M | 25.0 | 0.50 |'
    assert lines[8] == '| B | - | 0.500 | - | - | 0.600 | - | 2.00 M | - | - |'  # no mean of fewer seeds
    assert "- queries, B: `model.q=dict(type='B')`" in lines
    assert len({line.count('|') for line in lines if line.startswith('|')}) == 1


def test_json_is_not_rounded():
    read = json.loads(to_json(BASE, [FASTER], dict(budget='6 epochs')))
    assert read['results'][0]['parameters'] == 1_234_567
    assert read['results'][0]['scores']['1'] == dict(mAP=0.16, NDS=0.29)
    assert read['base']['milliseconds'] == 50.0 and read['facts'] == dict(budget='6 epochs')
