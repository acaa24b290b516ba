#!/usr/bin/env bash
# Train on the GPUs of one or several machines: one process a GPU, started and restarted by torchrun.
set -euo pipefail

usage() {
    cat >&2 <<'TEXT'
Usage: tools/dist_train.sh CONFIG GPUS [flags of tools/train.py]

    tools/dist_train.sh configs/scene_qformer/scene-qformer_r50_8xb4-24e_nus-336.py 8 --resume

GPUS is the number of processes on this machine. From the environment:
    NNODES=1 NODE_RANK=0 MASTER_ADDR=127.0.0.1 PORT=29500    for several machines: the same command on each
    MAX_RESTARTS=0    how often all processes are started anew when one dies; give --resume with it, without a path
    PYTHON=.venv/bin/python, or else python
TEXT
    exit 2
}

if [[ $# -lt 2 ]]; then usage; fi
CONFIG=$1
GPUS=$2
shift 2
if [[ ! -f $CONFIG ]]; then echo "dist_train.sh: there is no config $CONFIG" >&2; usage; fi
if [[ ! $GPUS =~ ^[1-9][0-9]*$ ]]; then echo "dist_train.sh: GPUS must be a number from 1 on, got '$GPUS'" >&2; usage; fi
if [[ ${MAX_RESTARTS:-0} != 0 && " $* " != *" --resume"* ]]; then
    echo "dist_train.sh: MAX_RESTARTS=$MAX_RESTARTS without --resume would begin from the start each time; add --resume" >&2
    exit 2
fi
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PYTHON=${PYTHON:-$([[ -x $ROOT/.venv/bin/python ]] && echo "$ROOT/.venv/bin/python" || echo python)}

# c10d, not --master_addr: the machines agree on restarts.
exec "$PYTHON" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --rdzv_backend=c10d \
    --rdzv_endpoint="${MASTER_ADDR:-127.0.0.1}:${PORT:-29500}" \
    --rdzv_conf="is_host=$([[ ${NODE_RANK:-0} == 0 ]] && echo true || echo false)" \
    --rdzv_id="${JOB_ID:-scene-qformer-${PORT:-29500}}" \
    --nproc_per_node="$GPUS" \
    --max_restarts="${MAX_RESTARTS:-0}" \
    "$ROOT/tools/train.py" "$CONFIG" --launcher pytorch "$@"
