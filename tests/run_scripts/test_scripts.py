"""The scripts: each command parses with the real parser, and mistakes are told in one line."""

import json
import os
import shlex

import pytest
from scripts import ROOT, run_script

from refhcm.apps.cli.main import make_parser

COMMON = {
    "arch": "refhcm", "criterion": "adjust_label_smoothed_cross_entropy", "label_smoothing": 0.1, "optimizer": "adam",
    "adam_betas": "(0.9,0.999)", "adam_eps": 1e-8, "weight_decay": 0.01, "clip_norm": 1.0,
    "lr_scheduler": "polynomial_decay", "warmup_ratio": 0.06, "dropout": 0.1, "attention_dropout": 0.0,
    "resnet_drop_path_rate": 0.0, "encoder_drop_path_rate": 0.2, "decoder_drop_path_rate": 0.2,
    "max_src_length": 80, "num_bins": 1000, "code_dict_size": 8192, "patch_image_size": 512, "max_image_size": 512,
    "vq_n_embed": 32, "fixed_validation_seed": 7, "drop_worst_ratio": 0.0, "freeze_encoder_embedding": False,
    "freeze_decoder_embedding": False, "disable_validation": False, "seed": 1,
    "save_interval_updates": 500, "keep_interval_updates": 1, "keep_last_epochs": 3,
} | dict.fromkeys((
    "encoder_normalize_before", "decoder_normalize_before", "share_decoder_input_output_embed", "share_all_embeddings",
    "layernorm_embedding", "patch_layernorm_embedding", "code_layernorm_embedding", "add_type_embedding",
    "scale_attn", "scale_fc", "scale_heads", "disable_entangle",
), True)  # fmt: skip
MULTITASK = {
    "task": "multitask", "lr": [4e-5], "batch_size": 2, "update_freq": [4], "max_src_length": 100,
    "max_tgt_length": 100, "clip_norm": 5.0, "warmup_ratio": 0.01, "disable_validation": True, "seed": 7,
    "refpose_selected_cols": "0,5,2,3,4", "refparsing_selected_cols": "0,5,1,2,3,4",
    "regcaption_selected_cols": "0,3,2,1",
}  # fmt: skip
POSE, PARSING, CAPTION, GREC = (
    f"{ROOT}/dataset/{train},{ROOT}/dataset/{valid}"
    for train, valid in (
        ("rkpt/refcoco_pose_train.tsv", "rkpt/refcoco_pose_testA.tsv"),
        ("rpar/refcihp_train.tsv", "rpar/refcihp_val.tsv"),
        ("rhrc/capcihp_train.tsv", "rhrc/capcihp_val.tsv"),
        ("grec/grefcoco_train.tsv", "grec/grefcoco_val.tsv"),
    )
)
# The table of docs/training.md.
TRAIN = {
    "rec/train_refcoco.sh": {
        "task": "refcoco", "data": POSE, "selected_cols": "0,5,2,3", "max_epoch": 10, "lr": [3e-5], "batch_size": 8,
        "update_freq": [8], "max_tgt_length": 20, "best_checkpoint_metric": "score", "eval_acc": True,
        "eval_args": {"beam": 5, "min_len": 4, "max_len_a": 0, "max_len_b": 4},
    },
    "rkpt/train_rkpt.sh": {
        "task": "rkpt", "data": POSE, "selected_cols": "0,5,2,3,4", "max_epoch": 8, "lr": [3e-5], "batch_size": 8,
        "update_freq": [8], "max_tgt_length": 100, "best_checkpoint_metric": "oks", "eval_acc": True, "eval_args": {},
    },
    "rpar/train_rpar.sh": {
        "task": "rpar", "data": PARSING, "selected_cols": "0,5,1,2,3,4", "max_epoch": 15, "lr": [3e-5], "batch_size": 8,
        "update_freq": [8], "max_tgt_length": 260, "best_checkpoint_metric": "miou", "eval_acc": True, "eval_args": {},
    },
    "rpar/train_rpar_full_mask.sh": {
        "task": "rpar_full_mask", "data": PARSING, "selected_cols": "0,5,1,2,3,4", "max_epoch": 10, "lr": [3e-5],
        "batch_size": 6, "update_freq": [8], "max_tgt_length": 52, "best_checkpoint_metric": "miou", "eval_acc": True,
        "eval_args": {},
    },
    "rhrc/train_rhrc.sh": {
        "task": "rhrc", "data": CAPTION, "selected_cols": "0,3,2,1", "max_epoch": 5, "lr": [1e-5], "batch_size": 8,
        "update_freq": [4], "max_tgt_length": 50, "drop_worst_ratio": 0.2, "drop_worst_after": 2500,
        "encoder_drop_path_rate": 0.1, "decoder_drop_path_rate": 0.1, "freeze_encoder_embedding": True,
        "freeze_decoder_embedding": True, "best_checkpoint_metric": "cider", "eval_cider": True,
        "eval_args": {"beam": 5, "max_len_b": 50, "no_repeat_ngram_size": 3},
    },
    "grec/train_grec.sh": {
        "task": "grec", "data": GREC, "selected_cols": "0,4,2,3", "max_epoch": 10, "lr": [3e-5], "batch_size": 8,
        "update_freq": [8], "max_tgt_length": 80, "best_checkpoint_metric": "pr_f1", "eval_acc": True, "eval_args": {},
    },
    "multitask/train_multitask.sh": MULTITASK | {
        "data": f"{ROOT}/dataset/rec/refcoco_train.tsv", "max_epoch": 50,
        "refpose_dataset": f"{ROOT}/dataset/rkpt/rkpt_train.tsv",
        "refparsing_dataset": f"{ROOT}/dataset/rpar/refcihp_train.tsv",
        "regcaption_dataset": f"{ROOT}/dataset/rhrc/capcihp_train.tsv",
    },
    "multitask/tune_reasonref.sh": MULTITASK | {
        "data": f"{ROOT}/dataset/reasonref/reasondec/total_*_train.tsv", "max_epoch": 5,
        "refpose_dataset": f"{ROOT}/dataset/reasonref/reasonpose/total_*_train.tsv",
        "refparsing_dataset": f"{ROOT}/dataset/reasonref/reasonpar/total_*_train.tsv",
        "regcaption_dataset": f"{ROOT}/dataset/rhrc/capcihp_train.tsv",
    },
}  # fmt: skip
# As docs/generation.md.
EVALUATE = {
    "rec/evaluate_refcoco.sh": {
        "task": "refcoco", "data": POSE.split(",")[1], "selected_cols": "0,5,2,3",
        "beam": 5, "min_len": 4, "max_len_a": 0, "max_len_b": 4,
        "no_repeat_ngram_size": 3, "batch_size": 32,
    },
    "rkpt/evaluate_rkpt.sh": {
        "task": "rkpt", "data": POSE.split(",")[1], "selected_cols": "0,5,2,3,4",
        "beam": 5, "min_len": 50, "max_len_a": 0, "max_len_b": 200,
        "batch_size": 32,
    },
    "rpar/evaluate_rpar.sh": {
        "task": "rpar", "data": PARSING.split(",")[1], "selected_cols": "0,5,1,2,3,4",
        "beam": 5, "min_len": 52, "max_len_a": 0, "max_len_b": 52,
        "vq_n_embed": 32, "batch_size": 32,
    },
    "rpar/evaluate_rpar_full_mask.sh": {
        "task": "rpar_full_mask", "data": PARSING.split(",")[1], "selected_cols": "0,5,1,2,3,4",
        "vq_n_embed": 32, "batch_size": 32,
    },
    "rhrc/evaluate_rhrc.sh": {
        "task": "rhrc", "data": CAPTION.split(",")[1], "selected_cols": "0,3,2,1",
        "beam": 5, "min_len": 1, "max_len_a": 0, "max_len_b": 200,
        "batch_size": 16,
    },
    "grec/evaluate_grec.sh": {
        "task": "grec", "data": GREC.split(",")[1], "selected_cols": "0,4,2,3",
        "beam": 1, "min_len": 0, "max_len_a": 0, "max_len_b": 80,
        "batch_size": 32,
    },
}  # fmt: skip


def printed(script, name, **environment):
    """Arguments that a dry run gives to train.py or evaluate.py."""
    words = shlex.split(run_script(script, DRY_RUN=1, **environment).stdout)
    return words[next(i for i, word in enumerate(words) if word.endswith(f"/{name}")) + 1 :]


@pytest.mark.parametrize("script", TRAIN)
def test_training_flags(script):
    pytest.importorskip("fairseq")
    from refhcm.training.command import parse

    published_gpus = 2 if script.startswith("multitask") else 1
    args = parse(printed(script, "train.py", SIZE="large", GPUS=published_gpus))
    found = vars(args) | {"eval_args": json.loads(args.eval_args)}
    expected = COMMON | TRAIN[script]
    assert {name: found.get(name, False) for name in expected} == expected  # freeze_* are absent when not given
    assert args.finetune_from_model == f"{ROOT}/checkpoints/{'refhcm' if 'tune' in script else 'ofa_large'}.pt"
    assert args.maximize_best_checkpoint_metric == ("best_checkpoint_metric" in expected)
    if "vq_ckpt" in found and args.task.startswith("rpar"):
        assert (args.vq_config, args.vq_ckpt) == tuple(
            f"{ROOT}/checkpoints/vqgan/model.{end}" for end in ("yaml", "ckpt")
        )


@pytest.mark.parametrize("script", EVALUATE)
def test_evaluation_flags(script):
    words = ["evaluate", *printed(script, "evaluate.py")]
    args = make_parser(words).parse_args(words)
    expected = EVALUATE[script] | {
        "path": f"{ROOT}/checkpoints/refhcm.pt",
        "results_path": f"{ROOT}/results/{EVALUATE[script]['task']}",
    }
    assert {name: getattr(args, name) for name in expected} == expected


def test_processes_from_the_environment():
    given = {"RESTARTS": 2, "GPUS": 4, "NNODES": 2, "NODE_RANK": 1, "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": 12345}
    words = shlex.split(run_script("rec/evaluate_refcoco.sh", DRY_RUN=1, **given).stdout)
    start = next(i for i, word in enumerate(words) if word.endswith("launch.py")) + 1
    assert words[start : start + 12] == [
        *("--nnodes", "2", "--node-rank", "1"),
        *("--master-addr", "10.0.0.1", "--master-port", "12345", "--nproc-per-node", "4"),
        *("--max-restarts", "2"),
    ]


def batch_of(script, *arguments, **environment):
    """(GPUs, --batch-size, --update-freq) of a dry run, from the command that it prints and from its one line."""
    done = run_script(script, *arguments, DRY_RUN=1, **environment)
    words = shlex.split(done.stdout)
    last = {word: words[k + 1] for k, word in enumerate(words[:-1])}  # of a repeated flag, the one that argparse takes
    ranks = int(last.get("--nproc-per-node", 1)) * int(last.get("--nnodes", 1))
    line = f"global batch: {ranks} GPUs x --batch-size {last['--batch-size']} x --update-freq {last['--update-freq']} "
    assert done.stderr.startswith(line), done.stderr
    return ranks, int(last["--batch-size"]), int(last["--update-freq"])


@pytest.mark.parametrize(
    ("script", "gpus", "expected"),
    [
        ("rec/train_refcoco.sh", 1, (1, 8, 8)),
        ("rec/train_refcoco.sh", 8, (8, 8, 1)),
        ("rec/train_refcoco.sh", 16, (16, 4, 1)),  # fewer rows at a time, and as many an update
        ("rpar/train_rpar_full_mask.sh", 3, (3, 4, 4)),
        ("rhrc/train_rhrc.sh", 8, (8, 4, 1)),
        ("multitask/train_multitask.sh", 8, (8, 2, 1)),
    ],
)
def test_the_global_batch_stays_the_recipe_s(script, gpus, expected):
    assert batch_of(script, GPUS=gpus) == expected


def test_another_global_batch_on_request():
    rec = "rec/train_refcoco.sh"
    assert batch_of(rec, GPUS=4, NNODES=2, GLOBAL_BATCH=512) == (8, 8, 8)
    assert batch_of(rec, GPUS=8, UPDATE_FREQ=8) == (8, 8, 8)
    assert batch_of(rec, "--batch-size", "4", GPUS=4) == (4, 4, 4)
    assert batch_of(rec, "--batch-size=2", "--lr", "1e-4", "--update-freq", "3", GPUS=3) == (3, 2, 3)


@pytest.mark.parametrize("given", [{"GPUS": 3}, {"GPUS": 128}, {"GPUS": 2, "GLOBAL_BATCH": 63}])
def test_a_global_batch_that_cannot_be_shared_is_refused(given):
    done = run_script("rec/train_refcoco.sh", check=False, DRY_RUN=1, **given)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{given['GPUS']} GPUs cannot share a global batch of" in done.stderr


def test_half_precision_on_request():
    words = printed("rec/train_refcoco.sh", "train.py", PRECISION="fp16")
    assert words[words.index("--fp16-scale-window") + 1] == "512"
    assert "--fp16" in words
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
    words = shlex.split(run_script("rec/train_refcoco.sh", DRY_RUN=1, UPDATE_FREQ=1, **given).stdout)
    launched = "--nproc-per-node" in words  # one process is started as it is
    assert (int(words[words.index("--nproc-per-node") + 1]) if launched else 1) == processes
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
