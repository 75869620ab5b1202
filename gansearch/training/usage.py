"""What a training uses of its machine, from one report to the next.

MLflow's names where they mean what they mean there: `gpu_0_...` is the whole device that the trial is
on, with whatever else runs there. What is the trial's own is called `process_...`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict

import psutil
import torch

SAMPLE_EVERY = 1.0
"""Seconds between two looks at a GPU, which itself tells of its last sixth of a second to second."""

MEGABYTE = 1e6

Samples = defaultdict[str, list[float]]


class Meter:
    """Measures this process and its GPU, from each reading to the next.

    A GPU is looked at by a thread; where it does not tell how busy it is (no library to ask it by, or a
    part of a GPU), nothing is said of that.

    Args:
        device: what is trained on, as torch names it.
        cpus: the process's own share of the machine.
    """

    def __init__(self, device: str, cpus: int = 1) -> None:
        self._process, self._cpus = psutil.Process(), cpus
        asked = torch.device(device)
        self._gpu, self._index = asked.type == "cuda", asked.index or 0
        self._samples = Samples(list)  # the thread's too
        self._lock, self._ended = threading.Lock(), threading.Event()
        self.begin()
        if self._gpu:
            threading.Thread(target=self._watch, name="gpu-use", daemon=True).start()

    def begin(self) -> None:
        """Forget what was: another trial begins."""
        self._since, self._busy = time.monotonic(), self._processor_seconds()
        with self._lock:
            self._samples = Samples(list)
        if self._gpu:
            torch.cuda.init()  # or there are no statistics yet
            torch.cuda.reset_peak_memory_stats(self._index)

    def read(self, images: int) -> dict[str, float]:
        """What was used since the last reading, or since `begin`.

        Args:
            images: real images that the discriminator has seen meanwhile.

        Returns:
            - `images_per_second`: with all that a trial does besides training counted in: building,
              evaluation, saving, waiting for the driver;
            - `process_cpu_utilization_percentage`: of the processor time of its own `cpus`;
            - `process_memory_usage_megabytes`: resident now, shared images among it;
            - `gpu_0_utilization_percentage`, `gpu_0_memory_usage_megabytes`: mean of the samples, of
              the whole device;
            - `process_gpu_memory_peak_megabytes`: what torch has taken of the device at most since
              `begin`, CUDA's own needs not counted.
        """
        now, busy = time.monotonic(), self._processor_seconds()
        seconds = max(now - self._since, 1e-9)
        used = {
            "images_per_second": images / seconds,
            "process_cpu_utilization_percentage": 100 * (busy - self._busy) / seconds / self._cpus,
            "process_memory_usage_megabytes": self._process.memory_info().rss / MEGABYTE,
        }
        self._since, self._busy = now, busy
        return {key: round(value, 1) for key, value in (used | self._read_gpu()).items()}

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()

    def _processor_seconds(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def _read_gpu(self) -> dict[str, float]:
        if not self._gpu:
            return {}
        peak = torch.cuda.max_memory_reserved(self._index)
        used = {"process_gpu_memory_peak_megabytes": peak / MEGABYTE}
        if not self._samples:  # the interval was a short one
            with contextlib.suppress(Exception):
                self._look()
        with self._lock:
            samples, self._samples = self._samples, Samples(list)
        return used | {key: sum(values) / len(values) for key, values in samples.items()}

    def _watch(self) -> None:
        # NVML has many exceptions; a GPU that does not tell is not asked every second.
        with contextlib.suppress(Exception):
            while not self._ended.wait(SAMPLE_EVERY):
                self._look()

    def _look(self) -> None:
        # By torch, which knows which of the machine's devices CUDA_VISIBLE_DEVICES leaves to us.
        free, total = torch.cuda.mem_get_info(self._index)
        self._note("gpu_0_memory_usage_megabytes", (total - free) / MEGABYTE)
        self._note("gpu_0_utilization_percentage", torch.cuda.utilization(self._index))

    def _note(self, name: str, value: float) -> None:
        with self._lock:
            self._samples[name].append(value)
