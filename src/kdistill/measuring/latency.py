"""How long a network takes for one image, measured by torch's own benchmark timer."""

import copy
import logging
import time

import torch
from torch import nn

from kdistill.base.cost import Latency

_THREADS = 1
_REPEATS = 10
_LEAST_SECONDS, _MOST_SECONDS = 0.3, 2.0  # of measuring; between them as long as the repeats take


def measure_latency(network: nn.Module, image_shape: tuple[int, int, int], *, device: str = "cpu") -> Latency:
    """Times a copy of a network in eval mode on one image in float32; the network itself is not touched.

    Batch 1, without a gradient and without compilation, weights in the ordinary memory format: what loading the weights
    and calling the network takes. On a CPU one thread, on a GPU until it is done with the image. Unlike the counts this
    is no function of the config: it depends on the machine and on what else runs there.

    Args:
        network: takes (N, C, H, W) float.
        image_shape: (C, H, W).
        device: cpu or cuda, where the copy runs.

    Returns:
        What a `Cost` holds of it.
    """
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # looks for CUDA's compiler, not needed here
    from torch.utils.benchmark import Timer, timer

    copied = copy.deepcopy(network).to(device, torch.float32).to(memory_format=torch.contiguous_format).eval()
    image = torch.zeros(1, *image_shape, device=device)
    measured = Timer(
        "network(image)",
        globals={"network": copied, "image": image},
        num_threads=_THREADS,
        timer=time.perf_counter if device == "cpu" else timer,  # torch's waits for a GPU, and looks for one each time
    )
    with torch.inference_mode():
        once = measured.timeit(2).mean  # two more before them warm up
        seconds = min(max(_REPEATS * once, _LEAST_SECONDS), _MOST_SECONDS)
        found = measured.blocked_autorange(min_run_time=seconds)
    return {
        "latency_ms": 1000 * found.median,
        "latency_iqr_ms": 1000 * found.iqr,
        "latency_on": f"cpu, {_THREADS} thread" if device == "cpu" else f"cuda, {torch.cuda.get_device_name()}",
    }
