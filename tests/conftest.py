"""What every test may ask for: the golden numbers, the real vocabulary, a tiny world."""

import json
import lzma
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import pre_tokenizers

from refhcm.data.synthetic.writer import World, write_world
from refhcm.data.text import TextEncoder
from refhcm.data.vocabulary import Vocabulary

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"

# There are as many test processes as cores (-n auto): more threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the scripts that tests start
torch.set_num_threads(1)


def _folder(variable: str, default: Path) -> Path:
    folder = Path(os.environ.get(variable, default)).resolve()
    if not folder.is_dir():
        pytest.skip(f"no {folder}: name a folder with ${variable}")
    return folder


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of the golden numbers, $REFHCM_GOLDEN or ../shared/golden."""
    return _folder("REFHCM_GOLDEN", SHARED / "golden")


@pytest.fixture(scope="session")
def bpe_dir() -> Path:
    """Folder of the real vocabulary, $REFHCM_BPE or ../shared/bpe."""
    return _folder("REFHCM_BPE", SHARED / "bpe")


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
def text(bpe_dir: Path) -> TextEncoder:
    """The real vocabulary."""
    return TextEncoder.load(bpe_dir, Vocabulary.load(bpe_dir))


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
