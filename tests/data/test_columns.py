import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refhcm.data.columns import check_box_in_picture, parse_box, parse_caption, parse_codes, parse_keypoints, shorten
from refhcm.utils.errors import DataError

WHERE = "a.tsv:3"


def test_box():
    box = parse_box("108.66,199.31, 182.32,236.78", WHERE)
    assert box.dtype == np.float32
    assert box.tolist() == np.float32([108.66, 199.31, 182.32, 236.78]).tolist()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1,2,3",
        "1,2,3,4,5",
        "1,2,x,4",
        "1,2,nan,4",
        "1,2,inf,4",
        "1,2,1e30,4",
        "1;2;3;4",
        "1,2,3,1_0",
        "1,2,3,\u0664",
    ],
)
def test_malformed_boxes(text):
    with pytest.raises(DataError, match=r"a\.tsv:3: column box: needs 4 finite numbers x0,y0,x1,y1, got"):
        parse_box(text, WHERE)


@pytest.mark.parametrize("text", ["3,2,3,4", "3,2,1,4", "1,4,3,4"])
def test_box_without_area(text):
    with pytest.raises(DataError, match="needs x1 > x0 and y1 > y0"):
        parse_box(text, WHERE)


@pytest.mark.parametrize(
    ("box", "outside"),
    [("0,0,10,8", False), ("-1,0,10,8", True), ("0,0,10.5,8", True), ("0,-0.5,10,8", True), ("9,7,11,9", True)],
)
def test_box_partly_outside(box, outside):
    assert check_box_in_picture(parse_box(box, WHERE), (10, 8), where=WHERE) is outside


@pytest.mark.parametrize("box", ["10,0,12,8", "0,8,10,9", "-2,0,0,8", "0,-2,10,0"])
def test_box_wholly_outside(box):
    with pytest.raises(DataError, match=r"a\.tsv:3: column box: .*wholly outside the picture of 10 x 8 px"):
        check_box_in_picture(parse_box(box, WHERE), (10, 8), where=WHERE)


def test_keypoints():
    assert parse_keypoints(",".join(map(str, range(34))), WHERE).tolist() == list(range(34))
    with pytest.raises(DataError, match=r"a\.tsv:3: column keypoints: needs 34 finite numbers"):
        parse_keypoints("1,2,3", WHERE)


def test_codes():
    codes = parse_codes("0,31,5", WHERE, num_codes=32, count=3)
    assert codes.dtype == np.int64
    assert codes.tolist() == [0, 31, 5]
    assert len(parse_codes(",".join(["1"] * 48), WHERE, num_codes=32)) == 48


@pytest.mark.parametrize("text", ["0,32,5", "0,-1,5", "0,1", "0,1,2,3", "0,1.5,2", "", "0,1,1_0", "0,1,\u0662"])
def test_bad_codes(text):
    with pytest.raises(DataError, match=r"a\.tsv:3: column parsing codes: needs 3 whole numbers in 0\.\.31, got"):
        parse_codes(text, WHERE, num_codes=32, count=3)


def test_caption():
    assert parse_caption(" a man ", WHERE) == " a man "
    with pytest.raises(DataError, match=r"a\.tsv:3: column expression: is empty"):
        parse_caption(" \t", WHERE, column="expression")


def test_message_stays_short():
    assert shorten("a" * 60) == repr("a" * 60)
    assert shorten("a" * 61) == f"{'a' * 60!r}... (61 characters)"
    with pytest.raises(DataError) as caught:
        parse_box("A" * 10**6, WHERE)
    assert len(str(caught.value)) < 200


@settings(max_examples=30)
@given(text=st.text(max_size=20))
def test_rubbish_is_a_data_error(text):
    for parse in (parse_box, parse_keypoints):
        with pytest.raises(DataError):
            parse("no" + text, WHERE)
