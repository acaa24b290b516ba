"""Checkpoints at intervals: old ones go when the new one is whole, and resuming takes the newest that is."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import find_latest_checkpoint

from ..durable_file import PARTIAL, write_durably
from .durable_backend import DurableBackend
from .resume_choice import agree_on_checkpoint
from .training_lock import lock_folder, lock_training, release_folder
from .whole_checkpoint import NOTE, training_checkpoints

OUTDATED = 'outdated_checkpoints'  # in the message hub: names of files that go when this checkpoint is on the disk


class _RemovesLater(DurableBackend):
    """A storage backend whose removals wait until what replaces the files is written.

    It removes nothing but files of one folder with the ending of checkpoints: what is outdated is named by a
    checkpoint, which may be of somebody else.
    """

    def __init__(self, folder: Path, ending: str) -> None:
        super().__init__()
        self.folder, self.ending = folder, ending
        self.outdated: list[str] = []

    def remove(self, filepath: str | Path) -> None:
        path = Path(filepath)
        if path.suffix == self.ending and path.parent.resolve() == self.folder.resolve():
            self.outdated.append(str(filepath))
        else:
            print_log(f'{path} is not removed, although the checkpoint says that it is outdated: it is no checkpoint '
                      f'in {self.folder}.', 'current', level=30)

    rmtree = remove

    def catch_up(self, keep: set[str]) -> None:
        """Remove what was to be removed, but for files that were written anew under the same names."""
        for path in dict.fromkeys(self.outdated):
            if path not in keep and self.isfile(path):
                super().remove(path)
            elif path not in keep and self.isdir(path):  # of DeepSpeed
                super().rmtree(path)
        self.outdated.clear()


@HOOKS.register_module()
class DurableCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, safe against kills, full disks and torn files.

    - Files, ``last_checkpoint`` too, are written aside and renamed, checkpoints with a digest beside them; see
      ``durable_file.py``.
    - What ``max_keep_ckpts`` and ``save_best`` outdate is removed after its successor is on the disk; if a kill comes
      in between, when training resumes.
    - Checkpoints that ``save_best`` writes have the number of the step after which they were written. mmengine's
      ``FlexibleRunner`` counts one more, in the checkpoint of the epoch, too, which is then written again: a training
      that resumed from it would leave an epoch out.
    - ``--resume`` without a path goes on from the newest checkpoint that is whole. Torn ones are reported and renamed
      to ``*.torn``. If none is whole, it stops; if there is none at all, as when a launcher starts a job for the first
      time, training begins. With mmengine's ``FlexibleRunner``, which loads before its hooks are called, that needs
      ``choose_checkpoint``, as in ``tools/train.py``.
    - One training at a time writes into a folder; see ``training_lock.py``.

    Checkpoints on remote storage are left to mmengine.

    Raises:
        RuntimeError: If another training writes into the folder.
        NotWrittenError: If the disk is full; the last checkpoint is intact.
        ValueError: On resuming, if no checkpoint is whole, or the one that is named holds no state of the optimizer.
    """

    file_backend: Any
    _place: dict[str, int] | None = None  # epoch and iteration of the checkpoint that is being written

    def before_run(self, runner: Any) -> None:
        """Choose what to resume from, before mmengine would, if ``choose_checkpoint`` has not done it."""
        if runner._resume is not True or runner._load_from is not None or runner._has_loaded:
            return
        lock_training([runner.work_dir])
        chosen = agree_on_checkpoint(runner.work_dir)
        runner._resume = chosen is not None
        # the first start begins from what the config begins from, as stage 2 does from stage 1
        runner._load_from = chosen or runner.cfg.get('begin_from')
        if hasattr(runner, 'strategy'):  # FlexibleRunner has looked before its hooks, and found nothing
            runner.load_or_resume()

    def before_train(self, runner: Any) -> None:
        """As mmengine's; and clear away what a kill left half written."""
        super().before_train(runner)
        if type(self.file_backend) is DurableBackend:
            self.file_backend = _RemovesLater(Path(self.out_dir), Path(self.filename_tmpl).suffix)
        folder = Path(self.out_dir)
        lock_training(self._folders(runner))
        if not is_main_process() or not folder.is_dir():
            return
        if runner._resume and isinstance(self.file_backend, _RemovesLater):
            self._remove_what_a_kill_left(runner, folder)
        for path in folder.glob(f'.*{PARTIAL}'):
            runner.logger.warning(f'{path} was being written when a training stopped; it is removed.')
            path.unlink(missing_ok=True)
        there = training_checkpoints(folder)
        if there and runner.iter == 0:
            runner.logger.warning(
                f'{folder} holds {len(there)} checkpoints of an earlier training, the newest {there[0].name}. This '
                'training begins anew and replaces those of the same names. To go on with the earlier one: --resume.')

    def after_train(self, runner: Any) -> None:
        """As mmengine's; and let others train here."""
        super().after_train(runner)
        for place in self._folders(runner):
            release_folder(place)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Put the place right; and see that no other training has come into the folder."""
        if is_main_process():
            for folder in self._folders(runner):
                lock_folder(folder)
        if self._place is not None:
            checkpoint['meta'].update(self._place)

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Refuse to resume without the state of the optimizer; mmengine would begin with a fresh one."""
        if runner._resume and 'optimizer' not in checkpoint:
            raise ValueError(
                'The checkpoint to resume from has no state of the optimizer: it was saved with save_optimizer=False, '
                'or is a best_*.pth or a published one. Resume from epoch_*.pth or iter_*.pth, or train anew from its '
                'weights: --cfg-options load_from=PATH, without --resume.')

    def _folders(self, runner: Any) -> list[str]:
        """Where it writes, less what is on remote storage."""
        local = isinstance(getattr(self, 'file_backend', None), DurableBackend)
        return list(dict.fromkeys([runner.work_dir, self.out_dir] if local else [runner.work_dir]))

    def _save_checkpoint_with_step(self, runner: Any, step: int, meta: dict) -> None:
        if not isinstance(self.file_backend, _RemovesLater):
            super()._save_checkpoint_with_step(runner, step, meta)
            return
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                oldest = self.filename_tmpl.format(self.keep_ckpt_ids.popleft())
                self.file_backend.remove(self.file_backend.join_path(self.out_dir, oldest))
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.message_hub.update_info(OUTDATED, [Path(path).name for path in self.file_backend.outdated])
        with self._placed(dict(epoch=meta['epoch'], iter=meta['iter'])):
            runner.save_checkpoint(self.out_dir, name, save_optimizer=self.save_optimizer,
                                   save_param_scheduler=self.save_param_scheduler, meta=meta, by_epoch=self.by_epoch,
                                   backend_args=self.backend_args, **self.args)
        if is_main_process():
            write_durably(Path(runner.work_dir) / NOTE, self.last_ckpt.encode())
            self._remove_outdated()

    def _save_best_checkpoint(self, runner: Any, metrics: dict) -> None:
        with self._placed(dict(epoch=runner.epoch, iter=runner.iter)):
            super()._save_best_checkpoint(runner, metrics)
        if isinstance(self.file_backend, _RemovesLater) and is_main_process():
            self._remove_outdated()

    @contextmanager
    def _placed(self, place: dict[str, int]) -> Iterator[None]:
        """Whatever is written inside is of this place; of several, the outermost holds."""
        outer, self._place = self._place, self._place or place
        try:
            yield
        finally:
            self._place = outer

    def _remove_what_a_kill_left(self, runner: Any, folder: Path) -> None:
        """Remove what the checkpoint that training goes on from was to replace, and nothing written since."""
        # FlexibleRunner finds by itself what mmengine's note names
        successor = Path(runner._load_from or find_latest_checkpoint(runner.work_dir) or '')
        if not successor.exists() or successor.resolve().parent != folder.resolve():
            return
        written = successor.stat().st_mtime_ns
        for name in runner.message_hub.runtime_info.get(OUTDATED, ()):
            path = folder / str(name)
            if path.exists() and path.stat().st_mtime_ns < written:
                runner.logger.info(f'{path} is outdated: {successor.name} has replaced it.')
                self.file_backend.remove(path)
        self._remove_outdated()

    def _remove_outdated(self) -> None:
        best = [getattr(self, 'best_ckpt_path', None), *getattr(self, 'best_ckpt_path_dict', {}).values()]
        self.file_backend.catch_up(keep={self.last_ckpt, *best} - {None})
