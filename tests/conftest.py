"""What every test may ask for: golden numbers, vocabularies, a tiny world with its tasks, tiny networks to ask."""

import json
import lzma
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_folder import BPE, CHECKPOINTS, GOLDEN
from PIL import Image
from tokenizers import ByteLevelBPETokenizer, pre_tokenizers

import refhcm
from refhcm.data.synthetic.writer import World, write_world
from refhcm.data.text import TextEncoder
from refhcm.data.vocabulary import Vocabulary
from refhcm.tasks import TASKS, Task
from refhcm.tasks.settings import TaskSettings
from refhcm.utils.checkpoints import read_checkpoint
from refhcm.utils.keypoints import KEYPOINT_NAMES

SMALL = {"num_bins": 100, "code_dict_size": 96, "patch_image_size": 64}

# There are as many test processes as cores (-n auto): more threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the scripts that tests start
torch.set_num_threads(1)

NEEDED = 3  # GB: what one run holds in temporary folders at its fullest, and some more


def pytest_configure(config: pytest.Config) -> None:
    """Without room on the disk, tests fail at random and pytest itself breaks: said before the first one runs."""
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free / 1e9
    if free < NEEDED:
        pytest.exit(f"{folder} has {free:.1f} GB free, and the tests need {NEEDED} GB: free some, or set TMPDIR")


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


@pytest.fixture(scope="session")
def small_text(world):
    """The vocabulary of the drawn world: 256 bytes, 96 codes, 100 bins."""
    vocabulary = Vocabulary.load(world / "bpe", num_bins=SMALL["num_bins"], code_dict_size=SMALL["code_dict_size"])
    return TextEncoder.load(world / "bpe", vocabulary)


@pytest.fixture(scope="session")
def tiny_text(tmp_path_factory):
    """A byte-level BPE trained on the prompts and the keypoints' names: 256 bytes and 64 merges, 100 codes, 65 bins."""
    folder = tmp_path_factory.mktemp("bpe")
    lines = [" " + name for name in KEYPOINT_NAMES] + [task.prompt for task in TASKS.values()]
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(lines, vocab_size=320, min_frequency=1, show_progress=False)
    bpe.save_model(str(folder))
    (folder / "vocab.json").rename(folder / "encoder.json")
    (folder / "merges.txt").rename(folder / "vocab.bpe")
    (folder / "dict.txt").write_text("".join(f"{i} 1\n" for i in range(bpe.get_vocab_size())), encoding="utf-8")
    return TextEncoder.load(folder, Vocabulary.load(folder, num_bins=65, code_dict_size=100))


@pytest.fixture
def make_task(world, small_text):
    """`make_task("rkpt", ...)`: a task on the drawn world."""

    def make(name: str, **options) -> Task:
        given = SMALL | {"annotation_root": str(world / "rpar" / "annos"), "max_tgt_length": 6} | options
        return TASKS[name](small_text, TaskSettings(**given))

    return make


@pytest.fixture(scope="session")
def coded(world):
    """The world's parsing table with codes in it."""
    table = world / "rpar" / "coded.tsv"
    lines = []
    for number, line in enumerate((world / "rpar" / "train.tsv").read_text(encoding="utf-8").splitlines()):
        columns = line.split("\t")
        generator = torch.Generator().manual_seed(number)
        columns[3] = ",".join(map(str, torch.randint(0, 32, (48,), generator=generator).tolist()))
        lines.append("\t".join(columns))
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return table


@pytest.fixture
def photos(tmp_path):
    """Three pictures of different widths at two depths, and two files that are none."""
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for k, name in enumerate(("b.jpg", "a.png", "deep/c.JPG")):
        Image.new("RGB", (20 + k, 30), (k, 0, 0)).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.jpg").write_text("no picture")
    return folder


@pytest.fixture(scope="session")
def models(golden, golden_checkpoint, bpe_dir):
    """`models("rkpt")`: the tiny network of a task, loaded once."""
    loaded = {}

    def model(name):
        if name not in loaded:
            loaded[name] = refhcm.load(
                golden_checkpoint(name), tokenizer=golden / "vqgan", bpe_dir=bpe_dir, device="cpu"
            )
        return loaded[name]

    return model


@pytest.fixture(scope="session")
def image():
    """120 x 90 px of noise."""
    return np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
