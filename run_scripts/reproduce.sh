#!/usr/bin/env bash
# One row of RefHCM in the paper's tables (docs/benchmark.md): reproduce.sh ROW [ARGUMENTS] says what is missing and how
# to get it, makes a table that is not published, evaluates (ARGUMENTS go to evaluate.py), and prints ours beside the
# paper's. `reproduce.sh` alone lists the rows. What common.sh reads from the environment works here, too, and:
#   REFER=refer/data        RefCOCOg's refs and instances.json     COCO_IMAGES=train2014, COCO_KEYPOINTS=annotations/...
#   REFHUMAN=RefHuman       its images/ and RefHuman_val.json
# DRY_RUN=1 prints the commands and stops at nothing.
source "$(dirname "$0")/common.sh"
refer=${REFER:-refer/data} refhuman=${REFHUMAN:-RefHuman} coco_images=${COCO_IMAGES:-train2014}
coco_keypoints=${COCO_KEYPOINTS:-annotations/person_keypoints_train2014.json}
checkpoint=${CHECKPOINT:-$checkpoints/refhcm.pt}
results=${RESULTS:-$root/results}

# A row: script, table, and the paper's figures by metric; "?" where the paper's is not at hand.
rows="refcoco refcocoplus refcocog refpose refposeplus refposeg refhuman rpar rpar-qpg rhrc"
row=${1:-} figures=() make=() raw=()
case $row in
  refcoco) script=rec/evaluate_refcoco.sh table=rkpt/refcoco_pose_testA.tsv figures=(score=93.69) ;;
  refcocoplus) script=rec/evaluate_refcoco.sh table=rkpt/refcocoplus_pose_testA.tsv figures=(score=89.56) ;;
  refcocog) script=rec/evaluate_refcoco.sh table=rkpt/refcocog_pose_test.tsv figures=(score=?) ;;
  refpose) script=rkpt/evaluate_rkpt.sh table=rkpt/refcoco_pose_testA.tsv
    figures=(box_score=93.69 oks_score=75.60 oks=75.60) ;;
  refposeplus) script=rkpt/evaluate_rkpt.sh table=rkpt/refcocoplus_pose_testA.tsv
    figures=(box_score=89.56 oks_score=72.24 oks=72.24) ;;
  refposeg) script=rkpt/evaluate_rkpt.sh table=rkpt/refcocog_pose_test.tsv
    figures=(box_score=93.42 oks_score=75.69 oks=75.69) ;;
  refhuman) script=rkpt/evaluate_rkpt.sh table=rkpt/refhuman_val.tsv figures=(oks_ap=66.8) ;;
  rpar) script=rpar/evaluate_rpar.sh table=rpar/refcihp_val.tsv figures=(miou=45.62) ;;
  rpar-qpg) script=rpar/evaluate_rpar_full_mask.sh table=rpar/refcihp_val.tsv figures=(miou=?)
    checkpoint=${CHECKPOINT:-$root/runs/rpar_full_mask/checkpoint_best.pt} ;;
  rhrc) script=rhrc/evaluate_rhrc.sh table=rhrc/capcihp_val.tsv figures=(cider=82.41) ;;
  *) echo "usage: reproduce.sh ROW [ARGUMENTS]; ROW is one of: $rows" >&2; exit 2 ;;
esac
case $table in
  *refcocog*)
    raw=("$refer" "$coco_images" "$coco_keypoints")
    make=(rkpt --set refcocog --refs "$refer" --split test --keypoints "$coco_keypoints" --images "$coco_images") ;;
  *refhuman*)
    raw=("$refhuman/RefHuman_val.json" "$refhuman/images")
    make=(refhuman --annotations "$refhuman/RefHuman_val.json" --split val --images "$refhuman/images") ;;
esac

# What is there
missing=0
need() {  # HOW-TO-GET-IT PATH...: one line if any is absent or empty
  for path in "${@:2}"; do
    [ -d "$path" ] || [ -s "$path" ] || { echo "missing: $path: $1" >&2; missing=1; return; }
  done
}
case $row in
  rpar-qpg) need "not published; run_scripts/rpar/train_rpar_full_mask.sh trains it" "$checkpoint" ;;
  *) need "refhcm download refhcm" "$checkpoint" ;;
esac
need "refhcm download vocabulary" "$bpe"/{dict.txt,encoder.json,vocab.bpe}
if [[ $table = rpar/* ]]; then
  need "refhcm download tokenizer" "${VQ_CONFIG:-$checkpoints/vqgan/model.yaml}" "${VQ_CKPT:-$checkpoints/vqgan/model.ckpt}"
  need "refhcm download dataset --include 'rpar/*'" "$annos/gts" "$annos/imgs"
fi
if [ ${#make[@]} -eq 0 ]; then
  need "refhcm download dataset --include '${table%/*}/*'" "$data/$table"
elif [ ! -s "$data/$table" ]; then
  for path in "${raw[@]}"; do need "$table is made from it; docs/datasets.md says where to get it" "$path"; done
fi
[ "$row" != refhuman ] || [ ! -s "$data/$table" ] || need "answers are scored by it; docs/datasets.md says where to get it" "${raw[0]}"
[ "$missing" -eq 0 ] || [ -n "${DRY_RUN:-}" ] || exit 2

# Make, evaluate, compare
if [ ${#make[@]} -gt 0 ] && [ ! -s "$data/$table" ]; then
  run "$python" -m refhcm data make "${make[@]}" --out "$data/${table%/*}"
fi
run mkdir -p "$results/reproduce"
metrics=$results/reproduce/$row.json
export CHECKPOINT=$checkpoint EVAL=$data/$table
"$root/run_scripts/$script" --metrics-path "$metrics" "${@:2}"
if [ "$row" = refhuman ]; then
  run "$python" -m refhcm score "${raw[0]}" "$results/rkpt/refhuman_val_predict.json" --format json --out "$metrics"
fi
run "$python" "$root/run_scripts/beside_paper.py" "$metrics" "${figures[@]}"
