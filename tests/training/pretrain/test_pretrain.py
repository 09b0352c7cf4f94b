"""What backbone and encoder learn before the network answers."""

import signal
from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from commands import refhcm

from refhcm.data.synthetic.writer import SPLITS, World, write_world
from refhcm.models.refhcm.encoder import Encoder
from refhcm.models.refhcm.loading import load_network
from refhcm.tasks import TASKS
from refhcm.tasks.settings import TaskSettings
from refhcm.training.pretrain.cells import COORDINATES, Cells, CellTruth, Target, is_word
from refhcm.training.pretrain.readers import CellReader, Close
from refhcm.training.pretrain.trainer import ASKED, PretrainSettings, PretrainTrainer
from refhcm.utils.checkpoints import load_file, read_checkpoint, save_file
from refhcm.utils.errors import CheckpointError

SMALL = {"arch": "refhcm_test", "batch_size": 16, "lr": 5e-3, "seed": 1, "patch_image_size": 64}
COLOURS = {"red": (255, 0, 0), "green": (0, 160, 0), "blue": (0, 0, 255)}


@pytest.fixture
def tasks(bpe_dir):
    settings = TaskSettings(bpe_dir=str(bpe_dir), num_bins=64, patch_image_size=64, max_image_size=64)
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
            places = np.full(COORDINATES, np.nan, np.float32)
            places[:4] = np.array([x, y, x + 1, y + 1]) / 2
            parts = np.zeros((16, 16), np.uint8)
            parts[8 * y : 8 * y + 8, 8 * x : 8 * x + 8] = int(colour) + 1
            people[-1].append(Target(shown, places, parts, (f"the {names[colour]} one",)))
    groups = [[("both squares", pair), ("the white one", [])] for pair in people]
    return Cells(pictures, people, (*names, "mark:square"), 4, groups)


def make(cells, tasks, **changes):
    settings = PretrainSettings(**{**SMALL, "backbone_updates": 40, "updates": 260, **changes})
    return PretrainTrainer(settings, cells, tasks[0].text, tasks, device=torch.device("cpu"))


def update(trainer, count=1):
    """`count` updates; the losses of each."""
    return [trainer.update(batch) for batch in islice(trainer.batches(), count)]


def test_the_encoder_learns_who_is_asked_about(cells, tasks):
    """All scores were 1.00 after these 600 updates; marking everybody would give .67 of the marks at best."""
    trainer = make(cells, tasks, updates=560)
    before = trainer.score()["encoder mark"]
    update(trainer, 600)
    scores = trainer.score()
    assert before < 0.3
    for name in ("backbone word", "backbone parts, mIoU", "encoder mark", "encoder parts, mIoU", "places"):
        assert 0.85 < scores[name] <= 1, name


def test_questions_are_those_of_the_tasks(cells, tasks):
    """About one person by words, or by the box where a task can; about everyone whom words fit in grec's."""
    trainer, pair, decode = make(cells, tasks), cells.people[0], tasks[0].text.decode
    rng, bins = np.random.default_rng(0), trainer.vocabulary.bin_ids
    by_box, said, count = set(), {0: set(), 1: set(), 2: set()}, Counter()
    for _ in range(400):
        ids, people = trainer._question(0, rng, alone=False)
        box = sum(int(i) in bins for i in ids)
        assert box in (0, 4)
        question = decode(ids[1:-1]).strip()
        (by_box if box else said[len(people)]).add(question)
        count["group" if "regions" in question else "box" if box and "text" in question else "else"] += 1
        assert all(any(one is other for other in pair) for one in people)
    assert by_box == {task.prompt.format("").replace("  ", " ").strip() for task in tasks if task.asks_by_box} | {
        "what does the region describe?"
    }
    assert 130 < count["group"] < 190  # 0.4 of all: 160 of 400, with a deviation of 10
    assert 12 < count["box"] < 50  # a quarter of the half of the rest that may ask so: 30 of 240, with one of 5
    expressions = [person.expressions[0] for person in pair]
    asked = [task for task in tasks if task.name not in ("rhrc", "grec")]
    assert said[1] == {task.prompt.format(text).strip() for task in asked for text in expressions}
    assert said[0] == {tasks[-1].prompt.format("the white one").strip()}
    assert said[2] == {tasks[-1].prompt.format("both squares").strip()}
    assert {len(trainer._question(0, rng, alone=True)[1]) for _ in range(50)} == {1}


def test_batches_follow_from_seed_and_step(cells, tasks):
    chance = []
    for seed, step in ((1, 0), (1, 1), (2, 1), (1, 1)):
        trainer = make(cells, tasks, seed=seed)
        trainer.step = step
        chance.append(next(trainer.batches()).random())
    assert chance[1] == chance[3]
    assert len(set(chance)) == 3
    assert (len(trainer.valid), len(trainer.train)) == (8, 72)  # a tenth is only scored
    assert sorted([*trainer.valid, *trainer.train]) == list(range(80))


def test_targets_of_everybody_and_of_the_person_asked_about(cells, tasks, monkeypatch):
    trainer = make(cells, tasks)
    features, everybody = trainer._see(np.array([3, 5]))
    rows, forward = [], Encoder.forward
    monkeypatch.setattr(
        Encoder, "forward", lambda *given, **how: rows.append(how["patch_rows"].tolist()) or forward(*given, **how)
    )
    for seed in range(12):
        states, asked, _ = trainer._ask(np.array([3, 5]), features, np.random.default_rng(seed))
        squares = asked.tags.sum((1, 2)) / 8  # of each question
        assert squares[[0, 4]].tolist() == [1, 1]  # a picture's first is about one person
        assert {0, 1, 2} >= set(squares.tolist())
    assert set(squares.tolist()) > {1}
    assert rows == [[0] * 4 + [1] * 4] * 12  # each question is about its own picture
    assert features.patches.shape == (2, 16, 64)
    assert states.shape == (8, 16, 64)
    assert everybody.tags.sum((1, 2)).tolist() == [16, 16]  # two squares of four cells with two tags
    assert (asked.tags <= everybody.tags.repeat_interleave(4, dim=0)).all()
    of_asked, of_all = asked.parts, everybody.parts.repeat_interleave(4, dim=0)
    assert (of_asked > 0).sum((1, 2)).tolist() == (64 * squares).tolist()  # four cells of 4 x 4 points a square
    assert ((of_asked == of_all) | (of_asked == 0)).all()
    red = asked.tags[..., 0] > 0
    assert (of_asked[red] == 1).all()


def test_small_parts_weigh_more(cells):
    """A quarter of each map is somebody, of one of three classes."""
    weights = cells.class_weights()
    shares = np.bincount([one.parts.max() for people in cells.people for one in people], minlength=20) / 160 / 4
    assert weights[0].item() == pytest.approx(0.75**-0.5)
    assert weights[1:4].tolist() == pytest.approx((shares[1:4] ** -0.5).tolist())
    assert weights[4:].tolist() == [100] * 16


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


def test_parts_are_read_point_by_point(cells, tasks):
    torch.manual_seed(0)
    reader = CellReader(cells.tags, torch.arange(1.0, 21.0), 8, tasks[0].text)
    patches, embedding = torch.randn(1, 3, 8), torch.randn(60000, 8)
    target = CellTruth(torch.randint(0, 2, (1, 3, len(cells.tags))).float(), torch.randint(0, 20, (1, 3, 16)))
    told = reader(patches, embedding)
    assert told[2].shape == (1, 3, 16, 20)
    torch.testing.assert_close(
        told[2][0, 1, 4], (reader.parts.weight[80:100] @ patches[0, 1]) + reader.parts.bias[80:100]
    )
    points = target.parts.flatten()
    nats = -told[2].log_softmax(-1).reshape(-1, 20)[range(48), points]
    weights = points + 1.0
    losses = reader.losses(patches, embedding, target)
    truth = torch.cat([target.tags, target.tags[..., reader.words[:, 0]]], dim=-1)  # of tags, then of words' symbols
    of_tags = -(torch.cat(told[:2], dim=-1) * (2 * truth - 1)).sigmoid().log()
    assert losses["tags"].item() == pytest.approx(of_tags.sum().item() / 3, rel=1e-5)  # for a patch
    assert losses["parts"].item() == pytest.approx(3 * (weights * nats).sum().item() / weights.sum().item(), rel=1e-5)


def test_close_patches_are_those_of_the_person_asked_about(cells):
    """Each square has 2 x 2 cells, so all four of each are drawn."""
    asked = [people[0] for people in cells.people[:3]]
    states = torch.arange(5 * 17).reshape(5, 17, 1).float()
    questions = [*([one] for one in asked), cells.people[3], []]  # none of the last two is about one person
    close = Close.drawn(states, torch.zeros(64, 1), questions, cells.side, np.random.default_rng(0))
    drawn = [{int(x) for x in part} for part in close.states[:, 0].split(4)]
    assert drawn == [{17 * row + int(cell) for cell, _ in one.shown} for row, one in enumerate(asked)]
    assert close.places[:, :4].tolist() == [one.box_xyxy.tolist() for one in asked for _ in range(4)]
    cells_xy = torch.stack([close.states[:, 0] % 17 % 4, close.states[:, 0] % 17 // 4], dim=1)
    assert close.places[:, -2:].equal(0.25 + cells_xy % 2 / 2)  # each with its own middle: squares begin at even cells


def test_the_learning_rate_rises_and_falls_twice():
    settings = PretrainSettings(**{**SMALL, "backbone_updates": 400, "updates": 800})
    rates = [settings.rate(step) for step in (0, 99, 399, 400, 500, 1199)]
    assert rates[0] == pytest.approx(5e-5)
    assert rates[1] == pytest.approx(4.3e-3, rel=0.02)
    assert rates[2] == pytest.approx(1e-4)
    assert rates[3] == pytest.approx(5e-3 / 4 / 100)
    assert rates[4] == pytest.approx(1.2e-3, rel=0.02)
    assert rates[5] == pytest.approx(5e-3 / 4 * 0.02)


def test_a_resumed_run_is_the_same(cells, tasks, tmp_path):
    """Bit for bit, across the step where questions begin; older files resume; the file is a network to start from."""
    whole, first, second = (make(cells, tasks, backbone_updates=3, updates=4) for _ in range(3))
    losses = update(whole, 7)
    update(first, 2)
    first.save(tmp_path / "half.pt")
    second.resume(tmp_path / "half.pt")
    assert update(second, 5) == losses[2:]
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name
    whole.save(tmp_path / "whole.pt")
    network = load_network(read_checkpoint(tmp_path / "whole.pt"), len(tasks[0].vocabulary))
    assert torch.equal(network.encoder.image_proj.weight, whole.encoder.image_proj.weight)
    other = make(cells, tasks, backbone_updates=3, updates=5)
    with pytest.raises(CheckpointError, match=r"half\.pt: was trained with updates 4, now it is 5"):
        other.resume(tmp_path / "half.pt")
    torch.save({"model": {}}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="holds no training to resume"):
        other.resume(tmp_path / "other.pt")
    content = load_file(tmp_path / "half.pt")
    third = make(cells, tasks, backbone_updates=3, updates=4)
    del content["pretrain"]["readers"]["0.tags.weight"]
    save_file(content, tmp_path / "odd.pt")
    with pytest.raises(CheckpointError, match=r"odd\.pt: its weights are not of this training"):
        third.resume(tmp_path / "odd.pt")


def test_a_run_starts_from_a_network(cells, tasks, tmp_path):
    first, second = make(cells, tasks), make(cells, tasks, seed=2)
    update(first)
    first.save(tmp_path / "first.pt")
    second.start_from(tmp_path / "first.pt")
    assert second.step == 0
    for name, value in first.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name
    content = load_file(tmp_path / "first.pt")
    content["model"]["encoder.nothing"] = torch.zeros(1)
    save_file(content, tmp_path / "odd.pt")
    with pytest.raises(CheckpointError, match=r"odd\.pt: unknown weight 'encoder\.nothing'"):
        second.start_from(tmp_path / "odd.pt")


def test_the_command(bpe_dir, tmp_path, capsys):
    world = tmp_path / "world"
    write_world(world, World(seed=3, pictures=dict.fromkeys(SPLITS, 12)), workers=1)
    given = [str(world), "--save-dir", str(tmp_path / "run"), "--bpe-dir", str(bpe_dir), "--arch=refhcm_test"]
    given += ["--patch-image-size=64", "--backbone-updates=2", "--updates=2", "--workers=1"]
    with pytest.MonkeyPatch.context() as patch:
        losses = PretrainTrainer.losses
        patch.setattr(PretrainTrainer, "losses", lambda *given: (signal.raise_signal(signal.SIGINT), losses(*given))[1])
        assert refhcm("pretrain", *given, "--batch-size=8") == 130  # a script must not go on to the next step
    assert "stopped at update 1 of 4; run the same command again to resume" in capsys.readouterr().err
    assert refhcm("pretrain", *given, "--batch-size=8") == 0
    assert "on 1 held-out pictures, F1 of tags; places: share within 3%:" in capsys.readouterr().out
    assert (tmp_path / "run/checkpoint_last.pt").exists()
    facts = world / "facts" / "train.jsonl"
    lines = facts.read_text(encoding="utf-8").splitlines(keepends=True)
    facts.write_text(" ".join(lines), encoding="utf-8")
    assert refhcm("pretrain", *given, "--batch-size=8") == 2
    assert "was trained with data " in capsys.readouterr().err
    facts.write_text("".join(lines), encoding="utf-8")
    for wrong, message in (
        ("--batch-size=64", "expected 72 or more pictures in train, got 12"),
        ("--batch-size=6", "expected multiples: --patch-image-size 64 of 16, --batch-size 6 of 4"),
    ):
        assert refhcm("pretrain", *given, wrong) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        refhcm("pretrain", *given, "--lr=2")
    assert "needs a number between 0 and 1" in capsys.readouterr().err
