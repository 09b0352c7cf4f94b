"""The order of multitask training: files wrap around on their own, and no row is left out."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from refhcm.data.annotation import Annotation
from refhcm.data.mixture import Mixture
from refhcm.tasks import TRAINABLE
from refhcm.tasks.chain import Chain, chain_instruction
from refhcm.tasks.multitask import PARTS
from refhcm.tasks.settings import MultitaskSettings
from refhcm.utils.errors import UserError


class Rows:
    """A part whose samples are (name, row), with a permutation of its own for each pass."""

    def __init__(self, name, length):
        self.name, self.length = name, length

    def __len__(self):
        return self.length

    def __getitem__(self, i):
        return {"name": self.name, "row": i}

    def order(self, epoch, *, seed, shuffle_after):
        random = np.random.default_rng((seed, epoch))
        return random.permutation(self.length) if epoch > shuffle_after else np.arange(self.length)


def drawn(mixture, epoch, *, seed=1, shuffle_after=9):
    """Rows of each part in the order of this epoch: int [items, parts]."""
    return np.array(
        [[s["row"] for s in mixture[int(i)]] for i in mixture.order(epoch, seed=seed, shuffle_after=shuffle_after)]
    )


def test_in_file_order_by_hand():
    mixture = Mixture([Rows("a", 2), Rows("b", 3), Rows("c", 7)], 4)
    assert len(mixture) == 4
    assert drawn(mixture, 1).tolist() == [[0, 0, 0], [1, 1, 1], [0, 2, 2], [1, 0, 3]]
    assert drawn(mixture, 2).tolist() == [[0, 1, 4], [1, 2, 5], [0, 0, 6], [1, 1, 0]]  # goes on where epoch 1 ended
    assert [sample["name"] for sample in mixture[0]] == ["a", "b", "c"]


def test_several_rows_of_a_part_by_hand():
    mixture = Mixture([Rows("a", 3), Rows("b", 4)], 3, rows=[2, 1], weights=[1, 7])
    assert drawn(mixture, 1).tolist() == [[0, 1, 0], [2, 0, 1], [1, 2, 2]]
    assert drawn(mixture, 2).tolist() == [[0, 1, 3], [2, 0, 0], [1, 2, 1]]
    assert [sample["conf"] for sample in mixture[0]] == [1, 1, 7]


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=3), items=st.integers(1, 12), epochs=st.integers(1, 6))
def test_every_row_once_per_pass(lengths, items, epochs):
    mixture = Mixture([Rows(str(n), n) for n in lengths], items)
    rows = np.concatenate([drawn(mixture, epoch, shuffle_after=0) for epoch in range(1, epochs + 1)])
    for part, length in enumerate(lengths):
        passes = [rows[start : start + length, part].tolist() for start in range(0, len(rows), length)]
        for whole in (one for one in passes if len(one) == length):
            assert sorted(whole) == list(range(length))
        counts = Counter(rows[:, part].tolist())
        assert max(counts.values()) - min(counts[row] for row in range(length)) <= 1


def test_each_pass_is_shuffled_anew_and_always_the_same():
    def passes(seed):
        mixture = Mixture([Rows("a", 20)], 20)
        return [drawn(mixture, epoch, seed=seed, shuffle_after=0)[:, 0].tolist() for epoch in (1, 2, 3)]

    first = passes(1)
    assert passes(1) == first
    assert all(sorted(one) == list(range(20)) != one for one in first)
    assert all(one != other for one, other in pairwise(first))
    assert passes(2) != first
    mixture = Mixture([Rows("a", 20)], 20)
    third = drawn(mixture, 3, seed=1, shuffle_after=0)[:, 0].tolist()
    assert third == first[2]  # resuming in epoch 3 needs nothing of epochs 1 and 2


@pytest.mark.parametrize("shuffle_after", [1, 2])
def test_a_pass_that_goes_on_where_shuffling_begins_leaves_no_row_out(shuffle_after):
    mixture = Mixture([Rows("a", 5)], 3)
    rows = np.concatenate([drawn(mixture, epoch, shuffle_after=shuffle_after)[:, 0] for epoch in range(1, 7)])
    passes = rows[:15].reshape(3, 5).tolist()
    assert [sorted(one) for one in passes] == [list(range(5))] * 3
    assert passes[:shuffle_after] == [list(range(5))] * shuffle_after
    assert passes[shuffle_after] != list(range(5))


def test_items_are_read_in_any_order():
    mixture = Mixture([Rows("a", 3), Rows("b", 5)], 4)
    mixture.order(3, seed=1, shuffle_after=0)
    forwards = [mixture[i] for i in range(4)]
    mixture.order(3, seed=1, shuffle_after=0)
    assert [mixture[i] for i in reversed(range(4))] == forwards[::-1]


@pytest.fixture
def files(world, coded):
    """Flags of all three files."""
    return {
        "refpose_dataset": str(world / "rkpt" / "train.tsv"),
        "refparsing_dataset": str(coded),
        "regcaption_dataset": str(world / "rhrc" / "train.tsv"),
    }


def make_multitask(small_text, world, files):
    settings = MultitaskSettings(patch_image_size=64, annotation_root=str(world / "rpar" / "annos"), **files)
    return TRAINABLE["multitask"](small_text, settings)


@pytest.mark.parametrize("left_out", [(), (0,), (1,), (2,), (0, 1), (1, 2)])
def test_any_subset_of_the_files(small_text, world, files, make_task, left_out):
    """Each sample is the one that its own task makes; a batch of 2 holds sample 0's, then sample 1's."""
    names = ("rkpt", "rpar", "rhrc")
    given_files = {flag: path for k, (flag, path) in enumerate(files.items()) if k not in left_out}
    task = make_multitask(small_text, world, given_files)
    mixture = task.open(world / "rkpt" / "val.tsv", training=True)
    assert len(mixture) == len((world / "rkpt" / "val.tsv").read_text(encoding="utf-8").splitlines())
    alone = [
        make_task(name, max_tgt_length=30).open(path, training=True)
        for k, (name, path) in enumerate(zip(names, files.values(), strict=True))
        if k not in left_out
    ]
    expected = [part[i] for i in (0, 1) for part in alone]
    batch = task.collate([mixture[0], mixture[1]])
    assert batch["nsentences"] == 2 * len(alone)
    assert batch["id"].tolist() == [sample["id"] for sample in expected]
    for row, sample in enumerate(expected):
        target = sample["target"].tolist()
        assert batch["target"][row, : len(target)].tolist() == target
        source = sample["source"].tolist()
        assert batch["net_input"]["src_tokens"][row, : len(source)].tolist() == source
        assert batch["net_input"]["patch_images"][row].equal(sample["patch_image"])


def test_boxes_and_parallel_parsing_as_parts(small_text, world, files):
    """Five samples to an item; the parallel one alone has parallel positions; weights reach the samples; no labels."""
    more = {
        "refquery_dataset": files["refparsing_dataset"],
        "refregion_dataset": str(world / "rkpt" / "train.tsv"),
        "refregion_selected_cols": "0,5,2,3",
        "part_weights": "refregion=8,regcaption=0.5",
    }
    task = make_multitask(small_text, world, files | more)
    mixture = task.open(world / "rkpt" / "val.tsv", training=True)
    assert [sample["conf"] for sample in mixture[0]] == [1, 1, 0.5, 1, 8]
    assert not any("gt" in sample for sample in mixture[0])
    batch = task.collate([mixture[0], mixture[1]])
    assert batch["net_input"]["full_mask_rows"].tolist() == [False, False, False, True, False] * 2
    assert batch["conf"].tolist() == [1, 1, 0.5, 1, 8] * 2
    begin = task.vocabulary.code_ids.start + 40  # decoding puts it there: it must not be learned as RPar's answer
    assert begin in batch["net_input"]["prev_output_tokens"][3]
    assert begin not in batch["target"][3]
    assert mixture[0][3]["target"][:4].tolist() == mixture[0][1]["target"][:4].tolist()


def test_all_people_as_a_part(small_text, world, files, make_task):
    """Beside one person's box: none of the rows has what only the others have."""
    more = {"refgrec_dataset": str(world / "grec" / "train.tsv"), "part_weights": "refgrec=5"}
    task = make_multitask(small_text, world, files | more)
    mixture = task.open(world / "rkpt" / "val.tsv", training=True)
    alone = make_task("grec").open(world / "grec" / "train.tsv", training=True)
    assert mixture[1][3]["target"].equal(alone[1]["target"])
    batch = task.collate([mixture[0], mixture[1]])
    assert batch["conf"].tolist() == [1, 1, 1, 5] * 2
    assert not {"region_coords", "boxes"} & batch.keys()
    assert list(PARTS)[:3] == ["refpose", "refparsing", "regcaption"]  # the published mixture


def test_chains_as_a_part(small_text, world, files, tmp_path):
    """One instruction, answered by the answers of its tasks one after the other; a user asks it in the same words."""
    points = [line.split("\t")[4] for line in Path(files["refpose_dataset"]).read_text(encoding="utf-8").splitlines()]
    coded = Path(files["refparsing_dataset"]).read_text(encoding="utf-8").splitlines()
    chains = tmp_path / "chains.tsv"
    chains.write_text("".join(f"{line}\t{row}\n" for line, row in zip(coded, points, strict=True)), encoding="utf-8")
    mixture = make_multitask(small_text, world, files | {"refchain_dataset": str(chains)}).open(chains, training=True)
    poses, maps, together = (mixture.parts[k] for k in (0, 1, 3))
    seen = Counter()
    for pose, parsing, chain in zip(poses, maps, together, strict=True):
        text = small_text.transcribe(chain["source"])
        asked = {"keypoints": "and the keypoints." in text, "parsing": "provide the parsing map" in text}
        seen[tuple(asked.values())] += 1
        parts = [pose["target"][:-1]] * asked["keypoints"] + [parsing["target"][:-1]] * asked["parsing"]
        assert chain["target"].tolist() == [*torch.cat(parts).tolist(), small_text.vocabulary.eos()]
        assert "gt" not in chain
        instruction = chain_instruction(parsing["text"], **asked)
        assert chain["source"].tolist() == small_text.encode_instruction(instruction).tolist()
    assert set(seen) == {(True, True), (True, False), (False, True)}
    assert seen[True, True] == max(seen.values())


def test_what_a_chain_asks_follows_from_its_id():
    """By CRC-32 modulo 4: of these 0x98dd4acc, 0x71beeff9, 0xefda7a5a and 0xe8b7be43."""
    asked = [Chain._asked(Annotation(row_id, "a.tsv:1", None)) for row_id in "dbea"]
    assert [one["keypoints"] for one in asked] == [True, False, True, True]
    assert [one["parsing"] for one in asked] == [True, True, False, True]


def test_more_rows_of_a_part(small_text, world, files):
    mixture = make_multitask(small_text, world, files | {"part_rows": "refparsing=3"}).open(
        world / "rkpt" / "val.tsv", training=True
    )
    lengths = [len(sample["target"]) for sample in mixture[0]]
    assert len(lengths) == 5
    assert lengths[1:4] == [53] * 3
    assert lengths[0] != 53 != lengths[4]


@pytest.mark.parametrize("flag", ["part_weights", "part_rows"])
@pytest.mark.parametrize(
    "text", ["box=1", "refpose", "refpose=-1", "refpose=0", "refpose=nan", "refpose=inf", "refpose=x"]
)
def test_wrong_numbers_of_parts(small_text, world, files, flag, text):
    with pytest.raises(UserError, match=f"--{flag.replace('_', '-')}: needs PART=NUMBER"):
        make_multitask(small_text, world, files | {flag: text})


def test_rows_are_whole(small_text, world, files):
    with pytest.raises(UserError, match=r"a whole number above 0; got 'refpose=1\.5'"):
        make_multitask(small_text, world, files | {"part_rows": "refpose=1.5"})


@pytest.mark.parametrize("together", [2, 99])
def test_rows_of_a_picture_stay_together(make_task, world, together):
    """In groups of so many, each row once; two tables see the same pictures at the same time, with other rows."""
    orders = {}
    for name in ("rkpt", "refcoco"):
        columns = "0,5,2,3" if name == "refcoco" else None
        task = make_task(name, rows_together=together, selected_cols=columns)
        rows = task.open(world / "rkpt" / "train.tsv", training=True)
        order = rows.order(2, seed=1, shuffle_after=0)
        assert sorted(order.tolist()) == list(range(len(rows)))
        pictures = rows.pictures[order].tolist()
        assert pictures != sorted(pictures)
        starts = 1 + sum(one != other for one, other in pairwise(pictures))
        groups = sum(-(-count // together) for count in Counter(pictures).values())
        assert starts <= groups
        orders[name] = pictures, order.tolist()
    assert orders["rkpt"][0] == orders["refcoco"][0]
    assert orders["rkpt"][1] != orders["refcoco"][1]


def test_files_by_epoch_and_mistakes(small_text, world, files):
    task = make_multitask(small_text, world, files)
    assert [task.training_file(["a", "b", "c"], epoch) for epoch in (1, 2, 3, 4)] == ["a", "b", "c", "a"]
    with pytest.raises(UserError, match="multitask has no validation"):
        task.open(world / "rkpt" / "val.tsv", training=False)
    with pytest.raises(UserError, match="needs at least one of --refpose-dataset"):
        make_multitask(small_text, world, {})


def test_files_by_epoch_of_a_single_task(make_task):
    """The last file is for validation."""
    files = ["a", "b", "valid"]
    assert [make_task("refcoco").training_file(files, epoch) for epoch in (1, 2, 3)] == ["a", "b", "a"]
    assert make_task("refcoco").training_file(["only"], 7) == "only"
