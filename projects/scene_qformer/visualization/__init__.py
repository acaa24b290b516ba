"""Pictures: boxes on cameras and from above, learning curves, scores by class.

Functions take images, matrices and boxes and return pictures, (H, W, 3) uint8 RGB; nothing is shown or written.
"""
from .birds_eye_view import draw_birds_eye_view
from .camera_view import SURROUND_LAYOUT, draw_camera_view, draw_surround_view
from .class_scores import draw_class_scores
from .frame_picture import draw_frame
from .frame_source import Frame, read_frame
from .learning_curve import LearningCurve, draw_learning_curve, read_learning_curve
from .palette import CLASS_COLORS, TRUTH_COLOR, class_colors

__all__ = [
    'CLASS_COLORS', 'Frame', 'LearningCurve', 'SURROUND_LAYOUT', 'TRUTH_COLOR', 'class_colors', 'draw_birds_eye_view',
    'draw_camera_view', 'draw_class_scores', 'draw_frame', 'draw_learning_curve', 'draw_surround_view', 'read_frame',
    'read_learning_curve'
]
