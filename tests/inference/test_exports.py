"""Exports read back by the programs they are for: pycocotools, Pillow, supervision, and OpenPose's layout by hand."""

import contextlib
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from refhcm.inference import exports
from refhcm.inference.answers import Answer, Confidence
from refhcm.utils.errors import UserError
from refhcm.utils.keypoints import KEYPOINT_NAMES
from refhcm.utils.parsing import CLASS_NAMES, PALETTE

# pycocotools' decoder is older than numpy's protocol
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

BOX = [10.0, 20.0, 50.5, 60.0]
HAIR, FACE = CLASS_NAMES.index("hair"), CLASS_NAMES.index("face")


def read_by_coco(results, categories=({"id": 1, "name": "person"},)):
    truth = COCO()
    truth.dataset = {"images": [{"id": 7, "width": 80, "height": 70}], "annotations": [], "categories": [*categories]}
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        return truth.loadRes(json.loads(json.dumps(results)))


def test_coco_boxes_and_keypoints(answer, nothing):
    results = exports.coco_results([answer, nothing], image_ids=[7, 8])
    (box,) = read_by_coco(results["bbox"]).loadAnns([1])
    assert box["bbox"] == [10, 20, 40.5, 40]
    assert box["score"] == pytest.approx(0.9)
    assert box["area"] == pytest.approx(40.5 * 40)
    (person,) = read_by_coco(results["keypoints"]).loadAnns([1])
    numbers = np.array(person["keypoints"]).reshape(17, 3)
    assert numbers[0].tolist() == [30, 40, 2]
    assert numbers[1].tolist() == [0, 0, 0]
    assert (numbers[:, 2] == 2).sum() == 3
    assert person["score"] == pytest.approx((0.9 + 0.8 + 0.4) / 3)


def test_coco_masks_of_parts(answer):
    results = exports.coco_results([answer], image_ids=[7])["segm"]
    read = read_by_coco(results, exports.PART_CATEGORIES)
    found = {annotation["category_id"]: annotation for annotation in read.loadAnns(read.getAnnIds())}
    assert {read.loadCats([k])[0]["name"] for k in found} == {"hair", "face"}
    for label, annotation in found.items():
        assert (read.annToMask(annotation).astype(bool) == (answer.label_map == label)).all()
        assert annotation["area"] == (answer.label_map == label).sum()
    assert (found[HAIR]["score"], found[FACE]["score"]) == (0.7, 0.6)


def test_coco_needs_an_id_for_each_answer(answer):
    with pytest.raises(ValueError, match="shorter"):
        exports.coco_results([answer, answer], image_ids=[7])


def test_openpose_by_hand(answer, nothing):
    pose = json.loads(json.dumps(exports.openpose([answer, nothing])))
    assert (pose["canvas_width"], pose["canvas_height"]) == (80, 70)
    (person,) = pose["people"]
    body = np.array(person["pose_keypoints_2d"]).reshape(18, 3)
    assert body[0].tolist() == [30, 40, 0.9]  # nose
    assert body[1].tolist() == [30, 53, 0.4]  # neck: between the shoulders, and as sure as the less sure one
    assert body[2].tolist() == [20, 56, 0.4]  # right shoulder comes first
    assert body[5].tolist() == [40, 50, 0.8]
    assert body[[3, 4, *range(6, 18)]].max() == 0
    assert person["face_keypoints_2d"] == [0] * 210  # nodes of ComfyUI reshape them, seen or not
    assert person["hand_left_keypoints_2d"] == person["hand_right_keypoints_2d"] == [0] * 63


def test_openpose_holds_every_keypoint_once(points):
    every = points(**{name: (k + 1, 2 * k + 1) for k, name in enumerate(KEYPOINT_NAMES)})
    body = exports.openpose(Answer((80, 70), True, (), "", keypoints=every))["people"][0]["pose_keypoints_2d"]
    found = np.array(body).reshape(18, 3)
    for name, point in every:
        assert tuple(found[exports.OPENPOSE_NAMES.index(name), :2]) == point
    assert exports.OPENPOSE_NAMES[14:] == ("right_eye", "left_eye", "right_ear", "left_ear")
    assert (found[:, 2] == 1).all()


def test_a_neck_needs_both_shoulders(points):
    one = Answer((80, 70), True, (), "", keypoints=points(left_shoulder=(3, 4)))
    assert exports.openpose(one)["people"][0]["pose_keypoints_2d"][3:6] == [0, 0, 0]


def test_a_point_that_is_there_never_has_the_confidence_of_none(answer):
    unsure = replace(answer, confidence=Confidence(keypoints=dict.fromkeys(KEYPOINT_NAMES, 0.0)))
    body = np.array(exports.openpose(unsure)["people"][0]["pose_keypoints_2d"]).reshape(18, 3)
    assert body[[0, 1, 2, 5], 2].tolist() == [exports.FAINTEST] * 4
    assert body[:, 2].sum() == pytest.approx(4 * exports.FAINTEST)


def test_openpose_is_of_one_picture(answer):
    with pytest.raises(UserError, match="answers about one picture"):
        exports.openpose([answer, Answer((1, 2), True, (), "")])
    with pytest.raises(UserError, match="got 0 answers"):
        exports.openpose([])


def test_label_map_file(answer, tmp_path):
    exports.save_label_map(answer, tmp_path / "below" / "map.png")
    with Image.open(tmp_path / "below" / "map.png") as image:
        assert image.mode == "P"
        assert (np.asarray(image) == answer.label_map).all()
        colours = np.asarray(image.convert("RGB"))
    assert tuple(colours[25, 20]) == PALETTE[HAIR]
    assert tuple(colours[0, 0]) == PALETTE[0]


def test_files_of_parts(answer, tmp_path):
    paths = exports.save_parts(answer, tmp_path, stem="woman")
    assert {name: path.name for name, path in paths.items()} == {"hair": "woman_hair.png", "face": "woman_face.png"}
    for name, path in paths.items():
        with Image.open(path) as image:
            assert (np.asarray(image) == np.where(answer.parts[name], 255, 0)).all()


@pytest.mark.parametrize("save", [exports.save_label_map, exports.save_parts])
def test_files_need_a_label_map_and_a_place(save, answer, nothing, tmp_path):
    with pytest.raises(UserError, match="the answer has none"):
        save(nothing, tmp_path / "map.png")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/.*cannot be written"):
        save(answer, tmp_path / "file" / "map.png")


def test_a_file_is_replaced_only_by_a_complete_one(answer, tmp_path, monkeypatch):
    path = tmp_path / "map.png"
    path.write_bytes(b"former")
    monkeypatch.setattr(Image.Image, "save", lambda self, to, format: to.write_bytes(b"half") and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        exports.save_label_map(answer, path)
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == {"map.png": b"former"}


def test_supervision_detections(answer, nothing):
    found = exports.to_detections([answer, nothing])
    assert len(found) == 1
    assert found.xyxy[0].tolist() == BOX
    assert (found.mask[0] == (answer.label_map > 0)).all()
    assert found.confidence[0] == pytest.approx(0.9)
    assert found["class_name"].tolist() == ["person"]
    assert len(exports.to_detections(nothing)) == 0
    with pytest.raises(UserError, match="detections: needs answers about one picture"):
        exports.to_detections([answer, replace(answer, size_wh=(81, 70))])


def test_supervision_parts(answer, nothing):
    found = exports.to_part_detections(answer)
    assert found["class_name"].tolist() == ["hair", "face"]
    assert found.class_id.tolist() == [HAIR, FACE]
    assert found.xyxy.tolist() == [[10, 20, 50, 30], [12, 30, 40, 60]]
    assert (found.mask[1] == answer.parts["face"]).all()
    assert found.confidence == pytest.approx([0.7, 0.6])
    assert len(exports.to_part_detections(nothing)) == 0


def test_supervision_keypoints(answer, nothing):
    found = exports.to_keypoints([answer, nothing])
    assert found.xy.shape == (1, 17, 2)
    assert (found.xy[0] == answer.keypoints.xy).all()
    assert (found.visible[0] == answer.keypoints.visible).all()
    by_name = dict(zip(KEYPOINT_NAMES, found.keypoint_confidence[0].tolist(), strict=True))
    assert (by_name["nose"], by_name["right_shoulder"], by_name["left_hip"]) == pytest.approx((0.9, 0.4, 0))
    assert found.detection_confidence == pytest.approx([0.7])
    assert len(exports.to_keypoints(nothing)) == 0


def test_run_lengths_are_coco_s(answer):
    encoded = exports.encode_mask(answer.parts["face"])
    assert (coco_mask.decode(encoded) == answer.parts["face"]).all()
    assert json.loads(json.dumps(encoded)) == encoded


def test_a_cutout_has_the_person_alone(answer, nothing):
    picture = Image.new("RGB", (80, 70), (1, 2, 3))
    person = exports.cutout(picture, [answer, replace(nothing, size_wh=(8, 7))])  # who has no parts is not looked at
    assert person.size == (40, 40)  # hair 10..50 by 20..30 above a face 12..40 by 30..60
    assert person.getpixel((0, 0)) == (1, 2, 3, 255)
    assert person.getpixel((0, 20))[3] == 0  # beside the face
    assert int((np.asarray(person)[..., 3] > 0).sum()) == 40 * 10 + 28 * 30
    assert exports.cutout(np.asarray(picture), answer).tobytes() == person.tobytes()
    assert exports.cutout(picture, nothing) is None
    with pytest.raises(UserError, match="image: is 70 x 80 px, the answer's picture 80 x 70"):
        exports.cutout(picture.transpose(Image.Transpose.ROTATE_90), answer)
    with pytest.raises(UserError, match="cutout: needs answers about one picture"):
        exports.cutout(picture, [answer, replace(answer, size_wh=(81, 70))])


def test_the_person_alone(answer, nothing, tmp_path):
    picture = Image.new("RGB", (80, 70), "red")
    person, alone = exports.save_person(answer, tmp_path, stem="a", image=picture)
    assert (person.name, alone.name) == ("a_person.png", "a_cutout.png")
    with Image.open(person) as mask:
        assert mask.mode == "L"
        assert (np.array(mask) == np.where(answer.label_map > 0, 255, 0)).all()
    with Image.open(alone) as cut:
        assert (cut.mode, cut.size) == ("RGBA", (40, 40))  # x 10..50, y 20..60
        assert cut.getpixel((0, 0)) == (255, 0, 0, 255)
        assert cut.getpixel((39, 39))[3] == 0
    (only,) = exports.save_person(replace(answer, label_map=np.zeros((70, 80), np.uint8)), tmp_path, image=picture)
    assert only.name == "part_person.png"
    with pytest.raises(UserError, match="ask with parsing=True"):
        exports.save_person(nothing, tmp_path)
    with pytest.raises(UserError, match="image: is 10 x 10 px"):
        exports.save_person(answer, tmp_path / "new", image=picture.resize((10, 10)))
    assert not (tmp_path / "new").exists()
