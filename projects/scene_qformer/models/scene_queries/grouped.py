"""Named groups of queries: what each is for, and who must not see whom."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule, ModuleDict
from torch import Tensor

from .query_set import QuerySet
from .unified import SceneQueries


@MODELS.register_module()
class GroupedSceneQueries(BaseModule):
    """Several kinds of scene queries side by side, each under a name.

    A head takes part in one group (``bbox_head=dict(query_group='objects')``), the language model gets the groups in
    ``token_groups``, and a group can be made blind to others. This is the layout of OmniDrive (Wang et al., arXiv
    2405.01533, section on Q-Former3D) and ORION: *carriers*, 256 of detection, 1 of the ego vehicle and 256 of the
    map, go to the language model, 513 tokens; beside them stand perception queries (600 for detection in OmniDrive's
    configs) that answer to the head. Carriers see the perception queries and collect what these found; perception
    queries are blind to the carriers, so that detection stays what it is without a language model. (There, detection
    and map run through separate decoders, and the ego token comes from the CAN bus.)

    With groups ``a`` of one query, ``b`` of two and ``blind=dict(b=['a'])``, x is forbidden::

              a0 b0 b1
          a0  .  .  .      a sees everything
          b0  x  .  .      b sees only itself
          b1  x  .  .

    Blindness holds between the two groups named and is not inherited: where b is blind to a, but sees c, which sees
    a, there b learns of a in the next layer.

    Learned reference points of all groups start as one Sobol sequence, each group where the one before it ends: no two
    queries start at the same point, and together they are spread as one set is.

    Args:
        groups: Config of each group's queries by the group's name, in order of the queries; any kind of scene queries,
            ``SceneQueries`` where no ``type`` is given. Not groups again.
        blind: For each group that is to be blind, the names of the groups that it must not see.
        token_groups: Names of the groups that become scene tokens, in this order; all by default.
        embed_dims: Channels C, of all groups.

    Raises:
        ValueError: If there is no group, ``token_groups`` is empty, a name in it or in ``blind`` is not among the
            groups, a group is to be blind to itself, or holds groups.
    """

    def __init__(self,
                 groups: Mapping[str, dict],
                 blind: Mapping[str, Sequence[str]] | None = None,
                 token_groups: Sequence[str] | None = None,
                 embed_dims: int = 256) -> None:
        super().__init__()
        if not groups:
            raise ValueError('GroupedSceneQueries needs at least one group: groups=dict(det=dict(num_queries=256)).')
        self.blind = {name: tuple(unseen) for name, unseen in (blind or {}).items()}
        self.token_groups = None if token_groups is None else tuple(token_groups)
        if self.token_groups == ():
            raise ValueError('token_groups=() leaves no scene token. Name the groups that become tokens, or leave '
                             'token_groups=None for all.')
        named = dict(blind=[*self.blind, *(name for unseen in self.blind.values() for name in unseen)],
                     token_groups=self.token_groups or ())
        for argument, names in named.items():
            if unknown := [name for name in names if name not in groups]:
                raise ValueError(f'{argument} names {unknown[0]!r}, but the groups are '
                                 f'{", ".join(map(repr, groups))}.')
        if own := [name for name, unseen in self.blind.items() if name in unseen]:
            raise ValueError(f'Group {own[0]!r} is to be blind to itself: its queries would see nothing at all. Take '
                             'it from its list in `blind`.')
        self.groups = ModuleDict({
            name: MODELS.build({'type': 'SceneQueries', 'embed_dims': embed_dims, **cfg})
            for name, cfg in groups.items()})
        self._refuse_groups_in_groups()
        learned = [module for module in self.modules() if isinstance(module, SceneQueries)]  # also wrapped ones
        for before, module in enumerate(learned):
            module.first_point = sum(other.num_queries for other in learned[:before])
        self.group_names = tuple(groups)
        self.embed_dims = embed_dims
        self.num_queries = sum(module.num_queries for module in self.groups.values())
        self.num_tokens = sum(self.groups[name].num_queries for name in self.token_groups or groups)

    def _refuse_groups_in_groups(self) -> None:
        for name, module in self.groups.items():
            if any(isinstance(part, GroupedSceneQueries) for part in module.modules()):
                raise ValueError(
                    f'Group {name!r} holds groups itself: their names, and its token_groups, would be lost. Put all '
                    'groups side by side into one GroupedSceneQueries, and write there which become tokens and which '
                    'are blind.')

    def forward(self, img_feats: list[Tensor], cameras: dict[str, Tensor]) -> QuerySet:
        """Put the groups' queries one after another.

        Args:
            img_feats: One ``(B, N, C, Hl, Wl)`` per level.
            cameras: The stacked camera matrices.
        """
        members = {name: module(img_feats, cameras) for name, module in self.groups.items()}
        slices, start = {}, 0
        for name, member in members.items():
            slices[name] = slice(start, start + member.query.shape[1])
            start = slices[name].stop
        return QuerySet(
            query=torch.cat([member.query for member in members.values()], dim=1),
            reference_points=torch.cat([member.reference_points for member in members.values()], dim=1),
            attn_mask=self._attention_mask(members, slices, img_feats[0].device),
            groups=slices,
            proposals=members,
            token_groups=self.token_groups,
            padding_mask=self._padding_mask(members))

    def _attention_mask(self, members: Mapping[str, QuerySet], slices: Mapping[str, slice],
                        device: torch.device) -> Tensor | None:
        """``(Q, Q)`` bool, True where forbidden; None where nothing is."""
        inside = {name: member.attn_mask for name, member in members.items() if member.attn_mask is not None}
        if not self.blind and not inside:
            return None
        num_queries = sum(member.query.shape[1] for member in members.values())
        mask = torch.zeros(num_queries, num_queries, dtype=torch.bool, device=device)
        for name, own in inside.items():
            mask[slices[name], slices[name]] = own
        for name, unseen in self.blind.items():
            for other in unseen:
                mask[slices[name], slices[other]] = True
        return mask

    @staticmethod
    def _padding_mask(members: Mapping[str, QuerySet]) -> Tensor | None:
        """``(B, Q)`` bool, True at queries of missing cameras; None where no group has any."""
        if all(member.padding_mask is None for member in members.values()):
            return None
        return torch.cat([
            torch.zeros(member.query.shape[:2], dtype=torch.bool, device=member.query.device)
            if member.padding_mask is None else member.padding_mask for member in members.values()], dim=1)

    def loss(self, query_set: QuerySet, cameras: dict[str, Tensor], batch_data_samples: list) -> dict[str, Tensor]:
        """The groups' own, under ``<group>.<loss>``."""
        return {f'{name}.{loss}': value for name, module in self.groups.items()
                for loss, value in module.loss(query_set.proposals[name], cameras, batch_data_samples).items()}
