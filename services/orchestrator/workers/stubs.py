"""Stubs of the media services, and of the user service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from moneyprinter.audio.v1 import audio_service_pb2_grpc as audio_grpc
from moneyprinter.concatenation.v1 import concatenation_service_pb2_grpc as concatenation_grpc
from moneyprinter.content.v1 import content_service_pb2_grpc as content_grpc
from moneyprinter.content.v1 import footage_service_pb2_grpc as footage_grpc
from moneyprinter.processing.v1 import processing_service_pb2_grpc as processing_grpc
from moneyprinter.rendering.v1 import rendering_service_pb2_grpc as rendering_grpc
from moneyprinter.user.v1 import authority_service_pb2_grpc as authority_grpc
from moneyprinter.validation.v1 import validation_service_pb2_grpc as validation_grpc
from services.runtime.server import Runtime

CONTENT = "moneyprinter.content.v1"


@dataclass(frozen=True)
class Stubs:
    """One stub for each service, over shared channels."""

    validation: Any
    content: Any
    footage: Any
    audio: Any
    processing: Any
    concatenation: Any
    rendering: Any
    authority: Any

    @classmethod
    def connect(cls, runtime: Runtime) -> Stubs:
        """Open the channels of this instance."""

        def channel(service: str) -> Any:
            return runtime.connect(service, f"moneyprinter.{service}.v1.{service.capitalize()}Service")

        return cls(
            validation=validation_grpc.ValidationServiceStub(channel("validation")),
            content=content_grpc.ContentServiceStub(channel("content")),
            footage=footage_grpc.FootageServiceStub(runtime.connect("content", f"{CONTENT}.FootageService")),
            audio=audio_grpc.AudioServiceStub(channel("audio")),
            processing=processing_grpc.ProcessingServiceStub(channel("processing")),
            concatenation=concatenation_grpc.ConcatenationServiceStub(channel("concatenation")),
            rendering=rendering_grpc.RenderingServiceStub(channel("rendering")),
            authority=authority_grpc.AuthorityServiceStub(
                runtime.connect("user", "moneyprinter.user.v1.AuthorityService")
            ),
        )
