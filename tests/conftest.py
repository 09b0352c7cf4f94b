"""What every test may ask for: the golden numbers, the real vocabulary, a tiny world."""

import json
import lzma
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from golden_folder import BPE, CHECKPOINTS, GOLDEN
from tokenizers import pre_tokenizers

from refhcm.data.synthetic.writer import World, write_world
from refhcm.data.text import TextEncoder
from refhcm.data.vocabulary import Vocabulary
from refhcm.utils.checkpoints import read_checkpoint

# There are as many test processes as cores (-n auto): more threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the scripts that tests start
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of the golden numbers, $REFHCM_GOLDEN or tests/golden."""
    return GOLDEN


@pytest.fixture(scope="session")
def bpe_dir() -> Path:
    """Folder of the real vocabulary, $REFHCM_BPE or tests/bpe."""
    return BPE


@pytest.fixture(scope="session")
def golden_checkpoint(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`golden_checkpoint("refcoco")`: path of the tiny checkpoint of a task, unpacked."""
    folder = tmp_path_factory.mktemp("checkpoints")

    def unpack(name: str) -> Path:
        path = folder / f"tiny_{name}.pt"
        if not path.exists():
            path.write_bytes(lzma.decompress((golden / "checkpoints" / f"tiny_{name}.pt.xz").read_bytes()))
        return path

    return unpack


@pytest.fixture(scope="session")
def golden_data(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the golden's `data/` that may be written to."""
    return Path(shutil.copytree(golden / "data", tmp_path_factory.mktemp("golden") / "data"))


@pytest.fixture(scope="session")
def real_vocabulary(bpe_dir: Path, golden_checkpoint: Callable[[str], Path]) -> Vocabulary:
    """The real vocabulary, with the bins and codes of the golden networks."""
    flags = read_checkpoint(golden_checkpoint(CHECKPOINTS[0])).flags()
    return Vocabulary.load(bpe_dir, num_bins=flags["num_bins"], code_dict_size=flags["code_dict_size"])


@pytest.fixture(scope="session")
def text(bpe_dir: Path, real_vocabulary: Vocabulary) -> TextEncoder:
    """The same, with its byte-pair encoding."""
    return TextEncoder.load(bpe_dir, real_vocabulary)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world of 12 drawn pictures with a vocabulary of its own below it: rkpt/, rpar/, rhrc/, bpe/."""
    folder = tmp_path_factory.mktemp("world")
    write_world(folder / "data", World(seed=3, pictures={"train": 6, "val": 3, "test": 3, "unseen": 1}), workers=1)
    write_vocabulary(folder / "data" / "bpe")
    return folder / "data"


def write_vocabulary(folder: Path) -> None:
    """dict.txt, encoder.json and vocab.bpe of a byte-level BPE without merges: 256 pieces, any text."""
    folder.mkdir()
    pieces = sorted(pre_tokenizers.ByteLevel.alphabet())
    (folder / "encoder.json").write_text(json.dumps({piece: i for i, piece in enumerate(pieces)}), encoding="utf-8")
    (folder / "vocab.bpe").write_text("#version: 0.2\n", encoding="utf-8")
    (folder / "dict.txt").write_text("".join(f"{i} 1\n" for i in range(len(pieces))), encoding="utf-8")
