"""Accounts: the user service has them, and the audio and the content service the providers that they use."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from moneyprinter.audio.v1 import audio_service_pb2 as audio
from moneyprinter.content.v1 import content_service_pb2 as content
from moneyprinter.media.v1 import media_pb2
from moneyprinter.user.v1 import authority_service_pb2 as authority
from services.orchestrator.workers.stubs import Stubs


class GrpcAccounts:
    """What other services know of accounts."""

    def __init__(self, stubs: Stubs) -> None:
        self._stubs = stubs

    async def exists(self, account_id: str) -> bool:
        """Return whether there is an account, active or disabled."""
        request = authority.CheckAccountRequest(account_id=account_id)
        return bool((await self._stubs.authority.CheckAccount(request)).exists)

    async def list_providers(self, account_id: str, check: str = "") -> Sequence[media_pb2.ProviderState]:
        """Return the states of the providers for an account, those with a key first.

        `check` is a provider that is called first, with the key of the account; empty: none.
        """
        speech = audio.DescribeSpeechProvidersRequest(account_id=account_id, check=check)
        writing = content.DescribeProvidersRequest(account_id=account_id, check=check)
        spoken, written = await asyncio.gather(
            self._stubs.audio.DescribeSpeechProviders(speech), self._stubs.content.DescribeProviders(writing)
        )
        return sorted((*spoken.providers, *written.providers), key=_lacks_key)


def _lacks_key(state: media_pb2.ProviderState) -> bool:
    return not state.key
