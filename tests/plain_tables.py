"""Tables of three plain columns, for the tests of reading."""

from refhcm.data.tsv import TsvFile

NAMES = ("id", "box")


def write(folder, data: bytes, name="rows.tsv"):
    path = folder / name
    path.write_bytes(data)
    return path


def table(count: int) -> bytes:
    return b"".join(b"id%d\tskipped\tbox %d\n" % (k, k * k) for k in range(count))


def boxes(file: TsvFile) -> list[str]:
    return [file[i]["box"] for i in range(len(file))]


def open_large(path) -> TsvFile:
    return TsvFile(path, "0,2", names=NAMES, keep_index_above=0)
