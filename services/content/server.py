"""The wiring of the content service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager

from moneyprinter.config.v1 import config_service_pb2_grpc as config_grpc
from moneyprinter.content.v1 import content_service_pb2_grpc as pb_grpc
from moneyprinter.content.v1 import footage_search_service_pb2_grpc as footage_search_grpc
from moneyprinter.content.v1 import footage_service_pb2_grpc as footage_grpc
from moneyprinter.content.v1 import writing_service_pb2_grpc as writing_grpc
from moneyprinter.errors import InvalidArgument
from moneyprinter.orchestrator.v1.orchestrator_service_pb2_grpc import OrchestratorServiceStub
from moneyprinter.user.v1 import authority_service_pb2_grpc as authority_grpc
from services.content.config import Config
from services.content.fonts.faces import FontFolder
from services.content.fonts.fallback import FontLibrary
from services.content.footage.models import find_model
from services.content.footage.pool import FootagePool, StoredResults
from services.content.footage.ranking import Rank, rank_by_meaning, rank_by_words
from services.content.footage_search_servicer import FootageSearchServicer
from services.content.footage_servicer import FootageServicer
from services.content.moderation.checks import TextChecks
from services.content.moderation.moderation import Moderator
from services.content.moderation.openai_moderation import OpenAiModeration
from services.content.servicer import ContentServicer
from services.content.threads import run_in_thread
from services.content.writers import character_ai
from services.content.writers.pool import WriterPool
from services.content.writers.presets import CHARACTER_AI
from services.content.writers.stored_answers import StoredAnswers
from services.content.writing_servicer import WritingServicer
from services.providers.account_keys import AccountKeys
from services.providers.cost_limits import CostLimits
from services.providers.credentials import CredentialMonitor, Credentials
from services.runtime.config import ConfigError
from services.runtime.secrets import SecretClient
from services.runtime.server import Runtime


@asynccontextmanager
async def wire(config: Config, runtime: Runtime) -> AsyncIterator[None]:
    """Serve ContentService, FootageService, FootageSearchService and WritingService.

    Raises `ConfigError` when a font folder does not exist, no folder has the font of captions, or a writer needs a
    package that is not installed.
    """
    for folder in config.fonts:
        if not folder.is_dir():
            raise ConfigError(f"MONEYPRINTER_CONTENT_FONTS: {folder} is no folder")
    fonts = FontLibrary(config.caption_font, [FontFolder(folder) for folder in config.fonts])
    try:
        fonts.resolve()
    except InvalidArgument as unknown:
        raise ConfigError(f"MONEYPRINTER_CONTENT_CAPTION_FONT: {unknown}") from None
    moderation = OpenAiModeration()
    moderator = Moderator(
        config.moderation_policy,
        provider=moderation if config.moderation_by_provider else None,
        allowed_hashes=config.moderation_allowed,
    )
    checks = TextChecks(moderator, runtime.audit)
    if CHARACTER_AI in config.writers and not character_ai.is_installed():
        raise ConfigError(
            f"MONEYPRINTER_CONTENT_WRITERS: {CHARACTER_AI} needs the package {character_ai.PACKAGE}, the extra "
            f"{CHARACTER_AI} of moneyprinter-services; install it, or take the writer out"
        )
    objects = runtime.objects()
    authority = authority_grpc.AuthorityServiceStub(runtime.connect("user", "moneyprinter.user.v1.AuthorityService"))
    account_keys = AccountKeys(authority)
    orchestrator = OrchestratorServiceStub(
        runtime.connect("orchestrator", "moneyprinter.orchestrator.v1.OrchestratorService")
    )
    costs = CostLimits(orchestrator, config.provider_prices)
    answers, results = StoredAnswers(objects), StoredResults(objects)
    pool = WriterPool(config.writers, config.writer_timeout_seconds, stored=answers, account_keys=account_keys)
    footage = FootagePool(
        config.footage_order,
        config.footage_hosts,
        config.footage_timeout_seconds,
        stored=results,
        account_keys=account_keys,
    )

    providers = (pool.providers, footage.providers, moderation.providers)

    async def replace_credentials(credentials: Mapping[str, Credentials]) -> None:
        for each in providers:
            await each.replace(credentials)

    async def check_breakers() -> None:
        for each in providers:
            each.check_breakers()

    runtime.check("providers", check_breakers)

    secrets = SecretClient(
        config_grpc.ConfigServiceStub(runtime.connect("config", "moneyprinter.config.v1.ConfigService"))
    )
    monitor = CredentialMonitor(secrets, "content", config.providers_file, replace_credentials)
    runtime.add(
        pb_grpc.add_ContentServiceServicer_to_server,
        ContentServicer(fonts, checks, pool, footage, config.provider_prices),
    )
    runtime.add(writing_grpc.add_WritingServiceServicer_to_server, WritingServicer(fonts, checks, pool, costs))
    runtime.add(
        footage_grpc.add_FootageServiceServicer_to_server, FootageServicer(footage, await _open_ranking(), checks)
    )
    search = FootageSearchServicer(footage, checks)
    runtime.add(footage_search_grpc.add_FootageSearchServiceServicer_to_server, search)
    # The limit leaves capacity for jobs.
    runtime.limit(
        config.max_caption_calls, "/moneyprinter.content.v1.WritingService/CreateCaptions", until_response=True
    )
    methods = ("CreateScript", "TranslateScript", "CreateMetadata")
    paths = (f"/moneyprinter.content.v1.WritingService/{method}" for method in methods)
    runtime.limit(config.max_script_calls, *paths, until_response=True)
    runtime.limit(config.max_footage_calls, "/moneyprinter.content.v1.FootageSearchService/SearchFootage")
    async with (
        aclosing(pool),
        aclosing(footage.providers),
        aclosing(footage.accounts),
        aclosing(moderation.providers),
        runtime.background(monitor.run(), "credentials"),
    ):
        if config.providers_file:
            # The first script of a laptop should not miss its writers.
            await monitor.wait_ready()
        yield


async def _open_ranking() -> Rank:
    """The ranking of clips with English terms: by meaning where the model is installed."""
    folder = find_model()
    if folder is None:
        return rank_by_words
    # NumPy is loaded only for the model.
    from services.content.footage.embedding import Embedder

    return rank_by_meaning((await run_in_thread(Embedder, folder)).compare)
