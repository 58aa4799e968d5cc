from local_engine.device import available_cores, choose_device


def test_a_cpu_build_computes_on_the_cpu() -> None:
    """Asking for all layers on an accelerator that is not there is no error."""
    device = choose_device(gpu_layers=-1, threads=3)
    assert device.threads == 3
    assert any(text.startswith("CPU") for text in device.backends)
    assert device.offload == (device.name != "cpu")
    assert device.offload or device.gpu_layers == 0


def test_layers_can_be_kept_off_an_accelerator() -> None:
    """`gpu_layers: 0` computes on the CPU everywhere."""
    assert choose_device(gpu_layers=0, threads=None).name == "cpu"


def test_one_core_is_left_to_the_gateway() -> None:
    """By default the engine takes all cores but one."""
    threads = choose_device(gpu_layers=0, threads=None).threads
    assert threads == max(1, available_cores() - 1)
