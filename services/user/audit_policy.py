"""Audit policy: which events a workload may record in the audit trail, as the contracts say.

A workload reports the calls that it serves: their actions, the callers that the methods' access rules let in, and the
users whom those calls were made for. Whatever else it claims is refused, so that a workload that was taken over can
neither forge a sign-in nor put its own calls on others.
"""

from __future__ import annotations

from collections.abc import Callable

from moneyprinter import contract
from moneyprinter.access.v1.access_pb2 import Rule
from services.user.trail import Event

# What every workload reports beside its calls: handshakes that failed, and events of its own that were lost.
CONNECT = "connect"
LOST = "audit.lost"

_REFUSED_PEER = "PEER_UNIDENTIFIED"
_OK = "OK"
_GATEWAY = "gateway"


def refusal(event: Event, spiffe_id: Callable[[str], str]) -> str:
    """Why the workload that sent an event may not record it; empty when it may.

    `spiffe_id` gives the SPIFFE id of a workload.
    """
    own = spiffe_id(event.service)
    if not event.method:
        if event.credential or event.peer:
            return "an event that is no call has neither peer nor credential"
        if event.action == CONNECT:
            known = (event.actor, event.target, event.result) == ("", own, _REFUSED_PEER)
            return "" if known else "a failed handshake has no actor, and this workload as its target"
        if event.action == LOST:
            return "" if event.actor == own and event.result != _OK else "events can be lost by their own workload only"
        return f"{event.action} is no action of {event.service} beside its calls"
    if not contract.serves(event.service, event.method):
        return f"{event.service} does not serve {event.method}"
    if event.action != contract.audit_action(event.method):
        return f"{event.action} is not the action of {event.method}"
    return _forged(event, contract.rule(event.method) or Rule(), spiffe_id)


def _forged(event: Event, rule: Rule, spiffe_id: Callable[[str], str]) -> str:
    """What of the caller of a method cannot be, by the method's access rule; empty when all of it can."""
    if rule.audit.by_service and event.result == _OK:
        return f"{event.action} is recorded by its service"
    if event.credential and not _is_account(event.actor):
        return "only users have credentials"
    if not event.peer:
        unknown = event.result == _REFUSED_PEER and not _is_account(event.actor)
        return "" if unknown else "a call whose peer is not known was refused"
    admitted = event.peer in rule.callers or "*" in rule.callers
    if not admitted and event.result == _OK:
        return f"{event.peer} may not call {event.method}"
    if _is_account(event.actor):
        return "" if admitted and rule.role else f"{event.method} is not called for a user by {event.peer}"
    if event.actor != ("" if event.peer == _GATEWAY else spiffe_id(event.peer)):
        return "the actor is neither a user nor the peer"
    if rule.role and event.result == _OK:
        return f"{event.method} is called for a user, and none is named"
    return ""


def _is_account(actor: str) -> bool:
    return bool(actor) and not actor.startswith("spiffe://")
