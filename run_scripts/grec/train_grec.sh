#!/usr/bin/env bash
# Generalised REC: expression -> the boxes of everyone whom it fits. The settings are REC's: the paper has no such task.
source "$(dirname "$0")/../common.sh"
files=${TRAIN:-$data/grec/grefcoco_train.tsv},${VALID:-$data/grec/grefcoco_val.tsv}
global_batch 8 64 "$@"
train grec "$files" --selected-cols 0,4,2,3 --max-epoch 10 --lr 3e-5 \
  --max-tgt-length 80 --eval-acc --best-checkpoint-metric pr_f1 --maximize-best-checkpoint-metric "$@"
