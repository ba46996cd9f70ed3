"""What a device can do at most, and the part of it that training used.

Peaks are dense bfloat16 tensor FLOPs a second, without sparsity, from the makers' data sheets as of 2025.
"""

import re

PEAK_BF16_FLOPS: dict[str, float] = {
    # A name that has the key's words; the first that fits, so the particular stand before the general.
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,  # SXM: "H100 80GB HBM3"
    "GH200": 989e12,
    "H200": 989e12,
    "B200": 2_250e12,
    "A100": 312e12,
    "A30": 165e12,
    "A10G": 70e12,
    "A10": 125e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
    "MI300X": 1_307e12,
    "MI250X": 191e12,  # a die: each of a card's two is a device
}


def peak_flops_per_second(device_name: str) -> float | None:
    """Peak of one device by the name its driver gives it; None for a CPU and for what is not in the table."""
    fitting = (peak for key, peak in PEAK_BF16_FLOPS.items() if re.search(rf"\b{key}\b", device_name))
    return next(fitting, None)


def model_flops_utilisation(
    flops_per_token: float, tokens_per_second: float, device_name: str, devices: int = 1
) -> float | None:
    """MFU: FLOPs that the model's tokens take, over the peak of all devices; None where that is not known.

    `flops_per_token` is best of convention `paper`, which counts what is computed: a recomputed activation
    is no useful FLOP, and a recurrence without gradient is not counted as one with it.
    """
    peak = peak_flops_per_second(device_name)
    return None if peak is None else flops_per_token * tokens_per_second / (peak * devices)
