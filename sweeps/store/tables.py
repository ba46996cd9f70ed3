"""The content of the database. Only this file and `schema` contain SQL."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parcae.errors import InputError
from sweeps.runs.states import State
from sweeps.store.plain_paths import plain_folder
from sweeps.store.rows import LossRow, RunRow, ScoreRow, SweepRows
from sweeps.store.schema import METRIC_COLUMNS, RUN_COLUMNS, SCORE_COLUMNS

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

TELEMETRY = ("step", "tokens", "loss", "state_norm", "injection_norm")
"""What is read of a run's training; `injection_norm` is the spectral norm of Abar."""
STEPS_READ = 200
"""Steps of a run that are read: more than a figure can show."""

_RUN_NAMES = ", ".join(f"runs.{name}" for name in RUN_COLUMNS)
_DTYPES: dict[str, Any] = {"DOUBLE": "Float64", "BIGINT": "Int64", "INTEGER": "Int64"}


class Store:
    """An open database, for one transaction, which `commit` ends."""

    def __init__(self, db: Path, connection: "duckdb.DuckDBPyConnection") -> None:
        self.db = db
        self.connection = connection

    def begin(self) -> None:
        self.connection.begin()

    def commit(self) -> None:
        self.connection.commit()

    def _rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self.connection.execute(query, list(parameters)).fetchall()

    # Reading

    def run_states(self) -> dict[str, tuple[str, State, str | None]]:
        """run_id -> (signature, state, reason), for runs with a specification."""
        rows = self._rows("SELECT run_id, signature, state, reason FROM runs WHERE spec IS NOT NULL")
        return {run_id: (signature, State(state), reason) for run_id, signature, state, reason in rows}

    def sweep_signatures(self) -> dict[str, str]:
        """name -> signature of the sweep's file."""
        return dict(self._rows("SELECT name, signature FROM sweeps"))

    def sweep_names(self) -> list[str]:
        """All sweeps, the latest first."""
        return [name for (name,) in self._rows("SELECT name FROM sweeps ORDER BY changed_ns DESC, name DESC")]

    def planned_run_ids(self) -> set[str]:
        """The runs of every planned sweep."""
        rows = self._rows(
            "SELECT DISTINCT run_id FROM sweep_runs JOIN sweeps ON sweep = name WHERE kind = 'planned'"
        )
        return {run_id for (run_id,) in rows}

    def specs(self, run_ids: Sequence[str]) -> dict[str, str]:
        """run_id -> canonical JSON of its specification, for those of `run_ids` in the database."""
        with self._table("given", [{"key": run_id} for run_id in run_ids], {"key": "VARCHAR"}):
            return dict(self._rows("SELECT run_id, spec FROM runs JOIN given ON run_id = key"))

    def model_runs(self, model: str) -> tuple[RunRow, ...]:
        """All runs of one model, in all sweeps."""
        return tuple(
            map(
                _run_row, self._rows(f"SELECT {_RUN_NAMES} FROM runs WHERE model = $1 ORDER BY run_id", model)
            )
        )

    def sweep(self, sweep: str | None) -> SweepRows:
        """The sweep called `sweep`, or the latest. ``InputError`` names the existing ones."""
        names = self.sweep_names()
        if not names:
            raise InputError(f"the database {self.db} holds no sweep yet; plan or import one")
        if sweep is not None and sweep not in names:
            raise InputError(f"there is no sweep {sweep!r} in {self.db}; there are {', '.join(names)}")
        name = sweep or names[0]
        ((kind,),) = self._rows("SELECT kind FROM sweeps WHERE name = $1", name)
        runs = self._rows(
            f"""SELECT {_RUN_NAMES}, predicted_loss FROM sweep_runs JOIN runs USING (run_id)
                WHERE sweep = $1 ORDER BY position""",
            name,
        )
        losses = self._rows(
            """SELECT losses.run_id, test_recurrence, loss FROM sweep_runs JOIN losses USING (run_id)
               WHERE sweep = $1 ORDER BY position, test_recurrence""",
            name,
        )
        return SweepRows(
            name=name,
            kind=kind,
            runs=tuple(_run_row(row[:-1]) for row in runs),
            losses=tuple(
                LossRow(run_id=run_id, test_recurrence=recurrence, loss=loss)
                for run_id, recurrence, loss in losses
            ),
            scores=tuple(
                ScoreRow(**dict(zip(SCORE_COLUMNS, row, strict=True)))
                for row in self._rows(
                    f"""SELECT {", ".join(f"scores.{name}" for name in SCORE_COLUMNS)}
                        FROM sweep_runs JOIN scores USING (run_id) WHERE sweep = $1
                        ORDER BY position, step, task, version, metric, seed, test_recurrence""",
                    name,
                )
            ),
            predicted={row[0]: _known(row[-1]) for row in runs},
        )

    def telemetry(self, sweep: str) -> "pd.DataFrame":
        """TELEMETRY of a sweep's runs while they trained, in order of step.

        About ``STEPS_READ`` rows for each run, the first and last among them.
        """
        return self.connection.execute(
            f"""SELECT run_id, {", ".join(f"metrics.{name}" for name in TELEMETRY)}
                FROM metrics JOIN sweep_runs USING (run_id) WHERE sweep = $1
                QUALIFY (row_number() OVER (PARTITION BY run_id ORDER BY step) - 1)
                            % greatest(1, count(*) OVER (PARTITION BY run_id) // $2) = 0
                        OR step = max(step) OVER (PARTITION BY run_id)
                ORDER BY position, step""",
            [sweep, STEPS_READ],
        ).df()

    # Writing

    def replace_runs(
        self,
        stale: Sequence[str],
        runs: Sequence[RunRow],
        losses: Sequence[LossRow],
        metrics: Iterable[Path] = (),
        scores: Sequence[ScoreRow] = (),
    ) -> None:
        """Replaces the runs `stale` by `runs`, with their losses, scores and metrics files."""
        with self._table("stale", [{"key": run_id} for run_id in stale], {"key": "VARCHAR"}):
            for table in ("runs", "losses", "scores", "metrics"):
                self.connection.execute(f"DELETE FROM {table} WHERE run_id IN (SELECT key FROM stale)")
        self._insert("runs", [_plain(row) for row in runs])
        self._insert("losses", [_plain(row) for row in losses])
        self._insert("scores", [_plain(row) for row in scores])
        self._read_metrics(metrics)

    def replace_sweep(
        self, name: str, kind: str, changed_ns: int, signature: str, predicted: Mapping[str, float | None]
    ) -> None:
        """Replaces the sweep called `name` by one with the runs in `predicted`."""
        self.forget_sweeps([name])
        self._insert(
            "sweeps", [{"name": name, "kind": kind, "changed_ns": changed_ns, "signature": signature}]
        )
        self._insert(
            "sweep_runs",
            [
                {"sweep": name, "position": position, "run_id": run_id, "predicted_loss": loss}
                for position, (run_id, loss) in enumerate(predicted.items())
            ],
        )

    def forget_sweeps(self, names: Sequence[str]) -> None:
        """Deletes sweeps, and the imported runs in them, which are in no other sweep."""
        with self._table("given", [{"key": name} for name in names], {"key": "VARCHAR"}):
            imported = """(SELECT run_id FROM sweep_runs JOIN runs USING (run_id)
                           WHERE sweep IN (SELECT key FROM given) AND spec IS NULL)"""
            for table in ("losses", "runs"):
                self.connection.execute(f"DELETE FROM {table} WHERE run_id IN {imported}")
            self.connection.execute("DELETE FROM sweep_runs WHERE sweep IN (SELECT key FROM given)")
            self.connection.execute("DELETE FROM sweeps WHERE name IN (SELECT key FROM given)")

    def _insert(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        kinds = dict(
            self._rows("SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = $1", table)
        )
        if rows:
            with self._table("new_rows", rows, kinds):
                self.connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM new_rows")

    def _read_metrics(self, files: Iterable[Path]) -> None:
        """Adds metrics files, each in its run's folder."""
        present = [
            str(plain_folder(path.parent.parent) / path.parent.name / path.name)
            for path in files
            if path.is_file() and path.stat().st_size
        ]
        if not present:
            return
        kinds = ", ".join(f"{name}: '{kind}'" for name, kind in METRIC_COLUMNS.items())
        self.connection.execute(
            f"""INSERT INTO metrics BY NAME
                SELECT parse_path(filename)[-2] AS run_id, {", ".join(METRIC_COLUMNS)}
                FROM read_json($files, format = 'newline_delimited', columns = {{{kinds}}},
                               filename = true, ignore_errors = true)
                WHERE step IS NOT NULL""",
            {"files": present},
        )

    @contextmanager
    def _table(
        self, name: str, rows: Sequence[Mapping[str, Any]], kinds: Mapping[str, str]
    ) -> Iterator[None]:
        """Within the block, `rows` is a table called `name` for SQL."""
        import pandas as pd

        frame = pd.DataFrame(
            {
                column: pd.Series([row[column] for row in rows], dtype=_DTYPES.get(kind, "object"))
                for column, kind in kinds.items()
                if not rows or column in rows[0]
            }
        )
        self.connection.register(name, frame)
        try:
            yield
        finally:
            self.connection.unregister(name)


def _plain(row: RunRow | LossRow | ScoreRow) -> dict[str, Any]:
    return vars(row)


def _run_row(values: tuple[Any, ...]) -> RunRow:
    plain = dict(zip(RUN_COLUMNS, map(_known, values), strict=True))
    return RunRow(**{**plain, "state": State(plain["state"])})


def _known(value: Any) -> Any:
    """None for NaN, which databases of earlier versions hold for unknown values."""
    return None if value != value else value
