"""The queries that become scene tokens: a family that ``scene_queries=dict(type=...)`` chooses from."""
from .adaptive import AdaptiveSceneQueries
from .camera_grid import CameraGridQueries
from .grouped import GroupedSceneQueries
from .patches import PatchQueries
from .proposal_queries import ProposalQueries
from .query_set import QuerySet
from .residual import ResidualSceneQueries
from .selected import SelectedSceneQueries
from .unified import SceneQueries

__all__ = [
    'AdaptiveSceneQueries', 'CameraGridQueries', 'GroupedSceneQueries', 'PatchQueries', 'ProposalQueries', 'QuerySet',
    'ResidualSceneQueries', 'SceneQueries', 'SelectedSceneQueries'
]
