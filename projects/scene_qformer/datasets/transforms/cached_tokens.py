"""Frames whose images were read before: their scene tokens come from a cache on disk."""
from __future__ import annotations

from pathlib import Path

from mmcv.transforms import BaseTransform
from mmdet3d.registry import TRANSFORMS

from ...token_cache import SPACES, TokenCache
from .packing import PackSceneInputs

# What does not depend on the images' size.
_META_KEYS = ('cam_names', 'sample_idx', 'sample_token', 'scene_token', 'timestamp', 'ego2global', 'lidar2ego',
              'box_type_3d', 'box_mode_3d')


@TRANSFORMS.register_module()
class LoadSceneTokens(BaseTransform):
    """Read a frame's scene tokens from a cache that ``tools/extract_tokens.py`` wrote; no image is read.

    Required key: ``token``. Added key: ``scene_queries``, a tensor ``(Q, C)``, or ``(Q, D)`` in the space ``tokens``,
    in the cache's dtype.

    Args:
        cache: Folder of the cache.
        space: What the model expects: ``queries``, what a projector reads, one that can still be
            trained; or ``tokens``, which went through it.
        config: The encoder's config: the cache must hold what it gives. By default the one that the cache was made
            from, if that file still exists: then the cache must be as new as the file.
        checkpoint: The encoder's weights; likewise.
        verify: Compare each shard's sha256 with the index when it is first read.

    Raises:
        FileNotFoundError: If there is no cache.
        StaleTokenCacheError: If the cache was made from another config, other weights or other info files than there
            are now; see :meth:`scene_qformer.token_cache.TokenCache.check_current`.
        ValueError: If the cache is damaged or holds another space, or ``space`` is none.
    """

    def __init__(self,
                 cache: str | Path,
                 space: str = 'queries',
                 config: str | Path | None = None,
                 checkpoint: str | Path | None = None,
                 verify: bool = True) -> None:
        if space not in SPACES:
            raise ValueError(f'Expected space of LoadSceneTokens to be one of {", ".join(SPACES)}, got {space!r}.')
        self.cache = TokenCache(cache, verify)
        if space != self.cache.space:
            advice = ('The projector is part of the former: build TokenReader with projector=None and say '
                      "LoadSceneTokens(space='tokens')" if self.cache.space == 'tokens' else
                      "The former still need a projector: say LoadSceneTokens(space='queries')")
            raise ValueError(f'The token cache {cache} holds {self.cache.space} {self.cache.shape}, but {space} are '
                             f'wanted. {advice}, or extract the others (--space {space}).')
        self.cache.check_current(config, checkpoint)

    def check_frames(self, info_file: str | Path) -> None:
        """A data set's info file must be one of those that the cache was made from.

        Raises:
            StaleTokenCacheError: If it is none.
        """
        self.cache.check_frames(info_file)

    @property
    def source(self) -> dict[str, str]:
        """What tells an encoder whether these tokens are its own: ``space`` and ``weights_sha256``."""
        return dict(space=self.cache.space, weights_sha256=self.cache.provenance.weights_sha256)

    def transform(self, results: dict) -> dict:
        """Add ``scene_queries``.

        Raises:
            LookupError: If the cache does not hold the sample.
            ValueError: If its shard is damaged.
        """
        results['scene_queries'] = self.cache[results['token']]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(cache={str(self.cache.folder)!r}, space={self.cache.space!r})'


@TRANSFORMS.register_module()
class PackSceneTokens(PackSceneInputs):
    """Pack scene tokens instead of images, with the questions about the frame.

    Result::

        inputs:       scene_queries (Q, C); nothing, where LoadSceneTokens is not in the pipeline (a blind model)
        data_samples: Det3DDataSample with gt_text, and of the metainfo what does not depend on the images' size

    Args:
        keys: What to pack.
        meta_keys: What to keep in ``metainfo``.
    """

    INPUTS_KEYS = [*PackSceneInputs.INPUTS_KEYS, 'scene_queries']

    def __init__(self, keys: tuple[str, ...] = ('scene_queries', ), meta_keys: tuple[str, ...] = _META_KEYS) -> None:
        super().__init__(keys=keys, meta_keys=meta_keys)
