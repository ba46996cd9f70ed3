"""Finding a trained model, and texts to measure it on, by what users call them."""

from collections.abc import Sequence
from dataclasses import replace

from parcae.data.corpus import EMBEDDED, load_corpus
from parcae.data.windows import Text
from parcae.formats.pretrained import Pretrained, load_pretrained
from sweeps.folders.paths import Study, read_json
from sweeps.folders.spec import RunSpec
from sweeps.plan.texts import named_text, open_text, tokenizer_file


def find_model(study: Study, name: str) -> Pretrained:
    """The model called `name`: a run's id, a folder, or a Hugging Face repository."""
    folder = study.run(name)
    if not folder.spec.exists():
        return load_pretrained(name)
    found = load_pretrained(folder.path)
    file = tokenizer_file(study.runs, RunSpec.from_dict(read_json(folder.spec)))
    return replace(found, tokenizer_file=file)


def find_texts(study: Study, model: str, names: Sequence[str]) -> list[Text]:
    """The texts called `names`; without names that of the run `model`, or the embedded one."""
    folder = study.run(model)
    if names:
        return [named_text(study, name) for name in names]
    if folder.spec.exists():
        return [open_text(study.runs, RunSpec.from_dict(read_json(folder.spec)))]
    return [load_corpus(EMBEDDED)]


def has_ended(study: Study, name: str) -> bool:
    """False for a run without a result: its newest checkpoint is not what it will end with."""
    folder = study.run(name)
    return folder.result.exists() or not folder.spec.exists()
