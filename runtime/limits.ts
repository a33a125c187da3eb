/**
 * Every bound of the runtime: name, unit, reason, and what happens at it. Invariant: a round with its framing fits the
 * server's largest message; a largest event fits a round.
 */

/** Inputs in one round at most. Further ones wait in their mailboxes for the next round. */
export const ROUND_MAX_INPUTS = 1_024;
/** Bytes of inputs in one round at most: well under the server's 1 MiB message. Further ones wait. */
export const ROUND_MAX_BYTES = 512 * 1_024;
/** Largest encoded message to an actor, in bytes. Larger ones are refused at the sender and at the node. */
export const MAX_MESSAGE_BYTES = 256 * 1_024;
/** What an envelope adds to its event, in bytes at most: two names, a few numbers, and a longest call chain. */
export const MAX_ENVELOPE_BYTES = 6 * 1_024;
/** Longest name of who gave a command, and longest reason, in characters: both stand in the journal and beside the dead letter. */
export const MAX_BY_LENGTH = 200;
export const MAX_WHY_LENGTH = 1_000;
/** Largest state that a fail-over hands to the standby, in bytes: it lies in the outbox beside a largest state. A larger one is to be queried. */
export const MAX_TAKEOVER_STATE_BYTES = 64 * 1_024;
/** Calls inside calls at most, from invocation to invocation: deeper ones are a recursion without end, and are refused. */
export const MAX_CALL_CHAIN = 16;
/** Longest name of a sender, in characters: `kind/id` with room. It is kept for each sender. */
export const MAX_SENDER_LENGTH = 256;
/** Longest cause of a poison message that is kept, in characters: it stands in the journal beside the message. */
export const MAX_CAUSE_LENGTH = 2_000;
/** Largest encoded state of one actor, in bytes, with its timers, outbox and kept replies: it must fit one snapshot message. The input that exceeds it is refused. */
export const MAX_STATE_BYTES = 512 * 1_024;
/** Deepest nesting of a payload or context. Deeper ones (and cycles) are refused. */
export const MAX_DEPTH = 64;
/** Messages waiting in one mailbox at most. At it: busy, try again. */
export const MAILBOX_LIMIT = 4_096;
/** Bytes waiting in all mailboxes of a node at most, {@link LETTER_BYTES} for each message included. At it: busy, try again. */
export const NODE_QUEUE_BYTES = 64 * 1_024 * 1_024;
/** What a waiting message takes beside its body, in bytes: its objects and its way back. Small messages are mostly that. */
export const LETTER_BYTES = 512;
/** A waiting message is served as if one lane higher for each such span it has waited, in ms: nothing waits for ever. */
export const LANE_AGEING_MS = 1_000;

/** An append unanswered for this long is looked up in the journal, in ms. */
export const APPEND_TIMEOUT_MS = 2_000;
/** Calls that one client has in flight at most; further ones are refused with busy. */
export const CLIENT_MAX_IN_FLIGHT = 10_000;
/** Deadline of a call that names none, in ms. */
export const DEFAULT_DEADLINE_MS = 10_000;
/** Longest deadline, in ms: a receiver remembers replies no longer than this. */
export const MAX_DEADLINE_MS = 120_000;
/** How long one attempt of a call waits before the same id is sent again, in ms. */
export const ATTEMPT_TIMEOUT_MS = 1_000;
/** First pause before a repeated attempt, in ms; doubles up to {@link RETRY_MAX_MS}, with jitter. */
export const RETRY_MIN_MS = 10;
export const RETRY_MAX_MS = 1_000;

/** Longest pause of a call that met a busy or missing owner, in ms: fail-over is over soon, and callers wait for it. */
export const CALL_RETRY_MAX_MS = 200;
/** A node that is stopped gives its shards away within this, in ms; then it leaves and the others take over. */
export const STOP_DEADLINE_MS = 15_000;

/** Senders that one actor remembers for duplicate detection. At it the longest silent is forgotten, if silent for {@link SENDER_HORIZON_MS}; else busy. */
export const MAX_SENDERS = 4_096;
/** Bytes of the names of those senders: beside a largest state they still fit its snapshot. At it as at {@link MAX_SENDERS}. */
export const MAX_SENDER_BYTES = 256 * 1_024;
/** A sender silent for this long has no message under way, in ms of input time: beyond the longest deadline. */
export const SENDER_HORIZON_MS = 2 * MAX_DEADLINE_MS;
/** Replies kept per sender that it has not yet settled. At it: busy. */
export const MAX_UNSETTLED = 4_096;

/** Bytes of replies kept for unsettled calls of one actor. At it clients silent for {@link SENDER_HORIZON_MS} are forgotten; else busy. */
export const MAX_UNSETTLED_BYTES = 128 * 1_024;

/** Messages in one actor's outbox at most. The input that exceeds it is refused as poison. */
export const MAX_OUTBOX = 10_000;
/** Pending timers of one actor at most. The input that exceeds it is refused as poison. */
export const MAX_TIMERS = 1_024;
/** Longest timer, in ms: ten years, well within what a schedule can name. A longer one, or none at all, is refused as poison. */
export const MAX_TIMER_MS = 10 * 365 * 86_400_000;
/** Running invocations of one actor at most. The input that exceeds it is refused as poison. */
export const MAX_INVOCATIONS = 256;
/** A promise actor runs at most this long unless its kind says otherwise, in ms. */
export const DEFAULT_INVOCATION_DEADLINE_MS = 300_000;

/** Inputs after which a dirty actor is snapshotted: bounds its replay and its memory of inputs. */
export const DEFAULT_SNAPSHOT_EVERY = 2_000;
/** Age at which a dirty actor is snapshotted, in ms: bounds how far a recovery reads back. */
export const SNAPSHOT_AFTER_MS = 5_000;
/** Snapshots under way at most: they share the server with the journal. Further ones wait for room. */
export const MAX_SNAPSHOTS_IN_FLIGHT = 32;
/** Pause between checkpoints, in ms. */
export const CHECKPOINT_EVERY_MS = 2_000;
/** Bytes of inputs an actor collects for its history before it is snapshotted early. */
export const HISTORY_CHUNK_BYTES = 128 * 1_024;
/** Bytes of inputs of one actor that no snapshot covers. At it, because snapshots fail or lag: busy. */
export const MAX_UNCOVERED_BYTES = 16 * HISTORY_CHUNK_BYTES;
/**
 * Bytes of inputs of all actors of a node that no snapshot covers: beyond what {@link SNAPSHOT_AFTER_MS} of full load leave, and
 * 32 nodes of it fit the journal's stream. At it, because snapshots fail or lag: busy, and snapshots are taken at any age.
 */
export const MAX_NODE_UNCOVERED_BYTES = 256 * 1_024 * 1_024;
/** Days that inputs stay in the history unless the kind says otherwise. */
export const DEFAULT_HISTORY_DAYS = 30;
/** Idle time after which an actor leaves memory unless its kind says otherwise, in ms. */
export const DEFAULT_PASSIVATE_AFTER_MS = 60_000;
/** Activations in memory at most. At it idle ones leave early; with none idle, new ones are refused with busy. */
export const MAX_ACTIVATIONS = 50_000;
/** Watchers of one actor at most. At it: busy. */
export const MAX_WATCHERS = 256;
/** A watcher that did not renew for this long is dropped, in ms. It renews at a third of it. */
export const WATCH_TTL_MS = 6_000;

/** Pause between two renewals of a node's lease, in ms. */
export const LEASE_RENEW_MS = 200;
/**
 * A node is silent, and its journal is sealed, when so many of an observer's own renewals came by since its last one: 1.2 to 1.4 s.
 * Fewer would end healthy nodes that a loaded host stalls; more would keep callers of a frozen node waiting past 2 s.
 */
export const LEASE_MISSED_RENEWALS = 7;
/** A node stops acting when its lease was not renewed for this long by its own monotonic clock, in ms: before others start. */
export const LEASE_SELF_FENCE_MS = (LEASE_MISSED_RENEWALS - 1) * LEASE_RENEW_MS - 50;
/** A renewal unanswered for this long is given up, in ms: the next one finds out. */
export const LEASE_RENEW_TIMEOUT_MS = 2 * LEASE_RENEW_MS;
/**
 * When the lease of a node ends that no other node has found silent, in whole seconds, as the server's TTL wants: beyond the
 * election of a replicated stream's leader, so that a loss of a NATS server ends no healthy node.
 */
export const LEASE_TTL_S = 30;
/**
 * How often the server tells a reader of who is there and who owns what that there is no news, in ms: one that lost its place, with the
 * server that kept it, finds out within 1.3 to 2.5 s, instead of 5 to 10.
 */
export const CLUSTER_HEARTBEAT_MS = 500;
/** How long a node whose connection ended may take to come back, in ms: its client library reconnects at once, a loaded host takes its time. */
export const DISCONNECT_GRACE_MS = 100;

/** Actors of other nodes that a standby has shadows of at most: half as many as may be its own. At it a shard goes without. */
export const STANDBY_MAX_ACTORS = MAX_ACTIVATIONS / 2;
/** Bytes of inputs that its shadows hold at most, of which no snapshot is known that covers them. At it a shard goes without. */
export const STANDBY_MAX_BYTES = 64 * 1_024 * 1_024;
/** Shards that went without are followed again after this, in ms. */
export const STANDBY_RETRY_MS = 30_000;
/** Age at which a shadow begins anew on the stored state, in ms: by then its owner has stored it, so most have been let go. */
export const SHADOW_RENEW_MS = 2 * SNAPSHOT_AFTER_MS;
/**
 * A shadow of a stored state older than this is not used, in ms: its outbox names what was acknowledged since, which may be sent
 * again only while receivers ({@link SENDER_HORIZON_MS}) and streams (120 s) know repetitions.
 */
export const SHADOW_STALE_MS = 2 * SHADOW_RENEW_MS;

/** Journal messages read a page in recovery: bounds its memory. */
export const RECOVERY_PAGE = 256;
/** Actors named in one answer of a listing. */
export const LIST_LIMIT = 10_000;
/** Of these one node names so many, those in its memory: with the longest ids they still fit the server's message of 1 MiB. The others are found where they are stored. */
export const NODE_LIST_LIMIT = 7_500;
/** Actors changed since their last snapshot that one node names, latest first: with their times they still fit. Others follow with their snapshot, in seconds. */
export const CHANGED_LIST_LIMIT = 5_000;
/** Shards of a cluster at most: the numbered ones, and one for each host and kind that lives by its host. At it no further host is taken: busy. */
export const MAX_OWN_SHARDS = 4_096;
