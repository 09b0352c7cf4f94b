"""The files that an answer on the page can be saved as."""

import io
import json
import uuid
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder
from PIL import Image

from ...inference.answers import Answer
from ...inference.exports import coco_results, cutout, image_id, label_map_image, openpose

DOWNLOADS = {
    "JSON": "answer.json",
    "COCO": "coco.zip",
    "OpenPose": "openpose.json",
    "Parts (PNG)": "parts.png",
    "Cut-out (PNG)": "cutout.png",
}


def record(people: Sequence[Answer], *, everyone: bool) -> Any:
    """An answer as JSON's plain values; asked for everyone, a list."""
    return [one.to_dict() for one in people] if everyone else people[0].to_dict()


def write_downloads(picture: Image.Image, people: Sequence[Answer], name: str, *, everyone: bool) -> list[str | None]:
    """The files of `DOWNLOADS` in their order, None where the answer has nothing for it.

    name: the picture's, for COCO results. Parts of several people are one ZIP file.
    """
    answers = Path(get_upload_folder()) / "answers"
    answers.mkdir(exist_ok=True)  # without its parents: they are gone when the page has ended
    folder = answers / uuid.uuid4().hex
    folder.mkdir()
    plain, coco, pose, parts, cut = paths = [folder / file for file in DOWNLOADS.values()]
    text = json.dumps(record(people, everyone=everyone), ensure_ascii=False, allow_nan=False, indent=2)
    plain.write_text(text, encoding="utf-8")
    results = coco_results(people, image_ids=[image_id(name)] * len(people))
    _zip(coco, {f"coco.{kind}.json": json.dumps(rows).encode() for kind, rows in results.items() if rows})
    if any(one.keypoints for one in people):
        pose.write_text(json.dumps(openpose(people)), encoding="utf-8")
    maps = {k: label_map_image(one) for k, one in enumerate(people, 1) if one.label_map is not None}
    if len(people) == 1 and maps:
        maps[1].save(parts)
    elif maps:
        paths[3] = parts.with_suffix(".zip")
        _zip(paths[3], {f"parts_{k}.png": _png(image) for k, image in maps.items()})
    person = cutout(picture, people)
    if person is not None:
        person.save(cut)
    return [str(path) if path.is_file() else None for path in paths]


def _zip(path: Path, files: dict[str, bytes]) -> None:
    """Nothing for no files."""
    if files:
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
