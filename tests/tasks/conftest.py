"""Tasks with a small vocabulary of their own, and the golden tiny networks as models to ask."""

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import ByteLevelBPETokenizer

import refhcm
from refhcm.data.text import TextEncoder
from refhcm.data.vocabulary import Vocabulary
from refhcm.tasks import TASKS, Task
from refhcm.tasks.settings import TaskSettings
from refhcm.utils.keypoints import KEYPOINT_NAMES

SMALL = {"num_bins": 100, "code_dict_size": 96, "patch_image_size": 64}


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
