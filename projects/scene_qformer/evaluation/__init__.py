"""Scores, measurements and their tables. Importing this registers the metrics."""
from .driving_qa_metric import DrivingQAMetric

__all__ = ['DrivingQAMetric']
