"""The settings of the platforms and services that tests start, as environment variables."""

from __future__ import annotations

from services.runtime.config import PREFIX
from tests.databases import TIMEOUT_VARIABLES

# espeak-ng speaks, which is twenty times faster than the neural voice. Tests of that voice set its model themselves.
VARIABLES = {**TIMEOUT_VARIABLES, f"{PREFIX}AUDIO_KOKORO_MODEL": ""}
