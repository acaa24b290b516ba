import json

import pytest

from scene_qformer.benchmark.table import Table, to_json, to_markdown
from scene_qformer.benchmark.timing import Timing

TIMINGS = dict(slow=Timing((0.2, 0.4, 0.6), 3 * 2 ** 20), fast=Timing((0.1, 0.1, 0.5), None))


def table(**options):
    return Table(**{**dict(title='Both ways', timings=TIMINGS, baseline='slow', samples=6, unit='frame'), **options})


def test_markdown_by_hand():
    text = to_markdown(table(floor=0.05, facts=['two of them'], aims=dict(fast=5), notes=dict(fast='1e-3'),
                             notes_title='error'))
    assert text == '''### Both ways

- two of them

|  | ms (quartiles) | frames a second | times as fast | peak memory | of the floor | aim | error |
|---|---:|---:|---:|---:|---:|---:|---:|
| slow (baseline) | 400 (300 to 500) | 15 | 1.00 | 3 MiB | 8 x |  |  |
| fast | 100 (100 to 300) | 60 | 4.00 | - | 2 x | 5x: missed | 1e-3 |

Floor: 50 ms.
'''


def test_floors_of_ways():
    text = to_markdown(table(floor=0.05, floors=dict(fast=0.1)))
    assert '| 8 x |' in text and '| 1 x |' in text
    assert '| - | - |' in to_markdown(table(floor=0.05, floors=dict(fast=None)))


def test_columns_without_anything_are_left_out():
    bare = to_markdown(table(timings=dict(slow=Timing((0.2, ))), samples=1))
    assert '| slow (baseline) | 200 (200 to 200) | 5 | 1.00 |\n' in bare and 'floor' not in bare and 'peak' not in bare


@pytest.mark.parametrize(('aim', 'verdict'), [(4, '4x: met'), (4.1, '4.1x: missed')])
def test_verdicts(aim, verdict):
    assert table(aims=dict(fast=aim)).verdict('fast') == verdict
    assert table(aims=dict(fast=aim)).verdict('slow') == ''


def test_json_holds_all_numbers():
    content = json.loads(to_json([table(aims=dict(fast=5))], dict(machine='a clock')))
    assert content['machine'] == dict(machine='a clock')
    way = content['tables'][0]['ways']['fast']
    assert way == dict(seconds=[0.1, 0.1, 0.5], peak_bytes=None, system_seconds=[], median=0.1, times_as_fast=4.0,
                       floor=None, aim=5, note=None)


def test_a_baseline_must_be_timed():
    with pytest.raises(ValueError, match="baseline 'other' of 'Both ways' was not timed; there are slow, fast"):
        table(baseline='other')
