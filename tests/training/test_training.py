"""Training as a user runs it: resuming, being killed, several processes, and mistakes."""

import json
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from scripts import ROOT, run, run_two, training_command, updates

from refhcm.utils.checkpoints import read_checkpoint

pytest.importorskip("fairseq")


def weights(folder):
    return read_checkpoint(folder / "checkpoint_last.pt").weights


def test_resuming_within_an_epoch_changes_nothing(world, tmp_path):
    """The same losses and weights, bit for bit, as a run that was not stopped."""
    dropout = "--dropout=0.1"
    whole = run(training_command(world, tmp_path / "whole", dropout))
    first = run(training_command(world, tmp_path / "parts", dropout, "--max-update=3"))
    second = run(training_command(world, tmp_path / "parts", dropout))
    expected, found = updates(whole.stdout), updates(first.stdout) + updates(second.stdout)
    assert len(expected) > 6
    assert [u["loss"] for u in found] == [u["loss"] for u in expected]
    assert [u["lr"] for u in found] == [u["lr"] for u in expected]
    theirs = weights(tmp_path / "whole")
    assert all(torch.equal(value, theirs[name]) for name, value in weights(tmp_path / "parts").items())


def test_the_fused_adam_learns_as_fairseq_s_does_and_resumes(world, tmp_path):
    fused = ["--dropout=0", "--optimizer=fused_adam", "--adam-betas=(0.9,0.98)", "--weight-decay=0.01"]
    plain = updates(run(training_command(world, tmp_path / "plain", *fused, "--optimizer=adam")).stdout)
    first = updates(run(training_command(world, tmp_path / "fused", *fused, "--max-update=3")).stdout)
    second = updates(run(training_command(world, tmp_path / "fused", *fused)).stdout)
    assert [float(u["loss"]) for u in first + second] == pytest.approx([float(u["loss"]) for u in plain], rel=1e-4)
    assert all(float(u["stall"]) >= 0 for u in plain)


def test_a_killed_run_leaves_a_whole_checkpoint(world, tmp_path):
    command = training_command(world, tmp_path / "run", "--save-interval-updates=1", "--max-epoch=50")
    last = tmp_path / "run" / "checkpoint_last.pt"
    for _ in range(2):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            before = last.stat().st_mtime_ns if last.exists() else 0
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline and process.poll() is None:
                writing = list((tmp_path / "run").glob("*.part")) if last.exists() else []
                if writing and last.stat().st_mtime_ns != before:
                    break
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
        assert read_checkpoint(last).rest["extra_state"]["train_iterator"]
    left = tmp_path / "run" / "checkpoint_1_0.pt.0123abcd.part"
    left.touch()  # of a run that was killed while it wrote
    stop = read_checkpoint(last).rest["optimizer_history"][-1]["num_updates"] + 1
    run([*command, f"--max-update={stop}"])
    assert not list((tmp_path / "run").glob("*.part"))


def test_two_processes_equal_twice_the_update_freq(world, tmp_path):
    plain = ["--dropout=0", "--encoder-drop-path-rate=0", "--decoder-drop-path-rate=0", "--max-epoch=1", "--lr=1e-4"]
    one = run(training_command(world, tmp_path / "one", *plain, "--update-freq=2"))
    two = run_two(training_command(world, tmp_path / "two", *plain, "--update-freq=1"))
    expected, found = updates(one.stdout), updates(two)
    assert len(found) == len(expected) > 2
    for a, b in zip(found, expected, strict=True):
        assert float(a["loss"]) == pytest.approx(float(b["loss"]), rel=1e-5)


def test_two_processes_go_on(world, tmp_path):
    """Each reads the checkpoint; with dropout, which is another in each of them."""
    losses = {}
    for name, parts in (("whole", [[]]), ("parts", [["--max-update=2"], []])):
        found = []
        for flags in parts:
            command = training_command(world, tmp_path / name, "--dropout=0.1", "--max-epoch=1", *flags)
            found += updates(run_two(command))
        losses[name] = [update["loss"] for update in found]
    assert losses["parts"] == losses["whole"]
    assert len(losses["whole"]) > 2


def test_half_precision_resumes_from_float32_weights(world, tmp_path):
    """Bit for bit: the checkpoint holds what bfloat16 rounds, of the weights and of their average."""
    flags = ["--bf16", "--store-ema", "--ema-decay=0.99", "--dropout=0"]
    flags += ["--fp16-no-flatten-grads"]  # the other way wants a GPU
    whole = updates(run(training_command(world, tmp_path / "whole", *flags)).stdout)
    first = updates(run(training_command(world, tmp_path / "parts", *flags, "--max-update=3")).stdout)
    second = updates(run(training_command(world, tmp_path / "parts", *flags)).stdout)
    assert [u["loss"] for u in first + second] == [u["loss"] for u in whole]
    name = "decoder.layers.0.fc1.weight"
    for kind in ("weights", "ema_weights"):
        found, expected = (read_checkpoint(tmp_path / run / "checkpoint_last.pt") for run in ("parts", "whole"))
        found, expected = ((c.ema_weights() if kind == "ema_weights" else c.weights)[name] for c in (found, expected))
        assert torch.equal(found, expected), kind
        assert not torch.equal(found, found.bfloat16().float()), kind


def test_an_average_may_begin_later(world, tmp_path):
    run(training_command(world, tmp_path, "--max-update=2"))
    run(training_command(world, tmp_path, "--max-update=4", "--store-ema", "--ema-decay=0.5"))
    checkpoint = read_checkpoint(tmp_path / "checkpoint_last.pt")
    name = "decoder.layers.0.fc1.weight"
    assert 0 < (checkpoint.ema_weights()[name] - checkpoint.weights[name]).abs().max() < 0.01


def test_training_from_an_average_and_an_average_of_anew(world, tmp_path):
    first, fresh, averaged = (tmp_path / name for name in ("first", "fresh", "averaged"))
    run(training_command(world, first, "--max-update=2", "--store-ema", "--ema-decay=0.5"))
    name = "decoder.layers.0.fc1.weight"
    begun = read_checkpoint(first / "checkpoint_last.pt")
    last, average = begun.weights[name], begun.ema_weights()[name]
    assert not torch.equal(last, average)
    whole = f"--finetune-from-model={first / 'checkpoint_last.pt'}"
    run(training_command(world, averaged, whole, "--use-ema-weights-to-init-param", "--max-update=1", "--lr=0"))
    assert torch.equal(weights(averaged)[name], average)
    shutil.copytree(first, fresh)  # goes on, and its average stays what it begins with
    kept = ["--store-ema", "--ema-decay=1", "--max-update=3"]
    run(training_command(world, fresh, *kept, "--use-latest-weights-to-init-ema"))
    assert torch.equal(read_checkpoint(fresh / "checkpoint_last.pt").ema_weights()[name], last)


def test_a_rank_without_rows_to_validate(world, tmp_path):
    """One batch for two processes; weights are averaged, the backbone's counters, too."""
    flags = ["--eval-acc", "--batch-size-valid=100", "--max-epoch=1", "--store-ema", "--ema-decay=0.5"]
    command = training_command(world, tmp_path, *flags, "--optimizer=fused_adam")
    log = run_two([part for part in command if part not in ("--disable-validation", "--freeze-resnet")])
    (found,) = (json.loads(line.split("| ")[-1]) for line in log.splitlines() if "| valid |" in line)
    rows = len((world / "rkpt" / "val.tsv").read_text(encoding="utf-8").splitlines())
    assert found["valid_count"] == str(rows)
    checkpoint = read_checkpoint(tmp_path / "checkpoint_last.pt")
    average = checkpoint.ema_weights()
    counter = "encoder.embed_images.bn1.num_batches_tracked"
    assert average[counter] == checkpoint.weights[counter] == int(found["valid_num_updates"])


@pytest.mark.filterwarnings("ignore::UserWarning")  # hydra's, of how fairseq calls it
def test_processes_share_gradients_through_fairseq_s_own_wrapper(world, tmp_path, monkeypatch):
    """On GPUs, too: torch's wants a gradient of every weight."""
    from refhcm.training.command import configure, parse

    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    given = training_command(world, tmp_path)[2:]
    shared = configure(parse(given)).distributed_training
    assert (shared.ddp_backend, shared.distributed_world_size, shared.device_id) == ("legacy_ddp", 2, 1)
    assert configure(parse([*given, "--ddp-backend=slowmo"])).distributed_training.ddp_backend == "slowmo"


def test_validation_chooses_the_best(world, tmp_path):
    command = training_command(world, tmp_path, "--eval-acc", "--best-checkpoint-metric=score")
    command = [part for part in command if part != "--disable-validation"]
    command += ["--maximize-best-checkpoint-metric", "--tensorboard-logdir", str(tmp_path / "tb")]
    log = run([*command, "--eval-print-samples"]).stdout
    found = [json.loads(line.split("| ")[-1]) for line in log.splitlines() if "| valid |" in line]
    rows = len((world / "rkpt" / "val.tsv").read_text(encoding="utf-8").splitlines())
    assert [u["valid_count"] for u in found] == [str(rows)] * 2
    assert read_checkpoint(tmp_path / "checkpoint_best.pt").rest["extra_state"]["best"] is not None
    assert list((tmp_path / "tb").rglob("events.*"))
    assert log.count("label: <bin_") >= len(found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("--bpe-dir=/nowhere", "/nowhere/dict.txt"),
        ("--selected-cols=0,1", "--selected-cols needs 4 columns"),
        ("--selected-cols=0,1,2,3", "rkpt/train.tsv:"),
        ("--finetune-from-model=/nowhere.pt", "/nowhere.pt: no such file"),
        ("--restore-file=/nowhere.pt", "/nowhere.pt: no such file"),
        ("--eval-args={", "--eval-args: needs JSON, got"),
        ("--amp", "--amp: fairseq divides the gradients by the loss scale twice"),
    ],
)
def test_mistakes_are_one_line(world, tmp_path, change, message):
    done = run(training_command(world, tmp_path, change), check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("error: ")
    assert message in line


def test_bad_rows_may_be_skipped_up_to_a_limit(world, tmp_path):
    lines = (world / "rkpt" / "train.tsv").read_text(encoding="utf-8").splitlines()
    lines[1] = lines[1].replace("\t", "\tx", 3).rsplit("\t", 1)[0] + "\tnot-a-picture"
    table = tmp_path / "bad.tsv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = training_command(world, tmp_path / "run", "--max-epoch=1")
    command[2] = f"{table},{table}"
    refused = run(command, check=False)
    assert refused.returncode == 2
    assert f"{table}:2:" in refused.stderr
    command = [part for part in command if part != "--disable-validation"]
    skipped = run([*command, "--skip-bad-rows=1", "--batch-size=1", "--eval-acc"])  # a batch without a row
    assert "skipped bad row 1 of at most 1" in skipped.stdout
    (found,) = (json.loads(line.split("| ")[-1]) for line in skipped.stdout.splitlines() if "| valid |" in line)
    assert found["valid_count"] == str(len(lines) - 1)


def test_evaluation_after_training(world, tmp_path):
    run(training_command(world, tmp_path, "--max-update=2"))
    table = world / "rkpt" / "val.tsv"
    command = [sys.executable, str(ROOT / "evaluate.py"), str(table), "--path", str(tmp_path / "checkpoint_last.pt")]
    command += ["--task=refcoco", "--selected-cols=0,5,2,3", f"--bpe-dir={world / 'bpe'}", f"--results-path={tmp_path}"]
    metrics = json.loads(run(command).stdout.splitlines()[-1])
    records = json.loads((tmp_path / "val_predict.json").read_text())
    assert metrics["count"] == len(records) == len(table.read_text(encoding="utf-8").splitlines())
    half = json.loads(run([*command, "--bf16"]).stdout.splitlines()[-1])
    assert half["count"] == metrics["count"]
    wrong = run([*command, "--beam=0"], check=False)
    assert wrong.returncode == 2
    assert "error: --beam must be at least 1, got 0" in wrong.stderr
