"""What runs around the model: loading checkpoints safely, mixed precision, learning rates, several processes, the
command line."""
from .bfloat16_optim_wrapper import BFloat16OptimWrapper, bfloat16_is_fast, cpu_multiplies_bfloat16
from .complete_checkpoint import DETECTION_PARTS, NO_WEIGHTS, TRAINING_PARTS, checkpoint_weights, require_weights
from .joint_batch_sampler import JointBatchSampler
from .layer_decay import LayerDecayOptimWrapperConstructor
from .muon_adamw import MuonAdamW, MuonOptimWrapperConstructor
from .process_group import ProcessGroupError, join_processes
from .safe_checkpoint import load_from_safe_file
from .safe_file_handlers import DataOnlyPickleHandler, DataOnlyYamlHandler
from .sharded_strategy import ShardedStrategy

__all__ = [
    'DETECTION_PARTS', 'NO_WEIGHTS', 'TRAINING_PARTS', 'BFloat16OptimWrapper', 'DataOnlyPickleHandler',
    'DataOnlyYamlHandler', 'JointBatchSampler', 'LayerDecayOptimWrapperConstructor', 'MuonAdamW',
    'MuonOptimWrapperConstructor', 'ProcessGroupError', 'ShardedStrategy', 'bfloat16_is_fast', 'checkpoint_weights',
    'cpu_multiplies_bfloat16', 'join_processes', 'load_from_safe_file', 'require_weights'
]
