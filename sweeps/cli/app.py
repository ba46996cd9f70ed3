"""All commands of `parcae-sweep`, in the order of their help."""

from sweeps.cli import console, data
from sweeps.cli.database import collect, export, import_, rebuild
from sweeps.cli.models import evaluate, export_model, generate
from sweeps.cli.overview import logs, status, watch, why
from sweeps.cli.plan import plan
from sweeps.cli.submit import cancel, retry, submit

app = console.new_app("Plan, run and keep an isoFLOP study of looped language models.")
for command in (plan, submit, status, watch, logs, why, retry, cancel, collect, rebuild):
    app.command()(command)
app.command("import")(import_)
app.command()(export)
app.command("eval")(evaluate)
app.command()(generate)
app.command("export-model")(export_model)
app.add_typer(data.app, name="data")


def run() -> None:
    console.run(app)
