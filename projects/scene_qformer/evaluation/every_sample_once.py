"""Scores are of every sample once, however many processes have made the predictions."""
from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

from mmengine.evaluator import BaseMetric


class EverySampleOnce(BaseMetric):
    """A metric that refuses results in which a sample is missing or comes twice.

    ``DefaultSampler`` gives all processes equally many samples, and to that end repeats some. mmengine puts the results
    of the processes together in the order in which it dealt the samples out, and cuts the repeated ones off, which are
    then the last. With any other order, such as that of a sampler that shuffles, or that gives each process the whole
    data set, it cuts off others, and says nothing.
    """

    num_samples: int | None = None  # of the data set; None before evaluate()

    def evaluate(self, size: int) -> dict:
        """As mmengine's; ``size`` is the number of samples in the data set."""
        self.num_samples = size
        return super().evaluate(size)

    def check_every_sample_once(self, names: Sequence[Hashable]) -> None:
        """To be called by ``compute_metrics``.

        Args:
            names: Of the samples whose results there are.

        Raises:
            ValueError: If there are not as many as samples, or one comes twice.
        """
        twice = [name for name, number in Counter(names).items() if number > 1]
        seen = len(set(names))
        expected = seen if self.num_samples is None else self.num_samples
        if not twice and seen == expected:
            return
        examples = f' ({", ".join(map(str, twice[:3]))}{" ..." if len(twice) > 3 else ""})' if twice else ''
        raise ValueError(
            f'{type(self).__name__} got results of {seen} of the {expected} samples, and {len(twice)} came '
            f"twice{examples}, but scores are of each once. Test with sampler=dict(type='DefaultSampler', "
            'shuffle=False), without a batch_sampler, and with drop_last=False.')
