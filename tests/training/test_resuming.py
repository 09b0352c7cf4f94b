"""How a training resumes, or why it does not: other tasks, files, ranks and restored weights."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from scripts import run, run_two, training_command, updates

from refhcm.utils.checkpoints import read_checkpoint
from refhcm.utils.errors import UserError

pytest.importorskip("fairseq")
from refhcm.training import resuming
from refhcm.training.resuming import LAST, place_of, starting_weights

PLAIN = ["--dropout=0", "--encoder-drop-path-rate=0", "--decoder-drop-path-rate=0", "--max-epoch=1", "--lr=1e-4"]


def refused(command):
    """The one line of a training that does not start."""
    done = run(command, check=False)
    assert done.returncode == 2
    return done.stderr.strip().splitlines()[-1]


@pytest.fixture
def begun(world, tmp_path):
    """A run that was stopped after two updates."""
    folder = tmp_path / "begun"
    run(training_command(world, folder, "--max-update=2"))
    return folder


def test_another_run_s_folder(begun, world, tmp_path):
    """Of another task, or on another file, it is not gone on with."""
    before = (begun / "checkpoint_last.pt").read_bytes()
    other = training_command(world, begun, "--task=rkpt", "--selected-cols=0,5,2,3,4")
    assert "checkpoint_last.pt: belongs to --task refcoco, not rkpt: give another --save-dir" in refused(other)
    command = training_command(world, begun, "--max-update=3")
    table, valid = command[2].split(",")
    command[2] = f"{shutil.copy(table, tmp_path / 'more.tsv')},{valid}"
    assert "was trained on train.tsv, not on more.tsv: give another --save-dir" in refused(command)
    assert (begun / "checkpoint_last.pt").read_bytes() == before
    assert "done: 3 updates" in run([*command, "--reset-dataloader"]).stdout
    (tmp_path / "other.tsv").write_bytes(Path(valid).read_bytes()[:-40])
    command[2] = f"{tmp_path / 'more.tsv'},{tmp_path / 'other.tsv'}"  # to validate on, which it does not
    assert "done: 3 updates" in run(command).stdout


def test_other_data_or_another_network(world, tmp_path):
    """Each is one line, and leaves the checkpoint as it was."""
    rows = tmp_path / "rows.tsv"
    lines = (world / "rkpt" / "train.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
    rows.write_text("".join(lines), encoding="utf-8")
    command = training_command(world, tmp_path / "run", "--max-update=2")
    command[2] = f"{rows},{world / 'rkpt' / 'val.tsv'}"
    run(command)
    before = (tmp_path / "run" / "checkpoint_last.pt").read_bytes()
    other_seed = refused([*command, "--seed=7"])
    assert "checkpoint_last.pt: was trained with --seed=1, not 7: give another --save-dir" in other_seed
    assert "does not fit: " in refused([*command, "--encoder-embed-dim=64"])
    assert "does not fit: Optimizer does not match" in refused([*command, "--optimizer=fused_adam"])
    for text, what in ((lines[::-1], "had other content"), (lines[:3], "bytes then, ")):
        rows.write_text("".join(text), encoding="utf-8")
        assert f"was trained on another training file 1: {rows} had" in (message := refused(command))
        assert what in message
    assert (tmp_path / "run" / "checkpoint_last.pt").read_bytes() == before
    assert "done: 3 updates" in run([*command, "--max-update=3", "--reset-dataloader"]).stdout


def test_weights_to_restore(begun, world, tmp_path):
    """They only start a run; the same command again resumes from its own last checkpoint."""
    weights = begun / "checkpoint_last.pt"
    given = [f"--restore-file={weights}", "--reset-optimizer", "--reset-dataloader", "--reset-meters"]
    new = tmp_path / "new"
    first = run(training_command(world, new, *given, "--max-update=2")).stdout
    assert f"starting from the weights of {weights}" in first
    second = run(training_command(world, new, *given, "--max-update=4")).stdout
    assert "starting from" not in second
    assert [int(update["num_updates"]) for update in updates(first) + updates(second)] == [1, 2, 3, 4]
    own = [f"--restore-file={new / 'checkpoint_last.pt'}", *given[1:], "--max-update=1"]
    third = run(training_command(world, new, *own)).stdout
    assert [int(update["num_updates"]) for update in updates(third)] == [1]
    both = training_command(world, tmp_path / "both", *given, f"--finetune-from-model={weights}")
    assert "--finetune-from-model and --restore-file exclude each other" in refused(both)


@pytest.mark.parametrize("kept", ["", "reset_optimizer", "reset_dataloader", "reset_meters"])
def test_what_is_not_wholly_reset_is_resumed(kept, tmp_path):
    """Only with all three resets does --restore-file give weights alone; and a run that has begun needs none."""
    weights, folder = tmp_path / "weights.pt", tmp_path / "run"
    weights.touch()
    resets = {name: name != kept for name in ("reset_optimizer", "reset_dataloader", "reset_meters")}
    given = {"save_dir": str(folder), "restore_file": str(weights), "finetune_from_model": None}
    cfg = SimpleNamespace(checkpoint=SimpleNamespace(**given, **resets))
    assert starting_weights(cfg) == (None if kept else str(weights))
    folder.mkdir()
    (folder / LAST).touch()
    assert starting_weights(cfg) is None


def test_other_ranks_go_on_at_the_same_row(world, tmp_path):
    """Two processes stop within an epoch, and one resumes."""
    whole = updates(run(training_command(world, tmp_path / "whole", *PLAIN, "--update-freq=2")).stdout)
    folder = tmp_path / "parts"
    first = updates(run_two(training_command(world, folder, *PLAIN, "--max-update=2")))
    second = updates(run(training_command(world, folder, *PLAIN, "--update-freq=2")).stdout)
    found = [float(update["loss"]) for update in first + second]
    assert found == pytest.approx([float(update["loss"]) for update in whole], rel=1e-5)
    shutil.rmtree(folder)
    run(training_command(world, folder, *PLAIN, "--max-update=1"))
    odd = training_command(world, folder, *PLAIN, "--batch-size=3")
    assert "stopped within an epoch: resume with its --batch-size, 2" in refused(odd)


def test_a_place_that_other_ranks_do_not_reach():
    state = {"train_iterator": {"epoch": 2, "iterations_in_epoch": 3}, "batches": {"ranks": 2, "batch_size": 8}}
    found = [
        place_of({"ranks": ranks, "batch_size": 8}, state, "a.pt")["iterations_in_epoch"] for ranks in (1, 2, 3, 6)
    ]
    assert found == [6, 3, 2, 1]
    with pytest.raises(UserError, match="on 2 ranks, which 4 ranks cannot reach: resume with 2"):
        place_of({"ranks": 4, "batch_size": 8}, state, "a.pt")
    ended = state | {"train_iterator": {"epoch": 3, "iterations_in_epoch": 0}}
    assert place_of({"ranks": 5, "batch_size": 1}, ended, "a.pt") == ended["train_iterator"]


def test_ranks_that_see_other_folders(monkeypatch):
    from fairseq.dataclass.configs import FairseqConfig

    resuming.check_ranks(FairseqConfig(), 7, 1)
    monkeypatch.setattr(resuming, "gather", lambda places: [*places, (0, 1)])
    with pytest.raises(
        UserError, match="--save-dir checkpoints: ranks resume from updates 0, 7: all must see the same folder"
    ):
        resuming.check_ranks(FairseqConfig(), 7, 1)


def test_a_validation_that_fails_loses_nothing(world, tmp_path):
    flags = ["--eval-acc", "--best-checkpoint-metric=beauty", "--max-update=3", "--max-valid-steps=1"]
    command = [part for part in training_command(world, tmp_path, *flags) if part != "--disable-validation"]
    assert "--best-checkpoint-metric beauty: validation gives" in refused(command)
    assert int(read_checkpoint(tmp_path / "checkpoint_last.pt").rest["optimizer_history"][-1]["num_updates"]) == 3
    done = run([*command, "--best-checkpoint-metric=score"]).stdout  # what is owed is made up
    assert "done: 3 updates" in done
    assert updates(done) == []
    assert '"valid_count": "2"' in done
    assert (tmp_path / "checkpoint_best.pt").read_bytes() == (tmp_path / "checkpoint_last.pt").read_bytes()


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--train-subset=val", "training files are named in DATA"),
        ("--max-tokens=100", "batches are counted in rows"),
        ("--ddp-backend=fully_sharded", "each rank holds all weights"),
        ("--checkpoint-suffix=-a", "--checkpoint-suffix is not supported"),
    ],
)
def test_flags_of_fairseq_that_would_mislead(flag, message, world, tmp_path):
    assert message in refused(training_command(world, tmp_path, flag))


def test_what_scores_need_is_read_before_the_first_update(world, tmp_path):
    command = training_command(world, tmp_path, "--task=rpar", "--selected-cols=0,5,1,2,3,4", "--eval-acc")
    command[2] = f"{world}/rpar/train.tsv,{world}/rpar/val.tsv"
    command = [part for part in command if part != "--disable-validation"]
    done = run([*command, "--vq-config=/nowhere.yaml", "--vq-ckpt=/nowhere.ckpt"], check=False)
    assert done.returncode == 2
    assert "/nowhere" in done.stderr
    assert updates(done.stdout) == []


def test_a_full_disk_is_a_sentence_and_leaves_the_old_file(tmp_path, monkeypatch):
    from refhcm.utils import checkpoints

    path = tmp_path / "a.pt"
    checkpoints.save_file({"a": torch.zeros(2)}, path)
    before = path.read_bytes()

    def full(content, file):
        file.write_bytes(b"half")
        raise RuntimeError("[enforce fail at inline_container.cc:783] . PytorchStreamWriter failed\nframe 0")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match=r"a.pt: cannot be written \(.*PytorchStreamWriter failed\)"):
        checkpoints.save_file({"a": torch.ones(2)}, path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]


@pytest.mark.slow
def test_two_ranks_resume_with_the_same_validation(world, tmp_path):
    """Batch norms see other rows on each rank; all validate with the statistics that are saved."""
    flags = ["--validate-interval-updates=4", "--validate-interval=9", "--max-epoch=1", "--batch-size-valid=2"]

    def validation(folder, *more):
        command = training_command(world, tmp_path / folder, *flags, *more)
        left_out = ("--disable-validation", "--freeze-resnet")
        run_two([part for part in command if part not in left_out])
        return read_checkpoint(tmp_path / folder / "checkpoint_last.pt").rest["extra_state"]["val_loss"]

    whole, first = validation("whole", "--max-update=8"), validation("parts", "--max-update=4")
    assert validation("parts", "--max-update=8") == whole != first
