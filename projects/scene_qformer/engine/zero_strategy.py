"""Training whose gradients and optimizer state are spread over processes by DeepSpeed (ZeRO)."""
from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine._strategy.deepspeed import DeepSpeedOptimWrapper, DeepSpeedStrategy
from mmengine.registry import OPTIM_WRAPPERS, STRATEGIES
from mmengine.runner.checkpoint import _load_checkpoint, _load_checkpoint_to_model

OPTIMIZER = 'optimizer'  # where hooks look for its state, as of other runners


@STRATEGIES.register_module()
class ZeroStrategy(DeepSpeedStrategy):
    """mmengine's ``DeepSpeedStrategy``, whose checkpoints hold what hooks keep: the position in the epoch and more.

    mmengine's takes the runner's callbacks and does not call them. DeepSpeed writes the weights and the state of the
    optimizer into files of its own; hooks see everything else, and under ``optimizer`` an empty dict, if its state is
    there.

    A checkpoint is a folder, which the processes write together: it is neither written aside nor has it a digest.
    DeepSpeed reads it by pickle, which executes what is in it: load your own alone.

    Args:
        **kwargs: As ``DeepSpeedStrategy``'s; what it does not name goes into ``config``.

    Raises:
        AssertionError: If DeepSpeed is not installed.
    """

    def prepare(self, model: Any, *, dispatch_kwargs: dict | None = None, **kwargs: Any) -> tuple:
        """As the base's. DeepSpeed wants the batch size, which mmengine's runner hands to its own class alone."""
        self.config.setdefault('train_micro_batch_size_per_gpu',
                               (dispatch_kwargs or {}).get('train_micro_batch_size_per_gpu', 1))
        return super().prepare(model, dispatch_kwargs=dispatch_kwargs, **kwargs)

    def save_checkpoint(self, filename: str, *, save_optimizer: bool = True, save_param_scheduler: bool = True,
                        extra_ckpt: dict | None = None, callback: Callable[[dict], Any] | None = None) -> None:
        """As the base's; ``callback`` is handed what will be kept beside weights and optimizer, and may add to it."""
        extra = {} if extra_ckpt is None else extra_ckpt
        if callback is not None:
            if save_optimizer:
                extra[OPTIMIZER] = {}
            callback(extra)
            extra.pop(OPTIMIZER, None)  # DeepSpeed's own name
        super().save_checkpoint(filename, save_optimizer=save_optimizer, save_param_scheduler=save_param_scheduler,
                                extra_ckpt=extra)

    def load_checkpoint(self, filename: str, *, callback: Callable[[dict], Any] | None = None, **kwargs: Any) -> dict:
        """As the base's, and also the weights of a file, as other trainings write it: a stage before this one.

        Args:
            filename: Folder of DeepSpeed, or a file.
            callback: Is handed what the file holds, or was kept beside the weights.
            **kwargs: ``map_location``, ``strict`` and ``revise_keys``, for a file.

        Raises:
            ValueError: If it is a file and each process has a part of the weights alone (stage 3).
        """
        if os.path.isfile(filename):
            extra = self._load_file(filename, **kwargs)
        else:
            extra = super().load_checkpoint(filename, **kwargs)
        if callback is not None:
            callback(extra)
        return extra

    def _load_file(self, filename: str, map_location: Any = 'cpu', strict: bool = False,
                   revise_keys: Sequence[tuple[str, str]] = ((r'^module.', ''), )) -> dict:
        engine = self.model.model
        if engine.zero_optimization_partition_weights():
            raise ValueError(f'{filename} holds whole weights, and in stage 3 of ZeRO each process has a part of them: '
                             'begin with stage 2 (zero_optimization.stage).')
        self.logger.info(f'Load checkpoint from {filename}')
        content = _load_checkpoint(filename, map_location=map_location, logger=self.logger)
        _load_checkpoint_to_model(engine.module, content, strict, revise_keys=list(revise_keys))
        if hasattr(engine.optimizer, 'refresh_fp32_params'):  # those that it steps on are copies
            engine.optimizer.refresh_fp32_params()
        return content

    def resume(self, filename: str, *, resume_optimizer: bool = True, callback: Callable[[dict], Any] | None = None,
               **kwargs: Any) -> dict:
        """As the base's; ``callback`` is handed what was kept beside weights and optimizer."""
        extra = super().resume(filename, resume_optimizer=resume_optimizer, **kwargs)
        if callback is not None:
            callback({**extra, OPTIMIZER: {}} if resume_optimizer else extra)
        return extra


@OPTIM_WRAPPERS.register_module()
class ZeroOptimWrapper(DeepSpeedOptimWrapper):
    """mmengine's wrapper of DeepSpeed's steps, which also steps on CPUs.

    There, weights are gathered by gloo into views, which PyTorch refuses while gradients are being recorded.
    """

    def step(self, **kwargs: Any) -> None:
        """Update the parameters."""
        with torch.no_grad():
            super().step(**kwargs)
