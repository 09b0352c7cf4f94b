#!/usr/bin/env bash
# Acc@0.5 of REC.
source "$(dirname "$0")/../common.sh"
evaluate refcoco "${EVAL:-$data/rkpt/refcoco_pose_testA.tsv}" --selected-cols 0,5,2,3 \
  --beam 5 --min-len 4 --max-len-a 0 --max-len-b 4 --no-repeat-ngram-size 3 "$@"
