"""What a training that is to resume goes on from: chosen once, and the same in all processes."""
from __future__ import annotations

import os

from mmengine.config import Config
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import print_log

from .whole_checkpoint import NOTE, find_whole_checkpoint, set_aside


def choose_checkpoint(cfg: Config) -> None:
    """Put what a training goes on from into its config, where that says ``resume=True`` alone.

    To be called after ``join_processes``, before a runner is built: mmengine's ``FlexibleRunner``, which sharded models
    need, loads before it calls a hook.

    Args:
        cfg: Of the training. ``load_from`` becomes the newest whole checkpoint of ``work_dir``; if there is none at
            all, as on the first start of a job, ``resume`` becomes False and ``load_from`` what ``begin_from`` names.

    Raises:
        OSError: As :func:`agree_on_checkpoint`.
        ValueError: As :func:`agree_on_checkpoint`; or if torchrun may restart a training that says from which file it
            resumes, which each time would be that file.
    """
    restarts = os.environ.get('TORCHELASTIC_MAX_RESTARTS', '0')
    if cfg.get('resume') and cfg.get('load_from') is not None and restarts != '0':
        raise ValueError(f'torchrun may start this training anew {restarts} times, and each time it would go back to '
                         f'{cfg.load_from} and write over what it has done since. Write that path into '
                         f'{os.path.join(cfg.work_dir, NOTE)}, and say --resume alone; or start without restarts.')
    if cfg.get('resume') is not True or cfg.get('load_from') is not None:
        return
    chosen = agree_on_checkpoint(os.path.abspath(cfg.work_dir))
    cfg.resume = chosen is not None
    cfg.load_from = chosen or cfg.get('begin_from')


def agree_on_checkpoint(work_dir: str) -> str | None:
    """The newest whole checkpoint of a folder, or None. Torn ones are reported and renamed.

    Only the first process looks: another may see the folder a moment later.

    Raises:
        OSError: On all processes, if what is named is gone, or cannot be read or renamed.
        ValueError: On all processes, if there are checkpoints and none is whole.
    """
    answer: list = [_find(work_dir) if is_main_process() else None]
    broadcast_object_list(answer)
    if isinstance(answer[0], Exception):
        raise answer[0]
    return answer[0]


def _find(work_dir: str) -> str | Exception | None:
    try:
        found = find_whole_checkpoint(work_dir)
        for path, reason in found.torn.items():
            _warn(f'A checkpoint is passed over. {reason}\nIt is kept as {set_aside(path).name}.')
        for reason in found.passed_over.values():
            _warn(f'A checkpoint is passed over. {reason}')
    except (OSError, ValueError) as error:  # every process is to stop with it
        return error
    if found.path is None:
        _warn(f'There is no checkpoint in {work_dir} to resume from: training begins.')
        return None
    return str(found.path)


def _warn(message: str) -> None:
    print_log(message, 'current', level=30)
