"""The parts of the network and their wiring."""
from .attention import GlobalAttention
from .finite_losses import NonFiniteLossError
from .heads import BBox3DL1Cost, NMSFreeBBoxCoder, SceneDetectionHead
from .positional_encoding import CameraIDEncoding, Sine2DEncoding, SumEncoding
from .query_decoder import SceneQueryDecoder
from .query_denoising import QueryDenoising
from .scene_qformer import SceneQFormer
from .scene_queries import QuerySet, SceneQueries
from .single_level_fpn import SingleLevelFPN
from .surround_deformable_attention import SurroundDeformableAttention
from .token_projector import IdentityProjector, LinearProjector, MLPProjector

__all__ = [
    'BBox3DL1Cost', 'CameraIDEncoding', 'GlobalAttention', 'IdentityProjector', 'LinearProjector', 'MLPProjector',
    'NMSFreeBBoxCoder', 'NonFiniteLossError', 'QueryDenoising', 'QuerySet', 'SceneDetectionHead', 'SceneQFormer',
    'SceneQueries', 'SceneQueryDecoder', 'Sine2DEncoding', 'SingleLevelFPN', 'SumEncoding',
    'SurroundDeformableAttention'
]
