"""Scores, measurements and their tables. Importing this registers the metrics."""
from .driving_qa_metric import DrivingQAMetric
from .nuscenes_detection_metric import NuScenesDetectionMetric

__all__ = ['DrivingQAMetric', 'NuScenesDetectionMetric']
