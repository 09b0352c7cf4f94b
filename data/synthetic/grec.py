"""Rows of generalised referring: expressions for nobody, one person or several of a picture, with all their boxes.

Their ids end in `_g{k}`; of a row that fits nobody, in `_g{k}_near`, `_g{k}_other` or `_g{k}_blank`.
"""

import base64
import io
from random import Random

from PIL import Image

from .language.expressions import Expression
from .language.groups import Speaker, fitting
from .picture.blank import draw_blank
from .picture.scene import Scene

_JPEG_QUALITY = 90
_SECOND_ONE, _SECOND_NOBODY, _BLANK = (
    0.7,
    0.55,
    0.16,
)  # chances in a picture of several people; of a blank one beside it


def jpeg_of(picture: Image.Image) -> bytes:
    """A picture's file."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_JPEG_QUALITY)
    return file.getvalue()


def grec_rows(
    scene: Scene, other: Scene, rng: Random, *, split: str, index: int, picture: str, looks: bool = False
) -> list[str]:
    """A picture's rows: id, image id, expression, boxes, base64 JPEG; none if somebody in it can hardly be seen.

    boxes: `x0,y0,x1,y1` from left to right, with `;` between; empty for nobody. other: another picture's scene, some of
    whose people are asked for here. looks: only looks are mentioned.
    """
    if not scene.clear or len({view.box_xyxy for view in scene.views}) < len(scene.views):
        return []
    image_id, rows = f"{split}_{index:07d}", []
    asked = ask_about(scene, other, rng, looks=looks, held_out=split == "unseen")
    for number, (expression, kind) in enumerate(asked):
        boxes = sorted(scene.views[k].box_xyxy for k in fitting(scene, expression.facts) or ())
        cells = ";".join(",".join(map(str, box)) for box in boxes), picture
        rows.append("\t".join((f"{image_id}_g{number}{kind}", image_id, expression.text, *cells)))
    if asked and rng.random() < _BLANK:
        blank, image_id = base64.b64encode(jpeg_of(draw_blank(rng))).decode("ascii"), f"{split}_b{index:07d}"
        rows.append("\t".join((f"{image_id}_g0_blank", image_id, rng.choice(asked)[0].text, "", blank)))
    return rows


def ask_about(
    scene: Scene, other: Scene, rng: Random, *, looks: bool = False, held_out: bool = False
) -> list[tuple[Expression, str]]:
    """Different expressions for a picture with the end of their id: "", or "_near" or "_other" where nobody fits."""
    speaker, elsewhere = (Speaker(place, rng, looks=looks, held_out=held_out) for place in (scene, other))
    alone = len(scene.views) == 1
    found = [] if alone else [(speaker.several(), ""), (speaker.several(), "")]
    for _ in range(1 if alone or rng.random() >= _SECOND_ONE else 2):
        found.append((speaker.one(), ""))
    for _ in range(1 if alone or rng.random() >= _SECOND_NOBODY else 2):
        near = rng.random() < 0.55
        found.append((speaker.near_miss(), "_near") if near else (speaker.of_another(elsewhere), "_other"))
    return list({one.text: (one, kind) for one, kind in found if one}.values())
