"""What trunk and encoder learn before they answer."""

import numpy as np
import pytest
import torch

from refhcm.data.synthetic.cells import Cells, Person, is_word
from refhcm.data.synthetic.writer import SPLITS, World, write_world
from refhcm.models.refhcm.loading import load_network
from refhcm.tasks import TASKS, pretrain
from refhcm.tasks.pretrain import ASKED, Settings, Trainer
from refhcm.tasks.settings import TaskSettings
from refhcm.utils.checkpoints import read_checkpoint
from refhcm.utils.errors import CheckpointError

SMALL = {"arch": "refhcm_test", "batch_size": 16, "lr": 5e-3, "seed": 1, "patch_image_size": 64}
COLOURS = {"red": (255, 0, 0), "green": (0, 160, 0), "blue": (0, 0, 255)}


@pytest.fixture
def tasks(bpe_dir):
    settings = TaskSettings(bpe_dir=str(bpe_dir), patch_image_size=64, max_image_size=64)
    return [TASKS[name].from_settings(settings) for name in ASKED]


@pytest.fixture
def cells():
    """Pictures of two squares in two colours, of 2 x 2 cells each, on a grid of 4 x 4."""
    rng, names = np.random.default_rng(0), list(COLOURS)
    pictures, people = np.full((80, 3, 64, 64), 200, np.uint8), []
    for picture in pictures:
        pair, places = rng.choice(3, 2, replace=False), rng.choice(4, 2, replace=False)
        people.append([])
        for colour, place in zip(pair, places, strict=True):
            y, x = divmod(int(place), 2)
            picture[:, 32 * y : 32 * y + 32, 32 * x : 32 * x + 32] = np.array(COLOURS[names[colour]])[:, None, None]
            inside = [(2 * y + dy) * 4 + 2 * x + dx for dy in (0, 1) for dx in (0, 1)]
            shown = np.array([(cell, tag) for cell in inside for tag in (int(colour), 3)], np.int32)
            box_xyxy = np.array([x, y, x + 1, y + 1]) / 2
            people[-1].append(Person(shown, box_xyxy, (f"the {names[colour]} one",)))
    return Cells(pictures, people, (*names, "mark:square"), 4)


def make(cells, tasks, **changes):
    settings = Settings(**{**SMALL, "trunk_updates": 40, "updates": 260, **changes})
    return Trainer(settings, cells, tasks[0].text, tasks, device=torch.device("cpu"))


def test_the_encoder_learns_who_is_asked_about(cells, tasks):
    """Measured after these 300 updates: .99 for trunk and encoder; all people alike would be .67 at best."""
    trainer = make(cells, tasks)
    before = trainer.score()["encoder mark"]
    for _ in range(300):
        trainer.update()
    scores = trainer.score()
    assert before < 0.3
    assert scores["trunk word"] > 0.9
    assert scores["encoder mark"] > 0.85


def test_questions_are_those_of_the_tasks(cells, tasks):
    trainer, person = make(cells, tasks), cells.people[0][0]
    rng = np.random.default_rng(0)
    sources = [trainer._source(person, rng)[1:-1] for _ in range(50)]
    bins = trainer.vocabulary.bin_ids
    regions = [ids for ids in sources if any(int(i) in bins for i in ids)]
    assert {sum(int(i) in bins for i in ids) for ids in regions} == {4}
    assert {tasks[0].text.decode(ids).strip() for ids in regions} == {"what does the region describe?"}
    said = {tasks[0].text.decode(ids).strip() for ids in sources} - {"what does the region describe?"}
    assert said == {task.prompt.format(person.expressions[0]).strip() for task in tasks if task.name != "rhrc"}


def test_targets_are_of_everybody_and_of_the_asked(cells, tasks):
    trainer = make(cells, tasks)
    patches, states, (everybody, asked) = trainer._seen(np.array([3, 5]), np.random.default_rng(0))
    assert patches.shape == (2, 16, 64)
    assert states.shape == (8, 16, 64)
    assert everybody.sum((1, 2)).tolist() == [16, 16]  # two squares of four cells with two tags
    assert asked.sum((1, 2)).tolist() == [8] * 8
    assert (asked <= everybody.repeat_interleave(4, dim=0)).all()


def test_words_are_read_by_their_symbols(cells, tasks):
    reader = make(cells, tasks).readers[0]
    symbols = [
        (tag, symbol) for tag, name in enumerate(COLOURS) for symbol in tasks[0].text.encode(" " + name).tolist()
    ]
    assert reader.words.tolist() == [list(pair) for pair in symbols]
    assert not is_word("mark:square")
    embedding, patches = torch.randn(60000, 64), torch.randn(1, 1, 64)
    assert reader(patches, embedding)[1][0, 0, 0].item() == pytest.approx(
        (embedding[symbols[0][1]] @ patches[0, 0]).item() - 4, rel=1e-4
    )


def test_the_learning_rate_rises_and_falls_twice():
    settings = Settings(**{**SMALL, "trunk_updates": 400, "updates": 800})
    rates = [settings.rate(step) for step in (0, 99, 399, 400, 500, 1199)]
    assert rates[0] == pytest.approx(5e-5)
    assert rates[1] == pytest.approx(4.3e-3, rel=0.02)
    assert rates[2] == pytest.approx(1e-4)
    assert rates[3] == pytest.approx(5e-3 / 4 / 100)
    assert rates[4] == pytest.approx(1.2e-3, rel=0.02)
    assert rates[5] == pytest.approx(5e-3 / 4 * 0.02)


def test_a_resumed_run_is_the_same(cells, tasks, tmp_path):
    """Bit for bit, across the step where questions begin; the file is a network that train.py can start from."""
    whole, first, second = (make(cells, tasks, trunk_updates=3, updates=4) for _ in range(3))
    losses = [whole.update() for _ in range(7)]
    for _ in range(2):
        first.update()
    first.save(tmp_path / "half.pt")
    second.resume(tmp_path / "half.pt")
    assert [second.update() for _ in range(5)] == losses[2:]
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name
    whole.save(tmp_path / "whole.pt")
    network = load_network(read_checkpoint(tmp_path / "whole.pt"), len(tasks[0].vocabulary))
    assert torch.equal(network.encoder.image_proj.weight, whole.encoder.image_proj.weight)
    other = make(cells, tasks, trunk_updates=3, updates=5)
    with pytest.raises(CheckpointError, match=r"half\.pt: was trained with updates 4, now it is 5"):
        other.resume(tmp_path / "half.pt")
    torch.save({"model": {}}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="holds no such training"):
        other.resume(tmp_path / "other.pt")


def test_the_command(bpe_dir, tmp_path, capsys):
    world = tmp_path / "world"
    write_world(world, World(seed=3, pictures=dict.fromkeys(SPLITS, 12)), workers=1)
    given = [str(world), "--save-dir", str(tmp_path / "run"), "--bpe-dir", str(bpe_dir), "--arch=refhcm_test"]
    given += ["--patch-image-size=64", "--trunk-updates=2", "--updates=2", "--workers=1"]
    assert pretrain.main([*given, "--batch-size=8"]) == 0
    assert "F1 on 1 pictures that were not learned from:" in capsys.readouterr().out
    assert (tmp_path / "run/checkpoint_last.pt").exists()
    for wrong, message in (
        ("--batch-size=64", "12 pictures to train, 72 or more are needed"),
        ("--batch-size=6", "expected multiples: --patch-image-size 64 of 16, --batch-size 6 of 4"),
    ):
        assert pretrain.main([*given, wrong]) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        pretrain.main([*given, "--lr=2"])
    assert "needs a number between 0 and 1" in capsys.readouterr().err
