"""Device, number format and ranks."""

import pytest
import torch

from refhcm.utils import devices
from refhcm.utils.devices import choose_kernels, gather, move, pick_device, pick_dtype, ranks, start_ranks
from refhcm.utils.errors import UserError


def test_number_formats():
    assert pick_dtype(fp16=False, bf16=False) is torch.float32
    assert pick_dtype(fp16=True, bf16=False) is torch.float16
    assert pick_dtype(fp16=False, bf16=True) is torch.bfloat16
    with pytest.raises(UserError, match="--fp16 and --bf16 exclude each other"):
        pick_dtype(fp16=True, bf16=True)


def test_attention_does_without_cudnn():
    torch.backends.cuda.enable_cudnn_sdp(True)
    choose_kernels()
    assert not torch.backends.cuda.cudnn_sdp_enabled()


def test_the_cpu_on_request():
    assert pick_device(cpu=True) == torch.device("cpu")


def test_ranks_come_from_torchrun(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert ranks() == start_ranks(torch.device("cpu")) == (0, 1)
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert ranks() == (2, 4)


def test_a_rank_that_waits_for_one_that_has_ended(monkeypatch):
    def closed(*_):
        raise RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer")

    monkeypatch.setattr(devices.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(devices.dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(devices.dist, "all_gather_object", closed)
    with pytest.raises(UserError, match=r"another rank has ended, see its error .*Connection closed by peer"):
        gather([1])


def test_ranks_part_before_their_process_ends(monkeypatch):
    """A process that gloo's threads outlive is aborted now and then."""
    at_exit = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(devices.dist, "init_process_group", lambda *_, **__: None)
    monkeypatch.setattr(devices.atexit, "register", at_exit.append)
    start_ranks(torch.device("cpu"))
    assert at_exit == [devices.dist.destroy_process_group]


def test_one_rank_gathers_its_own():
    assert gather([1, "a"]) == [1, "a"]


def test_move_changes_floats_only():
    batch = {"images": torch.zeros(2), "inner": {"ids": torch.tensor([3]), "span": (6, 53)}}
    moved = move(batch, torch.device("cpu"), torch.bfloat16)
    assert moved["images"].dtype is torch.bfloat16
    assert moved["inner"]["ids"].dtype is torch.int64
    assert moved["inner"]["span"] == (6, 53)
    assert batch["images"].dtype is torch.float32
