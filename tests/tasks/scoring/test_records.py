"""Files of answers: which lines are answers, and when a file is JSON."""

import pytest

from refhcm.tasks.scoring.records import read_records
from refhcm.utils.errors import DataError


@pytest.fixture
def read(tmp_path):
    """(id, answer) of each record of a text."""

    def run(text):
        (tmp_path / "answers").write_bytes(text.encode())
        return [(record.id, record.fields.get("answer")) for record in read_records(tmp_path / "answers")]

    return run


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        ("1,2,3,4\n\n", ["1,2,3,4", ""]),  # the last answer names nobody
        ("1,2,3,4\r\n\r\n", ["1,2,3,4", ""]),
        ("\n1,2,3,4", ["", "1,2,3,4"]),
        ("\n", [""]),
        ("[1,2,3,4]\n", ["[1,2,3,4]"]),
        ("[1,2,3,4]\n[5,6,7,8]\n", ["[1,2,3,4]", "[5,6,7,8]"]),
        ("[]\n[1,2,3,4]", ["[]", "[1,2,3,4]"]),
        ("[1 2 3 4]\n[]", ["[1 2 3 4]", "[]"]),
        ("[[1,2,3,4],[5,6,7,8]]", ["[[1,2,3,4],[5,6,7,8]]"]),
        (
            '[{"bbox_2d": [1,2,3,4]}]\n[{"bbox_2d": [5,6,7,8]}]',
            ['[{"bbox_2d": [1,2,3,4]}]', '[{"bbox_2d": [5,6,7,8]}]'],
        ),
    ],
)
def test_lines_in_the_order_of_the_rows(read, text, answers):
    assert read(text) == [(None, answer) for answer in answers]


def test_blank_lines_between_answers_with_ids(read):
    assert read("a\t1,2,3,4\n\nb\t\n\n") == [("a", "1,2,3,4"), ("b", "")]
    assert read('{"id": 1, "answer": "x"}\n\n{"id": 2, "answer": ""}\n\n') == [("1", "x"), ("2", "")]


def test_one_list_over_several_lines(read):
    assert read('\n[\n {"id": 1, "answer": "x"},\n {"id": 2, "answer": ""}\n]\n\n') == [("1", "x"), ("2", "")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"id": 1, "answer": "x"}, {"id"', "cannot be read as JSON"),
        ('[\n {"id": 1},\n', "cannot be read as JSON"),
        ('[{"id": 1}, 2]', "record 1: expected an object, got 2"),
        ("[]", "expected a JSON list of answers"),
        ("", "is empty"),
        (" ", "is empty"),
    ],
)
def test_what_is_no_file_of_answers(read, text, message):
    with pytest.raises(DataError, match=message):
        read(text)
