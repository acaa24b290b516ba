"""The queries that become scene tokens: a family that ``scene_queries=dict(type=...)`` chooses from."""
from .query_set import QuerySet
from .unified import SceneQueries

__all__ = ['QuerySet', 'SceneQueries']
