"""The stages of a job: their order, their parts of the whole work, and their states when the job is stopped."""

from __future__ import annotations

from collections.abc import Mapping

# The specification's stages in order, and the part of the whole work of each.
STAGES = {
    "validation": 0.05,
    "audio_generation": 0.10,
    "video_processing": 0.70,
    "concatenation": 0.05,
    "rendering": 0.10,
}


def reset_stages(stages: Mapping[str, str]) -> dict[str, str]:
    """Returns the stages of a job that is retried: all but the completed ones are pending."""
    return {stage: state if state == "completed" else "pending" for stage, state in stages.items()}


def stop_stages(stages: Mapping[str, str]) -> dict[str, str]:
    """Returns the stages of a job that is stopped: the running ones are cancelled."""
    return {stage: "cancelled" if state == "in_progress" else state for stage, state in stages.items()}
