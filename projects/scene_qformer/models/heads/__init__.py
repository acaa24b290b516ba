"""Heads on the scene queries."""
from .box_coder import NMSFreeBBoxCoder
from .image_center_head import ImageCenterHead
from .match_cost import BBox3DL1Cost
from .scene_detection_head import SceneDetectionHead

__all__ = ['BBox3DL1Cost', 'ImageCenterHead', 'NMSFreeBBoxCoder', 'SceneDetectionHead']
