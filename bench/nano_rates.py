"""Which batch and learning rate a nano preset trains best at, for the same FLOPs.

python bench/nano_rates.py --model nano --flops 2.5e11 --recurrence 4 --batches 8 16 32 --rates 1e-2 2e-2
"""

import argparse
import tempfile
from pathlib import Path

from parcae.config import Optimiser, TrainConfig, default_backward_depth
from parcae.corpus import EMBEDDED, load_corpus
from parcae.flops import flops_per_token
from parcae.presets import preset
from parcae.train import train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--flops", type=float, default=2.5e11)
    parser.add_argument("--recurrence", type=int, default=4)
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--rates", type=float, nargs="+", default=[5e-3, 1e-2, 2e-2, 3e-2])
    parser.add_argument("--optimiser", type=Optimiser, default=Optimiser.ADAMW)
    options = parser.parse_args()
    model, corpus = preset(options.model).model, load_corpus(EMBEDDED)
    backward = default_backward_depth(options.recurrence)
    a_token = flops_per_token(model, mean_recurrence=options.recurrence, backward_depth=backward)
    print(f"{options.model}, {options.flops:.3g} FLOPs, mean recurrence {options.recurrence}")
    print(f"{'batch':>6} {'steps':>6} {'rate':>8} {'loss':>8} {'GFLOP/s':>8}")
    for batch in options.batches:
        steps = round(options.flops / (a_token * batch * model.context))
        for rate in options.rates:
            training = TrainConfig(
                mean_recurrence=options.recurrence,
                backward_depth=backward,
                steps=steps,
                batch_sequences=batch,
                optimiser=options.optimiser,
                learning_rate=rate,
                adamw_learning_rate=rate,
                test_recurrences=(options.recurrence,),
            )
            with tempfile.TemporaryDirectory() as folder:
                result = train(model, training, corpus, Path(folder))
            assert result is not None
            loss = f"{result.val_loss:.4f}" if result.val_loss else "diverged"
            speed = a_token * result.tokens_per_second / 1e9
            print(f"{batch:>6} {steps:>6} {rate:>8.1e} {loss:>8} {speed:>8.1f}", flush=True)


if __name__ == "__main__":
    main()
