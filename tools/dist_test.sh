#!/usr/bin/env bash
# Test on the GPUs of one or several machines: one process a GPU, every frame scored once.
set -euo pipefail

usage() {
    cat >&2 <<'TEXT'
Usage: tools/dist_test.sh CONFIG CHECKPOINT GPUS [flags of tools/test.py]

    tools/dist_test.sh configs/scene_qformer/scene-qformer_r50_8xb4-24e_nus-336.py work_dirs/r50/epoch_24.pth 8

GPUS is the number of processes on this machine. From the environment:
    NNODES=1 NODE_RANK=0 MASTER_ADDR=127.0.0.1 PORT=29500    for several machines: the same command on each
    PYTHON=.venv/bin/python, or else python
TEXT
    exit 2
}

if [[ $# -lt 3 ]]; then usage; fi
CONFIG=$1
CHECKPOINT=$2
GPUS=$3
shift 3
if [[ ! -f $CONFIG ]]; then echo "dist_test.sh: there is no config $CONFIG" >&2; usage; fi
if [[ ! -e $CHECKPOINT ]]; then echo "dist_test.sh: there is no checkpoint $CHECKPOINT" >&2; usage; fi
if [[ ! $GPUS =~ ^[1-9][0-9]*$ ]]; then echo "dist_test.sh: GPUS must be a number from 1 on, got '$GPUS'" >&2; usage; fi
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PYTHON=${PYTHON:-$([[ -x $ROOT/.venv/bin/python ]] && echo "$ROOT/.venv/bin/python" || echo python)}

exec "$PYTHON" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --rdzv_backend=c10d \
    --rdzv_endpoint="${MASTER_ADDR:-127.0.0.1}:${PORT:-29500}" \
    --rdzv_conf="is_host=$([[ ${NODE_RANK:-0} == 0 ]] && echo true || echo false)" \
    --rdzv_id="${JOB_ID:-scene-qformer-${PORT:-29500}}" \
    --nproc_per_node="$GPUS" \
    "$ROOT/tools/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "$@"
