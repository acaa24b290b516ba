"""Pictures: boxes on cameras and from above, attention, learning curves, scores by class.

Functions take images, matrices and boxes and return pictures, (H, W, 3) uint8 RGB; nothing is shown or written.
"""
from .attention_heat import QueryLook, attention_density, lay_heat
from .attention_view import draw_attention
from .birds_eye_view import draw_birds_eye_view
from .camera_view import SURROUND_LAYOUT, draw_camera_view, draw_surround_view
from .class_scores import draw_class_scores
from .frame_picture import draw_frame
from .frame_source import Frame, read_frame
from .gradient_norms import draw_gradient_norms
from .learning_curve import LearningCurve, draw_learning_curve, read_learning_curve
from .palette import CLASS_COLORS, TRUTH_COLOR, class_colors

__all__ = [
    'CLASS_COLORS', 'Frame', 'LearningCurve', 'QueryLook', 'SURROUND_LAYOUT', 'TRUTH_COLOR', 'attention_density',
    'class_colors', 'draw_attention', 'draw_birds_eye_view', 'draw_camera_view', 'draw_class_scores', 'draw_frame',
    'draw_gradient_norms', 'draw_learning_curve', 'draw_surround_view', 'lay_heat', 'read_frame',
    'read_learning_curve'
]
