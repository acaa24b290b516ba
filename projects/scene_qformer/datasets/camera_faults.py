"""What happens to a frame of which a camera cannot be used: its file, its entry or its calibration is broken.

``on_fault`` of the dataset decides, for all three alike; it travels with each frame to the transforms.

- ``stop``: an error that names file, camera and sample.
- ``skip``, in training: another frame takes its place, the next one that is whole. Nothing is drawn at random, so
  that what is trained on does not depend on who loads it. In a test it is refused: metrics want every sample.
- ``mask``: the camera is marked as missing (``camera_mask``), and the model does without it; see
  ``models/camera_mask.py``. A frame without any camera left is an error.

Who was skipped or masked, and why, rides on the data sample: ``skipped_samples`` and ``camera_faults``, both name to
reason. ``LoadingFaultsHook`` tells and counts them, from whichever worker they come.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

POLICIES = ('stop', 'skip', 'mask')
MAX_SKIPPED = 16  # frames in a row: where so many are broken, something else is


class UnusableFrame(ValueError):
    """A frame that is to be skipped.

    Args:
        token: Of the sample.
        reason: Why.
    """

    def __init__(self, token: str | None, reason: str) -> None:
        super().__init__(token, reason)  # both, so that it can be pickled
        self.token, self.reason = str(token), reason

    def __str__(self) -> str:
        return self.reason


def check_policy(on_fault: str, test_mode: bool = False) -> None:
    """Check what a config says.

    Raises:
        ValueError: If there is no such policy, or samples of a test are to be skipped.
    """
    if on_fault not in POLICIES:
        raise ValueError(f'Expected on_fault to be one of {", ".join(map(repr, POLICIES))}, got {on_fault!r}.')
    if on_fault == 'skip' and test_mode:
        raise ValueError("on_fault='skip' is for training: in a test every sample counts, and the official metric "
                         "wants them all. Use on_fault='mask', which does without the broken camera, or 'stop'.")


def policy_of(results: Mapping) -> str:
    """The policy that a frame brings to its transforms."""
    return results.get('on_fault', 'stop')


def absent_camera(reason: str) -> dict:
    """What stands for a camera that cannot be used among a frame's ``images``."""
    return dict(fault=reason)


def fault_of(camera: Mapping) -> str | None:
    """Why a camera cannot be used, if that was known before its image was looked for."""
    return camera.get('fault')


def check_some_frame_has(frames: Sequence[Mapping], cam_names: Sequence[str], path: str | Path) -> None:
    """A camera that no frame has is not broken but misspelt.

    Raises:
        ValueError: Names it.
    """
    with_images = [frame['images'] for frame in frames if 'images' in frame]
    for name in cam_names if with_images else ():
        faults = [fault_of(images[name]) for images in with_images]
        if None not in faults:
            raise ValueError(f'No frame of {path} has a camera {name} that can be used. The first one: {faults[0]}')


class TolerantFrames:
    """Mix-in of datasets, in front of their base and behind ``SeededSamples``: frames under a policy."""

    on_fault = 'stop'

    def set_policy(self, on_fault: str, test_mode: bool) -> None:
        """To be called before the base's ``__init__``, which may read the frames already.

        Raises:
            ValueError: See :func:`check_policy`.
        """
        check_policy(on_fault, test_mode)
        self.on_fault = on_fault

    def get_data_info(self, idx: int) -> dict:
        """As the base's; tells the transforms the policy, unless it is ``stop``."""
        info = super().get_data_info(idx)  # type: ignore[misc]
        return info if self.on_fault == 'stop' else dict(info, on_fault=self.on_fault)

    def prepare_data(self, idx: int) -> Any:
        """As the base's; with ``skip``, of the first frame from there on that can be used.

        Raises:
            ValueError: If so many in a row cannot that something else must be wrong.
        """
        if self.on_fault != 'skip':
            return super().prepare_data(idx)  # type: ignore[misc]
        skipped: dict[str, str] = {}
        total = len(self)  # type: ignore[arg-type]
        for step in range(min(MAX_SKIPPED, total)):
            try:
                data = super().prepare_data((idx + step) % total)  # type: ignore[misc]
            except UnusableFrame as fault:
                skipped[fault.token] = fault.reason
                continue
            if not skipped:
                return data
            if data is not None:  # else it is empty, and filter_empty_gt leaves it out
                return _note(data, skipped)
        raise ValueError(f'{len(skipped)} of {min(MAX_SKIPPED, total)} samples in a row cannot be used: that is no '
                         f'single broken file. Check data_root. The last one: {list(skipped.values())[-1]}')


def _note(data: dict, skipped: dict[str, str]) -> dict:
    """Write on a frame whose places it takes."""
    if 'data_samples' in data:
        data['data_samples'].set_metainfo(dict(skipped_samples=skipped))
        return data
    return dict(data, skipped_samples=skipped)
