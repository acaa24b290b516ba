import os

import pytest
import torch

from scene_qformer.engine import find_whole_checkpoint
from scene_qformer.engine.whole_checkpoint import set_aside


def write(path, age, whole=True):
    path.parent.mkdir(exist_ok=True)
    torch.save(dict(meta={}, optimizer={}), path) if whole else path.write_bytes(b'torn')
    os.utime(path, (1000 - age, 1000 - age))
    return path


def note(folder, path, age):
    (folder / 'last_checkpoint').write_text(str(path))
    os.utime(folder / 'last_checkpoint', (1000 - age, 1000 - age))


def test_nothing_there(tmp_path):
    assert find_whole_checkpoint(tmp_path / 'new') == (None, {})


def test_what_is_noted(tmp_path):
    write(tmp_path / 'epoch_24.pth', age=50)  # of an earlier training in this folder
    chosen = write(tmp_path / 'epoch_3.pth', age=5)
    note(tmp_path, chosen, age=4)
    assert find_whole_checkpoint(tmp_path) == (chosen, {})


def test_written_after_the_note(tmp_path):
    note(tmp_path, write(tmp_path / 'epoch_3.pth', age=5), age=4)
    chosen = write(tmp_path / 'epoch_4.pth', age=1)
    assert find_whole_checkpoint(tmp_path)[0] == chosen


def test_a_copied_folder_has_times_that_mean_nothing(tmp_path):
    write(tmp_path / 'epoch_2.pth', age=4)
    chosen = write(tmp_path / 'epoch_3.pth', age=5)
    note(tmp_path, '/where/it/was/trained/epoch_3.pth', age=3)
    assert find_whole_checkpoint(tmp_path)[0] == chosen


def test_before_a_torn_one(tmp_path):
    write(tmp_path / 'epoch_24.pth', age=50)
    chosen = write(tmp_path / 'epoch_2.pth', age=9)
    torn = write(tmp_path / 'epoch_3.pth', age=5, whole=False)
    note(tmp_path, torn, age=4)
    found, reasons = find_whole_checkpoint(tmp_path)
    assert found == chosen and 'epoch_3.pth cannot be read' in reasons[torn]


def test_in_another_folder(tmp_path):
    chosen = write(tmp_path / 'elsewhere' / 'iter_2.pth', age=9)
    note(tmp_path, write(tmp_path / 'elsewhere' / 'iter_4.pth', age=5, whole=False), age=4)
    assert find_whole_checkpoint(tmp_path)[0] == chosen


def test_best_and_published_ones_are_none(tmp_path):
    for name in ('best_mAP_epoch_3.pth', 'epoch_3-0123abcd.pth', 'model.pth', 'epoch_3.pth.torn'):
        write(tmp_path / name, age=1)
    assert find_whole_checkpoint(tmp_path) == (None, {})


def test_a_folder_is_left_to_those_who_wrote_it(tmp_path):
    (tmp_path / 'epoch_3').mkdir()  # as DeepSpeed does
    note(tmp_path, tmp_path / 'epoch_3', age=4)
    assert find_whole_checkpoint(tmp_path)[0] == tmp_path / 'epoch_3'


def test_what_is_set_aside_replaces_nothing(tmp_path):
    for expected in ('epoch_3.pth.torn', 'epoch_3.pth.torn-2', 'epoch_3.pth.torn-3'):
        path = write(tmp_path / 'epoch_3.pth', age=1, whole=False)
        (tmp_path / 'epoch_3.pth.sha256').write_text('digest')
        assert set_aside(path).name == expected
        assert (tmp_path / f'{expected}.sha256').is_file() and not (tmp_path / 'epoch_3.pth.sha256').exists()


def test_gone(tmp_path):
    note(tmp_path, tmp_path / 'epoch_3.pth', age=4)
    with pytest.raises(FileNotFoundError, match='remove last_checkpoint to start anew'):
        find_whole_checkpoint(tmp_path)
