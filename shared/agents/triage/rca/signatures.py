"""Causes that no change of ours explains, by the words and series that give them away.

In: telling log templates, alerts and metric shifts. Out: matched classes of cause with the evidence for each.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from shared.agents.triage.rca.logs import Template
from shared.agents.triage.rca.onset import Shift
from shared.model.diagnosis import Evidence, EvidenceKind

LOG_CONFIDENCE = 0.45
ALERT_CONFIDENCE = 0.35
BOTH_CONFIDENCE = 0.6
TRAFFIC_CONFIDENCE = 0.4
TRAFFIC_RATIO = 1.5


@dataclass(frozen=True, slots=True)
class Signature:
    """A class of cause and how it speaks."""

    cause: str
    words: re.Pattern[str]
    says: str


@dataclass(frozen=True, slots=True)
class Sign:
    """A signature that was met."""

    cause: str
    confidence: float
    evidence: tuple[str, ...]
    says: str
    quote: str


def _sig(cause: str, pattern: str, says: str) -> Signature:
    return Signature(cause, re.compile(pattern, re.IGNORECASE), says)


SIGNATURES: tuple[Signature, ...] = (
    _sig(
        "certificate",
        r"certificate.{0,40}(expir|not valid|verify failed|unknown)|x509|cert.?expir"
        r"|(tls|ssl).{0,30}(expir|handshake|fail)",
        "a certificate is expired or not accepted",
    ),
    _sig(
        "disk",
        r"no space left|out of space|enospc|disk.{0,20}(full|fill|space|usage|pressure)"
        r"|file ?system.{0,30}(full|space|fill)",
        "a disk is full or filling up",
    ),
    _sig(
        "memory",
        r"out ?of ?memory|oom.?kill|memoryerror|java heap|cannot allocate memory",
        "a process ran out of memory",
    ),
    _sig(
        "database_connections",
        r"too many (clients|connections)|connection pool.{0,30}(exhaust|full|timeout|limit)|remaining connection slots"
        r"|(database|db|postgres|mysql|sql).{0,40}(connections?.{0,20}(exhaust|high|max|limit)|too many)",
        "database connections are used up",
    ),
    _sig("crash_loop", r"crash ?loop|back-?off restarting|restarting (failed|too)", "a process crashes and restarts"),
    _sig(
        "stopped",
        r"(service|process|daemon|instance|server).{0,30}\b(stopped|down|not running|inactive|terminated)\b"
        r"|target ?down",
        "a service or instance is not running",
    ),
    _sig(
        "dns",
        r"name or service not known|nxdomain|temporary failure in name resolution|no such host|getaddrinfo",
        "a name cannot be resolved",
    ),
    _sig(
        "dependency",
        r"connection (refused|reset)|upstream|gateway.{0,20}(time|refus|unavail)|timed? ?out|timeout|unreachable|econn"
        r"|service unavailable|\b50[234]\b",
        "something this service depends on does not answer",
    ),
)


def signs(told: Sequence[Template], alerts: Sequence[Evidence], shifted: Sequence[Shift]) -> tuple[Sign, ...]:
    """Signatures met, most telling first, ties in the order of the table.

    Args:
        told: telling log templates.
        alerts: the incident's alerts as evidence.
        shifted: metrics that left their usual range.
    """
    found: list[Sign] = []
    for signature in SIGNATURES:
        log = next((t for t in told if t.troubled and signature.words.search(t.sample)), None)
        alert = next((a for a in alerts if a.kind is EvidenceKind.ALERT and signature.words.search(_spaced(a))), None)
        if log is None and alert is None:
            continue
        ids = tuple(item for item in (log.evidence if log else "", alert.id if alert else "") if item)
        confidence = BOTH_CONFIDENCE if log and alert else LOG_CONFIDENCE if log else ALERT_CONFIDENCE
        quote = log.sample if log else alert.title if alert else ""
        found.append(Sign(signature.cause, confidence, ids, signature.says, quote))
    traffic = _traffic(shifted)
    if traffic is not None:
        found.append(traffic)
    return tuple(sorted(found, key=lambda sign: -sign.confidence))


def _traffic(shifted: Sequence[Shift]) -> Sign | None:
    busiest = next((s for s in shifted if not s.adverse and s.rose and s.now >= TRAFFIC_RATIO * s.usual), None)
    if busiest is None:
        return None
    harm = tuple(s.evidence for s in shifted if s.adverse and s.at >= busiest.at)[:2]
    if not harm:
        return None
    return Sign("traffic", TRAFFIC_CONFIDENCE, (busiest.evidence, *harm), "more work arrives than usual", busiest.title)


def _spaced(alert: Evidence) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", f"{alert.title} {alert.summary}")
