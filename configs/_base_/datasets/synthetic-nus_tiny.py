# The synthetic mini set, six cameras at 448x112: small enough to train on a CPU. Of each view, 252 rows high at this
# width, a band about the horizon is kept, because distance shows in the rows there: above it are sky and facades, below
# it is road nearer than 8 m.
#
# Written by
#   python tools/create_synthetic_nuscenes.py --out data/synthetic_nuscenes
#   python tools/create_data.py --root data/synthetic_nuscenes --version v1.0-mini
# The folder may also come from the environment: SYNTHETIC_NUSCENES_ROOT.
data_root = '{{$SYNTHETIC_NUSCENES_ROOT:data/synthetic_nuscenes}}'
dataset_type = 'NuScenesSceneDataset'
class_names = [
    'car', 'truck', 'trailer', 'bus', 'construction_vehicle', 'bicycle', 'motorcycle', 'pedestrian', 'traffic_cone',
    'barrier'
]
cam_names = ['CAM_FRONT', 'CAM_FRONT_RIGHT', 'CAM_FRONT_LEFT', 'CAM_BACK', 'CAM_BACK_LEFT', 'CAM_BACK_RIGHT']
metainfo = dict(classes=class_names)  # the version is read from the info file
input_modality = dict(use_camera=True, use_lidar=False)
point_cloud_range = [-51.2, -51.2, -5.0, 51.2, 51.2, 3.0]
image_size = (448, 252)  # width, height; the whole 1600x900 view, decoded at 1/2
horizon_band = dict(type='CropSurroundImages', size=(448, 112), anchor=(0.5, 0.66))

train_pipeline = [
    dict(type='LoadSurroundImages', size=image_size, cache=True),
    horizon_band,
    dict(type='LoadAnnotations3D', with_bbox_3d=True, with_label_3d=True),
    # Eight streets are few: mirrored and turned about the vehicle, they are many.
    dict(type='RandomMirrorScene', prob=0.5),
    dict(type='RandomRotateScaleScene', rotation_range=(-0.3925, 0.3925), scale_range=(1.0, 1.0)),
    dict(type='ObjectRangeFilter', point_cloud_range=point_cloud_range),
    dict(type='ObjectNameFilter', classes=class_names),
    dict(type='PackSceneInputs'),
]
test_pipeline = [
    dict(type='LoadSurroundImages', size=image_size, cache=True),
    horizon_band,
    dict(type='PackSceneInputs', keys=('img', )),
]

train_dataloader = dict(
    batch_size=2,  # minutes are better spent on many steps than on large batches
    num_workers=0,  # after the first epoch all images are in memory, and both cores are the model's
    persistent_workers=False,
    sampler=dict(type='ResumableSampler', shuffle=True),
    batch_sampler=dict(type='JointBatchSampler'),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='nuscenes_infos_train.pkl',
        pipeline=train_pipeline,
        cam_names=cam_names,
        metainfo=metainfo,
        modality=input_modality,
        box_type_3d='LiDAR',
        use_valid_flag=True))
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='nuscenes_infos_val.pkl',
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
    ann_file=f'{data_root}/nuscenes_infos_val.pkl',
    metric='bbox',
    modality=input_modality)
test_evaluator = val_evaluator
