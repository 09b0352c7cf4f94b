"""`refhcm data check` from the command line."""

import json
import subprocess
import sys

import pytest
from commands import refhcm
from small_tables import PLANTED, ROWS, SmallTable

from refhcm.tables.checking.report import SHOWN


@pytest.fixture
def table(tmp_path):
    return SmallTable(tmp_path, "refcoco")


def run(*tables, **options) -> int:
    for table in tables:
        table.write()
    flags = [word for name, value in options.items() for word in (f"--{name}", value)]
    return refhcm("data", "check", *(table.path for table in tables), *flags)


def test_a_good_table_is_status_0(table, capsys):
    assert run(table) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{table.path}: task refcoco (guessed from its columns); {ROWS} rows, {ROWS} pictures"
    assert lines[1:] == ["errors: none", "warnings: none"]


def test_an_error_is_status_1_and_names_file_line_and_id(table, capsys):
    table.plant("box", "40,20,10,70")
    assert run(table) == 1
    said = f"{table.path}:{PLANTED + 1}: id 3_0: error box-order: 40,20,10,70; expected x1 > x0 and y1 > y0"
    assert said in capsys.readouterr().out.splitlines()


def test_a_warning_is_status_0_and_its_rows_can_be_drawn(table, tmp_path, capsys, monkeypatch):
    table.plant("box", "10,20,60.5,70")
    table.rows[5][3] = "40,20,10,70"  # cannot be drawn
    assert run(table) == 1
    table.rows[5][3] = "10,20,40,70"
    capsys.readouterr()
    assert run(table) == 0
    command = capsys.readouterr().out.splitlines()[-1].split()
    assert command[:2] == ["refhcm", "view"]
    assert command[command.index("--rows") + 1] == str(PLANTED)
    monkeypatch.chdir(tmp_path)
    assert refhcm(*command[1:]) == 0
    assert (tmp_path / "good_faults.png").stat().st_size > 1000


def test_rows_of_several_people_can_be_drawn(tmp_path, capsys, monkeypatch):
    table = SmallTable(tmp_path, "grec")
    table.plant("box", "10,20,40,70;10,20,60.5,70")
    assert run(table) == 0
    command = capsys.readouterr().out.splitlines()[-1].split()
    monkeypatch.chdir(tmp_path)
    assert refhcm(*command[1:]) == 0
    assert (tmp_path / "good_faults.png").stat().st_size > 1000


def test_text_is_short_and_json_is_whole(table, capsys):
    for row in table.rows:
        row[3] = "10,20,60.5,70"
    assert run(table) == 0
    text = capsys.readouterr().out
    assert text.count(": warning box-beyond-edge: ") == SHOWN
    assert f"{ROWS - SHOWN} more of box-beyond-edge" in text
    table.write()
    assert refhcm("data", "check", table.path, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["summary"] == {"errors": {}, "warnings": {"box-beyond-edge": ROWS}}
    assert [finding["line"] for finding in found["findings"]] == list(range(1, ROWS + 1))
    assert found["findings"][0] | {"what": "", "expected": ""} == {
        "table": str(table.path), "line": 1, "id": "0_0", "kind": "box-beyond-edge", "severity": "warning", "what": "",
        "expected": "",
    }  # fmt: skip


def test_leaks_are_counted(tmp_path, capsys):
    tables = [SmallTable(tmp_path, "refcoco", name=name) for name in ("own_train.tsv", "own_val.tsv")]
    assert run(*tables) == 1
    said = f"{tables[0].path} and {tables[1].path} share {ROWS} pictures"
    assert said in capsys.readouterr().out.splitlines()


def test_drawn_tables_have_no_faults(world, capsys):
    names = ("rkpt/train", "rkpt/val", "rpar/train", "rpar/val", "rhrc/train", "rhrc/val")
    tables = [world / f"{name}.tsv" for name in names]
    assert refhcm("data", "check", *tables, "--annotation-root", world / "rpar" / "annos") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == ["errors: none", "warnings: none"]


def test_mistakes_are_one_line_and_status_2(tmp_path, table, capsys):
    table.write()
    (tmp_path / "text.tsv").write_text("1\ta man\n")
    for arguments in (
        [tmp_path / "none.tsv"],
        [tmp_path],
        [tmp_path / "text.tsv"],
        [table.path, "--task", "rpar", "--annotation-root", tmp_path / "none"],
    ):
        assert refhcm("data", "check", *arguments) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_it_needs_no_torch(table):
    table.write()
    code = "import sys; sys.modules['torch'] = None; from refhcm.apps.cli.main import main; sys.exit(main())"
    arguments = [sys.executable, "-c", code, "data", "check", str(table.path), "--workers", "1"]
    subprocess.run(arguments, check=True, timeout=60)
