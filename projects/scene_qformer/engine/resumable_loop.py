"""Training by epochs that goes on in the middle of one."""
from __future__ import annotations

import math

from mmengine.dist import get_world_size
from mmengine.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop


@LOOPS.register_module()
class ResumableEpochTrainLoop(EpochBasedTrainLoop):
    """mmengine's ``EpochBasedTrainLoop``, but a checkpoint of the middle of an epoch goes on there.

    mmengine's would train on the whole epoch again. It would also leave out the validation that follows an epoch if it
    was killed during it; here a training that resumes at the end of an epoch validates first, if a validation was due.

    The position in an epoch is counted in samples that all processes have had together, so that a training may go on
    with another batch size or another number of processes, and still sees each sample of the epoch once.
    :class:`ExactResumeHook` writes it into checkpoints, and ``ResumableSampler`` starts there.

    Raises:
        ValueError: If training resumes in the middle of an epoch with a sampler that cannot.
    """

    samples_done = 0  # of the current epoch, by all processes

    def run(self):
        """Launch training."""
        self.runner.call_hook('before_train')
        if self._epoch > 0 and not self.samples_done:
            self._validate_if_due()
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._validate_if_due()
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self) -> None:
        """Train on what is left of an epoch."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        self._set_sampler()
        sizes, total = self._joint_batches(), len(self.dataloader.dataset)
        first = len(self.dataloader) - len(sizes)
        for size, (idx, data_batch) in zip(sizes, enumerate(self.dataloader, first), strict=True):
            self.samples_done = min(self.samples_done + size, total)
            self.run_iter(idx, data_batch)
        self.samples_done = 0  # before checkpoints of whole epochs, which hooks save now
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _joint_batches(self) -> list[int]:
        """Of each step of the rest of the epoch, how many samples all processes have together."""
        batches = self.dataloader.batch_sampler
        if hasattr(batches, 'joint_batches'):
            return batches.joint_batches(self.samples_done)
        size = batch_size_of_all(self.dataloader)
        if not self.samples_done:
            return [size] * len(self.dataloader)
        left = (len(self.dataloader.dataset) - self.samples_done) / size
        return [size] * (math.floor(left) if self.dataloader.drop_last else math.ceil(left))

    def _set_sampler(self) -> None:
        # torch gives a loader with a batch sampler another one, which nobody asks
        batches = self.dataloader.batch_sampler
        sampler = batches.sampler if hasattr(batches, 'joint_batches') else self.dataloader.sampler
        if hasattr(sampler, 'set_position'):
            sampler.set_position(self.samples_done)
        elif self.samples_done:
            raise ValueError(f'The checkpoint was written {self.samples_done} samples into an epoch, and '
                             f'{type(sampler).__name__} cannot start there. Set train_dataloader.sampler.type='
                             'ResumableSampler, which has the order of DefaultSampler, or resume from the end of an '
                             'epoch.')

    def _validate_if_due(self) -> None:
        self._decide_current_val_interval()
        if (self.runner.val_loop is not None and self._epoch >= self.val_begin
                and (self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs)):
            self.runner.val_loop.run()


def batch_size_of_all(dataloader) -> int:
    """Samples a step, of all processes."""
    size = dataloader.batch_size or getattr(dataloader.batch_sampler, 'batch_size', 1)
    return size * get_world_size()
