"""Policy: which events a workload may record in the audit log, by the contracts.

A workload reports the calls that it serves: their actions, the callers that the methods' access rules admit, and the
users on whose behalf the calls were made. Any other claim is refused, so that a compromised workload can neither forge
a sign-in nor attribute its own calls to others.
"""

from __future__ import annotations

from collections.abc import Callable

from moneyprinter import contract
from moneyprinter.access.v1.access_pb2 import Rule
from services.user.audit.model import Event

# Every workload also reports failed handshakes, and that events of its own were lost.
CONNECT = "connect"
LOST = "audit.lost"

_REFUSED_PEER = "PEER_UNIDENTIFIED"
_OK = "OK"
_GATEWAY = "gateway"


def find_refusal(event: Event, spiffe_id: Callable[[str], str]) -> str:
    """Return why the workload that sent an event may not record it; empty when it may.

    `spiffe_id` returns the SPIFFE id of a workload.
    """
    own_id = spiffe_id(event.service)
    if not event.method:
        if event.credential or event.peer:
            return "an event that is no call has neither peer nor credential"
        if event.action == CONNECT:
            is_valid = (event.actor, event.target, event.result) == ("", own_id, _REFUSED_PEER)
            return "" if is_valid else "a failed handshake has no actor, and this workload as its target"
        if event.action == LOST:
            is_valid = event.actor == own_id and event.result != _OK
            return "" if is_valid else "events can be lost by their own workload only"
        return f"{event.action} is no action of {event.service} beside its calls"
    if not contract.serves(event.service, event.method):
        return f"{event.service} does not serve {event.method}"
    if event.action != contract.audit_action(event.method):
        return f"{event.action} is not the action of {event.method}"
    return _find_forgery(event, contract.rule(event.method) or Rule(), spiffe_id)


def _find_forgery(event: Event, rule: Rule, spiffe_id: Callable[[str], str]) -> str:
    """Return what the method's access rule contradicts in the caller of an event; empty when nothing does."""
    if rule.audit.by_service and event.result == _OK:
        return f"{event.action} is recorded by its service"
    if event.credential and not _is_account(event.actor):
        return "only users have credentials"
    if not event.peer:
        is_refusal = event.result == _REFUSED_PEER and not _is_account(event.actor)
        return "" if is_refusal else "a call whose peer is not known was refused"
    is_admitted = event.peer in rule.callers or "*" in rule.callers
    if not is_admitted and event.result == _OK:
        return f"{event.peer} may not call {event.method}"
    if _is_account(event.actor):
        return "" if is_admitted and rule.role else f"{event.method} is not called for a user by {event.peer}"
    if event.actor != ("" if event.peer == _GATEWAY else spiffe_id(event.peer)):
        return "the actor is neither a user nor the peer"
    if rule.role and event.result == _OK:
        return f"{event.method} is called for a user, and none is named"
    return ""


def _is_account(actor: str) -> bool:
    return bool(actor) and not actor.startswith("spiffe://")
