"""Files in the forms in which data sets are published, a few pictures each, for the tests of `refhcm data make`."""

import json
import pickle

import numpy as np
from PIL import Image

from refhcm.tables.making.embedding import Embedding
from refhcm.tables.making.plan import PictureFolder
from refhcm.utils.keypoints import KEYPOINT_NAMES

# The rows that RefHCM's dataset card shows, up to their pictures (docs/datasets.md).
REC_ROW = "182_1\t579997\tBlurry person to right of player's elbow\t425.68,219.3,542.79,390.11"
RKPT_ROW = (
    "756_0\t573476\tleft person\t112.21,46.13,341.61,266.81\t212,110,219,102,196,100,0,0,156,113,215,168,135,170,"
    "223,240,161,215,229,248,251,232,188,302,135,306,0,0,0,0,0,0,0,0"
)
RHRC_ROW = (
    "0010548_0\tThe individual is a man with short blonde hair, wearing a blue shirt and grey pants. He is also "
    "wearing a black watch on his left wrist.\t225,19,364,380"
)
RPAR_TEXT = (
    "a man dressed in a white uniform. He is wearing a hat and a helmet . His attire suggests he might be part of a "
    "military or formal ceremony."
)
RPAR_BOX = "112,170,196,459"

PERSON = {"id": 1, "name": "person", "keypoints": list(KEYPOINT_NAMES)}
WH = (640, 480)


def picture(path, size_wh=WH, colour="teal", **options):
    """A picture of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size_wh, colour).save(path, **options)
    return path


def with_flags(cell, flags=2):
    """34 numbers x,y of a table as COCO's 51 numbers x,y,v."""
    numbers = [float(n) for n in cell.split(",")]
    return [v for x, y in zip(numbers[::2], numbers[1::2], strict=True) for v in (x, y, flags if x or y else 0)]


def coco_image(image_id, size_wh=WH, **more):
    """An entry of `images`."""
    name = f"COCO_train2014_{image_id:012d}.jpg"
    return {"id": image_id, "file_name": name, "width": size_wh[0], "height": size_wh[1]} | more


def coco_annotation(ann_id, image_id, bbox, **more):
    """An entry of `annotations`: a person."""
    return {"id": ann_id, "image_id": image_id, "bbox": bbox, "category_id": 1, "iscrowd": 0} | more


def ref(ref_id, image_id, ann_id, *raw, split="testA", category=1, **more):
    """A ref as RefCOCO has it: `file_name` names no picture, `sent` has no capitals and no punctuation."""
    sentences = [{"raw": text, "sent": text.lower().replace("'", ""), "sent_id": k} for k, text in enumerate(raw)]
    file_name = f"COCO_train2014_{image_id:012d}_16.jpg"
    return {
        "ref_id": ref_id, "ann_id": ann_id, "category_id": category, "image_id": image_id, "split": split,
        "file_name": file_name, "sent_ids": list(range(len(raw))), "sentences": sentences,
    } | more  # fmt: skip


def write_json(path, content):
    """A JSON file; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def write_set(folder, refs, images, annotations, *, by="unc", categories=(PERSON,)):
    """refs(WHO).p and instances.json of a set of RefCOCO's kind."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"refs({by}).p").write_bytes(pickle.dumps(refs, protocol=0))  # as Python 2 wrote them
    write_json(
        folder / "instances.json", {"images": images, "annotations": annotations, "categories": list(categories)}
    )
    return folder


def write_cihp(root, people_by_picture, *, split="Training", size_wh=(335, 500)):
    """A half of CIHP: {name: [(x0, y0, x1, y1, class), ...]}, the boxes half open and later ones on top."""
    for name, people in people_by_picture.items():
        humans, classes = np.zeros(size_wh[::-1], np.uint8), np.zeros(size_wh[::-1], np.uint8)
        for person, (x0, y0, x1, y1, label) in enumerate(people, start=1):
            humans[y0:y1, x0:x1], classes[y0:y1, x0:x1] = person, label
        picture(root / split / "Images" / f"{name}.jpg", size_wh)
        instances = np.where(humans > 0, (humans - 1) * 20 + classes, 0).astype(np.uint8)
        for folder, array in (("Human_ids", humans), ("Category_ids", classes), ("Instance_ids", instances)):
            (root / split / folder).mkdir(exist_ok=True)
            Image.fromarray(array).save(root / split / folder / f"{name}.png")
    return root


def rows_of(plan, images, layout, **options):
    """The cells of every row of a plan but the picture's, and what its pictures were said to be: left out, changed."""
    pictures = plan.located(PictureFolder(images), limit=None)
    made = [Embedding(layout, **options)(picture) for picture in pictures]
    return [line.rpartition("\t")[0] for part in made for line in part.lines], made
