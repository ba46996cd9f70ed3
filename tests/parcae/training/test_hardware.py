"""A device's peak: by its driver's whole name, or none."""

import pytest

from parcae.training.hardware import PEAK_BF16_FLOPS, model_flops_utilisation, peak_flops_per_second

# From data sheets, again: with sparsity where they give that, and so halved.
PUBLISHED = {
    "NVIDIA H100 80GB HBM3": 1_979e12 / 2,
    "NVIDIA H100 PCIe": 1_513e12 / 2,
    "NVIDIA H100 NVL": 1_671e12 / 2,
    "NVIDIA H200": 1_979e12 / 2,
    "NVIDIA H200 NVL": 1_671e12 / 2,
    "NVIDIA H800": 1_979e12 / 2,
    "NVIDIA H800 PCIe": 1_513e12 / 2,
    "NVIDIA H20": 148e12,
    "NVIDIA GH200 480GB": 1_979e12 / 2,
    "NVIDIA B200": 36e15 / 8 / 2,
    "NVIDIA B300 SXM6 AC": 36e15 / 8 / 2,
    "NVIDIA GB200": 360e15 / 72 / 2,
    "NVIDIA GB300": 360e15 / 72 / 2,
    "NVIDIA A100-SXM4-40GB": 624e12 / 2,
    "A100-SXM4-40GB": 624e12 / 2,  # as drivers before release 470 call it
    "NVIDIA A100-PCIE-40GB": 624e12 / 2,
    "NVIDIA A100 80GB PCIe": 624e12 / 2,
    "NVIDIA A800-SXM4-80GB": 624e12 / 2,
    "NVIDIA A40": 299.4e12 / 2,
    "NVIDIA RTX A6000": 309.7e12 / 2,
    "NVIDIA L40S": 362.05e12,
    "NVIDIA RTX 6000 Ada Generation": 1_457e12 / 4,  # FP8 with sparsity: twice two
    "NVIDIA GeForce RTX 5090": 3_352e12 / 16,  # FP4 with sparsity, four times; FP32 sums, half the rate
    "NVIDIA RTX PRO 6000 Blackwell Workstation Edition": 4_030e12 / 8,  # FP4 with sparsity: four times two
    "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition": 3_511e12 / 8,
    "AMD Instinct MI300X": 1_307.4e12,
    "AMD Instinct MI325X": 1_307.4e12,
    "AMD Instinct MI355X": 2_516.6e12,
}
# Slices, other sizes, other dies, other words: their peak is not their namesake's.
UNKNOWN = [
    "cpu",
    "",
    "NVIDIA",
    "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
    "NVIDIA A100-SXM4-40GB MIG 3g.20gb",
    "NVIDIA H200 NVL MIG 7g.141gb",
    "NVIDIA A100-SXM-64GB",
    "NVIDIA H100",
    "NVIDIA H100 64GB HBM2",
    "NVIDIA H200 PCIe",
    "NVIDIA GeForce RTX 4090 D",
    "NVIDIA GeForce RTX 4090 Laptop GPU",
    "NVIDIA GeForce RTX 5090 D",
    "NVIDIA RTX A1000",
    "NVIDIA RTX PRO 6000 Blackwell Server Edition",
    "GRID A100X-40C",
    "AMD Instinct MI300X VF",
    "AMD Instinct MI300A",
    "AMD Instinct MI355X-future",
]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_known_device_has_the_peak_of_its_data_sheet(name: str) -> None:
    assert peak_flops_per_second(name) == pytest.approx(PUBLISHED[name], rel=2e-3)


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_name_that_is_not_known_whole_has_no_peak(name: str) -> None:
    assert peak_flops_per_second(name) is None
    assert model_flops_utilisation(1e9, 1e5, name) is None


def test_utilisation_is_of_all_devices() -> None:
    assert model_flops_utilisation(1e9, 1e5, "NVIDIA A100-SXM4-80GB", devices=2) == pytest.approx(
        1e14 / 624e12
    )


def test_no_vendor_stands_in_the_table_twice() -> None:
    assert not [name for name in PEAK_BF16_FLOPS if name.startswith("NVIDIA ")]
