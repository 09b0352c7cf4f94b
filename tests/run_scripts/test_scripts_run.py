"""Each script for training and evaluation runs for real, on the golden pictures."""

import json

import pytest
from scripts import run_script

SHORT = ["--max-epoch=4", "--update-freq=1", "--batch-size=2", "--lr=1e-3", "--max-update=20", "--no-epoch-checkpoints"]
RUNS = {
    "rec": ("rec/train_refcoco.sh", "rec/evaluate_refcoco.sh", "rkpt_rec.tsv", "score"),
    "rkpt": ("rkpt/train_rkpt.sh", "rkpt/evaluate_rkpt.sh", "rkpt_rec.tsv", "oks_ap"),
    "rpar": ("rpar/train_rpar.sh", "rpar/evaluate_rpar.sh", "rpar.tsv", "miou"),
    "rpar_full_mask": ("rpar/train_rpar_full_mask.sh", "rpar/evaluate_rpar_full_mask.sh", "rpar.tsv", "miou"),
    "rhrc": ("rhrc/train_rhrc.sh", "rhrc/evaluate_rhrc.sh", "rhrc.tsv", "cider"),
}


@pytest.fixture
def places(golden, golden_data, bpe_dir, tmp_path):
    return {
        "BPE_DIR": bpe_dir,
        "ANNOTATION_ROOT": golden_data / "rpar_annos",
        "VQ_CONFIG": golden / "vqgan" / "model.yaml",
        "VQ_CKPT": golden / "vqgan" / "model.ckpt",
        "RESULTS": tmp_path / "results",
        "SAVE_DIR": tmp_path / "run",
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_train_and_evaluate_on_the_golden_pictures(name, places, golden_data, tmp_path):
    train, evaluate, table, metric = RUNS[name]
    table = golden_data / table
    log = run_script(train, *SHORT, **places, TRAIN=table, VALID=table).stdout
    assert "done: 20 updates" in log
    done = run_script(evaluate, **places, EVAL=table, CHECKPOINT=tmp_path / "run" / "checkpoint_last.pt")
    metrics = json.loads(done.stdout.splitlines()[-1])
    assert metrics["count"] == 10
    assert metrics[metric] >= 0


@pytest.mark.slow
@pytest.mark.parametrize("parts", [("REFPOSE",), ("REFPARSING", "REGCAPTION"), ("REFPOSE", "REFPARSING", "REGCAPTION")])
def test_multitask_with_any_subset(parts, places, golden_data, tmp_path):
    tables = {"REFPOSE": "rkpt_rec.tsv", "REFPARSING": "rpar.tsv", "REGCAPTION": "rhrc.tsv"}
    given = {name: golden_data / table if name in parts else "" for name, table in tables.items()}
    table = golden_data / "rkpt_rec.tsv"
    log = run_script("multitask/train_multitask.sh", *SHORT, **places, TRAIN=table, **given).stdout
    assert "done: 20 updates" in log
    if len(parts) == 3:
        checkpoint = tmp_path / "run" / "checkpoint_last.pt"
        tuned = places | {"SAVE_DIR": tmp_path / "tuned", "INIT": checkpoint}
        assert (
            "starting from the weights"
            in run_script("multitask/tune_reasonref.sh", *SHORT, **tuned, TRAIN=table, **given).stdout
        )
        tables = {
            "EVAL_REC": table,
            "EVAL_RKPT": table,
            "EVAL_RPAR": golden_data / "rpar.tsv",
            "EVAL_RHRC": golden_data / "rhrc.tsv",
        }
        done = run_script("multitask/evaluate_multitask.sh", **places, **tables, CHECKPOINT=checkpoint)
        assert [json.loads(line)["count"] for line in done.stdout.splitlines()] == [10] * 4
