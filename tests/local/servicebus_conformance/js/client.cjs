// Microsoft's JavaScript SDK against the local broker: each check has a queue of its own.
//
// In: the environment's CONNECTION_STRING and WRONG_CONNECTION_STRING; "--queues" only prints the queues needed.
// Out: one JSON line per check: name, ok, seconds, text.
"use strict";

const assert = require("node:assert/strict");
const { ServiceBusClient } = require("@azure/service-bus");

const WAIT_MS = 15000;
const delay = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
// Everything that is refused must be refused soon, so nothing is tried twice.
const OPTIONS = { retryOptions: { maxRetries: 0, timeoutInMs: 30000 } };

async function received(receiver, count) {
  const found = [];
  while (found.length < count) {
    const some = await receiver.receiveMessages(count - found.length, { maxWaitTimeInMs: WAIT_MS });
    assert.ok(some.length > 0, `only ${found.length} of ${count} messages came`);
    found.push(...some);
  }
  return found;
}

async function refused(promise, code) {
  await assert.rejects(promise, (error) => {
    assert.equal(error.code, code, String(error));
    return true;
  });
}

const bodies = (messages) => messages.map((message) => message.body);
const numbers = (messages) => messages.map((message) => message.sequenceNumber.toNumber());

async function completed(receiver, messages) {
  for (const message of messages) await receiver.completeMessage(message);
}

const CHECKS = [
  {
    name: "send-single-and-complete",
    run: async ({ sender, receiver }) => {
      await sender.sendMessages({
        body: { hello: "world" },
        messageId: "id-1",
        subject: "opened",
        correlationId: "c",
        contentType: "application/json",
        replyTo: "there",
        timeToLive: 300000,
        applicationProperties: { attempt: 3, who: "client", ok: true, half: 0.5 },
      });
      const [got] = await received(receiver, 1);
      assert.deepEqual(got.body, { hello: "world" });
      assert.deepEqual(
        [got.messageId, got.subject, got.correlationId, got.contentType, got.replyTo, got.timeToLive],
        ["id-1", "opened", "c", "application/json", "there", 300000],
      );
      assert.deepEqual(got.applicationProperties, { attempt: 3, who: "client", ok: true, half: 0.5 });
      assert.equal(got.deliveryCount, 0);
      assert.equal(got.state, "active");
      assert.ok(got.lockToken && got.lockedUntilUtc > new Date() && got.enqueuedTimeUtc <= new Date());
      await receiver.completeMessage(got);
      assert.deepEqual(await receiver.peekMessages(5), []);
    },
  },
  {
    name: "send-batch-and-list-in-order",
    run: async ({ sender, receiver }) => {
      const batch = await sender.createMessageBatch();
      for (let n = 0; n < 3; n++) assert.ok(batch.tryAddMessage({ body: `batch ${n}` }));
      await sender.sendMessages(batch);
      await sender.sendMessages([0, 1, 2].map((n) => ({ body: `list ${n}` })));
      const got = await received(receiver, 6);
      assert.deepEqual(bodies(got), ["batch 0", "batch 1", "batch 2", "list 0", "list 1", "list 2"]);
      await completed(receiver, got);
    },
  },
  {
    name: "large-message-in-many-frames",
    run: async ({ sender, receiver }) => {
      const body = Buffer.alloc(250 * 1024, 7);
      await sender.sendMessages({ body });
      const [got] = await received(receiver, 1);
      assert.ok(body.equals(got.body));
      await receiver.completeMessage(got);
    },
  },
  {
    name: "schedule-and-cancel",
    run: async ({ sender, receiver }) => {
      const at = new Date(Date.now() + 4000);
      const [first, second] = await sender.scheduleMessages([{ body: "kept" }, { body: "cancelled" }], at);
      assert.deepEqual((await receiver.peekMessages(5)).map((m) => m.state), ["scheduled", "scheduled"]);
      await sender.cancelScheduledMessages(second);
      await refused(sender.cancelScheduledMessages(second), "MessageNotFound");
      const got = await received(receiver, 1);
      assert.deepEqual(bodies(got), ["kept"]);
      assert.ok(Date.now() >= at.getTime(), "it came before its time");
      assert.ok(got[0].enqueuedSequenceNumber === first.toNumber() || first.eq(got[0].enqueuedSequenceNumber));
      await completed(receiver, got);
      assert.deepEqual(await receiver.peekMessages(5), []);
    },
  },
  {
    name: "abandon-counts-and-may-change-properties",
    run: async ({ sender, receiver }) => {
      await sender.sendMessages({ body: "again", applicationProperties: { kept: 1, changed: "old" } });
      const [first] = await received(receiver, 1);
      await receiver.abandonMessage(first, { changed: "new", added: 2 });
      const [second] = await received(receiver, 1);
      assert.equal(second.deliveryCount, 1);
      assert.deepEqual(second.applicationProperties, { kept: 1, changed: "new", added: 2 });
      await receiver.completeMessage(second);
    },
  },
  {
    name: "too-many-abandons-end-in-the-dead-letter-queue",
    queue: { max_delivery_count: 2 },
    run: async ({ sender, receiver, deadLetters }) => {
      await sender.sendMessages({ body: "hot" });
      for (let n = 0; n < 2; n++) await receiver.abandonMessage((await received(receiver, 1))[0]);
      const [dead] = await received(deadLetters, 1);
      assert.equal(dead.deadLetterReason, "MaxDeliveryCountExceeded");
      await deadLetters.completeMessage(dead);
    },
  },
  {
    name: "defer-and-receive-deferred",
    run: async ({ sender, receiver, client, queue }) => {
      await sender.sendMessages([{ body: "a" }, { body: "b" }]);
      const [a, b] = await received(receiver, 2);
      await receiver.deferMessage(a, { why: "later" });
      await receiver.deferMessage(b);
      assert.deepEqual(await receiver.receiveMessages(1, { maxWaitTimeInMs: 1500 }), []);
      assert.deepEqual((await receiver.peekMessages(5)).map((m) => m.state), ["deferred", "deferred"]);
      const again = await receiver.receiveDeferredMessages([a.sequenceNumber, b.sequenceNumber]);
      assert.deepEqual(bodies(again), ["a", "b"]);
      assert.deepEqual(again.map((m) => [m.state, m.deliveryCount]), [["deferred", 1], ["deferred", 1]]);
      assert.deepEqual(again[0].applicationProperties, { why: "later" });
      await refused(receiver.receiveDeferredMessages(a.sequenceNumber), "MessageNotFound"); // it is locked
      await receiver.completeMessage(again[0]);
      await receiver.abandonMessage(again[1]);
      await refused(receiver.receiveDeferredMessages(a.sequenceNumber), "MessageNotFound");
      const eager = client.createReceiver(queue, { receiveMode: "receiveAndDelete" });
      const [last] = await eager.receiveDeferredMessages(b.sequenceNumber);
      assert.deepEqual([last.body, last.deliveryCount], ["b", 2]);
      await eager.close();
      assert.deepEqual(await receiver.peekMessages(5, { fromSequenceNumber: a.sequenceNumber }), []);
    },
  },
  {
    name: "deferred-message-renewed-deferred-again-and-dead-lettered",
    queue: { lock_duration_s: 5 },
    run: async ({ sender, receiver, deadLetters }) => {
      await sender.sendMessages({ body: "x" });
      const [first] = await received(receiver, 1);
      await receiver.deferMessage(first);
      const [again] = await receiver.receiveDeferredMessages(first.sequenceNumber);
      assert.ok((await receiver.renewMessageLock(again)) > new Date(Date.now() + 4000));
      await receiver.deferMessage(again);
      const [third] = await receiver.receiveDeferredMessages(first.sequenceNumber);
      assert.equal(third.deliveryCount, 2);
      await receiver.deadLetterMessage(third, { deadLetterReason: "no", deadLetterErrorDescription: "never" });
      const [dead] = await received(deadLetters, 1);
      assert.deepEqual([dead.deadLetterReason, dead.deadLetterErrorDescription, dead.state], ["no", "never", "active"]);
      await deadLetters.completeMessage(dead);
    },
  },
  {
    name: "dead-letter-with-reason-and-receive-it",
    run: async ({ sender, receiver, deadLetters, queue }) => {
      await sender.sendMessages({ body: "poison" });
      const [got] = await received(receiver, 1);
      await receiver.deadLetterMessage(got, {
        deadLetterReason: "bug",
        deadLetterErrorDescription: "it has legs",
        legs: 6,
      });
      assert.deepEqual(bodies(await deadLetters.peekMessages(5)), ["poison"]);
      const [dead] = await received(deadLetters, 1);
      assert.deepEqual([dead.deadLetterReason, dead.deadLetterErrorDescription], ["bug", "it has legs"]);
      assert.equal(dead.applicationProperties.legs, 6);
      assert.equal(dead.deadLetterSource, queue);
      await deadLetters.deferMessage(dead);
      const [set] = await deadLetters.receiveDeferredMessages(dead.sequenceNumber);
      await deadLetters.completeMessage(set);
      assert.deepEqual(await deadLetters.peekMessages(5, { fromSequenceNumber: dead.sequenceNumber }), []);
    },
  },
  {
    name: "peek-in-order-without-locking",
    run: async ({ sender, receiver, client, queue }) => {
      await sender.sendMessages([0, 1, 2, 3].map((n) => ({ body: n })));
      await sender.scheduleMessages({ body: 4 }, new Date(Date.now() + 600000));
      const [locked, deferred] = await received(receiver, 2);
      await receiver.deferMessage(deferred);
      const other = client.createReceiver(queue);
      const seen = [];
      for (let some; (some = await other.peekMessages(2)).length > 0; ) seen.push(...some);
      assert.deepEqual(bodies(seen), [0, 1, 2, 3, 4]);
      assert.deepEqual(numbers(seen), [1, 2, 3, 4, 5]);
      assert.deepEqual(seen.map((m) => m.state), ["active", "deferred", "active", "active", "scheduled"]);
      assert.deepEqual(bodies(await other.peekMessages(9, { fromSequenceNumber: seen[3].sequenceNumber })), [3, 4]);
      assert.deepEqual(bodies(await received(other, 2)), [2, 3]);
      await receiver.completeMessage(locked);
      await other.close();
    },
  },
  {
    name: "renew-lock",
    queue: { lock_duration_s: 5 },
    run: async ({ sender, receiver }) => {
      await sender.sendMessages({ body: "long work" });
      const [got] = await received(receiver, 1);
      await delay(3000);
      const until = await receiver.renewMessageLock(got);
      assert.ok(until > new Date(Date.now() + 4000));
      await delay(3000);
      await receiver.completeMessage(got);
    },
  },
  {
    name: "expired-lock-gives-the-message-back",
    queue: { lock_duration_s: 5 },
    run: async ({ sender, receiver, client, queue }) => {
      await sender.sendMessages({ body: "late" });
      const slow = client.createReceiver(queue, { maxAutoLockRenewalDurationInMs: 0 });
      const [late] = await received(slow, 1);
      await delay(5500);
      await refused(slow.completeMessage(late), "MessageLockLost");
      await slow.close();
      const [again] = await received(receiver, 1);
      assert.equal(again.deliveryCount, 1);
      await receiver.completeMessage(again);
    },
  },
  {
    name: "subscribe-streams-and-completes",
    run: async ({ sender, receiver }) => {
      const wanted = Array.from({ length: 60 }, (_, n) => n);
      await sender.sendMessages(wanted.slice(0, 30).map((body) => ({ body })));
      const seen = [];
      const failures = [];
      const subscription = receiver.subscribe(
        {
          processMessage: async (message) => seen.push(message.body),
          processError: async (args) => failures.push(args.error),
        },
        { maxConcurrentCalls: 5 },
      );
      await sender.sendMessages(wanted.slice(30).map((body) => ({ body })));
      for (let n = 0; n < 150 && seen.length < wanted.length; n++) await delay(100);
      await subscription.close();
      assert.deepEqual(failures, []);
      assert.deepEqual([...seen].sort((a, b) => a - b), wanted);
      assert.deepEqual(await receiver.peekMessages(5), []);
    },
  },
  {
    name: "subscribe-renews-locks-and-abandons-what-throws",
    queue: { lock_duration_s: 5 },
    run: async ({ sender, receiver }) => {
      await sender.sendMessages([{ body: "slow" }, { body: "throws once" }]);
      const counts = [];
      const failures = [];
      const subscription = receiver.subscribe(
        {
          processMessage: async (message) => {
            counts.push([message.body, message.deliveryCount]);
            if (message.body === "slow") await delay(8000);
            else if (message.deliveryCount === 0) throw new Error("not now");
          },
          processError: async (args) => failures.push(args.error.message),
        },
        { maxConcurrentCalls: 2, maxAutoLockRenewalDurationInMs: 20000 },
      );
      await delay(10000);
      await subscription.close();
      assert.deepEqual(failures, ["not now"]);
      assert.deepEqual([...counts].sort(), [["slow", 0], ["throws once", 0], ["throws once", 1]]);
      assert.deepEqual(await receiver.peekMessages(5), []);
    },
  },
  {
    name: "message-iterator",
    run: async ({ sender, receiver }) => {
      await sender.sendMessages([{ body: 1 }, { body: 2 }]);
      const seen = [];
      for await (const message of receiver.getMessageIterator()) {
        seen.push(message.body);
        await receiver.completeMessage(message);
        if (seen.length === 2) break;
      }
      assert.deepEqual(seen, [1, 2]);
    },
  },
  {
    name: "duplicate-detection",
    queue: { duplicate_detection_window_s: 600 },
    run: async ({ sender, receiver }) => {
      for (let n = 0; n < 2; n++) await sender.sendMessages({ body: "once", messageId: "same" });
      await sender.sendMessages([{ body: "once", messageId: "same" }, { body: "other", messageId: "new" }]);
      const got = await received(receiver, 2);
      assert.deepEqual(bodies(got), ["once", "other"]);
      await completed(receiver, got);
      assert.deepEqual(await receiver.peekMessages(5), []);
    },
  },
  {
    name: "receive-and-delete",
    run: async ({ sender, receiver, client, queue }) => {
      await sender.sendMessages([0, 1, 2, 3, 4].map((body) => ({ body })));
      const eager = client.createReceiver(queue, { receiveMode: "receiveAndDelete" });
      assert.deepEqual(bodies(await received(eager, 5)), [0, 1, 2, 3, 4]);
      await eager.close();
      assert.deepEqual(await receiver.peekMessages(5), []);
    },
  },
  {
    name: "expired-message-is-dead-lettered",
    queue: { dead_letter_on_expiration: true },
    run: async ({ sender, receiver, deadLetters }) => {
      await sender.sendMessages({ body: "stale", timeToLive: 1000 });
      await delay(1500);
      assert.deepEqual(await receiver.receiveMessages(1, { maxWaitTimeInMs: 1000 }), []);
      const [dead] = await received(deadLetters, 1);
      assert.equal(dead.deadLetterReason, "TTLExpiredException");
      await deadLetters.completeMessage(dead);
    },
  },
  {
    name: "settling-twice-is-refused",
    run: async ({ sender, receiver, client, queue }) => {
      await sender.sendMessages({ body: "once" });
      const [got] = await received(receiver, 1);
      await receiver.completeMessage(got);
      await assert.rejects(receiver.completeMessage(got));
      const other = client.createReceiver(queue);
      await refused(other.renewMessageLock(got), "MessageLockLost");
      await other.close();
    },
  },
  {
    name: "too-large-a-message-is-refused-and-the-link-lives",
    run: async ({ sender, receiver }) => {
      await refused(sender.sendMessages({ body: Buffer.alloc(256 * 1024) }), "MessageSizeExceeded");
      await sender.sendMessages({ body: "small" });
      await completed(receiver, await received(receiver, 1));
    },
  },
  {
    name: "wrong-key-is-refused",
    run: async ({ wrong, queue }) => {
      const sender = wrong.createSender(queue);
      await refused(sender.sendMessages({ body: "x" }), "UnauthorizedAccess");
      await sender.close();
    },
  },
  {
    name: "unknown-queue-is-refused",
    run: async ({ client }) => {
      await refused(client.createSender("nowhere").sendMessages({ body: "x" }), "MessagingEntityNotFound");
      await refused(client.createReceiver("nowhere").receiveMessages(1, { maxWaitTimeInMs: 2000 }), "MessagingEntityNotFound");
    },
  },
  {
    name: "session-is-refused",
    run: async ({ client, queue }) => {
      await assert.rejects(client.acceptSession(queue, "one"), { name: "ServiceBusError" });
    },
  },
];

async function checkOne(check, client, wrong) {
  const queue = check.name;
  const open = [
    client.createSender(queue),
    client.createReceiver(queue),
    client.createReceiver(queue, { subQueueType: "deadLetter" }),
  ];
  const [sender, receiver, deadLetters] = open;
  const started = Date.now();
  let text = "";
  try {
    await check.run({ sender, receiver, deadLetters, client, wrong, queue });
  } catch (error) {
    text = error.stack || String(error);
  }
  for (const handler of open) await handler.close().catch((error) => (text = text || `close: ${error}`));
  return { name: check.name, ok: text === "", seconds: (Date.now() - started) / 1000, text };
}

async function main() {
  if (process.argv.includes("--queues")) {
    const rest = { duplicate_detection_window_s: null };
    console.log(JSON.stringify(CHECKS.map((check) => ({ name: check.name, ...rest, ...check.queue }))));
    return;
  }
  const client = new ServiceBusClient(process.env.CONNECTION_STRING, OPTIONS);
  const wrong = new ServiceBusClient(process.env.WRONG_CONNECTION_STRING, OPTIONS);
  for (const check of CHECKS) console.log(JSON.stringify(await checkOne(check, client, wrong)));
  await wrong.close();
  await client.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
