"""The settings of the platforms and services that tests start, as environment variables."""

from __future__ import annotations

from services.runtime.config import PREFIX
from tests.databases import TIMEOUT_VARIABLES

VARIABLES = {
    **TIMEOUT_VARIABLES,
    # On a loaded machine the checks of a request may take longer than the default limit, after which it is accepted.
    f"{PREFIX}ORCHESTRATOR_CHECK_SECONDS": "4",
    # espeak-ng is twenty times faster than the neural voice. Tests of that voice set its model themselves.
    f"{PREFIX}AUDIO_KOKORO_MODEL": "",
}
