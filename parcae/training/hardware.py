"""The peak speed of devices, and the fraction of it that training used."""

PEAK_BF16_FLOPS: dict[str, float] = {
    # Dense bfloat16 FLOPs per second of the tensor cores, with sums in float32, by the driver's whole name of
    # the device without the word NVIDIA. Sources are the makers' data sheets, unless another is named. Most
    # of NVIDIA's sheets count sparsity, which doubles the number: s marks the printed number.
    "H100 80GB HBM3": 989.5e12,  # H100 data sheet, SXM: s 1,979e12
    "H100 PCIe": 756.5e12,  # H100 data sheet, PCIe: s 1,513e12
    "H100 NVL": 835.5e12,  # H100 data sheet, NVL: s 1,671e12
    "H200": 989.5e12,  # H200 data sheet, SXM: s 1,979e12
    "H200 NVL": 835.5e12,  # H200 data sheet, NVL: s 1,671e12
    "H800": 989.5e12,  # the H100 SXM with slower links and float64
    "H800 PCIe": 756.5e12,  # Lenovo Press LP1814: s 1,513e12
    "H20": 148e12,  # NVIDIA's figure as its sellers print it; there is no public sheet
    "H20-3e": 148e12,  # the H20 with more memory
    "GH200 120GB": 989.5e12,  # GH200 data sheet: s 1,979e12; the names count the CPU's memory
    "GH200 480GB": 989.5e12,
    "GH200 144G HBM3e": 989.5e12,
    "B200": 2_250e12,  # DGX B200 data sheet: s 36e15 for eight
    "B300 SXM6 AC": 2_250e12,  # HGX platform data sheet: s 36e15 for eight
    "GB200": 2_500e12,  # GB200 NVL72 data sheet: s 360e15 for 72
    "GB300": 2_500e12,  # GB300 NVL72 data sheet: s 360e15 for 72
    "A100-SXM4-40GB": 312e12,  # A100 data sheet
    "A100-SXM4-80GB": 312e12,
    "A100-PCIE-40GB": 312e12,
    "A100 80GB PCIe": 312e12,
    "A800-SXM4-40GB": 312e12,  # the A100 with slower links
    "A800-SXM4-80GB": 312e12,
    "A800 80GB PCIe": 312e12,
    "A800 40GB Active": 311.8e12,  # A800 40GB Active data sheet: s 623.8e12
    "A40": 149.7e12,  # A40 data sheet
    "A30": 165e12,  # A30 data sheet
    "A10": 125e12,  # A10 data sheet
    "A10G": 70e12,  # A10G data sheet
    "L40S": 362.05e12,  # L40S data sheet
    "L40": 181.05e12,  # L40 data sheet
    "L4": 121e12,  # L4 data sheet: s 242e12
    "RTX A6000": 154.8e12,  # RTX A6000 data sheet: s 309.7e12
    "RTX 6000 Ada Generation": 364.2e12,  # RTX 6000 Ada data sheet: s 1,457e12 in FP8, which doubles again
    # RTX PRO 6000 data sheets: an eighth of 4,030e12 and 3,511e12 in FP4 with sparsity.
    "RTX PRO 6000 Blackwell Workstation Edition": 503.8e12,
    "RTX PRO 6000 Blackwell Max-Q Workstation Edition": 438.9e12,
    "GeForce RTX 3090": 71e12,  # GA102 white paper
    "GeForce RTX 4090": 165.2e12,  # Ada white paper
    "GeForce RTX 5090": 209.5e12,  # RTX Blackwell white paper
    "AMD Instinct MI250X": 191.5e12,  # MI250X data sheet: 383e12 per card; each of its two dies is a device
    "AMD Instinct MI300X": 1_307.4e12,  # MI300X data sheet
    "AMD Instinct MI325X": 1_307.4e12,  # MI325X data sheet
    "AMD Instinct MI355X": 2_516.6e12,  # MI355X data sheet: 2.5e15, rounded; 1,024 x 1,024 at 2.4 GHz
}


MEMORY_GIB: dict[str, float] = {
    # What the driver shows, rounded down; the least of a line. Names and sources as above.
    **dict.fromkeys(["H100 80GB HBM3", "H100 PCIe", "H800", "H800 PCIe", "A100-SXM4-80GB"], 80),
    **dict.fromkeys(["A100 80GB PCIe", "A800-SXM4-80GB", "A800 80GB PCIe"], 80),
    **dict.fromkeys(["H100 NVL", "GH200 120GB", "GH200 480GB", "H20"], 94),
    **dict.fromkeys(["H200", "H200 NVL", "H20-3e", "GH200 144G HBM3e"], 140),
    **dict.fromkeys(["B200", "GB200"], 179),
    **dict.fromkeys(["B300 SXM6 AC", "GB300"], 268),
    **dict.fromkeys(["A100-SXM4-40GB", "A100-PCIE-40GB"], 40),
    **dict.fromkeys(["A800-SXM4-40GB", "A800 40GB Active"], 40),
    **dict.fromkeys(["A40", "L40S", "L40", "RTX A6000", "RTX 6000 Ada Generation"], 45),
    **dict.fromkeys(["A30", "A10", "A10G", "L4", "GeForce RTX 3090", "GeForce RTX 4090"], 22),
    "GeForce RTX 5090": 31,
    "RTX PRO 6000 Blackwell Workstation Edition": 95,
    "RTX PRO 6000 Blackwell Max-Q Workstation Edition": 95,
    "AMD Instinct MI250X": 64,  # of each die
    "AMD Instinct MI300X": 191,
    "AMD Instinct MI325X": 255,
    "AMD Instinct MI355X": 287,
}


def memory_bytes(device_name: str) -> int | None:
    """Memory of one device by the name its driver gives it; None for what is not in the table."""
    size = MEMORY_GIB.get(device_name.removeprefix("NVIDIA "))
    return None if size is None else int(size * 2**30)


def peak_flops_per_second(device_name: str) -> float | None:
    """Peak of one device by its driver's name; None for a CPU and for devices that are not in the table.

    A slice of a device (MIG) and a variant of another size have different names, and therefore no peak.
    """
    return PEAK_BF16_FLOPS.get(device_name.removeprefix("NVIDIA "))


def model_flops_utilisation(
    flops_per_token: float, tokens_per_second: float, device_name: str, devices: int = 1
) -> float | None:
    """MFU: the FLOPs of the model's tokens over the peak of all devices; None if the peak is unknown.

    `flops_per_token` should be of convention `paper`, which counts what the model needs: recomputed
    activations do not count, and a recurrence without gradient counts less than one with gradient.
    """
    peak = peak_flops_per_second(device_name)
    return None if peak is None else flops_per_token * tokens_per_second / (peak * devices)
