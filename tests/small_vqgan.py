"""model.yaml and model.ckpt of a small tokenizer."""

import torch
import yaml

from refhcm.models.vqgan import VQTokenizer, load_tokenizer
from refhcm.models.vqgan.config import read_config

PARAMS = {
    "n_labels": 20,
    "n_embed": 8,
    "embed_dim": 4,
    "image_key": "segmentation",
    "remap": None,
    "ddconfig": {
        "double_z": False,
        "z_channels": 32,
        "resolution": 64,
        "in_channels": 20,
        "out_ch": 20,
        "ch": 32,
        "ch_mult": [1, 2],
        "num_res_blocks": 1,
        "attn_resolutions": [32],
    },
}


def write_files(folder):
    """Both files, with weights of seed 0."""
    write_yaml(folder, PARAMS)
    torch.manual_seed(0)
    tokenizer = VQTokenizer(read_config(folder / "model.yaml"))
    torch.save({"state_dict": tokenizer.state_dict()}, folder / "model.ckpt")
    return folder


def write_yaml(folder, params):
    (folder / "model.yaml").write_text(yaml.safe_dump({"model": {"target": "x", "params": params}}))


def load(folder, **options):
    return load_tokenizer(folder / "model.yaml", folder / "model.ckpt", **options)


def maps(tokenizer, count=3):
    return torch.randint(20, (count, *tokenizer.input_size_hw), generator=torch.Generator().manual_seed(1))
