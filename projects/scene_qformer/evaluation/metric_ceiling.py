"""What a metric gives to perfect predictions: the ceiling that a model's score is to be compared with."""
from __future__ import annotations

import torch
from mmdet3d.datasets import Det3DDataset
from mmengine.evaluator import BaseMetric


def score_ground_truth(dataset: Det3DDataset, metric: BaseMetric) -> dict[str, float]:
    """Hand a dataset's own boxes to a 3D detection metric as predictions of score 1. No image is read.

    ``NuScenesMetric`` stays below 1 for classes that the frames lack (they count as AP 0) and, in NDS, for the
    attributes, which it guesses.

    Args:
        dataset: In test mode, with evaluation annotations.
        metric: E.g. mmdet3d's ``NuScenesMetric`` for the same frames.

    Returns:
        The metric's scores.

    Raises:
        ValueError: If the dataset has no evaluation annotations.
    """
    metric.dataset_meta = dataset.metainfo
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        if 'eval_ann_info' not in info:
            raise ValueError('Expected a dataset with test_mode=True and load_eval_anns=True, but frame '
                             f'{index} has no eval_ann_info.')
        labels = torch.from_numpy(info['eval_ann_info']['gt_labels_3d'])
        boxes = info['eval_ann_info']['gt_bboxes_3d']
        predicted = dict(bboxes_3d=boxes, labels_3d=labels, scores_3d=torch.ones(len(labels)))
        metric.process({}, [dict(pred_instances_3d=predicted, pred_instances={}, sample_idx=info['sample_idx'])])
    return metric.evaluate(len(dataset))
