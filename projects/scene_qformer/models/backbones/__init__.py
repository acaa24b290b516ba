"""Image backbones beside mmdet's own."""
from .timm_backbone import TimmBackbone

__all__ = ['TimmBackbone']
