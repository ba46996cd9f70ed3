"""Finding a trained model by what users call it."""

from parcae.formats.pretrained import Pretrained, load_pretrained
from sweeps.folders.paths import Study


def find_model(study: Study, name: str) -> Pretrained:
    """The model called `name`: a run's id, a folder, or a Hugging Face repository."""
    folder = study.run(name)
    return load_pretrained(folder.path if folder.spec.exists() else name)


def has_ended(study: Study, name: str) -> bool:
    """False for a run without a result: its newest checkpoint is not what it will end with."""
    folder = study.run(name)
    return folder.result.exists() or not folder.spec.exists()
