# The recipe that all scripts share (docs/training.md). A script sets what differs and calls `train` or `evaluate`.
#
# From the environment:
#   DATA=dataset  CHECKPOINTS=checkpoints  BPE_DIR=$DATA/bpe  SAVE_DIR=runs/NAME  RESULTS=results
#   TRAIN, VALID      training and validation TSV (EVAL: the TSV that an evaluation reads)
#   INIT              weights to start from; CHECKPOINT: weights to evaluate
#   SIZE=large|small|test   `small` and `test` are networks on 128 px pictures from nothing, for a CPU; ARCH: another size
#   NUM_WORKERS=4     processes that read data; PATCH_IMAGE_SIZE: px that pictures are resized to
#   ANNOTATION_ROOT=$DATA/rpar/annos      the imgs/ and gts/ that tables name
#   VQ_CONFIG, VQ_CKPT=$CHECKPOINTS/vqgan/model.yaml, model.ckpt     the tokenizer of parsing maps
#   PRECISION=fp16    fp16, bf16, autocast (training's products in bfloat16) or fp32 (fp16 on a GPU, else fp32)
#   GPUS, NNODES, NODE_RANK, MASTER_ADDR, MASTER_PORT=29500      processes for torchrun (one machine takes a free port)
#   RESTARTS=0        how often torchrun starts all processes anew after one has failed; training resumes
#   GLOBAL_BATCH      rows of an update over all GPUs (default: the recipe's); UPDATE_FREQ: batches of an update instead
#   PYTHON            interpreter (.venv/bin/python where there is one)
#   DRY_RUN=1         print the command and stop
# Further arguments go to train.py or evaluate.py and win over the recipe's.

set -euo pipefail
export REFHCM_SCRIPT=${REFHCM_SCRIPT:-$$}  # what a script has started ends with it (utils/interrupt.py)
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}  # where nothing is installed, refhcm.py is the package

data=${DATA:-$root/dataset}
checkpoints=${CHECKPOINTS:-$root/checkpoints}
bpe=${BPE_DIR:-$data/bpe}
annos=${ANNOTATION_ROOT:-$data/rpar/annos}
size=${SIZE:-large}

gpus_here=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU ' || true)
if [ "$gpus_here" -gt 0 ] && [ -n "${CUDA_VISIBLE_DEVICES+given}" ]; then
  gpus_here=$(tr ',' '\n' <<< "$CUDA_VISIBLE_DEVICES" | grep -c '^ *[^ -]' || true)
fi
gpus=${GPUS:-$((gpus_here > 0 ? gpus_here : 1))}
precision=${PRECISION:-$([ "$gpus_here" -gt 0 ] && echo fp16 || echo fp32)}

case $size in
  large) arch=${ARCH:-refhcm} patch=${PATCH_IMAGE_SIZE:-512} init=${INIT-$checkpoints/ofa_large.pt} ;;
  small) arch=${ARCH:-refhcm_small} patch=${PATCH_IMAGE_SIZE:-128} init=${INIT-} ;;
  test) arch=${ARCH:-refhcm_test} patch=${PATCH_IMAGE_SIZE:-128} init=${INIT-} ;;
  *) echo "error: SIZE=$size is none of large, small, test" >&2; exit 2 ;;
esac

tokenizer=(--vq-config "${VQ_CONFIG:-$checkpoints/vqgan/model.yaml}" --vq-ckpt "${VQ_CKPT:-$checkpoints/vqgan/model.ckpt}" --vq-n-embed 32)

python=${PYTHON:-$([ -x "$root/.venv/bin/python" ] && echo "$root/.venv/bin/python" || echo python)}
run() { if [ -n "${DRY_RUN:-}" ]; then printf '%q ' "$@"; echo; else "$@"; fi; }

launch() {  # SCRIPT ARGUMENTS...
  local ranks=(--standalone)  # on one machine: a port that is free
  if [ "${NNODES:-1}" -gt 1 ] || [ -n "${MASTER_PORT:-}" ]; then
    ranks=(--nnodes "${NNODES:-1}" --node-rank "${NODE_RANK:-0}"
      --master-addr "${MASTER_ADDR:-127.0.0.1}" --master-port "${MASTER_PORT:-29500}")
  fi
  local command=("$python") killed="error: ended by SIGKILL: the machine probably ran out of memory: \
try a smaller --batch-size or fewer NUM_WORKERS; run the same command again to resume"
  if [ "$gpus" -gt 1 ] || [ "${NNODES:-1}" -gt 1 ]; then
    killed=  # the launcher says more
    command+=("$root/run_scripts/launch.py" "${ranks[@]}" --nproc-per-node "$gpus" --max-restarts "${RESTARTS:-0}")
  fi
  command+=("$root/$1" "${@:2}")
  if [ -n "${DRY_RUN:-}" ]; then
    printf '%q ' "${command[@]}"; echo
  else
    "${command[@]}" || {
      local status=$?
      [ "$status" -ne 137 ] || echo "$killed" >&2
      return "$status"
    }
  fi
}

batch=()
global_batch() {  # ROWS GLOBAL ARGUMENTS...: sets `batch`, so that GPUs x --batch-size x --update-freq stays GLOBAL
  local rows=$1 global=${GLOBAL_BATCH:-$2} accumulated=${UPDATE_FREQ:-} ranks=$((gpus * ${NNODES:-1})) flag=
  for argument in "${@:3}"; do
    case $argument in --*=*) flag=${argument%%=*} ;; --*) flag=$argument && continue ;; esac
    case $flag in
      --batch-size | --max-sentences) rows=${argument#*=} ;;
      --update-freq) accumulated=${argument#*=} ;;
    esac
    flag=
  done
  [ "$rows" -gt 0 ] 2>/dev/null || { echo "error: --batch-size $rows: needs a whole number above 0" >&2; exit 2; }
  if [ -z "$accumulated" ]; then
    local share=$((global / ranks))
    if [ $((share * ranks)) -ne "$global" ] || [ "$share" -eq 0 ]; then
      echo "error: $ranks GPUs cannot share a global batch of $global rows: set GPUS, GLOBAL_BATCH or UPDATE_FREQ" >&2
      exit 2
    fi
    while [ $((share % rows)) -ne 0 ]; do rows=$((rows - 1)); done  # fewer rows at a time, and as many an update
    accumulated=$((share / rows))
  fi
  batch=(--batch-size "$rows" --update-freq "$accumulated")
  echo "global batch: $ranks GPUs x --batch-size $rows x --update-freq $accumulated (recipe: $2 rows)" >&2
}

train() {  # NAME FILES ARGUMENTS...
  local options=(--task "$1" --arch "$arch" --bpe-dir "$bpe" --save-dir "${SAVE_DIR:-$root/runs/$1}"
    --tensorboard-logdir "${SAVE_DIR:-$root/runs/$1}/tensorboard"
    --criterion adjust_label_smoothed_cross_entropy --label-smoothing 0.1
    --optimizer adam --adam-betas '(0.9,0.999)' --adam-eps 1e-8 --weight-decay 0.01 --clip-norm 1.0
    --lr-scheduler polynomial_decay --warmup-ratio 0.06
    --dropout 0.1 --attention-dropout 0.0 --resnet-drop-path-rate 0.0
    --encoder-drop-path-rate 0.2 --decoder-drop-path-rate 0.2
    --encoder-normalize-before --decoder-normalize-before --share-decoder-input-output-embed --share-all-embeddings
    --layernorm-embedding --patch-layernorm-embedding --code-layernorm-embedding --add-type-embedding
    --scale-attn --scale-fc --scale-heads --disable-entangle
    --max-src-length 80 --num-bins 1000 --patch-image-size "$patch" --max-image-size 512
    --annotation-root "$annos" --fixed-validation-seed 7 --num-workers "${NUM_WORKERS:-4}"
    --log-format simple --log-interval 10 --save-interval-updates 500 --keep-interval-updates 1 --keep-last-epochs 3)
  [ -z "$init" ] || options+=(--finetune-from-model "$init")
  case $precision in
    fp16) options+=(--fp16 --fp16-scale-window 512) ;;
    bf16) options+=(--bf16) ;;
    autocast) options+=(--autocast-bf16) ;;
  esac
  launch train.py "$2" "${options[@]}" "${@:3}" "${batch[@]}"
}

evaluate() {  # NAME TSV ARGUMENTS...
  local options=(--task "$1" --path "${CHECKPOINT:-$checkpoints/refhcm.pt}" --bpe-dir "$bpe"
    --annotation-root "$annos" --batch-size 32 --num-workers "${NUM_WORKERS:-4}" --results-path "${RESULTS:-$root/results}/$1")
  case $precision in fp16 | bf16) options+=(--"$precision") ;; esac
  launch evaluate.py "$2" "${options[@]}" "${@:3}"
}
