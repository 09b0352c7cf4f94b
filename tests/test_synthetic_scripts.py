"""The recipe of the shipped model: its commands parse, and (slow) a short run of all of it can be scored."""

import json
import re
import shlex

import pytest
import torch
from scripts import ROOT, run_script

from refhcm.models.refhcm.config import SIZES, NetworkConfig
from refhcm.models.refhcm.network import Network
from refhcm.tasks.predictor import Predictor
from refhcm.utils.checkpoints import read_checkpoint

KEYS = {
    "rec.acc", "rec.invalid", "rkpt.box_acc", "rkpt.oks_share", "rkpt.oks_ap", "rpar.miou", "rpar.tokenizer_miou",
    "rpar_full_mask.miou", "rhrc.cider_d", "unseen.rec_acc",
}  # fmt: skip


def commands(script, *arguments, name, **environment):
    """Arguments that a dry run gives to each call of a program."""
    words = [shlex.split(line) for line in run_script(script, *arguments, DRY_RUN=1, **environment).stdout.splitlines()]
    starts = [next((i for i, word in enumerate(line) if word.endswith(name)), None) for line in words]
    return [line[start + 1 :] for line, start in zip(words, starts, strict=True) if start is not None]


def test_training_flags(tmp_path):
    pytest.importorskip("fairseq")
    from refhcm.tasks.pretrain import parser
    from refhcm.train import parse

    given, chained = commands("synthetic/train.sh", tmp_path, name="train.py", UPDATES=1000)
    (before,) = commands("synthetic/train.sh", tmp_path, name="refhcm.tasks.pretrain")
    args, first, last = parse(given), parser().parse_args(before), parse(chained)
    assert (args.max_update, last.max_update) == (750, 1000)
    assert (args.total_num_update, last.total_num_update) == ("1000", "1000")
    assert (args.refchain_dataset, last.refchain_dataset) == (None, str(tmp_path / "chains.tsv"))
    changed = {"max_update", "part_rows", "refchain_dataset", "refchain_selected_cols"}
    assert {name for name, value in vars(args).items() if value != getattr(last, name)} == changed
    assert args.task == "multitask"
    assert args.finetune_from_model == f"{first.save_dir}/checkpoint_last.pt"
    for name in ("arch", "num_bins", "code_dict_size", "patch_image_size", "bpe_dir", "seed"):
        assert str(getattr(args, name)) == str(getattr(first, name)), name
    assert (args.arch, args.num_bins, args.code_dict_size) == ("refhcm_small", 128, 96)
    assert (args.patch_image_size, args.max_image_size, args.bin_smoothing) == (192, 192, 1.5)
    assert (args.dropout, args.label_smoothing, args.disable_entangle) == (0, 0, False)
    assert (args.rows_together, args.optimizer, args.sinusoidal_positions) == (2, "fused_adam", True)
    assert args.share_pictures
    assert args.autocast_bf16
    assert args.entangle_position_embedding


def test_training_from_a_model(tmp_path):
    """Its words and codes are kept: no vocabulary and no tokenizer is made."""
    from refhcm.tasks.pretrain import parser

    start = ROOT / "checkpoints/synthetic"
    (before,) = commands("synthetic/train.sh", tmp_path, name="refhcm.tasks.pretrain", START=start)
    first = parser().parse_args(before)
    assert (first.finetune_from_model, first.trunk_updates) == (start / "model.pt", 0)
    assert first.bpe_dir == str(start / "bpe")
    assert commands("synthetic/train.sh", tmp_path, name="refhcm.tasks.make_vocabulary", START=start) == []
    tokenizer = commands("synthetic/train.sh", tmp_path, name="refhcm.tasks.tokenizer", START=start)
    assert [given[0] for given in tokenizer] == ["encode", "encode", "adapt"]
    assert {given[given.index("--vq-ckpt") + 1] for given in tokenizer} == {str(start / "vqgan/model.ckpt")}
    (asked,) = commands("synthetic/train.sh", tmp_path, name="evaluate.py", START=start)
    assert asked[0] == tokenizer[2][tokenizer[2].index("--data") + 1] == str(tmp_path / "answered.tsv")
    assert asked[asked.index("--path") + 1] == str(tmp_path / "network/checkpoint_last.pt")
    last = len(asked) - asked[::-1].index("--annotation-root")  # the last one wins
    assert asked[last] == str(tmp_path / "world/rpar/annos")
    exported = commands("synthetic/train.sh", tmp_path, name="refhcm.tasks.export", START=start)
    assert exported[0][0] == str(tmp_path / "adapted/model.ckpt")


def test_a_folder_without_a_world(tmp_path):
    done = run_script("synthetic/evaluate.sh", tmp_path, check=False)
    assert done.returncode == 2
    assert done.stderr.strip() == f"error: evaluate.sh WORLD [OUT]: {tmp_path} holds no world.json"


def test_small_size():
    """As issue and README say: 5 to 10 million parameters, the published names, and nothing else."""
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
    few |= {"TRUNK_UPDATES": 3, "ENCODER_UPDATES": 3, "UPDATES": 4, "ADAPT_UPDATES": 3}
    run = tmp_path / "run"
    log = run_script("synthetic/train.sh", run, **few, timeout=1800)
    assert "done: 4 updates" in log.stdout
    score = run / "adapted" / "score.json"
    made = score.stat().st_mtime
    run_script("synthetic/train.sh", run, **few, timeout=1800)
    assert score.stat().st_mtime == made  # what is finished is not done again
    run_script("synthetic/evaluate.sh", run / "world", tmp_path / "out", MODEL=run / "shipped", ROWS=5, timeout=1800)
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results.keys() == KEYS
    assert all(isinstance(value, float) for value in results.values())
    assert "rec 5" in (tmp_path / "out" / "results.md").read_text()


@pytest.mark.skipif(not (ROOT / "checkpoints/synthetic/model.pt").exists(), reason="no shipped model")
def test_the_shipped_model():
    """Published names, nothing missing, nothing unknown; 20 MB or less in all."""
    from refhcm import load
    from refhcm.models.refhcm.loading import fit_weights

    folder = ROOT / "checkpoints/synthetic"
    checkpoint = read_checkpoint(folder / "model.pt")
    model = load()
    assert isinstance(model, Predictor)
    network = Network(model.network.config, len(model.text.vocabulary))
    _, report = fit_weights(checkpoint.weights, network, where="shipped")
    assert (report.missing, report.dropped, report.extended) == ([], [], [])
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 20e6
    assert json.loads((folder / "results.json").read_text()).keys() == KEYS
