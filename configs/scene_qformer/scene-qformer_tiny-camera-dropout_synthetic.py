# The embedded model with camera dropout in training: of half of the frames one to five cameras are taken away, so that
# it learns to do without. docs/missing_cameras.md
_base_ = './scene-qformer_tiny_synthetic.py'

train_pipeline = [*_base_.train_pipeline]
train_pipeline.insert(-1, dict(type='RandomDropCameras', max_dropped=5, prob=0.5))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
