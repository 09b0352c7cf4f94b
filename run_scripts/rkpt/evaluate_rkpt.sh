#!/usr/bin/env bash
# Box accuracy, OKS and OKS AP of RKpt.
source "$(dirname "$0")/../common.sh"
evaluate rkpt "${EVAL:-$data/rkpt/refcoco_pose_testA.tsv}" --selected-cols 0,5,2,3,4 \
  --beam 5 --min-len 50 --max-len-a 0 --max-len-b 200 "$@"
