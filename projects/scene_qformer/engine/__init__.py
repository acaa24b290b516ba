"""What runs around the model: loading checkpoints safely, mixed precision, learning rates, the command line."""
from .bfloat16_optim_wrapper import BFloat16OptimWrapper, bfloat16_is_fast
from .layer_decay import LayerDecayOptimWrapperConstructor
from .safe_checkpoint import load_from_safe_file

__all__ = ['BFloat16OptimWrapper', 'LayerDecayOptimWrapperConstructor', 'bfloat16_is_fast', 'load_from_safe_file']
