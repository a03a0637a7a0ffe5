"""The stages of a job: their order, what part of the work each is, and what becomes of them when it ends."""

from __future__ import annotations

from collections.abc import Mapping

# The specification's stages, in order, and the part of the whole work that each is.
STAGES = {
    "validation": 0.05,
    "audio_generation": 0.10,
    "video_processing": 0.70,
    "concatenation": 0.05,
    "rendering": 0.10,
}


def reset_stages(stages: Mapping[str, str]) -> dict[str, str]:
    """The stages of a job that goes on after it ended: what was not completed is pending."""
    return {stage: state if state == "completed" else "pending" for stage, state in stages.items()}


def stop_stages(stages: Mapping[str, str]) -> dict[str, str]:
    """The stages of a job that is stopped: what was in progress is cancelled."""
    return {stage: "cancelled" if state == "in_progress" else state for stage, state in stages.items()}
