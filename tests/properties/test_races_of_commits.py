"""Two hosts at once on one store: commits, effects, sweeps, releases and votes, in every order that matters."""

from __future__ import annotations

from datetime import timedelta

from shared.agents.remediator import solicitor
from shared.model.approval import Choice, Decision, Verdict, Vote
from shared.model.errors import TransientError
from shared.model.event import (
    ClosingKind,
    ClosingRequested,
    IncidentAcknowledged,
    IncidentAssigned,
    InvestigationRequested,
    TicketUpdateRequested,
    UpdateKind,
)
from shared.model.notice import Notice, NoticeKind
from shared.model.pipeline import Queue
from shared.model.signal import Severity
from shared.records import approvals, incidents, journal, knowledge, letters
from tests.properties.ending import assert_whole, incidents_of
from tests.properties.hosts import Hosts
from tests.properties.interleaving import Work
from tests.properties.racing import (
    A,
    B,
    delivery,
    everything_is_in_one_live_incident,
    opened,
    race,
    said,
    sweeping,
)
from tests.properties.test_chronicler import closed_twice


class TestCommits:
    def test_H6_two_hops_commit_on_one_incident(self) -> None:
        def prepare(world: Hosts) -> None:
            opened(world)
            said(world, IncidentAcknowledged("olga"), IncidentAssigned("olga", "ben"), queue=Queue.INCIDENTS)

        def check(world: Hosts) -> None:
            world.settle()
            world.pass_time(timedelta(minutes=2))
            assert_whole(world)
            (incident,) = incidents_of(world)
            assert (incident.acknowledged_by, incident.assignee) == ("olga", "ben")

        race(prepare, delivery(Queue.INCIDENTS, 0, A), delivery(Queue.INCIDENTS, 1, B), check)

    def test_H6_two_alerts_join_one_incident(self) -> None:
        def prepare(world: Hosts) -> None:
            opened(world)
            world.bus.kept.add(Queue.INCIDENTS)
            world.fires("Latency", severity=Severity.SEV1)
            world.fires("Saturation")
            world.settle()

        def check(world: Hosts) -> None:
            everything_is_in_one_live_incident("HighErrorRatio", "Latency", "Saturation")(world)
            (incident,) = incidents_of(world)
            assert (incident.alert_count, incident.severity) == (3, Severity.SEV1)

        race(prepare, delivery(Queue.INCIDENTS, 0, A), delivery(Queue.INCIDENTS, 1, B), check)

    def test_H2_H6_one_event_on_two_hosts_has_one_effect(self) -> None:
        def prepare(world: Hosts) -> None:
            opened(world)
            said(world, TicketUpdateRequested(UpdateKind.NOTE, "hello"), queue=Queue.TICKET_UPDATES)

        def check(world: Hosts) -> None:
            world.settle()
            world.pass_time(timedelta(minutes=3))
            assert_whole(world)
            assert [text for _, text in world.desk.notes].count("hello") == 1

        race(prepare, delivery(Queue.TICKET_UPDATES, 0, A), delivery(Queue.TICKET_UPDATES, 0, B), check)

    def test_H1_an_action_meets_the_end_of_its_incident(self) -> None:
        """Done or skipped, and the incident says which; never done by an incident that says it was not."""

        def prepare(world: Hosts) -> None:
            opened(world)
            world.bus.kept.add(Queue.ACTIONS)
            world.vote()
            world.settle()
            said(world, ClosingRequested(ClosingKind.MANUAL, "olga", "seen"), queue=Queue.CLOSING)

        def check(world: Hosts) -> None:
            world.settle()
            world.pass_time(timedelta(minutes=3))
            assert_whole(world)
            (incident,) = incidents_of(world)
            assert incident.over
            assert len(world.workload.runs) == len([r for r in incident.actions if r.state == "done"])

        race(prepare, delivery(Queue.ACTIONS, 0, A), delivery(Queue.CLOSING, 0, B), check)

    def test_D4_one_action_on_two_hosts_runs_once(self) -> None:
        def prepare(world: Hosts) -> None:
            opened(world)
            world.bus.kept.add(Queue.ACTIONS)
            world.vote()
            world.settle()

        def check(world: Hosts) -> None:
            world.settle()
            world.pass_time(timedelta(minutes=5))
            assert_whole(world)
            assert len(world.workload.runs) == 1

        race(prepare, delivery(Queue.ACTIONS, 0, A), delivery(Queue.ACTIONS, 0, B), check)

    def test_two_incidents_teach_one_runbook_at_once(self) -> None:
        def prepare(world: Hosts) -> None:
            world.bus.kept.add(Queue.KNOWLEDGE)
            closed_twice(world)

        def check(world: Hosts) -> None:
            world.settle()
            assert_whole(world)
            (learned,) = knowledge.runbooks(world.inner, "shop")
            assert sorted(learned.incidents) == sorted(world.ids())

        race(prepare, delivery(Queue.KNOWLEDGE, 0, A), delivery(Queue.KNOWLEDGE, 1, B), check)

    def test_two_investigations_ask_one_question(self) -> None:
        def prepare(world: Hosts) -> None:
            world.bus.kept.add(Queue.APPROVALS)
            world.bus.kept.add(Queue.ENRICHMENT)
            opened(world)
            world.say(InvestigationRequested("olga"), world.ids()[0])
            world.settle()
            for _, message in world.waiting(Queue.ENRICHMENT):
                world.take(Queue.ENRICHMENT, message, A, ())
            world.bus.kept.discard(Queue.ENRICHMENT)

        def check(world: Hosts) -> None:
            world.settle()
            world.pass_time(timedelta(minutes=3))
            assert_whole(world)
            assert [str(notice.kind) for _, notice, _ in world.chat.posts].count("approval") == 1

        race(prepare, delivery(Queue.APPROVALS, 0, A), delivery(Queue.APPROVALS, 1, B), check)


class TestSweepAndRelease:
    @staticmethod
    def held(world: Hosts) -> None:
        """A note that is on hold and due."""
        opened(world)
        world.configure(policy={"hold": ["ticket_updater"], "hold_s": 60})
        world.say(TicketUpdateRequested(UpdateKind.NOTE, "hello"), world.ids()[0])
        world.pass_time(timedelta(seconds=30))
        world.configure(policy={})
        world.clock[0] += timedelta(minutes=2)

    @staticmethod
    def noted_once(world: Hosts) -> None:
        world.settle()
        world.pass_time(timedelta(minutes=3))
        assert_whole(world)
        assert [text for _, text in world.desk.notes].count("hello") == 1

    @staticmethod
    def by_a_person(world: Hosts) -> None:
        """What `argus release` does."""
        for held in incidents.held(world.store, world.ids()[0]):
            event = journal.release(world.store, held, "olga", world.now)
            if event is not None:
                letters.send(world.store, world.bus, event)

    def test_H9_the_timer_and_a_person_release_at_once(self) -> None:
        race(self.held, sweeping(A), self.by_a_person, self.noted_once)

    def test_H8_H9_two_sweeps_at_once(self) -> None:
        race(self.held, sweeping(A), sweeping(B), self.noted_once)

    def test_H8_two_sweeps_send_what_was_left(self) -> None:
        def prepare(world: Hosts) -> None:
            opened(world)
            world.bus.down = True
            world.say(IncidentAcknowledged("olga"), world.ids()[0])
            world.take(Queue.INCIDENTS, world.waiting(Queue.INCIDENTS)[0][1], A, ())
            world.bus.down = False
            world.clock[0] += timedelta(minutes=2)
            assert world.rows(incidents.OUTBOX)

        def check(world: Hosts) -> None:
            world.settle()
            world.pass_time(timedelta(minutes=2))
            assert_whole(world)
            assert [text for _, text in world.desk.notes].count("Acknowledged by olga.") == 1

        race(prepare, sweeping(A), sweeping(B), check)

    def test_H7_the_sweep_meets_the_hop_that_consumes(self) -> None:
        def prepare(world: Hosts) -> None:
            world.bus.kept.add(Queue.TICKETS)
            world.fires()
            world.pass_time(timedelta(seconds=20))
            world.clock[0] += timedelta(minutes=2)

        def check(world: Hosts) -> None:
            world.settle()
            world.pass_time(timedelta(minutes=3))
            assert_whole(world)
            assert len(world.desk.tickets) == 1

        race(prepare, delivery(Queue.TICKETS, 0, A), sweeping(B), check)

    def test_H9_M3_an_older_copy_is_held_while_the_newer_is_released(self) -> None:
        def prepare(world: Hosts) -> None:
            opened(world)
            world.desk.failures = [TransientError("busy", retry_after=timedelta(seconds=20), sent=False)]
            world.bus.kept.add(Queue.TICKET_UPDATES)
            world.say(TicketUpdateRequested(UpdateKind.NOTE, "hello"), world.ids()[0])
            ((_, first),) = world.waiting(Queue.TICKET_UPDATES)
            world.take(Queue.TICKET_UPDATES, first, A, ())
            ((_, second),) = world.waiting(Queue.TICKET_UPDATES)
            world.configure(policy={"hold": ["ticket_updater"], "hold_s": 3600})
            world.clock[0] += timedelta(seconds=30)
            world.take(Queue.TICKET_UPDATES, second, A, ())
            world.bus.put(Queue.TICKET_UPDATES, first)
            world.bus.entries.append(world.entry(Queue.TICKET_UPDATES, first))

        def check(world: Hosts) -> None:
            world.pass_time(timedelta(seconds=30))
            world.configure(policy={})
            self.by_a_person(world)
            self.noted_once(world)

        race(prepare, delivery(Queue.TICKET_UPDATES, 0, A), self.by_a_person, check)


def as_notice(decision: Decision) -> Notice:
    """What a person who looked at this moment was told."""
    return Notice(
        NoticeKind.DECIDED, str(decision.verdict), ", ".join(decision.by), Severity.SEV3, decision.approval_id
    )


class TestVotes:
    """At the deadline: what was stored before it counts, whoever looks first, and there is one decision."""

    @staticmethod
    def asked(world: Hosts) -> None:
        opened(world)
        request = world.request()
        world.clock[0] = request.deadline + timedelta(seconds=1)

    @staticmethod
    def looks(world: Hosts) -> None:
        solicitor.look(world.store, world.request().id, timedelta(minutes=1), world.now)

    @staticmethod
    def votes(user: str, choice: Choice) -> Work:
        def work(world: Hosts) -> None:
            request = world.request()
            at = request.deadline - timedelta(seconds=1)
            approvals.vote(world.store, request.id, Vote(user, choice, at, request.plan_hash))

        return work

    def test_D1_two_orchestrations_at_the_deadline_write_one_decision(self) -> None:
        def check(world: Hosts) -> None:
            decision = approvals.decision_of(world.inner, world.request().id)
            assert decision is not None
            assert decision.verdict is Verdict.EXPIRED
            world.settle()

        race(self.asked, self.looks, self.looks, check)

    def test_D1_two_votes_at_once_are_both_kept_and_a_no_stands(self) -> None:
        def check(world: Hosts) -> None:
            votes = approvals.votes_of(world.inner, world.request().id)
            assert [vote.user for vote in votes] == ["ben", "olga"]
            self.looks(world)
            decision = approvals.decision_of(world.inner, world.request().id)
            assert decision is not None
            assert decision.verdict is Verdict.REJECTED

        race(self.asked, self.votes("olga", Choice.APPROVE), self.votes("ben", Choice.REJECT), check)

    def test_D1_a_vote_meets_the_orchestration_and_there_is_one_decision(self) -> None:
        """One host has read the votes and is about to write; the other one gets a vote more, and writes first."""

        def votes_and_looks(world: Hosts) -> None:
            self.votes("olga", Choice.APPROVE)(world)
            self.looks(world)
            decision = approvals.decision_of(world.store, world.request().id)
            assert decision is not None
            world.chat.posts.append(("decided", as_notice(decision), True))

        def check(world: Hosts) -> None:
            ((_, shown, _),) = [post for post in world.chat.posts if post[0] == "decided"]
            final = approvals.decision_of(world.inner, world.request().id)
            assert final is not None
            assert shown == as_notice(final)

        race(self.asked, self.looks, votes_and_looks, check)

    def test_D3_the_hop_of_a_vote_meets_the_end_of_the_wait(self) -> None:
        """Both see the same vote: there is one decision, carried on once, and one action."""

        def prepare(world: Hosts) -> None:
            opened(world)
            world.bus.kept.add(Queue.DECISIONS)
            world.vote()
            request = world.request()
            decided = solicitor.decided_event(request.id, request.incident_id, world.now)
            letters.send(world.store, world.bus, decided)  # what the wait's last activity does, where its hop begins

        def ends(world: Hosts) -> None:
            self.looks(world)
            delivery(Queue.DECISIONS, 1, B)(world)

        def check(world: Hosts) -> None:
            world.settle()
            world.pass_time(timedelta(minutes=3))
            (incident,) = incidents_of(world)
            assert incident.approval is not None
            assert incident.approval.verdict is Verdict.APPROVED
            assert [result.state for result in incident.actions] == ["done"]
            assert len(world.workload.runs) == 1
            told = [line.what for line in world.timeline()]
            assert sum(line.startswith("approved: ") for line in told) == 1
            assert told.count("olga voted to approve") == 1

        race(prepare, delivery(Queue.DECISIONS, 0, A), ends, check)

    def test_D3_a_decision_meets_the_end_of_its_incident(self) -> None:
        def prepare(world: Hosts) -> None:
            opened(world)
            world.vote(told=False)
            request = world.request()
            solicitor.look(world.store, request.id, timedelta(minutes=1), world.now)
            world.bus.kept.add(Queue.DECISIONS)
            event = solicitor.decided_event(request.id, request.incident_id, world.now)
            letters.send(world.store, world.bus, event)
            said(world, ClosingRequested(ClosingKind.MANUAL, "olga", "seen"), queue=Queue.CLOSING)

        def check(world: Hosts) -> None:
            world.settle()
            world.pass_time(timedelta(minutes=3))
            assert_whole(world)
            (incident,) = incidents_of(world)
            assert incident.over
            assert incident.approval is not None
            assert incident.approval.verdict is Verdict.APPROVED
            assert len(world.workload.runs) == len([r for r in incident.actions if r.state == "done"])

        race(prepare, delivery(Queue.DECISIONS, 0, A), delivery(Queue.CLOSING, 0, B), check)
