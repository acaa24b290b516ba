"""What runs around the model: loading checkpoints safely, mixed precision, the command line."""
from .bfloat16_optim_wrapper import BFloat16OptimWrapper
from .safe_checkpoint import load_from_safe_file

__all__ = ['BFloat16OptimWrapper', 'load_from_safe_file']
