"""The official nuScenes detection metric."""
from __future__ import annotations

from mmdet3d.evaluation import NuScenesMetric
from mmdet3d.registry import METRICS

from .every_sample_once import EverySampleOnce


@METRICS.register_module()
class NuScenesDetectionMetric(EverySampleOnce, NuScenesMetric):
    """mmdet3d's ``NuScenesMetric``, with its settings and names of scores, of every sample once.

    That one writes predictions into a dict by sample, so that of a sample that comes twice the last would count.
    """

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Scores of all samples together.

        Raises:
            ValueError: If a sample is missing or comes twice.
        """
        self.check_every_sample_once([result['sample_idx'] for result in results])
        return super().compute_metrics(results)
