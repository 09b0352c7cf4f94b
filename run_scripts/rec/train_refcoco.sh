#!/usr/bin/env bash
# REC: expression -> box, from the RefPose files of RefCOCO.
source "$(dirname "$0")/../common.sh"
files=${TRAIN:-$data/rkpt/refcoco_pose_train.tsv},${VALID:-$data/rkpt/refcoco_pose_testA.tsv}
global_batch 8 64 "$@"
train refcoco "$files" --selected-cols 0,5,2,3 --max-epoch 10 --lr 3e-5 \
  --max-tgt-length 20 --eval-acc --eval-args '{"beam":5,"min_len":4,"max_len_a":0,"max_len_b":4}' \
  --best-checkpoint-metric score --maximize-best-checkpoint-metric "$@"
