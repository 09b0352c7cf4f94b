"""What a model could have written, and a tokenizer of known maps: shared by the tests of reading and of induction."""

import torch

from refhcm.models.generated import Generated
from refhcm.tasks.settings import TaskSettings

BOX = "<bin_100> <bin_200> <bin_500> <bin_999>"
CODES = " ".join(["<code_3>"] * 48)
SETTINGS = TaskSettings(max_image_size=999, patch_image_size=999)


class Painter:
    """A tokenizer whose maps are 13 (face) on the left and 2 (hair) on the right."""

    def to(self, device):
        return self

    def decode(self, codes):
        assert codes.shape[1] == 48
        return torch.tensor([[13, 2]]).expand(len(codes), 4, 2)

    def draw(self, codes):
        """With overlaps of .5 for the face and .25 for the hair."""
        overlaps = torch.zeros(len(codes), 20)
        overlaps[:, 13], overlaps[:, 2] = 0.5, 0.25
        return self.decode(codes), overlaps


def written(task, answer, *, log_probs=None):
    """What a model that wrote these symbols and words has generated."""
    ids = torch.tensor([*task.text.encode_words(answer).tolist(), task.vocabulary.eos()])
    log_probs = torch.full((len(ids),), -0.5) if log_probs is None else torch.tensor(log_probs)
    return Generated(ids, log_probs=log_probs)
