"""Records steps without a GPU, in place of `cuda_graphs.record`."""

from torch.fx.experimental.proxy_tensor import make_fx


class Recorder:
    """traced: torch.fx replays operations on the same tensors, as a graph does; else the Python runs again."""

    def __init__(self, *, traced):
        self.recorded, self.replayed, self.traced = 0, 0, traced

    def __call__(self, run):
        self.recorded += 1
        run()
        graph, result = make_fx(run)() if self.traced else run, run()

        def replay():
            self.replayed += 1
            result.copy_(graph())

        return result, replay
