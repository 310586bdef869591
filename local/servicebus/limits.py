"""Azure's limits (Standard tier) and the AMQP sizes the broker announces.

In: nothing. Out: constants, each with its source.
"""

# learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas, "Maximum message size: 256 KB (Standard)"
MAX_MESSAGE_BYTES = 256 * 1024
# the same page, "Message ID": 128 characters
MAX_MESSAGE_ID_CHARS = 128
# the same page, "Maximum length of a queue name": 260 characters
MAX_QUEUE_NAME_CHARS = 260
# learn.microsoft.com/azure/service-bus-messaging/message-transfers-locks-settlement: 5 seconds to 5 minutes, default 1
MIN_LOCK_S = 5
MAX_LOCK_S = 300
DEFAULT_LOCK_S = 60
# learn.microsoft.com/azure/service-bus-messaging/service-bus-dead-letter-queues: default 10; ARM accepts 1 to 2000
MIN_DELIVERY_COUNT = 1
MAX_DELIVERY_COUNT = 2000
DEFAULT_DELIVERY_COUNT = 10
# learn.microsoft.com/azure/service-bus-messaging/duplicate-detection: 20 seconds to 7 days, default 10 minutes
MIN_DEDUP_WINDOW_S = 20
MAX_DEDUP_WINDOW_S = 7 * 24 * 3600
DEFAULT_DEDUP_WINDOW_S = 600
# learn.microsoft.com/azure/service-bus-messaging/message-expiration: one second is the shortest time to live
MIN_TTL_S = 1

# Our own choices, within what AMQP 1.0 allows (docs.oasis-open.org/amqp/core/v1.0/os, part 2).
MAX_FRAME_BYTES = 64 * 1024
MIN_MAX_FRAME_BYTES = 512
CHANNEL_MAX = 4999
HANDLE_MAX = 255
SESSION_WINDOW_FRAMES = 65_536
LINK_CREDIT = 1000
# Azure announces four minutes; a silent peer is dropped after twice that, as AMQP 2.4.5 recommends.
IDLE_TIMEOUT_MS = 240_000
# A peer that never settles its requests' replies may not make us keep more than this for it.
MAX_PENDING_REPLIES = 1000
# Azure answers a peek with fewer messages than asked for when they are many or large; where exactly is our choice.
MAX_PEEKED_MESSAGES = 250
MAX_PEEKED_BYTES = 1024 * 1024
# What a queue has in memory; the messages behind are read from its file when their turn comes. Azure keeps up to 80 GB.
MAX_HELD_BYTES = 1024 * 1024
