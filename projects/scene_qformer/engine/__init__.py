"""What runs around the model: loading checkpoints safely."""
from .safe_checkpoint import load_from_safe_file

__all__ = ['load_from_safe_file']
