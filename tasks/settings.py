"""The flags of a task, with the published scripts' names and defaults (docs/training.md, docs/data.md)."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..models.refhcm.config import PATCH, NetworkConfig
from ..utils.errors import CheckpointError, UserError
from ..utils.flags import check_fields, from_namespace, option

if TYPE_CHECKING:
    from ..utils.checkpoints import Checkpoint

# Settings of the training run that say nothing about the model.
NOT_FROM_CHECKPOINT = {
    "bpe_dir",
    "selected_cols",
    "annotation_root",
    "skip_bad_rows",
    "vq_config",
    "vq_ckpt",
    "eval_args",
    "eval_cider_cached_tokens",
}
BOUNDS = {
    "int": (0, 2**20),
    "num_bins": (2, 2**20),
    "code_dict_size": (1, 2**20),
    "patch_image_size": (1, 2**12),
    "max_image_size": (1, 2**12),
    "rows_together": (1, 2**20),
    "vq_n_embed": (1, 2**20),
}
_TASKS = "the task's own"


@dataclass(frozen=True)
class TaskSettings:
    """How rows become samples and answers become scores."""

    bpe_dir: str = option("dataset/bpe", "folder of dict.txt, encoder.json and vocab.bpe")
    selected_cols: str | None = option(None, "columns of the TSV in the task's order, such as 0,4,2,3", shown=_TASKS)
    num_bins: int = option(1000, "number of coordinate symbols")
    code_dict_size: int = option(8192, "number of code symbols")
    max_src_length: int = option(80, "words of an expression that the prompt keeps")
    max_tgt_length: int = option(30, "words of a caption that training keeps")
    patch_image_size: int = option(512, "side of the square that pictures are resized to, px")
    max_image_size: int = option(512, "canvas px of the last bin")
    imagenet_default_mean_and_std: bool = option(False, "normalise pictures with ImageNet's mean and std")
    annotation_root: str = option("../../dataset/rpar/annos", "folder of imgs/ and gts/, where TSVs name files")
    share_pictures: bool = option(False, "run the backbone once for each picture of a batch, not for each row")
    rows_together: int = option(1, "how many rows about one picture stay neighbours when rows are shuffled")
    skip_bad_rows: int = option(0, "how many bad rows a run may skip; in training, each of its processes")
    eval_acc: bool = option(False, "answer the validation set and score the answers")
    eval_args: str = option("{}", 'generation settings of validation as JSON, such as {"beam": 5, "max_len_b": 4}')
    eval_print_samples: bool = option(False, "log an answer of each validation batch")
    eval_bleu: bool = option(False, "also score captions by BLEU")
    eval_meteor: bool = option(False, "also score captions by ROUGE-L, and by METEOR if Java is installed")
    eval_cider: bool = option(False, "answer the validation set and score the captions")
    eval_cider_cached_tokens: str | None = option(None, "file of document frequencies; else the evaluated set's")
    vq_config: str = option("", "the parsing-map tokenizer's model.yaml")
    vq_ckpt: str = option("", "the parsing-map tokenizer's model.ckpt")
    vq_n_embed: int = option(32, "number of codes of the parsing-map tokenizer")

    def __post_init__(self) -> None:
        check_fields(self, bounds=BOUNDS)


@dataclass(frozen=True)
class MultitaskSettings(TaskSettings):
    """The files of multitask training. A part without a file is left out."""

    refpose_dataset: str | None = option(None, "TSV of referring keypoints")
    refparsing_dataset: str | None = option(None, "TSV of referring parsing")
    regcaption_dataset: str | None = option(None, "TSV of captions")
    refquery_dataset: str | None = option(None, "TSV of referring parsing, for Query Parallel Generation")
    refregion_dataset: str | None = option(None, "TSV of boxes")
    refchain_dataset: str | None = option(None, "TSV of parsing and keypoints in one instruction")
    refgrec_dataset: str | None = option(None, "TSV of all people whom an expression fits")
    part_weights: str = option("", "weights of parts in the loss, such as refregion=5,regcaption=0.5 (others: 1)")
    part_rows: str = option("", "rows of parts in each item of a batch, such as refregion=4 (others: 1)")
    rec_selected_cols: str | None = option(None, "ignored: the REC file only sets the length of an epoch")
    refpose_selected_cols: str | None = option(None, "columns of the keypoint file", shown=_TASKS)
    refparsing_selected_cols: str | None = option(None, "columns of the parsing file", shown=_TASKS)
    regcaption_selected_cols: str | None = option(None, "columns of the caption file", shown=_TASKS)
    refquery_selected_cols: str | None = option(None, "columns of the file for Query Parallel Generation", shown=_TASKS)
    refregion_selected_cols: str | None = option(None, "columns of the file of boxes", shown=_TASKS)
    refchain_selected_cols: str | None = option(
        None, "columns of the file of both: parsing's, then keypoints", shown=_TASKS
    )
    refgrec_selected_cols: str | None = option(None, "columns of the file of all people", shown=_TASKS)


def settings_of(checkpoint: Checkpoint, given: argparse.Namespace) -> TaskSettings:
    """Settings from the flags given, else from the model's training run, else the defaults.

    CheckpointError for settings that the weights do not bear out, which would only be found after much work.
    """
    from ..models.refhcm.loading import vocabulary_rows

    where, flags = str(checkpoint.path), checkpoint.flags()
    trained = {name: value for name, value in flags.items() if name not in NOT_FROM_CHECKPOINT and value is not None}
    try:
        stored: TaskSettings = from_namespace(TaskSettings, argparse.Namespace(**trained))
    except UserError as error:
        raise CheckpointError(f"{where}: {error}") from error
    settings: TaskSettings = from_namespace(TaskSettings, given, default=stored)
    rows = vocabulary_rows(checkpoint.weights, where)
    if settings.num_bins + settings.code_dict_size > rows:
        wanted = f"num_bins {settings.num_bins} and code_dict_size {settings.code_dict_size}"
        raise CheckpointError(f"{where}: {wanted} do not fit into the {rows} symbols that its weights know")
    side = NetworkConfig.from_args(flags, where=where).image_bucket_size * PATCH
    if settings.patch_image_size > side:
        raise CheckpointError(f"{where}: patch_image_size {settings.patch_image_size} is above the network's {side} px")
    return settings
