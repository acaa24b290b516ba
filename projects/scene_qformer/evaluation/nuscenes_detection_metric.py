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
            ValueError: If a sample is missing or comes twice, or a prediction is not finite.
        """
        self.check_every_sample_once([result['sample_idx'] for result in results])
        for result in results:
            _check_finite(result)
        return super().compute_metrics(results)


def _check_finite(result: dict) -> None:
    """The official metric would score a box at NaN as one that is far from everything."""
    boxes = result['pred_instances_3d']
    for name, values in (('bboxes_3d', boxes['bboxes_3d'].tensor), ('scores_3d', boxes['scores_3d'])):
        bad = int((~values.isfinite()).sum())
        if bad:
            raise ValueError(f'The predictions of sample {result["sample_idx"]} are not finite: {bad} numbers of '
                             f'{name}. Of one sample: look at its images and calibration; of all: the checkpoint holds '
                             'such numbers, or float16 overflowed.')
