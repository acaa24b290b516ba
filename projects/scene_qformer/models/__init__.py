"""The parts of the network and their wiring."""
from ..finite_losses import NonFiniteLossError
from .attention import GlobalAttention
from .attention_maps import attention_weights, record_attention
from .backbones import TimmBackbone
from .blip2_decoder import Blip2QueryDecoder
from .blip2_weights import load_blip2_query_tokens, load_blip2_weights
from .heads import BBox3DL1Cost, ImageCenterHead, NMSFreeBBoxCoder, SceneDetectionHead
from .image_center_pretraining import ImageCenterPretraining
from .joint_scene_encoder import JointSceneEncoder
from .language import SceneLanguageModel
from .no_decoder import NoDecoder
from .positional_encoding import CameraIDEncoding, DepthBinEncoding, RayEncoding, Sine2DEncoding, SumEncoding
from .query_decoder import SceneQueryDecoder
from .query_denoising import QueryDenoising
from .scene_qformer import SceneQFormer
from .scene_queries import (
    AdaptiveSceneQueries,
    CameraGridQueries,
    GroupedSceneQueries,
    PatchQueries,
    ProposalQueries,
    QuerySet,
    ResidualSceneQueries,
    SceneQueries,
    SelectedSceneQueries,
)
from .scene_token_preprocessor import SceneTokenPreprocessor
from .single_level_fpn import SingleLevelFPN
from .surround_deformable_attention import SurroundDeformableAttention
from .surround_preprocessor import SurroundImagePreprocessor
from .surround_sampling import DefaultSampling, MMCVSampling, ReferenceSampling, TritonSampling, VectorizedSampling
from .token_position import PolarTokenPosition
from .token_projector import IdentityProjector, LinearProjector, MLPProjector
from .token_reader import TokenReader

__all__ = [
    'AdaptiveSceneQueries', 'BBox3DL1Cost', 'Blip2QueryDecoder', 'CameraGridQueries', 'CameraIDEncoding',
    'DefaultSampling', 'DepthBinEncoding', 'GlobalAttention', 'GroupedSceneQueries', 'IdentityProjector',
    'ImageCenterHead', 'ImageCenterPretraining', 'JointSceneEncoder', 'LinearProjector', 'MLPProjector', 'MMCVSampling',
    'NMSFreeBBoxCoder', 'NoDecoder', 'NonFiniteLossError', 'PatchQueries', 'PolarTokenPosition', 'ProposalQueries',
    'QueryDenoising', 'QuerySet', 'RayEncoding', 'ReferenceSampling', 'ResidualSceneQueries', 'SceneDetectionHead',
    'SceneLanguageModel', 'SceneQFormer', 'SceneQueries', 'SceneQueryDecoder', 'SceneTokenPreprocessor',
    'SelectedSceneQueries', 'Sine2DEncoding', 'SingleLevelFPN', 'SumEncoding', 'SurroundDeformableAttention',
    'SurroundImagePreprocessor', 'TimmBackbone', 'TokenReader', 'TritonSampling', 'VectorizedSampling',
    'attention_weights', 'load_blip2_query_tokens', 'load_blip2_weights', 'record_attention'
]
