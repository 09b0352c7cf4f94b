import logging
from functools import partial
from itertools import permutations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from refhcm.data.collate import collate
from refhcm.data.dataset import BadRow, BadRowCounter, ReferringDataset
from refhcm.data.tsv import TsvFile
from refhcm.utils.errors import DataError

PAD = 1


def sample(name, *, length=2, **fields):
    tokens = torch.arange(10, 10 + length)
    return {
        "id": name,
        "source": tokens,
        "target": tokens[1:],
        "prev_output_tokens": tokens[:-1],
        "patch_image": torch.zeros(3, 2, 2),
        "patch_mask": torch.tensor([True]),
        "region_coord": np.zeros(4, np.float32),
    } | fields


def make_sample(row, where):
    if row["box"].startswith("bad"):
        raise DataError(f"{where}: column box: {row['box']}")
    if row["box"] == "bug":
        raise KeyError("bug")
    return sample(row["id"], clipped=row["box"] == "clipped")


@pytest.fixture
def make_dataset(tmp_path):
    def make(*boxes):
        path = tmp_path / "rows.tsv"
        path.write_text("".join(f"r{k}\t{box}\n" for k, box in enumerate(boxes)))
        return ReferringDataset(TsvFile(path, None, names=("id", "box")), make_sample)

    return make


def test_samples_and_bad_rows(make_dataset, tmp_path):
    dataset = make_dataset("fine", "bad box")
    assert len(dataset) == 2
    assert (dataset[0]["row"], dataset[0]["where"]) == (0, f"{tmp_path}/rows.tsv:1")
    assert dataset[1] == BadRow(1, f"{tmp_path}/rows.tsv:2: column box: bad box")


def test_a_bug_is_not_a_bad_row(make_dataset):
    with pytest.raises(KeyError):
        make_dataset("bug")[0]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 2])
def test_bad_rows_cross_processes_as_data(make_dataset, workers):
    dataset = make_dataset("fine", "bad 1", "clipped", "fine", "bad 4", "fine")
    context = "fork" if workers else None
    merge = partial(collate, pad=PAD)
    loader = DataLoader(dataset, batch_size=2, num_workers=workers, collate_fn=merge, multiprocessing_context=context)
    batches = list(loader)
    assert [batch["rows"].tolist() for batch in batches] == [[0], [2, 3], [5]]
    assert [len(batch["bad_rows"]) for batch in batches] == [1, 0, 1]
    assert [[where[-1] for where in batch["clipped_rows"]] for batch in batches] == [[], ["3"], []]


def test_order(make_dataset):
    dataset = make_dataset(*["fine"] * 20)
    assert dataset.order(1, seed=7, shuffle_after=1).tolist() == list(range(20))
    first = dataset.order(1, seed=7, shuffle_after=0)
    assert sorted(first) == list(range(20))
    assert first.tolist() == dataset.order(1, seed=7, shuffle_after=0).tolist()
    assert first.tolist() != dataset.order(2, seed=7, shuffle_after=0).tolist()
    assert first.tolist() != dataset.order(1, seed=8, shuffle_after=0).tolist()


def test_pictures_come_in_any_order(tmp_path):
    """Of one, three and two rows, in groups of two at most: each of the 4! orders of their 4 groups comes up."""
    path = tmp_path / "rows.tsv"
    path.write_text("".join(f"r{k}\t{picture}\n" for k, picture in enumerate("abbbcc")))
    dataset = ReferringDataset(TsvFile(path, None, names=("id", "image")), make_sample, together=2)
    orders = [dataset.order(1, seed=seed, shuffle_after=0).tolist() for seed in range(400)]
    assert all(sorted(order) == list(range(6)) for order in orders)
    seen = {"".join("abbbcc"[row] for row in order) for order in orders}
    pairs = {"".join(one) for one in permutations(("a", "bb", "b", "cc"))}
    assert seen == pairs
    assert {tuple(row for row in order if row in (4, 5)) for order in orders} == {(4, 5), (5, 4)}


def test_the_first_bad_row_stops_by_default():
    with pytest.raises(DataError, match=r"^a\.tsv:3: broken$"):
        BadRowCounter(0).check({"bad_rows": ["a.tsv:3: broken"]})


def test_bad_rows_are_skipped_up_to_the_limit(caplog):
    counter = BadRowCounter(2)
    batch = {"bad_rows": ["a.tsv:3: broken"], "clipped_rows": [], "ntokens": 4}
    with caplog.at_level(logging.WARNING):
        counter.check(batch)
        counter.check({"bad_rows": ["a.tsv:3: broken"]})  # the next epoch
        counter.check({"bad_rows": ["a.tsv:9: broken"]})
    assert batch == {"ntokens": 4}
    assert len(caplog.records) == 2
    with pytest.raises(DataError, match=r"a\.tsv:5: broken: bad row 3, --skip-bad-rows allows 2"):
        counter.check({"bad_rows": ["a.tsv:5: broken"]})


def test_clipped_rows_are_reported_once_per_file(caplog):
    counter = BadRowCounter(0)
    for _ in range(2):
        counter.check({"clipped_rows": ["a.tsv:30", "a.tsv:4"]})
        counter.check({"clipped_rows": ["b.tsv:1"]})
    counter.check({"ntokens": 1})
    with caplog.at_level(logging.WARNING):
        counter.report_clipped()
        counter.report_clipped()
    assert [record.args for record in caplog.records] == [("a.tsv", 2, "a.tsv:4"), ("b.tsv", 1, "b.tsv:1")]


def test_a_remark_is_made_once_for_each_file(caplog):
    counter = BadRowCounter(0)
    rows = [sample("a", where="a.tsv:3", remarks=("x", "y")), sample("b", where="a.tsv:4", remarks=("x",)), sample("c")]
    with caplog.at_level(logging.WARNING):
        for _ in range(2):  # epochs
            batch = collate(rows, pad=PAD)
            counter.check(batch)
            counter.check({"remarks": [("b.tsv:9", "x")]})
    assert "remarks" not in batch
    said = [message.removesuffix(" (said once for this file)") for message in caplog.messages]
    assert said == ["a.tsv:3: x", "a.tsv:3: y", "b.tsv:9: x"]


def test_collate_by_hand():
    batch = collate([sample("a", length=3), sample("b", length=2)], pad=PAD)
    net_input = batch["net_input"]
    assert net_input["src_tokens"].tolist() == [[10, 11, 12], [10, 11, PAD]]
    assert net_input["src_lengths"].tolist() == [3, 2]
    assert net_input["prev_output_tokens"].tolist() == [[10, 11], [10, PAD]]
    assert net_input["patch_images"].shape == (2, 3, 2, 2)
    assert net_input["patch_masks"].tolist() == [True, True]
    assert batch["target"].tolist() == [[11, 12], [11, PAD]]
    assert (batch["ntokens"], batch["nsentences"], batch["id"].tolist()) == (3, 2, ["a", "b"])
    assert set(net_input) == {"src_tokens", "src_lengths", "prev_output_tokens", "patch_images", "patch_masks"}
    common = {"id", "nsentences", "ntokens", "net_input", "target", "region_coords"}
    assert set(batch) == common | {"bad_rows", "clipped_rows", "remarks"}


def test_pad_inside_a_target_is_no_token():
    batch = collate([sample("a", target=torch.tensor([5, PAD, 6]))], pad=PAD)
    assert batch["ntokens"] == 2


def test_labels_are_numpy_and_inputs_are_torch():
    labels = {
        "w_resize_ratio": 0.5,
        "h_resize_ratio": 2.0,
        "keypoints": np.zeros(34, np.float32),
        "parsing_code": np.zeros(48, np.int64),
        "gt": np.zeros((4, 4), np.int32),
    }
    batch = collate([sample("a", **labels), sample("b", **labels)], pad=PAD)
    shapes = {name: (value.shape, value.dtype) for name, value in batch.items() if isinstance(value, np.ndarray)}
    del shapes["id"]
    assert shapes == {
        "w_resize_ratios": ((2,), np.float32),
        "h_resize_ratios": ((2,), np.float32),
        "region_coords": ((2, 4), np.float32),
        "keypoints": ((2, 34), np.float32),
        "parsing_codes": ((2, 48), np.int64),
        "gt": ((2, 4, 4), np.int32),
    }
    assert isinstance(batch["target"], torch.Tensor)
    assert all(isinstance(value, torch.Tensor) for value in batch["net_input"].values())


def test_items_of_several_samples_stay_in_order():
    items = [[sample("a0", text="x"), sample("a1")], [BadRow(4, "bad"), sample("b1")]]
    batch = collate(items, pad=PAD)
    assert batch["id"].tolist() == ["a0", "a1", "b1"]
    assert batch["bad_rows"] == ["bad"]
    assert "text" not in batch  # not all have it


def test_batch_of_bad_rows_only():
    assert collate([BadRow(0, "x"), [BadRow(1, "y")]], pad=PAD) == {"bad_rows": ["x", "y"]}


def test_optional_fields():
    first = sample("a", full_mask_position=(6, 53), conf=0.5, constraint_mask=torch.ones(1, 4, dtype=torch.bool))
    second = first | {"constraint_mask": torch.ones(2, 4, dtype=torch.bool)}
    batch = collate([first, second], pad=PAD)
    assert batch["net_input"]["full_mask_position"] == (6, 53)
    assert batch["conf"].tolist() == [0.5, 0.5]
    assert collate([first | {"conf": 2}], pad=PAD)["conf"].dtype == torch.float32
    assert batch["constraint_masks"].dtype == torch.bool
    assert batch["constraint_masks"].sum(dim=-1).tolist() == [[4, 0], [4, 4]]
    assert "full_mask_rows" not in batch["net_input"]  # all have it
    mixed = collate([sample("b"), first, first], pad=PAD)["net_input"]
    assert mixed["full_mask_position"] == (6, 53)
    assert mixed["full_mask_rows"].tolist() == [False, True, True]
    with pytest.raises(ValueError, match="one full_mask_position"):
        collate([first, first | {"full_mask_position": (6, 54)}], pad=PAD)


def test_shared_pictures():
    """Rows whose pictures have one key share them, in whatever tensor each holds it."""
    samples = [sample(name, picture_key=name) for name in "abc"]
    samples[2] |= {"picture_key": "a", "patch_image": samples[0]["patch_image"].clone()}
    shared = collate(samples, pad=PAD, share_pictures=True)["net_input"]
    plain = collate(samples, pad=PAD)["net_input"]
    assert shared["patch_rows"].tolist() == [0, 1, 0]
    assert "patch_rows" not in plain
    assert torch.equal(shared["patch_images"][shared["patch_rows"]], plain["patch_images"])
