#!/usr/bin/env bash
# RPar by Query Parallel Generation.
source "$(dirname "$0")/../common.sh"
files=${TRAIN:-$data/rpar/refcihp_train.tsv},${VALID:-$data/rpar/refcihp_val.tsv}
global_batch 6 48 "$@"
train rpar_full_mask "$files" --selected-cols 0,5,1,2,3,4 --max-epoch 10 --lr 3e-5 \
  --max-tgt-length 52 "${tokenizer[@]}" --eval-acc \
  --best-checkpoint-metric miou --maximize-best-checkpoint-metric "$@"
