# The embedded default with its weights spread over processes: FSDP tried out on a CPU.
#   tools/dist_train.sh configs/scene_qformer/scene-qformer_tiny-fsdp_synthetic.py 2
_base_ = ['./scene-qformer_tiny_synthetic.py', '../_base_/strategies/fsdp.py']
