#!/usr/bin/env bash
# One checkpoint on every task. EVAL_REC, EVAL_RKPT, EVAL_RPAR, EVAL_RHRC name other files than the published ones.
set -euo pipefail
export REFHCM_SCRIPT=${REFHCM_SCRIPT:-$$}
scripts=$(cd "$(dirname "$0")/.." && pwd)
EVAL=${EVAL_REC:-} "$scripts/rec/evaluate_refcoco.sh" "$@"
EVAL=${EVAL_RKPT:-} "$scripts/rkpt/evaluate_rkpt.sh" "$@"
EVAL=${EVAL_RPAR:-} "$scripts/rpar/evaluate_rpar.sh" "$@"
EVAL=${EVAL_RHRC:-} "$scripts/rhrc/evaluate_rhrc.sh" "$@"
