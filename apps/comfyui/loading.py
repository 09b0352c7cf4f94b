"""The nodes that give a model and a picture to try it on."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from ...inference.loading import DTYPES, ROOT, checkpoint_file, load
from ...inference.names import MODELS, SIZE
from ...inference.predictor import Predictor
from ...utils.download.published import Place, download_files
from ...utils.download.sources import MODEL_REPO, SOURCES
from ...utils.errors import UserError
from ...utils.memory import stop_keeping_freed_memory
from . import host
from .values import as_images

DRAWN_PEOPLE = "drawn people (comes with RefHCM)"
DRAWN_PEOPLE_ONLY = (
    "the model that comes with RefHCM knows drawn people only; “Download RefHCM” gets one for photographs"
)
EXAMPLES = ROOT / "examples"
LICENCES = (
    f"Weights and tokenizer (https://huggingface.co/{MODEL_REPO}): the licence on that page, read it before commercial "
    "use. Vocabulary: 2 MB, MIT."
)
PRECISION = (["auto", *DTYPES], {"tooltip": "auto: float16 on a CUDA GPU, float32 elsewhere", "advanced": True})
IN_PARALLEL = "rpar_full_mask"  # the task that learns it


@dataclass(frozen=True)
class Loaded:
    """The value of a REFHCM_MODEL."""

    predictor: Predictor
    memory: host.Memory = field(default_factory=host.Memory)
    parallel: bool = False  # whether the model has learned to write all parts in one step

    def ready(self) -> Predictor:
        """The model on its device."""
        self.memory.load()
        return self.predictor


def load_weights(path: Path | None, precision: str) -> Loaded:
    """path: None for the model that comes with the project. Raises UserError for weights that cannot be used."""
    with host.ordinary_tensors():
        file = checkpoint_file(path)
        needed = file.stat().st_size if file.is_file() else 0  # `load` says what is wrong with a file that is gone
        predictor = load(path, device=host.device(needed), dtype=precision)
        memory = host.Memory(predictor.network, predictor.tokenizer)
    if path is None:
        predictor.notes = (DRAWN_PEOPLE_ONLY,)  # in the words of these nodes
    if host.on_cpu(predictor.network):  # where `load` makes the process keep what it frees
        stop_keeping_freed_memory()
    memory.load()
    return Loaded(predictor, memory, path is None or IN_PARALLEL in predictor.learned)


class LoadRefHCM:
    """Loads a model; ComfyUI keeps it as long as a workflow uses it."""

    CATEGORY = "RefHCM"
    SEARCH_ALIASES = ("referring", "human parsing", "pose by text", "person by text", "refhcm model")
    DESCRIPTION = (
        "Loads RefHCM. Weights may lie in models/refhcm, in its folders, or in the node's own checkpoints folder, "
        "with the vocabulary (bpe) and the parsing-map tokenizer (vqgan) beside them. The model that comes along knows "
        "drawn people only; for photographs use “Download RefHCM”."
    )
    RETURN_TYPES = ("REFHCM_MODEL",)
    RETURN_NAMES = ("model",)
    OUTPUT_TOOLTIPS = ("for the nodes that ask",)
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 (ComfyUI's name)
        """The list of weights is made anew whenever ComfyUI's page is reloaded."""
        return {
            "required": {
                "checkpoint": (
                    [DRAWN_PEOPLE, *host.weights()],
                    {"tooltip": f"{DRAWN_PEOPLE_ONLY[0].upper()}{DRAWN_PEOPLE_ONLY[1:]}."},
                ),
            },
            "optional": {"precision": PRECISION},
        }

    @classmethod
    def VALIDATE_INPUTS(cls, checkpoint: str | None = None) -> bool | str:  # noqa: N802
        """None: it comes from another node."""
        if checkpoint in (None, DRAWN_PEOPLE) or checkpoint in host.weights():
            return True
        return gone(str(checkpoint)).removeprefix("checkpoint: ")  # ComfyUI writes the widget's name before it

    def load(self, checkpoint: str, precision: str = "auto") -> tuple[Loaded]:
        """Raises UserError for weights that are gone or cannot be used."""
        path = None if checkpoint == DRAWN_PEOPLE else host.weights().get(checkpoint)
        if path is None and checkpoint != DRAWN_PEOPLE:
            raise UserError(gone(checkpoint))
        return (load_weights(path, precision),)


def gone(checkpoint: str) -> str:
    """What to say of weights that are no longer there."""
    return f"checkpoint: {checkpoint} is gone; looked in {', '.join(map(str, host.folders()))}"


class DownloadRefHCM:
    """Downloads the paper's weights if they are not there, and loads them."""

    CATEGORY = "RefHCM"
    SEARCH_ALIASES = ("refhcm weights", "refhcm model for photographs")
    DESCRIPTION = (
        "Downloads the paper's model for photographs into models/refhcm, with its vocabulary and tokenizer, and loads "
        f"it; what is there already is not downloaded again. {SIZE} for each of the weights. {LICENCES}"
    )
    RETURN_TYPES = ("REFHCM_MODEL",)
    RETURN_NAMES = ("model",)
    OUTPUT_TOOLTIPS = ("for the nodes that ask",)
    FUNCTION = "download"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        """Which weights, and whether the user agrees."""
        kinds = "; ".join(f"{name} ({SIZE}): {SOURCES[name].summary}" for name in MODELS)
        return {
            "required": {
                "weights": (list(MODELS), {"tooltip": kinds}),
                "download": ("BOOLEAN", {"default": False, "tooltip": f"Allow the download. {LICENCES}"}),
            },
            "optional": {"precision": PRECISION},
        }

    def download(self, weights: str, download: bool, precision: str = "auto") -> tuple[Loaded]:
        """Raises UserError if something is missing and may not be downloaded, or cannot be."""
        folder = host.folders()[0]
        places = {"vocabulary": folder / "bpe", "tokenizer": folder / "vqgan", weights: folder}
        missing = [name for name, place in places.items() if not all((place / file).is_file() for file in files(name))]
        if missing and not download:
            raise UserError(
                f"download: is off, and {', '.join(missing)} of {SIZE} in all are not in {folder}; "
                f"switch it on to get them. {LICENCES}"
            )
        for name in missing:
            download_files(Place(), SOURCES[name], places[name])
        return (load_weights(folder / files(weights)[0], precision),)


def files(source: str) -> tuple[str, ...]:
    """Names of the files of something published."""
    return SOURCES[source].files


class ExamplePicture:
    """A picture of drawn people, to try the nodes on."""

    CATEGORY = "RefHCM"
    SEARCH_ALIASES = ("refhcm example", "drawn people")
    DESCRIPTION = "A picture of drawn people, which the model that comes with RefHCM knows. Later: “Load Image”."
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("image",)
    OUTPUT_TOOLTIPS = ("the picture",)
    FUNCTION = "read"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        """The pictures that come with the project."""
        names = sorted(path.name for path in EXAMPLES.glob("*.jpg"))
        return {"required": {"picture": (names, {"tooltip": "which of the pictures in examples/"})}}

    def read(self, picture: str) -> tuple[Tensor]:
        """Raises UserError for a picture that is gone."""
        if Path(picture).name not in {path.name for path in EXAMPLES.glob("*.jpg")}:
            raise UserError(f"picture: {picture} is not in {EXAMPLES}")
        with Image.open(EXAMPLES / Path(picture).name) as image:
            return (as_images([image.convert("RGB")]),)
