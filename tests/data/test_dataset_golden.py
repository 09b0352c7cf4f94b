"""Pictures, ratios, boxes, masks and batches against `dataset_golden.json`. Whole samples: the tests of the tasks."""

import hashlib

import numpy as np
import pytest
import torch
from golden_folder import DATASETS, numbers

from refhcm.data.canvas import Canvas, to_canvas
from refhcm.data.collate import collate
from refhcm.data.columns import parse_box, parse_codes, parse_keypoints
from refhcm.data.images import read_label_map, read_picture
from refhcm.data.tsv import TsvFile
from refhcm.utils.parsing import zoom_label_map

COLUMNS = {
    "refcoco": ("id", "image", "expression", "box"),
    "rkpt": ("id", "image", "expression", "box", "keypoints"),
    "rpar": ("id", "image", "expression", "box", "codes", "mask"),
    "rpar_full_mask": ("id", "image", "expression", "box", "codes", "mask"),
    "rhrc": ("id", "image", "box", "caption"),
}


@pytest.fixture(scope="module")
def grids(golden):
    return np.load(golden / "dataset_patch_grids.npz")


def open_file(golden, key, *, case):
    names = COLUMNS[key.split("/")[0]]
    return TsvFile(golden / "data" / case["tsv"], case["selected_cols"], names=names)


def check_patch_image(patch_image, expected, *, grid):
    assert list(patch_image.shape) == expected["shape"]
    assert str(patch_image.dtype) == expected["dtype"]
    u8 = ((patch_image * 0.5 + 0.5) * 255).round().to(torch.uint8)
    assert hashlib.sha256(u8.numpy().tobytes()).hexdigest() == expected["u8_sha256"]
    exact = patch_image.double()
    statistics = (exact.mean(), exact.std(correction=0), exact.min(), exact.max())
    assert [float(x) for x in statistics] == pytest.approx(
        [expected[k] for k in ("mean", "std", "min", "max")], abs=1e-6
    )
    step = patch_image.shape[-1] // 16
    assert np.array_equal(patch_image[:, step // 2 :: step, step // 2 :: step].numpy(), grid)


@pytest.mark.parametrize("key", DATASETS)
def test_pictures_and_labels(golden, grids, key):
    case = numbers("dataset_golden")[key]
    file = open_file(golden, key, case=case)
    canvas = Canvas(patch_image_size=case["kwargs"]["patch_image_size"])
    num_codes = numbers("vqgan/vqgan_golden")["vq_n_embed"]
    assert len(file) == len(case["rows"])
    for i, expected in enumerate(case["rows"]):
        row, where = file[i], file.where(i)
        image = read_picture(row["image"], root=golden / "data" / "rpar_annos" / "imgs", where=where).image
        placed = canvas.resized(image)
        patch_image = torch.from_numpy(placed.patch_image)
        check_patch_image(patch_image, expected["patch_image"], grid=grids[f"{key.replace('/', '|')}|{i}"])
        assert row["id"] == expected["id"]
        assert parse_box(row["box"], where).tolist() == expected["region_coord"]
        if "w_resize_ratio" in expected:
            assert (placed.w_resize_ratio, placed.h_resize_ratio) == (
                expected["w_resize_ratio"],
                expected["h_resize_ratio"],
            )
        if "keypoints" in expected:
            assert parse_keypoints(row["keypoints"], where).tolist() == expected["keypoints"]
        if "parsing_code" in expected:
            assert parse_codes(row["codes"], where, num_codes=num_codes).tolist() == expected["parsing_code"]
        if "gt" in expected:
            label_map = read_label_map(row["mask"], image.size, root=golden / "data/rpar_annos/gts", where=where)
            gt = zoom_label_map(label_map)
            assert np.bincount(gt.ravel(), minlength=20).tolist() == expected["gt"]["bincount20"]
            assert hashlib.sha256(gt.astype("<i4").tobytes()).hexdigest() == expected["gt"]["int32_sha256"]


@pytest.mark.parametrize("key", DATASETS)
def test_bins_of_boxes(golden, real_vocabulary, key):
    case = numbers("dataset_golden")[key]
    file = open_file(golden, key, case=case)
    size, unk = case["kwargs"]["patch_image_size"], real_vocabulary.unk()
    first, last = real_vocabulary.bin_ids[0], real_vocabulary.bin_ids[-1]
    # RHrc's box is in the prompt, " what does the region {} describe?", and divided by the patch size.
    of_caption = key.startswith("rhrc")
    canvas_size = size if of_caption else case["kwargs"]["max_image_size"]
    for i, expected in enumerate(case["rows"]):
        image = read_picture(file[i]["image"], root=golden / "data/rpar_annos/imgs", where=file.where(i)).image
        box = parse_box(file[i]["box"], file.where(i))
        w_resize_ratio, h_resize_ratio = size / image.width, size / image.height
        on_canvas = to_canvas(box, w_resize_ratio, h_resize_ratio=h_resize_ratio)
        symbols = expected["source" if of_caption else "target"]
        published = [k for k in symbols if k == unk or first <= k <= last][:4]
        ids = real_vocabulary.bins(on_canvas, canvas_size)
        clipped = real_vocabulary.needs_clipping(on_canvas, canvas_size)
        # Where the published ids hold <unk>, ours is the last bin (docs/deviations.md, 20).
        assert clipped.tolist() == [k == unk for k in published]
        assert ids.tolist() == [last if k == unk else k for k in published]


def golden_sample(expected):
    tokens = {name: torch.tensor(expected[name]) for name in ("source", "target", "prev_output_tokens")}
    labels = {
        name: expected[name]
        for name in ("w_resize_ratio", "h_resize_ratio", "region_coord", "keypoints", "parsing_code")
        if name in expected
    }
    own = {"text": expected["text"]} if "text" in expected else {}
    if "gt" in expected:
        own["gt"] = np.zeros((512, 512), np.int32)
    return (
        {
            "id": expected["id"],
            "patch_image": torch.zeros(3, 2, 2),
            "patch_mask": torch.tensor(expected["patch_mask"]),
        }
        | tokens
        | labels
        | own
    )


def check_batch(batch, expected):
    net_input = batch["net_input"]
    assert (batch["ntokens"], batch["nsentences"]) == (expected["ntokens"], expected["nsentences"])
    for name in ("src_tokens", "src_lengths", "prev_output_tokens"):
        assert net_input[name].tolist() == expected[name]
    assert batch["target"].tolist() == expected["target"]


@pytest.mark.parametrize("key", DATASETS)
def test_batches(real_vocabulary, key):
    case = numbers("dataset_golden")[key]
    span = {"full_mask_position": (6, 53)} if "full_mask" in key else {}  # whatever it is, the batch has it, too
    batch = collate([golden_sample(row) | span for row in case["rows"][:4]], pad=real_vocabulary.pad())
    expected = case["collated_first4"]
    check_batch(batch, expected)
    assert batch["net_input"]["patch_masks"].tolist() == expected["patch_masks"]
    assert sorted(batch["net_input"]) == expected["net_input_keys"]
    assert sorted(set(batch) - {"bad_rows", "clipped_rows", "remarks"}) == expected["batch_keys"]
    for name, field in [("w_resize_ratios", "w_resize_ratio"), ("region_coords", "region_coord")]:
        if name in batch:
            assert batch[name].tolist() == [row[field] for row in case["rows"][:4]]


def test_multitask_batch(real_vocabulary):
    case = numbers("dataset_golden")["multitask"]
    items = [[golden_sample(expected) for expected in item] for item in case["items"][:2]]
    batch = collate(items, pad=real_vocabulary.pad())
    check_batch(batch, case["collated_first2"])
    assert batch["id"].tolist() == case["collated_first2"]["ids"]
