"""The scripts: each command parses with the real parser, and each runs for real (slow)."""

import json
import os
import shlex

import pytest
from scripts import run_script

from refhcm.evaluate import make_parser

TRAIN = {
    "rec/train_refcoco.sh": {"lr": [3e-5], "max_epoch": 10, "batch_size": 8, "update_freq": [8], "max_tgt_length": 20},
    "rkpt/train_rkpt.sh": {"lr": [3e-5], "max_epoch": 8, "batch_size": 8, "update_freq": [8], "max_tgt_length": 100},
    "rpar/train_rpar.sh": {"lr": [3e-5], "max_epoch": 15, "batch_size": 8, "update_freq": [8], "max_tgt_length": 260},
    "rpar/train_rpar_full_mask.sh": {"lr": [3e-5], "max_epoch": 10, "batch_size": 6, "max_tgt_length": 52},
    "rhrc/train_rhrc.sh": {
        "lr": [1e-5],
        "max_epoch": 5,
        "update_freq": [4],
        "drop_worst_after": 2500,
        "max_tgt_length": 50,
    },
    "multitask/train_multitask.sh": {
        "lr": [4e-5],
        "max_epoch": 50,
        "batch_size": 2,
        "clip_norm": 5.0,
        "max_src_length": 100,
    },
    "multitask/tune_reasonref.sh": {"lr": [4e-5], "max_epoch": 5, "update_freq": [4], "warmup_ratio": 0.01, "seed": 7},
}
EVALUATE = {
    "rec/evaluate_refcoco.sh": {"beam": 5, "min_len": 4, "max_len_b": 4, "no_repeat_ngram_size": 3, "batch_size": 32},
    "rkpt/evaluate_rkpt.sh": {"beam": 5, "min_len": 50, "max_len_b": 200},
    "rpar/evaluate_rpar.sh": {"beam": 5, "min_len": 52, "max_len_b": 52, "vq_n_embed": 32},
    "rpar/evaluate_rpar_full_mask.sh": {"vq_n_embed": 32},
    "rhrc/evaluate_rhrc.sh": {"beam": 5, "min_len": 1, "max_len_b": 200, "batch_size": 16},
}


def printed(script, name, **environment):
    """Arguments that a dry run gives to train.py or evaluate.py."""
    words = shlex.split(run_script(script, DRY_RUN=1, **environment).stdout)
    return words[next(i for i, word in enumerate(words) if word.endswith(f"/{name}")) + 1 :]


@pytest.mark.parametrize("script", TRAIN)
def test_training_flags(script):
    pytest.importorskip("fairseq")
    from refhcm.train import parse

    args = parse(printed(script, "train.py", SIZE="large"))
    assert (args.arch, args.patch_image_size, args.num_bins, args.label_smoothing) == ("refhcm", 512, 1000, 0.1)
    assert args.adam_betas == "(0.9,0.999)"
    assert (args.weight_decay, args.dropout, args.share_all_embeddings, args.scale_heads) == (0.01, 0.1, True, True)
    assert args.finetune_from_model.endswith("refhcm.pt" if "tune" in script else "ofa_large.pt")
    for name, value in TRAIN[script].items():
        assert getattr(args, name) == value, name
    rate = 0.1 if "rhrc" in script else 0.2
    assert args.encoder_drop_path_rate == args.decoder_drop_path_rate == rate


@pytest.mark.parametrize("script", EVALUATE)
def test_evaluation_flags(script):
    args = make_parser().parse_args(printed(script, "evaluate.py"))
    assert args.path.endswith("checkpoints/refhcm.pt")
    for name, value in EVALUATE[script].items():
        assert getattr(args, name) == value, name


def test_half_precision_on_request():
    assert "--fp16-scale-window" in printed("rec/train_refcoco.sh", "train.py", PRECISION="fp16")
    assert "--bf16" in printed("rec/evaluate_refcoco.sh", "evaluate.py", PRECISION="bf16")


@pytest.mark.parametrize(
    ("visible", "processes"), [(None, 3), ("0,1", 2), ("GPU-1a, GPU-2b,GPU-3c", 3), ("", 1), ("-1", 1)]
)
def test_as_many_processes_as_gpus_may_be_used(tmp_path, monkeypatch, visible, processes):
    """Of three, one of them parted."""
    for name in ("CUDA_VISIBLE_DEVICES", "GPUS", "PRECISION"):
        monkeypatch.delenv(name, raising=False)
    listing = "".join(f"GPU {k}: NVIDIA H100 (UUID: GPU-{k})\\n" for k in range(3)) + "  MIG 1g.10gb Device 0: (x)\\n"
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '{listing}'\n")
    program.chmod(0o755)
    given = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    given |= {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    words = shlex.split(run_script("rec/train_refcoco.sh", DRY_RUN=1, **given).stdout)
    assert words[words.index("--nproc-per-node") + 1] == str(processes)
    assert ("--fp16" in words) == (visible not in ("", "-1"))


def test_a_wrong_size_is_refused():
    done = run_script("rec/train_refcoco.sh", check=False, SIZE="huge")
    assert done.returncode == 2
    assert "SIZE=huge is none of large, small, test" in done.stderr


def test_a_mistake_is_one_line():
    done = run_script("rec/evaluate_refcoco.sh", check=False, CHECKPOINT="/nowhere.pt")
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1] == "error: /nowhere.pt: no such file"
    assert "Traceback" not in done.stderr


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
def test_train_and_evaluate_on_photographs(name, places, golden_data, tmp_path):
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
