"""One experiment over several runs: its settings, what its folders hold already, and how long it trains."""
from __future__ import annotations

import json
import time
from pathlib import Path

from mmengine.config import Config

from .durable_file import OF_A_TOOL, write_durably
from .evaluation.results_table import read_scores


def epoch_options(cfg: Config, epochs: int) -> list[str]:
    """``--cfg-options`` that make a config train for ``epochs``, its learning rate schedule stretched along."""
    old = cfg.train_cfg.max_epochs
    options = [f'train_cfg.max_epochs={epochs}', f'train_cfg.val_interval={min(cfg.train_cfg.val_interval, epochs)}']
    for index, schedule in enumerate(cfg.param_scheduler):
        if schedule.get('by_epoch', True):
            ends = [key for key in ('end', 'T_max') if schedule.get(key) == old]
            options += [f'param_scheduler.{index}.{key}={epochs}' for key in ends]
    return options


def train_by_heart(cfg: Config, steps: int, batch_size: int) -> None:
    """Make a config train for some steps on few frames: no augmentation, and one checkpoint, at the end.

    The learning rate rises for up to 50 steps and falls to a thousandth. There is no validation: the caller validates,
    as mmengine's loop would do it once more after the last step.

    Args:
        cfg: With ``train_dataloader``; changed.
        steps: Of training.
        batch_size: Frames a step.
    """
    train = cfg.train_dataloader
    train.dataset.pipeline = [step for step in train.dataset.pipeline
                              if not step.type.startswith('Random') and step.type != 'MultiViewWrapper']
    train.batch_size = batch_size
    # mmengine's loop would wait 2 s at the end of every epoch, and an epoch is a few steps
    train.sampler = dict(type='InfiniteSampler', shuffle=True)
    train.batch_sampler = None
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=steps, val_begin=steps + 1)
    warm_up = max(min(50, steps // 2), 1)
    cfg.param_scheduler = [
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=warm_up),
        dict(type='CosineAnnealingLR', by_epoch=False, begin=0, end=steps, T_max=steps, eta_min_ratio=1e-3),
    ]
    cfg.default_hooks.checkpoint = dict(
        type='DurableCheckpointHook', by_epoch=False, interval=steps, save_optimizer=False)
    cfg.log_processor.by_epoch = False


def keep_other_results(out: Path, settings: dict) -> None:
    """Move results aside whose note says other settings, or is damaged; and note the settings of these.

    Raises:
        OSError: If the note cannot be read now.
    """
    note = out / 'settings.json'
    strange = _strange(note, settings) if note.exists() else None
    if strange:
        aside = out.with_name(f'{out.name}_until_{time.strftime("%Y%m%d_%H%M%S")}')
        out.rename(aside)
        print(f'{out} held results {strange}; they are now in {aside}')
    out.mkdir(parents=True, exist_ok=True)
    write_durably(note, f'{json.dumps(settings, indent=2)}\n'.encode(), OF_A_TOOL)


def _strange(note: Path, settings: dict) -> str | None:
    """What a note says of results that are not of these settings; None if they are."""
    try:
        noted = json.loads(note.read_text())
    except (IsADirectoryError, ValueError, RecursionError) as error:
        return f'whose settings cannot be told, as {note.name} is damaged ({type(error).__name__})'
    if not isinstance(noted, dict):
        return f'whose settings cannot be told, as {note.name} holds no settings'
    return None if noted == settings else 'of other settings'


def last_epoch(train_dir: Path) -> int:
    """Epochs that the last checkpoint of a work directory has seen; 0 if there is none."""
    note = train_dir / 'last_checkpoint'
    return int(Path(note.read_text().strip()).stem.removeprefix('epoch_')) if note.is_file() else 0


def has_scores(work_dir: Path) -> bool:
    """Whether a test run ended in this work directory."""
    try:
        read_scores(work_dir)
    except FileNotFoundError:
        return False
    return True
