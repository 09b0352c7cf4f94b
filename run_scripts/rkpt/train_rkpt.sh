#!/usr/bin/env bash
# RKpt: expression -> box and keypoints.
source "$(dirname "$0")/../common.sh"
files=${TRAIN:-$data/rkpt/refcoco_pose_train.tsv},${VALID:-$data/rkpt/refcoco_pose_testA.tsv}
global_batch 8 64 "$@"
train rkpt "$files" --selected-cols 0,5,2,3,4 --max-epoch 8 --lr 3e-5 \
  --max-tgt-length 100 --eval-acc --best-checkpoint-metric oks --maximize-best-checkpoint-metric "$@"
