"""Registers the network with fairseq as `refhcm`, and its sizes as `--arch` names."""

import argparse
from collections.abc import Mapping
from typing import Any

from fairseq.models import BaseFairseqModel, register_model, register_model_architecture
from torch import Tensor

from ...utils.flags import add_flags
from .config import ALWAYS_ON, SIZES, NetworkConfig
from .loading import fit_weights
from .network import Network


@register_model("refhcm")
class RefHCM(Network, BaseFairseqModel):
    """`Network` with the two methods that fairseq's trainer calls."""

    @staticmethod
    def add_args(parser: argparse._ActionsContainer) -> None:
        """Flags of the network; those of `ALWAYS_ON` are accepted and change nothing."""
        add_flags(parser, NetworkConfig, suppress=True)
        for name in ALWAYS_ON:
            parser.add_argument("--" + name.replace("_", "-"), action="store_true", default=True, help="always on")

    @classmethod
    def build_model(cls, args: argparse.Namespace, task: Any) -> "RefHCM":
        """The network for these flags and the task's vocabulary."""
        return cls(NetworkConfig.from_args(args), len(task.source_dictionary), padding_idx=task.source_dictionary.pad())

    def load_state_dict(
        self, state_dict: Mapping[str, Tensor], strict: bool = True, model_cfg: Any = None, args: Any = None
    ) -> None:
        """Loads any RefHCM or OFA weights through `fit_weights`. CheckpointError for others."""
        fitted, report = fit_weights(state_dict, self, where="checkpoint")
        report.log("checkpoint")
        super(BaseFairseqModel, self).load_state_dict(fitted, strict=False)


def _fill(args: argparse.Namespace, size: Mapping[str, Any]) -> None:
    for name, value in size.items():
        if not hasattr(args, name):  # what the user gave takes precedence
            setattr(args, name, value)


for _arch, _size in SIZES.items():
    register_model_architecture("refhcm", _arch)(lambda args, size=_size: _fill(args, size))
