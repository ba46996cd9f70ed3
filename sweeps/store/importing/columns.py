"""Which column of a file says what: by common names, or as the user maps them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from parcae.errors import InputError
from sweeps.store.importing.files import Table
from sweeps.store.importing.numbers import Count, LossUnit

_PERPLEXITY = (
    "perplexity",
    "ppl",
    "val_ppl",
    "val_perplexity",
    "validation_perplexity",
    "eval_ppl",
    "test_ppl",
)
_BITS = ("bits_per_byte", "bpb", "val_bpb", "val_bits_per_byte", "validation_bpb", "eval_bpb", "test_bpb")
NAMES: Mapping[str, tuple[str, ...]] = {
    "run_name": ("run_name", "run_id", "run", "name", "display_name", "experiment", "exp_name", "id"),
    "model": ("model", "model_name", "arch", "architecture"),
    "parameters": (
        *("parameters", "n_params", "num_params", "n_parameters", "num_parameters", "nparams", "params"),
        *("parameter_count", "param_count", "total_params", "total_parameters", "params_total", "n"),
        *("model_params", "model_parameters", "model_size", "size", "n_total", "number_of_parameters"),
        *("non_embedding_params", "non_embedding_parameters", "n_no_emb", "n_non_embedding"),
    ),
    "once_parameters": ("once_parameters", "once_params", "n_once", "params_once"),
    "recurrent_parameters": (
        *("recurrent_parameters", "recurrent_params", "n_recurrent", "params_recurrent", "n_rec"),
        *("loop_params", "loop_parameters", "looped_params"),
    ),
    "tokens": (
        *("tokens", "n_tokens", "num_tokens", "train_tokens", "training_tokens", "total_tokens"),
        *(
            "tokens_seen",
            "tokens_trained",
            "trained_tokens",
            "token_count",
            "d",
            "d_tokens",
            "dataset_tokens",
        ),
        *("dataset_size", "n_train_tokens", "num_train_tokens", "number_of_tokens"),
    ),
    "flops": (
        *(
            "flops",
            "flop",
            "compute",
            "c",
            "c_flops",
            "total_flops",
            "training_flops",
            "training_flop",
            "train_flops",
        ),
        *("training_compute", "total_compute", "achieved_flops", "realised_flops", "compute_flops"),
        *("flops_budget", "flop_budget", "compute_budget", "budget", "c_6nd"),
    ),
    "flops_per_token": ("flops_per_token", "flops_per_tok", "flops_tok", "flop_per_token", "flops_token"),
    "mean_recurrence": (
        *("mean_recurrence", "mean_recurrences", "mu_rec", "mu", "recurrence", "recurrences", "r"),
        *("n_recurrences", "num_recurrences", "n_recurrence", "loops", "n_loops", "num_loops", "n_loop"),
        *("loop_count", "mean_loops", "train_recurrence", "train_loops"),
    ),
    "test_recurrence": (
        *("test_recurrence", "test_recurrences", "eval_recurrence", "test_loops", "eval_loops", "t"),
        *("n_loops_test", "test_time_recurrence", "inference_loops"),
    ),
    "val_loss": (
        *(
            "val_loss",
            "validation_loss",
            "valid_loss",
            "eval_loss",
            "test_loss",
            "final_val_loss",
            "heldout_loss",
            "loss_val",
        ),
        *(
            "loss",
            "final_loss",
            "loss_nats",
            "nats",
            "cross_entropy",
            "ce",
            "val_ce",
            "l",
            *_PERPLEXITY,
            *_BITS,
        ),
    ),
    "seed": ("seed", "random_seed", "rng_seed"),
    "learning_rate": ("learning_rate", "max_learning_rate", "max_lr"),
    "lr": ("lr",),
    "batch_size": ("batch_size", "bsz", "global_batch_size"),
    "weight_decay": ("weight_decay", "wd"),
    "warmup": ("warmup", "warmup_steps"),
    "state": ("state", "status", "run_state", "run_status", "diverged"),
    "vocabulary": ("vocabulary", "vocab_size", "vocab", "n_vocab"),
    "reason": ("reason",),
}
"""What a run has -> the names of its column, the likeliest first, in small letters with _ for all else."""
HYPERPARAMETERS = ("learning_rate", "lr", "batch_size", "weight_decay", "warmup")
LAYOUTS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "loops of a known shape": (
        ("once_parameters", "recurrent_parameters", "mean_recurrence", "tokens", "val_loss"),
    ),
    "loops at a budget": (
        ("flops", "mean_recurrence", "val_loss"),
        ("flops_per_token", "tokens", "mean_recurrence", "val_loss"),
    ),
    "models without a loop": (
        ("parameters", "tokens", "val_loss"),
        ("parameters", "flops", "val_loss"),
        ("tokens", "flops", "val_loss"),
    ),
}
"""What a study must have, one of these; the first that a run has all of."""
SHOWN = 12
"""Unknown columns that a message lists."""
_ENDINGS: Mapping[str, tuple[str, ...]] = {
    "val_loss": ("val_loss", "validation_loss", "valid_loss", "eval_loss"),
    "tokens": ("n_tokens",),
    "parameters": ("n_params", "n_parameters"),
}
"""Names that are recognised at the end of a longer one, such as final/val_loss."""
_LAST: Mapping[str, tuple[str, ...]] = {"val_loss": ("train_loss", "training_loss", "c4_loss", "lm_loss")}
"""Names that are taken where there is no better one."""
_UNITS = {
    **dict.fromkeys(("k", "thousand", "thousands"), Count.THOUSANDS),
    **dict.fromkeys(("m", "million", "millions"), Count.MILLIONS),
    **dict.fromkeys(("b", "bn", "billion", "billions"), Count.BILLIONS),
}
"""Endings of a name that say in what it is counted."""


@dataclass(frozen=True)
class Columns:
    """Field -> the number of its column."""

    at: Mapping[str, int]
    loss_unit: LossUnit | None
    """What the loss's name says of its unit."""
    counts: Mapping[str, Count]
    """What the names of parameters and tokens say of theirs, such as `params_m`."""
    header: Sequence[str]

    @property
    def renamed(self) -> str:
        """The columns that were understood under another name, in words."""
        pairs = [
            f"{field} from {self.header[at]!r}" for field, at in self.at.items() if self.header[at] != field
        ]
        return ", ".join(pairs)


def normal(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.casefold()).strip("_")


def parse_map(text: str) -> dict[str, str]:
    """field -> column, from `tokens=D,loss=final/val_loss`."""
    found = {}
    for pair in re.split(r",(?=\s*\w+\s*=)", text):
        given, _, column = (part.strip() for part in pair.partition("="))
        field = next((field for field, names in NAMES.items() if normal(given) in names), None)
        if field is None or not column:
            raise InputError(
                f"cannot map {pair.strip()!r}; give FIELD=COLUMN, where FIELD is one of {', '.join(NAMES)}"
            )
        found[field] = column
    return found


def exact_columns(table: Table) -> Columns:
    """The columns of a stored file, whose names are the fields'."""
    return Columns({name: i for i, name in enumerate(table.header) if name in NAMES}, None, {}, table.header)


def find_columns(table: Table, mapping: Mapping[str, str]) -> Columns:
    """The column of each field. ``InputError`` if one is mapped that is not there, or two are as likely."""
    normals, units = _recognisable(table.header)
    at: dict[str, int] = {}
    for field, column in mapping.items():
        same = [i for i, name in enumerate(table.header) if name == column]
        same = same or [i for i, name in enumerate(normals) if name == normal(column)]
        if not same:
            raise InputError(
                f"{table.path} has no column {column!r} to map {field} to; it has {', '.join(table.header)}"
            )
        at[field] = same[0]
    for field in NAMES:
        free = {i: name for i, name in enumerate(normals) if i not in at.values()}
        if field not in at and (found := _likeliest(table, field, free)) is not None:
            at[field] = found
    if "mean_recurrence" not in at and "test_recurrence" in at and normals[at["test_recurrence"]] == "t":
        del at["test_recurrence"]
    name = normals[at["val_loss"]] if "val_loss" in at else ""
    perplexity, bits = LossUnit.PERPLEXITY, LossUnit.BITS_PER_BYTE
    said = perplexity if name in _PERPLEXITY else bits if name in _BITS else None
    counts = {field: units[at[field]] for field in ("parameters", "tokens") if at.get(field) in units}
    return Columns(at, said, counts, table.header)


def _recognisable(header: Sequence[str]) -> tuple[list[str], dict[int, Count]]:
    """Each column's name in small letters, without a remark in brackets or a unit, and the units of some."""
    known = {name for names in NAMES.values() for name in names}
    normals, units = [], {}
    for i, title in enumerate(header):
        name = normal(title)
        plain, _, unit = name.rpartition("_")
        plain = plain.removesuffix("_in")
        if unit in _UNITS and plain in (*NAMES["parameters"], *NAMES["tokens"]):
            name, units[i] = plain, _UNITS[unit]
        elif name not in known:
            name = normal(re.split(r"[(\[]", title)[0]) or name
        normals.append(name)
    return normals, units


def _likeliest(table: Table, field: str, free: Mapping[int, str]) -> int | None:
    """The column of `field` among those not taken: by its name, by the end of that, by a last resort."""
    for name in NAMES[field]:
        if found := [i for i, own in free.items() if own == name]:
            return found[0]
    near = [i for i, own in free.items() if any(own.endswith(f"_{end}") for end in _ENDINGS.get(field, ()))]
    if len(near) > 1:
        choices = ", ".join(repr(table.header[i]) for i in near)
        raise InputError(
            f"{table.path} has several columns that may be {field}: {choices}; say which, such as "
            f"--map {field}={table.header[near[0]]}"
        )
    last = [i for i, own in free.items() if own in _LAST.get(field, ())]
    return next(iter([*near, *last]), None)


def require_layout(table: Table, columns: Columns) -> None:
    """``InputError`` unless the columns are enough for one kind of study; it says what each kind lacks."""
    if any(set(fields) <= set(columns.at) for options in LAYOUTS.values() for fields in options):
        return
    wanted = {field for options in LAYOUTS.values() for fields in options for field in fields}
    found = [f"{field} ({table.header[at]})" for field, at in columns.at.items() if field in wanted]
    lacks = {
        kind: min(([f for f in fields if f not in columns.at] for fields in options), key=len)
        for kind, options in LAYOUTS.items()
    }
    nearest = min(lacks, key=lambda kind: (len(lacks[kind]), list(LAYOUTS)[::-1].index(kind)))
    others = "; ".join(f"for {kind} {' and '.join(lack)}" for kind, lack in lacks.items() if kind != nearest)
    missing = lacks[nearest]
    free = [name for i, name in enumerate(table.header) if i not in columns.at.values()]
    close = get_close_matches(missing[0], free, n=1, cutoff=0.5)
    example = close[0] if close else "COLUMN"
    more = f" and {len(free) - SHOWN} more" if len(free) > SHOWN else ""
    raise InputError(
        f"{table.path} lacks the column {' and '.join(missing)} for {nearest}, the nearest fit ({others}); "
        f"found {', '.join(found) or 'none that is known'}; the other columns are "
        f"{', '.join(free[:SHOWN]) or 'none'}{more}; name one with --map {missing[0]}={example}"
    )
