# nuScenes, six cameras at 336x336.
#
# The whole 1600x900 view is kept: both axes are resized on their own (0.21 and 0.373) and cam2img carries the two
# scales. A crop to a square would throw away 44 % of each view, and with it the overlap between neighbours.
#
# The folders may also come from the environment: NUSCENES_ROOT, and NUSCENES_INFO_ROOT, an absolute path, if the info
# files that tools/create_data.py wrote lie elsewhere.
data_root = '{{$NUSCENES_ROOT:data/nuscenes}}'
ann_root = '{{$NUSCENES_INFO_ROOT:beside_the_data}}'
if ann_root == 'beside_the_data':
    ann_root = data_root
    ann_prefix = ''  # a data set looks for a relative ann_file in its data_root, the metric does not
else:
    ann_prefix = f'{ann_root}/'
dataset_type = 'NuScenesSceneDataset'
class_names = [
    'car', 'truck', 'trailer', 'bus', 'construction_vehicle', 'bicycle', 'motorcycle', 'pedestrian', 'traffic_cone',
    'barrier'
]
cam_names = ['CAM_FRONT', 'CAM_FRONT_RIGHT', 'CAM_FRONT_LEFT', 'CAM_BACK', 'CAM_BACK_LEFT', 'CAM_BACK_RIGHT']
metainfo = dict(classes=class_names)  # the version is read from the info file
input_modality = dict(use_camera=True, use_lidar=False)
point_cloud_range = [-51.2, -51.2, -5.0, 51.2, 51.2, 3.0]
image_size = (336, 336)  # width, height

train_pipeline = [
    dict(type='LoadSurroundImages', size=image_size),
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    dict(type='ObjectRangeFilter', point_cloud_range=point_cloud_range),
    dict(type='ObjectNameFilter', classes=class_names),
    # The default positional encoding knows a camera by its ID, not by its matrices, so the rig has to look the same in
    # every frame. A mirrored scene does; RandomWarpSurroundImages and RandomRotateScaleScene, which move cameras, need
    # an encoding that reads the matrices (ray directions).
    dict(type='RandomMirrorScene', prob=0.5),
    # mmdet3d's distortion, the same draw for all six images; collected_keys=[] keeps img_shape and the other metas
    dict(
        type='MultiViewWrapper',
        transforms=[dict(type='PhotoMetricDistortion3D')],
        process_fields=['img'],
        collected_keys=[]),
    dict(type='PackSceneInputs'),
]
test_pipeline = [
    dict(type='LoadSurroundImages', size=image_size),
    dict(type='PackSceneInputs', keys=('img', )),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='ResumableSampler', shuffle=True),
    batch_sampler=dict(type='JointBatchSampler'),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file=f'{ann_prefix}nuscenes_infos_train.pkl',
        pipeline=train_pipeline,
        cam_names=cam_names,
        metainfo=metainfo,
        modality=input_modality,
        box_type_3d='LiDAR',
        use_valid_flag=True))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file=f'{ann_prefix}nuscenes_infos_val.pkl',
        pipeline=test_pipeline,
        cam_names=cam_names,
        metainfo=metainfo,
        modality=input_modality,
        test_mode=True,
        box_type_3d='LiDAR'))
test_dataloader = val_dataloader

val_evaluator = dict(
    type='NuScenesDetectionMetric',
    data_root=data_root,
    ann_file=f'{ann_root}/nuscenes_infos_val.pkl',
    metric='bbox',
    modality=input_modality)
test_evaluator = val_evaluator
