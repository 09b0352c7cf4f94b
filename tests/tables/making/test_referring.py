"""Rows of REC, RKpt and generalised REC: the published ones come out of raw data of the published form."""

import json

import pytest
from raw_files import (
    PERSON,
    REC_ROW,
    RKPT_ROW,
    coco_annotation,
    coco_image,
    picture,
    ref,
    rows_of,
    with_flags,
    write_json,
    write_set,
)

from refhcm.tables.making.referring import Referring, plan_grefcoco, plan_referring
from refhcm.utils.errors import DataError, UserError

POINTS = with_flags(RKPT_ROW.split("\t")[-1])
LEFT, BLURRY = (112.21, 46.13, 229.4, 220.68), (425.68, 219.3, 117.11, 170.81)
CROWD, DOG = {"iscrowd": 1}, {"category_id": 18}


@pytest.fixture
def raw(tmp_path):
    """Two pictures of COCO and the refs about them: two persons, a dog, a crowd."""
    images = [coco_image(579997), coco_image(573476)]
    for image in images:
        picture(tmp_path / "train2014" / image["file_name"])
    annotations = [
        coco_annotation(1, 579997, BLURRY), coco_annotation(2, 573476, LEFT), coco_annotation(3, 573476, LEFT, **DOG),
        coco_annotation(4, 573476, LEFT, **CROWD), coco_annotation(5, 573476, (5, 5, 1, 200)),
    ]  # fmt: skip
    refs = [
        ref(182, 579997, 1, "player", "Blurry person to right of player's elbow", " \t"),
        ref(756, 573476, 2, "left person"), ref(757, 573476, 3, "dog", category=18), ref(758, 573476, 4, "all of them"),
        ref(759, 573476, 5, "sliver"), ref(760, 573476, 2, "somebody", split="val"),
    ]  # fmt: skip
    write_set(tmp_path / "data" / "refcoco", refs, images, annotations)
    people = [{**a, "keypoints": POINTS, "num_keypoints": 12} for a in annotations if a["category_id"] == 1]
    write_json(tmp_path / "people.json", {"images": images, "annotations": people, "categories": [PERSON]})
    return tmp_path


def source(raw, **changes):
    return Referring(**{"sets": ("refcoco",), "split": "testA", "refs": raw / "data", "partial": True} | changes)


def test_the_published_rec_row(raw):
    plan = plan_referring(source(raw))
    rows, made = rows_of(plan, raw / "train2014", "rec")
    assert rows[1] == REC_ROW
    assert [row.split("\t")[0] for row in rows] == ["182_0", "182_1", "756_0"]
    assert dict(plan.left_out) == {"empty-text": 1, "no-person": 1, "crowd": 1}
    assert made[1].left_out == {"small-box": 1}


def test_the_published_rkpt_row(raw):
    rows, _ = rows_of(plan_referring(source(raw, keypoints=raw / "people.json")), raw / "train2014", "rkpt")
    assert rows[-1] == RKPT_ROW


def test_every_file_that_was_read_is_an_input(raw):
    """The manifest names them, and a table is not gone on with when one of them has changed."""
    folder, people = raw / "data" / "refcoco", raw / "people.json"
    refs, instances = folder / "refs(unc).p", folder / "instances.json"
    assert plan_referring(source(raw)).inputs == [refs, instances]
    assert plan_referring(source(raw, keypoints=people)).inputs == [people, refs, instances]
    write_json(folder / "grefs(unc).json", [ref(1, 573476, [2], "left")])
    refs.unlink()
    generalised = source(raw, sets=("grefcoco",), refs=folder)
    assert plan_grefcoco(generalised).inputs == [folder / "grefs(unc).json", instances]


def test_all_categories(raw):
    rows, _ = rows_of(plan_referring(source(raw, all_categories=True)), raw / "train2014", "rec")
    assert [row.split("\t")[0] for row in rows] == ["182_0", "182_1", "756_0", "757_0"]


def test_persons_with_few_points_are_left_out_when_asked(raw):
    plan = plan_referring(source(raw, keypoints=raw / "people.json", min_keypoints=13))
    assert plan.left_out["few-keypoints"] == 5  # sentences: of ref 182 also the blank one
    assert plan_referring(source(raw, keypoints=raw / "people.json", min_keypoints=12)).left_out["few-keypoints"] == 0


def test_persons_without_points_are_kept_by_default(raw):
    content = json.loads((raw / "people.json").read_text())
    for person in content["annotations"]:
        person["keypoints"] = [0] * 51
    write_json(raw / "people.json", content)
    rows, _ = rows_of(plan_referring(source(raw, keypoints=raw / "people.json")), raw / "train2014", "rkpt")
    assert [row.split("\t")[0] for row in rows] == ["182_0", "182_1", "756_0"]


def test_keypoints_alone_serve_for_persons(raw):
    (raw / "data" / "refcoco" / "instances.json").unlink()
    rows, _ = rows_of(plan_referring(source(raw, keypoints=raw / "people.json")), raw / "train2014", "rkpt")
    assert rows[-1] == RKPT_ROW
    content = json.loads((raw / "people.json").read_text())
    write_json(raw / "people.json", content | {"annotations": content["annotations"][1:]})
    with pytest.raises(DataError, match=r"ref_id 182\): annotation 1 does not exist in .*people\.json"):
        plan_referring(source(raw, keypoints=raw / "people.json"))


def test_a_part_of_a_set_is_refused_unless_it_may_be_partial(raw):
    with pytest.raises(DataError, match=r"has 5 refs of testA, and refcoco \(unc\) has 1975.*--partial"):
        plan_referring(source(raw, partial=False))


def test_refs_of_another_set_than_their_instances(raw):
    path = raw / "data" / "refcoco" / "instances.json"
    content = json.loads(path.read_text())
    write_json(path, content | {"annotations": content["annotations"][1:]})
    with pytest.raises(DataError, match=r"ref_id 182\): annotation 1 does not exist .*of the same data set\?"):
        plan_referring(source(raw))


def test_an_annotation_of_another_picture(raw):
    path = raw / "data" / "refcoco" / "instances.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["image_id"] = 573476
    write_json(path, content)
    with pytest.raises(DataError, match="annotation 1 is of another picture"):
        plan_referring(source(raw))


def test_keypoints_of_other_pictures(raw):
    write_json(raw / "people.json", {"images": [], "annotations": [], "categories": [PERSON]})
    with pytest.raises(DataError, match="has no person 1 in image 579997; expected the keypoints of train2014"):
        plan_referring(source(raw, keypoints=raw / "people.json"))


def test_another_skeleton_is_refused_before_anything_is_joined(raw):
    people = [coco_annotation(9, 573476, LEFT, keypoints=[1] * 42)]
    write_json(raw / "people.json", {"images": [], "annotations": people})
    with pytest.raises(DataError, match=r"14 keypoints \(CrowdPose"):
        plan_referring(source(raw, keypoints=raw / "people.json"))


def test_a_split_that_does_not_exist(raw):
    with pytest.raises(DataError, match="has no refs of the split testB; it has testA, val"):
        plan_referring(source(raw, split="testB"))


@pytest.mark.parametrize("partial", [False, True])
def test_a_set_without_testa_has_no_table_of_it(raw, partial):
    (raw / "data" / "refcoco").rename(raw / "data" / "refcocog")
    (raw / "data" / "refcocog" / "refs(unc).p").unlink()
    write_json(raw / "data" / "refcocog" / "refs(umd).json", [ref(182, 579997, 1, "player", split="test")])
    with pytest.raises(UserError, match=r"--split testA: refcocog \(umd\) has the splits train, val, test"):
        plan_referring(source(raw, sets=("refcocog",), partial=partial))
    assert len(plan_referring(source(raw, sets=("refcocog",), split="test")).pictures) == 1


def test_several_sets_have_no_pictures_of_each_others_tests(raw):
    images = [coco_image(579997), coco_image(7)]
    picture(raw / "train2014" / images[1]["file_name"])
    annotations = [coco_annotation(1, 579997, BLURRY), coco_annotation(8, 7, LEFT)]
    refs = [ref(182, 579997, 1, "a", split="train"), ref(2, 7, 8, "b", split="train")]
    write_set(raw / "data" / "refcoco+", refs, images, annotations)
    write_set(
        raw / "data" / "refcoco",
        [ref(3, 7, 8, "c", split="train"), ref(4, 579997, 1, "d", split="testA")], images, annotations,
    )  # fmt: skip
    both = source(raw, sets=("refcoco", "refcocoplus"), split="train")
    plan = plan_referring(both)
    rows, _ = rows_of(plan, raw / "train2014", "rec")
    assert [row.split("\t")[0] for row in rows] == ["refcoco_3_0", "refcocoplus_2_0"]
    assert plan.left_out["leak"] == 1
    kept = plan_referring(source(raw, sets=both.sets, split="train", keep_leaks=True))
    assert len(rows_of(kept, raw / "train2014", "rec")[0]) == 3


def test_parquet_needs_no_instances(raw, tmp_path):
    record = ref(182, 579997, 1, "a") | {
        "raw_anns": json.dumps(coco_annotation(1, 579997, BLURRY)), "raw_image_info": json.dumps(coco_image(579997)),
    }  # fmt: skip
    path = write_json(tmp_path / "refs.json", [record])  # the fields are what counts, not the file's form
    rows, _ = rows_of(plan_referring(source(raw, refs=path)), raw / "train2014", "rec")
    assert rows == ["182_0\t579997\ta\t425.68,219.3,542.79,390.11"]


def test_everybody_and_nobody(raw):
    refs = [
        ref(1, 573476, [2, 5], "both", "two"),
        ref(2, 573476, [-1], "nobody", no_target=True),
        ref(3, 573476, [3], "dog"),
    ]
    content = json.loads((raw / "data" / "refcoco" / "instances.json").read_text())
    content["annotations"][4]["bbox"] = [5, 5, 100, 200]
    write_json(raw / "data" / "grefcoco" / "grefs(unc).json", refs)
    write_json(raw / "data" / "grefcoco" / "instances.json", content)
    plan = plan_grefcoco(source(raw, sets=("grefcoco",)))
    rows, _ = rows_of(plan, raw / "train2014", "grec")
    assert rows == [
        "1_0\t573476\tboth\t5,5,105,205;112.21,46.13,341.61,266.81",
        "1_1\t573476\ttwo\t5,5,105,205;112.21,46.13,341.61,266.81",
        "2_0\t573476\tnobody\t",
    ]
    assert plan.left_out["no-person"] == 1
    assert plan.changed["nobody"] == 1
