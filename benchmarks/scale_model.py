"""A storm flowing through queues and stores that have limits, in steps of time.

In: how a storm folds, limits, settings, how many alerts. Out: what gives first, how much waits, when people are told.

Alerts flow edge -> signals -> incidents -> notifications. In every step each stage takes what its instances, the
namespace's credits and the account's rows leave it; what is nearest to people is served first. Within a queue it is
first in, first out, so a service is told when the alert that came first has gone through.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.cost.prices import Prices
from benchmarks.scale_storm import Ratios

STORM_S = 60.0  # in which the storm comes
STEP_S, LATE_STEP_S = 0.1, 1.0  # the second, once the storm has been over for a while
JOIN_EVERY_S, CROWD_EVERY_S, CROWD = 2.0, 10.0, 10  # how often an incident hears of more alerts; sentinel/joining.py
ENOUGH_S = 4 * 3600.0
WORTH_NAMING_S = 2.0  # a queue that is gone within this holds nobody up
BATCH_BYTES, MAX_CALLS = 160 * 1024, 250  # shared/agents/sentinel/collector.py and shared/dispatch/coalescing.py
AT_ONCE = 8  # host.json, maxConcurrentCalls
PAYLOAD_SHARDS, INDEX_SHARDS = 4, 16  # shared/records


@dataclass(frozen=True, slots=True)
class Setup:
    """What a user turns.

    Attributes:
        per_post: alerts in one POST.
        rps: POSTs a second that one instance of the edge takes.
        instances: most instances of one function, or of the edge.
        credits: messages a second, sent or received, of one namespace.
        batch: messages of one execution of signals or incidents (host.json, maxMessageBatchSize); Flex Consumption adds
            an instance for each so many that wait.
        deployments: whole installations, each with a namespace and an account of its own, that share the services.
    """

    per_post: int
    rps: float
    instances: int
    credits: float
    batch: int = 16
    deployments: int = 1


@dataclass
class Outcome:
    """How it went; figures of one deployment.

    Attributes:
        first: the limit that held something up first, and when, in seconds.
        held_s: seconds in which each limit held something up.
        waiting: most alerts that had come and were not worked in yet.
        told_within_s: the longest a service waited from its first alert to its notification.
        done_s: when the last alert was worked in.
    """

    first: tuple[str, float] = ("nothing", 0.0)
    held_s: Counter[str] = field(default_factory=Counter)
    waiting: float = 0.0
    told_within_s: float = 0.0
    done_s: float = 0.0


@dataclass
class _Storm:
    """The state of one deployment."""

    alerts: float
    services: float
    setup: Setup
    ratios: Ratios
    prices: Prices
    partition_rows: float
    account_rows: float
    posted: float = 0.0  # alerts that have come
    taken: float = 0.0  # alerts the edge has answered
    worked: float = 0.0  # alerts that signals has worked in
    queued: float = 0.0  # messages of signals
    opens: float = 0.0  # messages of incidents, and of notifications below
    joins: float = 0.0
    notices: float = 0.0
    opened: float = 0.0
    told: float = 0.0
    step: float = STEP_S
    credits: float = 0.0
    rows: float = 0.0

    def call_s(self, calls: float) -> float:
        return self.prices.assumed["handling_s"] + calls * self.prices.assumed["store_call_s"]

    def known(self, alerts: float) -> float:
        """Services that are among the first so many alerts; they come in any order."""
        share = min(alerts / self.alerts, 1.0)
        return self.services * (1.0 - float((1.0 - share) ** (self.alerts / self.services)))

    def among(self, alerts: float) -> float:
        """Different services among so many alerts of one batch."""
        missed = float((1.0 - 1.0 / self.services) ** max(alerts, 1.0))
        return self.services * (1.0 - missed) if self.services > 1 else 1.0


def simulate(alerts: float, services: float, setup: Setup, ratios: Ratios, prices: Prices,
             partition_rows: float, account_rows: float) -> Outcome:  # fmt: skip
    """Play a storm of ``alerts`` in `STORM_S` until everything is worked in and everybody is told."""
    share = setup.deployments
    storm = _Storm(alerts / share, max(services / share, 1.0), setup, ratios, prices, partition_rows, account_rows)
    outcome, now = Outcome(), 0.0
    arrived, told = [(0.0, 0.0)], [(0.0, 0.0)]
    while now < ENOUGH_S:
        storm.step = STEP_S if now < 2 * STORM_S else LATE_STEP_S
        now += storm.step
        storm.posted = storm.alerts * min(now / STORM_S, 1.0)
        storm.credits, storm.rows = setup.credits * storm.step, account_rows * storm.step
        for limit in dict.fromkeys((*_tell(storm), *_open(storm), *_signals(storm), *_edge(storm))):
            if not outcome.held_s:
                outcome.first = (limit, now)
            outcome.held_s[limit] += storm.step  # type: ignore[assignment]  # seconds
        outcome.waiting = max(outcome.waiting, storm.posted - storm.worked)
        arrived.append((storm.known(storm.posted), now))
        told.append((storm.told, now))
        if storm.worked >= storm.alerts - 0.5 and storm.told >= storm.services - 0.5 and not outcome.done_s:
            outcome.done_s = now
            break
    outcome.told_within_s = _longest(arrived, [one for one in told if one[0] <= storm.services - 0.5])
    return outcome


def _take(storm: _Storm, wanted: float, by: dict[str, float]) -> tuple[float, str]:
    """As much of what is wanted as every limit leaves; and which one left least, if what waits is worth naming."""
    name = min(by, key=lambda limit: by[limit])
    return min(by[name], wanted), name if wanted * storm.step > by[name] * WORTH_NAMING_S else ""


def _edge(storm: _Storm) -> Iterator[str]:
    """Webhooks: one row a POST, and one send for those that come within one turn of an instance."""
    setup, ratios = storm.setup, storm.ratios
    wanted = storm.posted - storm.taken
    if wanted <= 0:
        return
    rate = storm.alerts / STORM_S / setup.per_post
    used = min(setup.instances, max(1, math.ceil(rate / setup.rps)))
    turn_s = storm.prices.assumed["store_call_s"] + storm.prices.assumed["send_s"]
    together = min(MAX_CALLS, max(1.0, min(rate, used * setup.rps) / used * turn_s))
    per_message = min(together * setup.per_post, BATCH_BYTES / ratios.bytes_per_alert)
    rows = ratios.edge_rows / setup.per_post
    took, limit = _take(storm, wanted, {
        "instances of the edge": used * setup.rps * setup.per_post * storm.step,
        "Service Bus credits": storm.credits * per_message,
        "partitions of payloads": storm.partition_rows * PAYLOAD_SHARDS * storm.step / rows,
        "rows of the account": storm.rows / rows,
    })  # fmt: skip
    storm.taken += took
    storm.queued += took / per_message
    storm.credits -= took / per_message
    storm.rows -= took * rows
    if limit:
        yield limit


def _signals(storm: _Storm) -> Iterator[str]:
    """Batches of signals: a row for each alert, two for each service of a batch, a message for what is new."""
    ratios = storm.ratios
    wanted = storm.taken - storm.worked
    if wanted <= 0 or storm.queued <= 0:
        return
    each = wanted / storm.queued
    used = min(storm.setup.instances, max(1, math.ceil(storm.queued / storm.setup.batch)))
    batch = min(wanted / used, storm.setup.batch * each)
    services = storm.among(batch)
    rows = ratios.signals_rows + ratios.signals_rows_service * services / batch
    took, limit = _take(storm, wanted, {
        "instances of signals": used * batch / storm.call_s(ratios.signals_calls * services) * storm.step,
        "Service Bus credits": storm.credits * each,
        "partitions of alerts": storm.partition_rows * INDEX_SHARDS * storm.step / ratios.signals_rows,
        "rows of the account": storm.rows / rows,
    })  # fmt: skip
    before = storm.known(storm.worked)
    storm.worked += took
    storm.queued -= took / each
    storm.credits -= took / each
    storm.rows -= took * rows
    new = storm.known(storm.worked) - before
    known = max(services * took / batch - new, 0.0)
    storm.opens += new
    listening = storm.known(storm.worked)
    every = JOIN_EVERY_S if storm.worked < CROWD * listening else CROWD_EVERY_S
    joins = min(known, listening / every * storm.step)
    storm.joins += joins
    storm.credits -= new + joins * ratios.join_messages
    if limit:
        yield limit


def _open(storm: _Storm) -> Iterator[str]:
    """Batches of incidents: one commit for each, new ones and old ones in the order they come."""
    ratios, wanted = storm.ratios, storm.opens + storm.joins
    if wanted <= 1e-9:
        return
    new = storm.opens / wanted
    calls = new * ratios.open_calls + (1 - new) * ratios.join_calls
    rows = new * ratios.open_rows + (1 - new) * ratios.join_rows
    messages = 2 * new + (1 - new) * ratios.join_messages  # received; and sent, to tell people
    used = min(storm.setup.instances, max(1, math.ceil(wanted / storm.setup.batch)))
    batch = min(wanted / used, storm.setup.batch)
    took, limit = _take(storm, wanted, {
        "instances of incidents": used * max(batch, 1e-9) / storm.call_s(calls * batch) * storm.step,
        "Service Bus credits": max(storm.credits, 0.0) / messages,
        "rows of the account": max(storm.rows, 0.0) / rows,
    })  # fmt: skip
    storm.opens -= took * new
    storm.joins -= took * (1 - new)
    storm.notices += took * new
    storm.opened += took * new
    storm.credits -= took * messages
    storm.rows -= took * rows
    if limit:
        yield limit


def _tell(storm: _Storm) -> Iterator[str]:
    """First notifications, one for each new incident."""
    ratios, wanted = storm.ratios, storm.notices
    if wanted <= 1e-9:
        return
    used = min(storm.setup.instances, max(1, math.ceil(wanted / AT_ONCE)))
    seconds = storm.call_s(ratios.told_calls) + storm.prices.assumed["effect_s"]
    took, limit = _take(storm, wanted, {
        "instances of notifications": used * AT_ONCE / seconds * storm.step,
        "Service Bus credits": storm.credits,
        "rows of the account": storm.rows / ratios.told_rows,
    })  # fmt: skip
    storm.notices -= took
    storm.told += took
    storm.credits -= took
    storm.rows -= took * ratios.told_rows
    if limit:
        yield limit


def _longest(arrived: list[tuple[float, float]], told: list[tuple[float, float]]) -> float:
    """The longest way, in time, from one curve to the other."""
    longest, i = 0.0, 0
    for services, at in told:
        while i + 1 < len(arrived) and arrived[i][0] < services - 1e-6:
            i += 1
        longest = max(longest, at - arrived[i][1])
    return longest
