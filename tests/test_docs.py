"""The documentation's references: links of Markdown files, pages that code cites, and functions that pages name."""

import ast
import re
import runpy
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
READ = {".py", ".sh", ".md", ".toml", ".yaml", ".json", ".css", ".js", ".txt"}
IGNORED = {"node_modules", "build", "dist", "results", "runs", "demo"}

FENCE = re.compile(r"^(`{3,}|~{3,}).*?^\1\s*$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\[\]]*\])*\]\(([^()\s]+)\)|^\[[^\]]+\]: (\S+)", re.MULTILINE)
HEADING = re.compile(r"^#{1,6} +(.+?)\s*#*$", re.MULTILINE)
CITED = re.compile(r'docs/([a-z_]+\.md)(?:,\s+(?:#\s*)?"([^"\n]+)")?')  # docs/data.md, "A sample"
NAMED = re.compile(r"`((?:[a-z_0-9]+/)*[a-z_0-9]+\.py):([A-Za-z_][\w.]*)`")  # `data/tsv.py:TsvFile`


def _files(*suffixes: str) -> list[Path]:
    """The project's own text files, as paths below its root."""
    found = []
    for path in sorted(ROOT.iterdir()):
        hidden = path.name.startswith(".") or path.name in IGNORED or path.name.endswith(".egg-info")
        if path.is_dir() and not hidden:
            found += [file for file in path.rglob("*") if "__pycache__" not in file.parts]
        elif path.is_file() and not hidden:
            found.append(path)
    kept = (path for path in found if path.suffix in suffixes and path.is_file() and path.stat().st_size < 2**20)
    return [path.relative_to(ROOT) for path in kept]


@cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def _headings(path: Path) -> list[str]:
    """A page's headings as a reader sees them."""
    found = HEADING.findall(FENCE.sub("", _text(path)))
    return [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "") for heading in found]


def _anchors(path: Path) -> set[str]:
    """What GitHub makes of the headings: lower case, no punctuation, hyphens for spaces; a repeated one is numbered."""
    anchors: dict[str, int] = {}
    for heading in _headings(path):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = anchors.get(slug, 0)
        anchors[slug] = number + 1
        if number:
            anchors[f"{slug}-{number}"] = 1
    return set(anchors)


@cache
def _names(path: Path) -> set[str]:
    """Functions, classes, `Class.method`s and assigned names of a module."""
    names: set[str] = set()
    for node in ast.parse(_text(path)).body:
        names |= _defined(node)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{name}" for inner in node.body for name in _defined(inner)}
    return names


def _defined(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


def broken_links(path: Path, text: str) -> list[str]:
    """Relative links of a Markdown page whose file or heading does not exist."""
    broken = []
    for match in LINK.finditer(CODE.sub("`code`", FENCE.sub("", text))):
        target = match[1] or match[2]
        if re.match(r"[a-z][a-z+.-]*:", target):  # another site
            continue
        name, _, anchor = unquote(target).partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists():
            broken.append(f"{target}: no such file")
        elif anchor and (file.suffix != ".md" or anchor not in _anchors(file)):
            broken.append(f"{target}: no such heading")
    return broken


def broken_citations(text: str) -> list[str]:
    """`docs/page.md` and `docs/page.md, "Section"` of any text that do not exist."""
    broken = []
    for page, section in CITED.findall(text):
        if not (DOCS / page).is_file():
            broken.append(f"docs/{page}: no such page")
        elif section and section not in _headings(DOCS / page):
            broken.append(f'docs/{page}, "{section}": no such heading')
    return broken


def unknown_names(text: str) -> list[str]:
    """`file.py:name` of a page that do not exist."""
    cited = ((ROOT / file, name) for file, name in NAMED.findall(text))
    unknown = ((file, name) for file, name in cited if not file.is_file() or name not in _names(file))
    return [f"{file.relative_to(ROOT)}:{name}" for file, name in unknown]


@pytest.mark.parametrize("page", _files(".md"), ids=str)
def test_links_lead_somewhere(page):
    assert broken_links(ROOT / page, _text(ROOT / page)) == []


@pytest.mark.parametrize("page", [page for page in _files(".md") if page.parts[0] == "docs"], ids=str)
def test_functions_named_by_pages_exist(page):
    assert unknown_names(_text(ROOT / page)) == []


def test_cited_pages_and_sections_exist():
    files = [file for file in _files(*READ) if file.name != Path(__file__).name]
    broken = [f"{file}: {problem}" for file in files for problem in broken_citations(_text(ROOT / file))]
    assert broken == []


def test_pages_are_cited_by_their_path():
    """`docs/data.md`, not `spec data.md` or `(deviations.md, 7)`: a reader can open it, and the tests above see it."""
    code = [file for file in _files(".py", ".sh") if file.name != Path(__file__).name]
    pages = {page.name for page in DOCS.glob("*.md")}
    bare = re.compile(rf"(?<![\w/.])({'|'.join(map(re.escape, sorted(pages - {'README.md'})))})\b")
    found = [f"{file}: {match[0]}" for file in code for match in bare.finditer(_text(ROOT / file))]
    assert found == []


def test_every_page_is_in_the_index():
    linked = {match[1] for match in LINK.finditer(_text(DOCS / "README.md"))}
    assert {page.name for page in DOCS.glob("*.md")} - linked == {"README.md"}


def test_pictures_are_as_drawn():
    """Run `python docs/images/draw.py` after a change; the mask is drawn from the network's own function."""
    pytest.importorskip("torch")
    draw = runpy.run_path(str(DOCS / "images" / "draw.py"))
    for name in ("qpg_mask", "row_way"):
        assert draw[name]() == _text(DOCS / "images" / f"{name}.svg")


def test_the_checks_see_what_is_broken():
    page = DOCS / "README.md"
    assert broken_links(page, "[a](no_such.md) [b](data.md#no-such) [c](#no) [d](../README.md)") == [
        "no_such.md: no such file",
        "data.md#no-such: no such heading",
        "#no: no such heading",
    ]
    assert broken_links(page, "`[a](no_such.md)`\n```\n[b](no_such.md)\n```\n[c](https://x.org/no.md)") == []
    assert broken_citations('"""Rows (docs/no_such.md; docs/data.md, "A sample"; docs/data.md, "A simple")."""') == [
        "docs/no_such.md: no such page",
        'docs/data.md, "A simple": no such heading',
    ]
    assert unknown_names("`data/tsv.py:TsvFile.where` `data/tsv.py:Nothing` `data/no.py:x`") == [
        "data/tsv.py:Nothing",
        "data/no.py:x",
    ]
