"""Keeping freed memory, and giving mapped memory back without changing a number."""

import subprocess
import sys

import pytest
import torch

from refhcm.utils.memory import page_out

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="does nothing elsewhere")

FAULTS = """
import resource, sys
import torch
from refhcm.utils.memory import keep_freed_memory, stop_keeping_freed_memory
if sys.argv[1] != "leave":
    keep_freed_memory()
if sys.argv[1] == "stop":
    stop_keeping_freed_memory()
def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(12):  # glibc first caches seven of the fragments beside an aligned block
    torch.ones(2**24)
before = pages()
for _ in range(10):
    torch.ones(2**24)
print(pages() - before)
"""


def new_pages(how):
    """Pages that the system clears for ten tensors of 64 MiB in turn."""
    done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_freed_memory_is_used_again():
    kept = new_pages("keep")
    assert kept < new_pages("leave") / 4
    assert kept < new_pages("stop") / 4


def resident(tensor):
    """KiB of the tensor's mapping that are in memory."""
    with open("/proc/self/smaps") as maps:
        inside = False
        for line in maps:
            first = line.split()[0]
            if "-" in first and not first.endswith(":"):
                begin, end = (int(part, 16) for part in first.split("-"))
                inside = begin <= tensor.data_ptr() < end
            elif inside and line.startswith("Rss:"):
                return int(line.split()[1])
    raise AssertionError("the tensor is in no mapping")


def test_pages_of_a_mapped_file_are_given_back_and_read_again(tmp_path):
    torch.save({"weight": torch.arange(2.0**21)}, tmp_path / "weights.pt")
    weight = torch.load(tmp_path / "weights.pt", mmap=True)["weight"]
    whole = weight.sum()
    before = resident(weight)
    page_out(weight)
    assert resident(weight) < before / 2
    assert weight.sum() == whole


@pytest.mark.parametrize("tensor", [torch.arange(2.0**20), torch.ones(3), torch.empty(0)])
def test_memory_without_a_file_stays(tensor):
    before = tensor.clone()
    page_out(tensor)
    assert torch.equal(tensor, before)
