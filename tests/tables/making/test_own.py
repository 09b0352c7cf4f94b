"""Rows from data of one's own."""

from collections import Counter

import pytest
from raw_files import PERSON, coco_annotation, coco_image, picture, rows_of, write_json

from refhcm.tables.making.own import divide, plan_coco, plan_csv
from refhcm.tables.making.plan import Draft, Plan
from refhcm.utils.errors import DataError

POINTS = [50, 60, 2] + [0, 0, 0] * 16


@pytest.fixture
def coco(tmp_path):
    """Two persons with texts, one without, one crowd."""
    picture(tmp_path / "pictures" / "sub" / coco_image(7)["file_name"])
    annotations = [
        coco_annotation(1, 7, (10, 20, 30, 40), expression="the tall one", keypoints=POINTS),
        coco_annotation(2, 7, (50, 20, 30, 40), captions=["one", "two"], keypoints=[0] * 51),
        coco_annotation(3, 7, (90, 20, 30, 40), keypoints=POINTS),
        coco_annotation(4, 7, (90, 20, 30, 40), expression="all", iscrowd=1, keypoints=POINTS),
    ]
    return write_json(
        tmp_path / "own.json", {"images": [coco_image(7)], "annotations": annotations, "categories": [PERSON]}
    )


def test_texts_of_annotations(coco, tmp_path):
    plan = plan_coco(coco, "rec")
    rows, _ = rows_of(plan, tmp_path / "pictures", "rec")
    assert rows == ["1_0\t7\tthe tall one\t10,20,40,60", "2_0\t7\tone\t50,20,80,60", "2_1\t7\ttwo\t50,20,80,60"]
    assert plan.left_out == Counter({"no-text": 1, "crowd": 1})


def test_captions_of_annotations(coco, tmp_path):
    rows, _ = rows_of(plan_coco(coco, "rhrc"), tmp_path / "pictures", "rhrc")
    assert rows == ["1\tthe tall one\t10,20,40,60", "2\tone&&two\t50,20,80,60"]


def test_keypoints_and_texts_from_a_file(coco, tmp_path):
    (tmp_path / "texts.tsv").write_text("3\tthe last\n2\tnobody's points\n")
    plan = plan_coco(coco, "rkpt", texts=tmp_path / "texts.tsv", min_keypoints=1)
    rows, _ = rows_of(plan, tmp_path / "pictures", "rkpt")
    assert rows == ["3_0\t7\tthe last\t90,20,120,60\t50,60" + ",0,0" * 16]
    assert plan.left_out["few-keypoints"] == 1


def test_texts_of_unknown_annotations(coco, tmp_path):
    (tmp_path / "texts.tsv").write_text("3\tthe last\n99\tnobody\n")
    with pytest.raises(DataError, match="has no annotation '99'; so for 1 of 2 ids"):
        plan_coco(coco, "rec", texts=tmp_path / "texts.tsv")


def test_a_file_without_texts_says_where_they_go(tmp_path):
    path = write_json(
        tmp_path / "own.json", {"images": [coco_image(7)], "annotations": [coco_annotation(1, 7, (1, 2, 30, 40))]}
    )
    with pytest.raises(DataError, match=r"no annotation has a text; expected .expression. in them, or .* --texts"):
        plan_coco(path, "rec")


@pytest.mark.parametrize("content", [[], {"images": []}, {"images": [{"id": 1}, {"id": 1}], "annotations": []}])
def test_json_of_another_form(tmp_path, content):
    with pytest.raises(DataError, match=r"own\.json"):
        plan_coco(write_json(tmp_path / "own.json", content), "rec")


@pytest.mark.parametrize("missing", ["image_id", "bbox"])
def test_an_annotation_without_a_field(tmp_path, missing):
    annotation = coco_annotation(1, 7, (1, 2, 30, 40), expression="x")
    del annotation[missing]
    path = write_json(tmp_path / "own.json", {"images": [coco_image(7)], "annotations": [annotation]})
    with pytest.raises(DataError, match=r"own\.json: annotation 1: expected image_id and bbox, got"):
        plan_coco(path, "rec")


def csv(tmp_path, text, name="own.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", 'image,expression,x0,y0,x1,y1\na.jpg,"tall, in red",1,2,30,40\n'),
        ("a.csv", '\ufeffImage, Expression ,x,y,width,height\na.jpg,"tall, in red",1,2,29,38\n'),
        ("a.tsv", "x0\ty0\tx1\ty1\timage\tcaption\n1\t2\t30\t40\ta.jpg\ttall, in red\n"),
    ],
)
def test_forms_of_csv(tmp_path, name, text):
    picture(tmp_path / "pictures" / "a.jpg")
    rows, _ = rows_of(plan_csv(csv(tmp_path, text, name), "rec"), tmp_path / "pictures", "rec")
    assert rows == ["0\ta.jpg\ttall, in red\t1,2,30,40"]


@pytest.mark.parametrize("cell", ["50,60" + ",0,0" * 16, "50 60 2" + " 5 5 0" * 16])
def test_keypoints_in_a_cell(tmp_path, cell):
    picture(tmp_path / "pictures" / "a.jpg")
    path = csv(tmp_path, f'id,image,expression,x0,y0,x1,y1,keypoints\nn1,a.jpg,x,1,2,90,90,"{cell}"\n')
    rows, _ = rows_of(plan_csv(path, "rkpt", min_keypoints=1), tmp_path / "pictures", "rkpt")
    assert rows == ["n1\ta.jpg\tx\t1,2,90,90\t50,60" + ",0,0" * 16]


HEADER = "image,expression,x0,y0,x1,y1\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg,x,1,2,3,4\n", r"own\.csv:1: expected a header with image"),
        ("", r"own\.csv:1: expected a header"),
        (HEADER + "a.jpg,tall, in red,1,2,30,40\n", r"own\.csv:2: has more cells .*a comma not quoted"),
        (HEADER + "a.jpg,x,1,2,30\n", r"own\.csv:2: box: expected finite numbers"),
        (HEADER + "a.jpg,x,1,2,30,nan\n", r"own\.csv:2: box: expected finite numbers"),
        (HEADER + ",x,1,2,30,40\n", r"own\.csv:2: the column image is empty"),
        ("id," + HEADER + "1,a.jpg,x,1,2,30,40\n1,a.jpg,x,1,2,30,40\n", r"own\.csv:3: the id 1 comes twice"),
    ],
)
def test_lines_that_cannot_be_read(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        plan_csv(csv(tmp_path, text), "rec")


def test_a_box_of_coco_with_a_negative_width(tmp_path):
    picture(tmp_path / "pictures" / coco_image(7)["file_name"])
    boxes = {1: (100, 100, -40, 50), 2: (100, 100, 40, 50)}
    annotations = [coco_annotation(k, 7, box, expression="x") for k, box in boxes.items()]
    path = write_json(tmp_path / "own.json", {"images": [coco_image(7)], "annotations": annotations})
    rows, (made,) = rows_of(plan_coco(path, "rec"), tmp_path / "pictures", "rec")
    assert rows == ["2_0\t7\tx\t100,100,140,150"]
    ((kind, message, count),) = made.faults
    assert (kind, count) == ("box-order", 1)
    assert message.startswith(f"{path}: annotation 1: the box 100,100,60,150 has a negative width or height")


def test_bad_numbers_leave_a_partial_table(tmp_path):
    plan = plan_csv(csv(tmp_path, HEADER + "a.jpg,x,1,2,30,?\nb.jpg,x,1,2,30,40\n"), "rec", partial=True)
    assert plan.left_out == Counter({"bad-numbers": 1})
    assert list(plan.pictures) == ["b.jpg"]


def plan_of(names):
    plan = Plan()
    for name in names:
        plan.add(name, None, Draft(name, name, "x", (), "here"))
    return plan


def test_pictures_are_divided_for_good():
    names = [f"{k}.jpg" for k in range(200)]
    train, held_out = divide(plan_of(names), 10)
    assert len(held_out.pictures) == 20
    assert set(train.pictures) | set(held_out.pictures) == set(names)
    assert not set(train.pictures) & set(held_out.pictures)
    assert divide(plan_of(names[::-1]), 10)[1].pictures.keys() == held_out.pictures.keys()
    assert [len(part.pictures) for part in divide(plan_of("ab"), 90)] == [1, 1]
