"""What runs around the model: checkpoints, resuming, mixed precision, learning rates, processes, the command line."""
from ..durable_file import NotWrittenError
from .bfloat16_optim_wrapper import BFloat16OptimWrapper, bfloat16_is_fast, cpu_multiplies_bfloat16
from .complete_checkpoint import DETECTION_PARTS, NO_WEIGHTS, TRAINING_PARTS, checkpoint_weights, require_weights
from .durable_backend import DurableBackend
from .durable_checkpoint_hook import DurableCheckpointHook
from .exact_resume_hook import ExactResumeHook
from .finite_step_hook import FiniteStepHook, NonFiniteGradientError
from .layer_decay import LayerDecayOptimWrapperConstructor
from .loading_faults_hook import LoadingFaultsHook, loading_faults
from .loss_spike_hook import LossSpikeHook
from .muon_adamw import MuonAdamW, MuonOptimWrapperConstructor
from .process_group import join_processes
from .process_settings import ProcessGroupError
from .resumable_loop import ResumableEpochTrainLoop
from .resume_choice import choose_checkpoint
from .safe_checkpoint import NotReadError, load_from_safe_file
from .safe_file_handlers import DataOnlyPickleHandler, DataOnlyYamlHandler
from .sharded_strategy import ShardedStrategy
from .training_lock import lock_training
from .whole_checkpoint import find_whole_checkpoint
from .zero_strategy import ZeroOptimWrapper, ZeroStrategy

__all__ = [
    'BFloat16OptimWrapper', 'DETECTION_PARTS', 'DataOnlyPickleHandler', 'DataOnlyYamlHandler', 'DurableBackend',
    'DurableCheckpointHook', 'ExactResumeHook', 'FiniteStepHook', 'LayerDecayOptimWrapperConstructor',
    'LoadingFaultsHook', 'LossSpikeHook', 'MuonAdamW', 'MuonOptimWrapperConstructor', 'NO_WEIGHTS',
    'NonFiniteGradientError', 'NotReadError', 'NotWrittenError', 'ProcessGroupError', 'ResumableEpochTrainLoop',
    'ShardedStrategy', 'TRAINING_PARTS', 'ZeroOptimWrapper', 'ZeroStrategy', 'bfloat16_is_fast', 'checkpoint_weights',
    'choose_checkpoint', 'cpu_multiplies_bfloat16', 'find_whole_checkpoint', 'join_processes', 'load_from_safe_file',
    'loading_faults', 'lock_training', 'require_weights'
]
