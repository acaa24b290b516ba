"""What runs around the model: loading checkpoints safely, mixed precision, learning rates, the command line."""
from .bfloat16_optim_wrapper import BFloat16OptimWrapper, bfloat16_is_fast, cpu_multiplies_bfloat16
from .complete_checkpoint import DETECTION_PARTS, NO_WEIGHTS, TRAINING_PARTS, checkpoint_weights, require_weights
from .layer_decay import LayerDecayOptimWrapperConstructor
from .muon_adamw import MuonAdamW, MuonOptimWrapperConstructor
from .safe_checkpoint import load_from_safe_file
from .safe_file_handlers import DataOnlyPickleHandler, DataOnlyYamlHandler

__all__ = [
    'DETECTION_PARTS', 'NO_WEIGHTS', 'TRAINING_PARTS', 'BFloat16OptimWrapper', 'DataOnlyPickleHandler',
    'DataOnlyYamlHandler', 'LayerDecayOptimWrapperConstructor',
    'MuonAdamW', 'MuonOptimWrapperConstructor', 'bfloat16_is_fast', 'checkpoint_weights', 'cpu_multiplies_bfloat16',
    'load_from_safe_file', 'require_weights'
]
