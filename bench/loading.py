"""Reading batches of prepared text, against what a model takes in.

python bench/loading.py FOLDER          a folder that `parcae-sweep data prepare` made
"""

import argparse
import time
from pathlib import Path

from parcae.data.batches import Batches
from parcae.data.manifest import open_prepared
from parcae.flops import flops_per_token
from parcae.presets import PRESETS
from parcae.training.hardware import PEAK_BF16_FLOPS
from sweeps.plan.cost import ASSUMED_MFU, DEVICE

BATCH, STEPS = 256, 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    text = open_prepared(parser.parse_args().folder)
    context = text.manifest.context
    batches = Batches(text, context=context, batch_sequences=BATCH, seed=0)
    batches.batch(0)
    started = time.perf_counter()
    for step in range(1, STEPS + 1):
        batches.batch(step)
    read = STEPS * BATCH * context / (time.perf_counter() - started)
    print(
        f"read: {read / 1e6:.1f} million tokens a second by one core, of {batches.windows:,} rows of "
        f"{context}"
    )
    for name in ("small-140m", "xlarge-1.3b"):
        cost = flops_per_token(PRESETS[name].model, mean_recurrence=1, backward_depth=1)
        taken = PEAK_BF16_FLOPS[DEVICE] * ASSUMED_MFU / cost
        print(
            f"{name} at recurrence 1 on a {DEVICE} at {ASSUMED_MFU:.0%}: {taken / 1e6:.2f} million tokens a "
            f"second, a {read / taken:.0f}th of that"
        )


if __name__ == "__main__":
    main()
