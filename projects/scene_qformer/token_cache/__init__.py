"""Scene tokens of a whole data set on disk: written once, resumable, verified on read, and never taken for others."""
from .provenance import SPACES, Provenance, StaleTokenCacheError, plain_test_dataset
from .reader import TokenCache
from .writer import TokenCacheWriter

__all__ = ['SPACES', 'Provenance', 'StaleTokenCacheError', 'TokenCache', 'TokenCacheWriter', 'plain_test_dataset']
