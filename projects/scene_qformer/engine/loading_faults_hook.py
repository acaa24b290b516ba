"""What loading left out is told and counted: skipped samples, masked cameras."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

NUM_TOLD = 5


def loading_faults(data_samples: Sequence) -> Iterator[tuple[str, str]]:
    """What loading left out of some frames, as their data samples tell it.

    Args:
        data_samples: Of the frames.

    Yields:
        ``skipped`` or ``masked``, and a sentence with the reason.
    """
    for sample in data_samples:
        token = sample.metainfo.get('sample_token', '?')
        for name, reason in sample.metainfo.get('skipped_samples', {}).items():
            yield 'skipped', f'Sample {name} was skipped, and {token} took its place: {reason}'
        for name, reason in sample.metainfo.get('camera_faults', {}).items():
            yield 'masked', f'Camera {name} of sample {token} is masked: {reason}'


@HOOKS.register_module()
class LoadingFaultsHook(Hook):
    """Says which samples were skipped and which cameras masked, and how many in all.

    The first ones are logged with their reasons as they come, those of other processes than the first with the totals
    of all, at the end of each epoch, validation and test. The facts come with the data samples (``skipped_samples``,
    ``camera_faults``), so that it does not matter which worker loaded them. Cameras that a transform dropped on purpose
    are no faults.

    Args:
        num_told: How many of a process are logged with their reasons in each of these spans; the rest is only counted.
    """

    priority = 'NORMAL'

    def __init__(self, num_told: int = NUM_TOLD) -> None:
        self.num_told = num_told
        self._found: dict[str, list[str]] = {}  # kind to reasons, of this span
        self._num_samples = 0

    def _note(self, runner: Runner, data_batch: Any) -> None:
        samples: Sequence = data_batch.get('data_samples') or () if isinstance(data_batch, dict) else ()
        self._num_samples += len(samples)
        for done, text in loading_faults(samples):
            found = self._found.setdefault(done, [])
            found.append(text)
            if len(found) <= self.num_told:
                runner.logger.warning(text)
            if len(found) == self.num_told:
                runner.logger.warning(f'Further ones that are {done} are counted, and told at the end.')

    def _tell(self, runner: Runner, span: str) -> None:
        here = self._num_samples, {kind: (len(found), found[:max(self.num_told, 1)])
                                   for kind, found in self._found.items()}
        self._found, self._num_samples = {}, 0
        everywhere = all_gather_object(here)  # all processes, also those that found nothing: they wait for each other
        num_samples = sum(num for num, _ in everywhere)
        for kind, noun in (('skipped', 'samples were skipped'), ('masked', 'cameras were masked')):
            counts = [found.get(kind, (0, [])) for _, found in everywhere]
            if total := sum(count for count, _ in counts):
                first = next(reasons[0] for _, reasons in counts if reasons)
                for rank, (_, reasons) in enumerate(counts):  # a logger of these says nothing
                    for text in reasons[:self.num_told] if rank else ():
                        runner.logger.warning(f'Process {rank}: {text}')
                runner.logger.warning(f'{span}: {total} {noun}, in {num_samples} samples. One: {first}')

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Before the step, so that what broke it is told, too."""
        self._note(runner, data_batch)

    def before_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Likewise."""
        self._note(runner, data_batch)

    def before_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Likewise."""
        self._note(runner, data_batch)

    def before_val_epoch(self, runner: Runner) -> None:
        """Validation may lie in the middle of a training by steps: tell what was found until here."""
        self._tell(runner, 'Training so far')

    def after_train_epoch(self, runner: Runner) -> None:
        """Tell the totals."""
        self._tell(runner, f'Training, epoch {runner.epoch + 1}')

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Likewise."""
        self._tell(runner, 'Validation')

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Likewise."""
        self._tell(runner, 'Test')
