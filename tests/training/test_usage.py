"""What a training uses: this process for real, a GPU by a driver's library that is made up."""

import statistics
import time
from types import SimpleNamespace

import pynvml
import pytest
import torch

from gansearch.training import usage
from gansearch.training.usage import Meter


def spin(seconds):
    """Keep one processor busy for so long by its own clock."""
    begun = time.process_time()
    while time.process_time() - begun < seconds:
        pass


def test_processor_time_is_that_of_the_interval_and_of_its_share():
    meter = Meter("cpu")
    begun = time.monotonic()
    spin(0.3)
    busy, passed = meter.read(0), time.monotonic() - begun
    time.sleep(0.3)
    idle = meter.read(0)
    expected = 100 * 0.3 / passed  # less than 100 where the machine is shared
    assert busy["process_cpu_utilization_percentage"] == pytest.approx(expected, rel=0.3)
    assert idle["process_cpu_utilization_percentage"] < 30

    one, four = Meter("cpu"), Meter("cpu", cpus=4)
    spin(0.3)
    used = [meter.read(0)["process_cpu_utilization_percentage"] for meter in (one, four)]
    assert used[0] == pytest.approx(4 * used[1], rel=0.1, abs=1)


def test_images_a_second_count_all_of_the_time():
    begun = time.monotonic()  # first: so that the meter's own time lies within
    meter = Meter("cpu")
    time.sleep(0.5)
    found = meter.read(500)["images_per_second"]
    assert 500 / (time.monotonic() - begun) <= found + 0.1 <= 1000.2
    time.sleep(0.1)
    meter.begin()
    assert meter.read(0)["images_per_second"] == 0


def test_memory_is_what_is_resident():
    import psutil

    known = psutil.Process().memory_info().rss / 1e6
    assert Meter("cpu").read(0)["process_memory_usage_megabytes"] == pytest.approx(known, rel=0.1)


def test_a_cpu_says_nothing_of_a_gpu():
    assert not [key for key in Meter("cpu").read(0) if "gpu" in key]


@pytest.fixture
def gpus(monkeypatch):
    """Two GPUs as NVML shows them; torch is given the second one, as its number 0."""
    machine = SimpleNamespace(busy=[1, 60], asked=[], error=None)

    def rates(handle):
        machine.asked.append(handle)
        if machine.error:
            raise machine.error
        return pynvml.c_nvmlUtilization_t(gpu=machine.busy[handle], memory=0)

    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetUtilizationRates", rates)
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (72 * 10**9, 80 * 10**9))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda index: None)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda index: 3 * 10**9)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.setattr(usage, "SAMPLE_EVERY", 0.05)
    return machine


@pytest.fixture
def meter(gpus):
    made = Meter("cuda")
    yield made
    made.stop()


def test_a_gpu_is_sampled_between_readings(meter, gpus):
    time.sleep(0.3)
    gpus.busy[1] = 100
    time.sleep(0.3)
    found = meter.read(0)
    assert set(gpus.asked) == {1}, "the device that CUDA_VISIBLE_DEVICES leaves"
    assert 60 < found["gpu_0_utilization_percentage"] < 100, "the mean of both halves"
    assert found["gpu_0_memory_usage_megabytes"] == 8000
    assert found["process_gpu_memory_peak_megabytes"] == 3000
    time.sleep(0.2)
    assert meter.read(0)["gpu_0_utilization_percentage"] == 100, "what was read is gone"


def test_an_interval_shorter_than_a_sample_has_one(gpus, monkeypatch):
    monkeypatch.setattr(usage, "SAMPLE_EVERY", 60.0)
    meter = Meter("cuda")
    assert meter.read(0)["gpu_0_utilization_percentage"] == 60
    meter.stop()


@pytest.mark.parametrize(
    "error",
    [
        pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED),  # a part of a GPU (MIG)
        ModuleNotFoundError("nvidia-ml-py does not seem to be installed"),
    ],
)
def test_a_gpu_that_does_not_tell_ends_nothing(gpus, error):
    gpus.error = error
    meter = Meter("cuda")
    time.sleep(0.2)
    found = meter.read(100)
    assert "gpu_0_utilization_percentage" not in found
    assert found["gpu_0_memory_usage_megabytes"] == 8000
    assert found["images_per_second"] > 0
    assert found["process_gpu_memory_peak_megabytes"] == 3000
    meter.stop()


def test_a_reading_costs_nothing_that_a_report_would_notice():
    meter = Meter("cpu")
    seconds = []
    for _ in range(200):
        begun = time.process_time()
        meter.read(0)
        seconds.append(time.process_time() - begun)
    assert statistics.median(seconds) < 0.002
