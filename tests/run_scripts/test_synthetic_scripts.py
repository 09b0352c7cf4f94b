"""The recipe of the shipped model: its commands parse, and (slow) a short run of all of it can be scored."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from commands import parsed
from scripts import KEYS, ROOT, run_script

from refhcm.models.refhcm.config import SIZES, NetworkConfig
from refhcm.models.refhcm.network import Network

FIELDS = ("box", "keypoints", "parts", "found")


def commands(script, *arguments, name, **environment):
    """Arguments that a dry run gives to each call of a program."""
    words = [shlex.split(line) for line in run_script(script, *arguments, DRY_RUN=1, **environment).stdout.splitlines()]
    starts = [next((i for i, word in enumerate(line) if Path(word).name == name), None) for line in words]
    return [line[start + 1 :] for line, start in zip(words, starts, strict=True) if start is not None]


def test_training_flags(tmp_path):
    pytest.importorskip("fairseq")
    from refhcm.training.command import parse

    given, chained = commands("synthetic/train.sh", tmp_path, name="train.py", UPDATES=1000)
    (before,) = commands("synthetic/train.sh", tmp_path, name="pretrain")
    args, first, last = parse(given), parsed("pretrain", *before), parse(chained)
    assert (args.max_update, last.max_update) == (750, 1000)
    assert (args.total_num_update, last.total_num_update) == ("1000", "1000")
    assert (args.refchain_dataset, last.refchain_dataset) == (None, str(tmp_path / "chains.tsv"))
    changed = {"max_update", "part_rows", "refchain_dataset", "refchain_selected_cols", "seed"}
    changed |= {"save_dir", "tensorboard_logdir", "finetune_from_model", "restore_file", "reset_dataloader"}
    assert {name for name, value in vars(args).items() if value != getattr(last, name)} == changed
    # The optimiser and the schedule go on; a rerun resumes by itself.
    assert (last.save_dir, last.restore_file) == (f"{tmp_path}/chained", f"{args.save_dir}/checkpoint_last.pt")
    assert (last.reset_dataloader, last.reset_optimizer, last.reset_lr_scheduler) == (True, False, False)
    (tmp_path / "chained").mkdir()
    (tmp_path / "chained/checkpoint_last.pt").touch()
    _, again = commands("synthetic/train.sh", tmp_path, name="train.py", UPDATES=1000)
    assert (parse(again).restore_file, parse(again).reset_dataloader) == ("checkpoint_last.pt", False)
    assert args.task == "multitask"
    assert args.finetune_from_model == f"{first.save_dir}/checkpoint_last.pt"
    for name in ("arch", "num_bins", "code_dict_size", "patch_image_size", "bpe_dir", "seed"):
        assert str(getattr(args, name)) == str(getattr(first, name)), name
    assert (args.arch, args.num_bins, args.code_dict_size) == ("refhcm_small", 128, 96)
    assert (args.patch_image_size, args.max_image_size, args.bin_smoothing) == (192, 192, 1.5)
    assert (args.dropout, args.label_smoothing, args.disable_entangle) == (0, 0, False)
    assert (args.rows_together, args.optimizer, args.sinusoidal_positions) == (2, "fused_adam", True)
    assert (args.lr, args.adam_betas, args.end_learning_rate, args.warmup_updates) == ([5e-4], "(0.9,0.98)", 1e-5, 100)
    assert (args.batch_size, args.part_weights, args.encoder_drop_path_rate) == (4, "refregion=5,refgrec=5", 0)
    assert args.part_rows == "refregion=3,refpose=2,refparsing=4,refquery=2,refgrec=4"
    assert (args.refgrec_dataset, args.refgrec_selected_cols) == (str(tmp_path / "world/grec/train.tsv"), "0,4,2,3")
    assert args.refpose_dataset == str(tmp_path / "poses.tsv")
    assert last.part_rows == args.part_rows + ",refchain=1"
    assert args.share_pictures
    assert args.autocast_bf16
    assert args.entangle_position_embedding


def test_training_from_a_model(tmp_path):
    """Its words and codes are kept: no vocabulary and no tokenizer is made."""
    start = ROOT / "checkpoints/synthetic"
    (before,) = commands("synthetic/train.sh", tmp_path, name="pretrain", START=start)
    first = parsed("pretrain", *before)
    assert (first.finetune_from_model, first.backbone_updates) == (start, 0)
    assert first.bpe_dir == str(start / "bpe")
    assert commands("synthetic/train.sh", tmp_path, name="vocabulary", START=start) == []
    tokenizer = commands("synthetic/train.sh", tmp_path, name="tokenizer", START=start)
    assert [given[0] for given in tokenizer] == ["encode", "encode", "adapt"]
    assert {given[given.index("--vq-ckpt") + 1] for given in tokenizer} == {str(start / "tokenizer.safetensors")}
    (asked,) = commands("synthetic/train.sh", tmp_path, name="evaluate.py", START=start)
    assert asked[0] == tokenizer[2][tokenizer[2].index("--data") + 1] == str(tmp_path / "answered.tsv")
    assert asked[asked.index("--path") + 1] == str(tmp_path / "chained/checkpoint_last.pt")
    last = len(asked) - asked[::-1].index("--annotation-root")  # the last one wins
    assert asked[last] == str(tmp_path / "world/rpar/annos")
    exported = commands("synthetic/train.sh", tmp_path, name="export", START=start)
    assert exported[0][1] == str(tmp_path / "shipped")
    assert exported[0][exported[0].index("--tokenizer") + 1] == str(tmp_path / "adapted")


def test_codes_are_made_anew_for_another_tokenizer_or_world(tmp_path):
    """Once made they stand, while they are newer than what they are of."""
    ages = {"world/rpar/train.tsv": 1, "vqgan/model.ckpt": 2, "world/rpar/train.codes.tsv": 3}

    def encoded():
        for name, age in ages.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
            os.utime(tmp_path / name, (age, age))
        calls = commands("synthetic/train.sh", tmp_path, name="tokenizer")
        return [words[words.index("--data") + 1].rpartition("/")[2] for words in calls if words[0] == "encode"]

    assert encoded() == ["val.tsv"]
    ages["vqgan/model.ckpt"] = 4
    assert encoded() == ["train.tsv", "val.tsv"]
    ages |= {"vqgan/model.ckpt": 2, "world/rpar/train.tsv": 5}
    assert encoded() == ["train.tsv", "val.tsv"]


def test_a_folder_without_a_world(tmp_path):
    done = run_script("synthetic/evaluate.sh", tmp_path, check=False)
    assert done.returncode == 2
    assert done.stderr.strip() == f"error: evaluate.sh WORLD [OUT]: {tmp_path} holds no world.json"


def test_scoring_flags(tmp_path):
    """Poses end where boxes do, at the earliest, and all rows of all tables are asked with the shipped tokenizer."""
    for table in ("rkpt/test", "rkpt/unseen", "rhrc/test", "rpar/test", "grec/test"):
        (tmp_path / table).parent.mkdir(exist_ok=True)
        (tmp_path / f"{table}.tsv").touch()
    people = ("a_0_0", "a_0_1", "a_1_0", "b_0_0")
    lines = [f"{row}\t{row[0]}\tthe man\t{row[:3]}\tk\tp\n" for row in people]  # for a box, the person
    (tmp_path / "rkpt/test.tsv").write_text("".join(lines))
    (tmp_path / "grec/test.tsv").write_text("".join(f"{k}\n" for k in range(10)))
    (tmp_path / "world.json").touch()
    script = ("synthetic/evaluate.sh", tmp_path, tmp_path)
    given = [vars(parsed("evaluate", *words)) for words in commands(*script, name="evaluate.py")]
    asked = [(g["task"], g["data"].rpartition("/")[2], g.get("selected_cols"), g.get("min_len")) for g in given]
    assert asked == [
        ("refcoco", "rkpt_test.tsv", "0,5,2,3", None),
        ("refcoco", "rkpt_unseen.tsv", "0,5,2,3", None),
        ("rkpt", "rkpt_test.tsv", None, 4),
        ("rkpt", "rkpt_by_box.tsv", None, 4),
        ("rpar", "rpar_codes.tsv", None, None),
        ("rpar", "rpar_by_box.tsv", None, None),
        ("rpar_full_mask", "rpar_codes.tsv", None, None),
        ("rhrc", "rhrc_test.tsv", None, None),
        ("grec", "grec_test.tsv", None, None),
    ]
    by_box = [line.split("\t") for line in (tmp_path / "rkpt_by_box.tsv").read_text().splitlines()]
    assert [(row[0], row[2]) for row in by_box] == [("a_0_0", "None"), ("a_1_0", "None"), ("b_0_0", "None")]
    assert (tmp_path / "grec_test.tsv").read_text() == (tmp_path / "grec/test.tsv").read_text()
    commands(*script, name="evaluate.py", ROWS=5)
    assert (tmp_path / "grec_test.tsv").read_text().split() == ["1", "3", "5", "7", "9"]
    shipped = str(ROOT / "checkpoints/synthetic")
    assert {(g["path"], g["bpe_dir"]) for g in given} == {(shipped, f"{shipped}/bpe")}
    own = next(words for words in commands(*script, name="tokenizer") if words[0] == "score")
    assert own[own.index("--path") + 1] == shipped  # the canvas of its answers
    assert {g["vq_ckpt"] for g in given if "rpar" in g["task"]} == {f"{shipped}/tokenizer.safetensors"}


def test_results_are_of_the_right_files(tmp_path):
    """Each metric has a number of its own."""
    names = (
        "rec",
        "unseen",
        "rkpt",
        "rpar",
        "rpar_full_mask",
        "tokenizer",
        "rhrc",
        "rkpt_by_box",
        "grec",
        "rpar_by_box",
    )
    metrics = ("score", "invalid", "box_score", "oks_score", "oks_ap", "miou", "cider", "pr_f1", "n_acc", "t_acc")
    for k, name in enumerate(names):
        numbers = {"count": 100 + k} | {metric: k + n / 10 for n, metric in enumerate(metrics)}
        numbers |= {"rejection_blank": 0.25} if name == "grec" else {}
        numbers |= {kind: {field: k + n / 100 for n, field in enumerate(FIELDS)} for kind in ("ece", "auroc")}
        numbers["auroc"]["parts"] = None
        (tmp_path / f"{name}.json").write_text(json.dumps(numbers))
    (tmp_path / "world.json").write_text('{"seed": 2}')
    program = ROOT / "run_scripts/synthetic/results.py"
    subprocess.run([sys.executable, program, tmp_path, tmp_path], check=True, capture_output=True)
    assert json.loads((tmp_path / "results.json").read_text()) == {
        "rec.acc": 0.0, "rec.invalid": 0.1, "unseen.rec_acc": 1.0, "rkpt.box_acc": 2.2, "rkpt.oks_share": 2.3,
        "rkpt.oks_ap": 2.4, "rpar.miou": 3.5, "rpar_full_mask.miou": 4.5, "rpar.tokenizer_miou": 5.5,
        "rhrc.cider_d": 6.6, "rkpt_by_box.oks_share": 7.3, "grec.pr_f1": 8.7, "grec.n_acc": 8.8, "grec.t_acc": 8.9,
        "grec.blank": 0.25, "grec.other": None, "rpar_by_box.miou": 9.5, "rec.box_ece": 0.0, "rec.box_auroc": 0.0,
        "rkpt.keypoints_ece": 2.01, "rkpt.keypoints_auroc": 2.01, "rpar.parts_ece": 3.02, "rpar.parts_auroc": None,
        "grec.found_ece": 8.03, "grec.found_auroc": 8.03, "dataset": "drawn people, seed 2",
    }  # fmt: skip
    table = (tmp_path / "results.md").read_text()
    assert table.startswith(
        "Drawn people, seed 2; rows scored: rec 100, rkpt 102, rpar 103, rhrc 106, unseen 101, grec 108."
    )
    assert "| RPar, mIoU | `rpar.miou` | 3.5 |" in table
    assert "people of other pictures | `grec.other` | no rows |" in table


def test_small_size():
    """5 to 10 million parameters, the published names, and nothing else."""
    config = NetworkConfig(**SIZES["refhcm_small"])
    with torch.device("meta"):
        small, large = Network(config, 1129), Network(NetworkConfig(), 1129)
    assert 5e6 < sum(p.numel() for p in small.parameters()) < 10e6
    assert {re.sub(r"\d+", "N", name) for name in small.state_dict()} == {
        re.sub(r"\d+", "N", name) for name in large.state_dict()
    }


@pytest.mark.slow
def test_the_whole_recipe(tmp_path):
    pytest.importorskip("fairseq")
    few = {"PICTURES": 340, "LOOK_PICTURES": 24, "TOKENIZER_UPDATES": 10}
    few |= {"BACKBONE_UPDATES": 3, "ENCODER_UPDATES": 3, "UPDATES": 4, "ADAPT_UPDATES": 3}
    run = tmp_path / "run"
    log = run_script("synthetic/train.sh", run, **few, timeout=1800)
    assert "done: 4 updates" in log.stdout
    score = run / "adapted" / "score.json"
    made = score.stat().st_mtime
    run_script("synthetic/train.sh", run, **few, timeout=1800)
    assert score.stat().st_mtime == made  # what is finished is not done again
    run_script("synthetic/evaluate.sh", run / "world", tmp_path / "out", MODEL=run / "shipped", ROWS=5, timeout=1800)
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results.pop("dataset").startswith("drawn people, seed ")
    assert results.keys() == KEYS
    few_rows = ("grec.", "rec.box_", "rkpt.keypoints_", "rpar.parts_")  # five may lack what an AUROC needs
    assert all(isinstance(value, float) for key, value in results.items() if not key.startswith(few_rows))
    assert isinstance(results["grec.pr_f1"], float)  # of five rows some kinds are missing
    assert "rec 5" in (tmp_path / "out" / "results.md").read_text()
