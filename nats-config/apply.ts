/**
 * Brings a server's streams to their specification and reports what differs. Invariant: applying twice changes nothing
 * the second time, and nothing stored is ever deleted: what cannot change without that, or not at all, is reported.
 */
import { JetStreamApiError, type JetStreamManager, jetstreamManager, type StreamInfo } from "@nats-io/jetstream";
import { jserrors } from "@nats-io/jetstream/internal";
import { type NatsConnection, TimeoutError } from "nats";
import { changesOf, driftOf, type FieldDrift } from "./drift.ts";
import { ApplyTimeoutError, StreamRefusedError, SubjectTakenError } from "./errors.ts";
import type { StreamSpec } from "./streams.ts";
import { type Deadline, deadlineIn, pause } from "./wait.ts";

/** How long a cluster may take to elect its leaders, in ms: elections take 4 to 8 s, a cold start of three servers longer. */
export const APPLY_DEADLINE_MS = 30_000;
/** How long one request to JetStream may take, in ms. One lost with its server is asked again after it; all are idempotent. */
const REQUEST_TIMEOUT_MS = 5_000;
/** Pause between two tries, in ms. */
const RETRY_PAUSE_MS = 100;

/** Server errors that pass once a cluster has its leaders: incomplete, no peers, not active, unavailable, not leader, not enabled yet, offline. */
const TRANSIENT_CODES = new Set([10004, 10005, 10006, 10008, 10009, 10076, 10118]);
/** "Stream name already in use with a different configuration": somebody created it between our look and our request. */
const NAME_IN_USE = 10058;
const STREAM_NOT_FOUND = 10059;

export interface StreamReport {
  readonly stream: string;
  /** `updated`: every difference is gone. `drift`: some field stays as found; its entry says why in `kept`. */
  readonly action: "created" | "unchanged" | "updated" | "drift";
  /** What differed before this call. */
  readonly drift: readonly FieldDrift[];
}

export interface ApplyOptions {
  /** How long to wait for a leader, in ms. Default {@link APPLY_DEADLINE_MS}. */
  readonly deadlineMs?: number;
}

interface Session {
  readonly manager: JetStreamManager;
  readonly deadline: Deadline;
  readonly deadlineMs: number;
}

function isTransient(error: unknown): boolean {
  if (error instanceof JetStreamApiError) return TRANSIENT_CODES.has(error.code);
  return error instanceof jserrors.JetStreamNotEnabled || error instanceof TimeoutError;
}

async function persist<T>({ deadline, deadlineMs }: Session, stream: string, request: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await request();
    } catch (cause) {
      if (!isTransient(cause)) throw cause;
      if (deadline.expired) throw new ApplyTimeoutError(stream, deadlineMs, { cause });
      await pause(RETRY_PAUSE_MS);
    }
  }
}

async function find(session: Session, stream: string): Promise<StreamInfo | undefined> {
  try {
    return await persist(session, stream, () => session.manager.streams.info(stream));
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === STREAM_NOT_FOUND) return undefined;
    throw error;
  }
}

/** Undefined: done. A string: the server's reason to refuse. */
async function tryUpdate(session: Session, stream: string, drift: readonly FieldDrift[]): Promise<string | undefined> {
  try {
    await persist(session, stream, () => session.manager.streams.update(stream, changesOf(drift)));
    return undefined;
  } catch (error) {
    if (error instanceof JetStreamApiError) return error.message;
    throw error;
  }
}

/** One refused field must not hold back the others: after a refusal each goes alone, and again while one gets through. */
async function updateEach(
  session: Session,
  stream: string,
  drift: readonly FieldDrift[],
): Promise<Map<string, string>> {
  const refused = new Map<string, string>();
  let open = drift;
  for (let progress = true; progress && open.length > 0; ) {
    const left: FieldDrift[] = [];
    for (const entry of open) {
      const reason = await tryUpdate(session, stream, [entry]);
      if (reason === undefined) continue;
      refused.set(entry.field, reason);
      left.push(entry);
    }
    progress = left.length < open.length;
    open = left;
  }
  return new Map([...refused].filter(([field]) => open.some((entry) => entry.field === field)));
}

async function reconcile(session: Session, spec: StreamSpec, info: StreamInfo): Promise<StreamReport> {
  const drift = driftOf(spec, info);
  if (drift.length === 0) return { stream: spec.name, action: "unchanged", drift };
  const changeable = drift.filter((entry) => entry.kept === undefined);
  let refused = new Map<string, string>();
  if (changeable.length > 0 && (await tryUpdate(session, spec.name, changeable)) !== undefined) {
    refused = await updateEach(session, spec.name, changeable);
  }
  const report = drift.map((entry) => {
    const kept = entry.kept ?? refused.get(entry.field);
    return kept === undefined ? entry : { ...entry, kept };
  });
  return {
    stream: spec.name,
    action: report.some((entry) => entry.kept !== undefined) ? "drift" : "updated",
    drift: report,
  };
}

async function create(session: Session, spec: StreamSpec): Promise<StreamReport> {
  try {
    await persist(session, spec.name, () => session.manager.streams.add(spec));
    return { stream: spec.name, action: "created", drift: [] };
  } catch (cause) {
    if (!(cause instanceof JetStreamApiError)) throw cause;
    const info = cause.code === NAME_IN_USE ? await find(session, spec.name) : undefined;
    if (info !== undefined) return await reconcile(session, spec, info);
    throw new StreamRefusedError(spec.name, cause.message, { cause });
  }
}

/**
 * The server would refuse the streams one by one, after it had created others.
 * @throws {SubjectTakenError} A stream that is none of `specs` takes a subject that is to be new in one of them.
 */
async function checkSubjects(
  session: Session,
  specs: readonly StreamSpec[],
  infos: readonly (StreamInfo | undefined)[],
): Promise<void> {
  const ours = new Set(specs.map(({ name }) => name));
  const wanted = specs.flatMap(({ name, subjects }, index) =>
    subjects
      .filter((subject) => infos[index]?.config.subjects?.includes(subject) !== true)
      .map((subject) => ({ name, subject })),
  );
  await Promise.all(
    wanted.map(async ({ name, subject }) => {
      // The server names every stream that takes any of what the subject covers.
      const taking = await persist(session, name, () => session.manager.streams.names(subject).next());
      const owner = taking.find((stream) => !ours.has(stream));
      if (owner !== undefined) throw new SubjectTakenError(subject, name, owner);
    }),
  );
}

/**
 * Creates what is missing, updates what the server lets one change, and reports the rest, in the order of `specs`.
 * @throws {SubjectTakenError} Another cluster has subjects of ours. Nothing was created.
 * @throws {StreamRefusedError} A stream cannot be created as specified. Others may have been created.
 * @throws {ApplyTimeoutError} JetStream had no leader until the deadline. Applying again is safe.
 */
export async function applyStreams(
  connection: NatsConnection,
  specs: readonly StreamSpec[],
  options: ApplyOptions = {},
): Promise<StreamReport[]> {
  const deadlineMs = options.deadlineMs ?? APPLY_DEADLINE_MS;
  const manager = await jetstreamManager(connection, {
    checkAPI: false,
    timeout: Math.min(REQUEST_TIMEOUT_MS, deadlineMs),
  });
  const session: Session = { manager, deadlineMs, deadline: deadlineIn(deadlineMs) };
  const infos = await Promise.all(specs.map((spec) => find(session, spec.name)));
  await checkSubjects(session, specs, infos);
  const reports = new Map<number, StreamReport>();
  const each = (handle: (spec: StreamSpec, info: StreamInfo | undefined) => Promise<StreamReport> | undefined) =>
    Promise.all(
      specs.map(async (spec, index) => {
        const report = await handle(spec, infos[index]);
        if (report !== undefined) reports.set(index, report);
      }),
    );
  // Existing ones first: a subject that moves to a new stream must have left the old one.
  await each((spec, info) => (info === undefined ? undefined : reconcile(session, spec, info)));
  await each((spec, info) => (info === undefined ? create(session, spec) : undefined));
  return specs.flatMap((_, index) => reports.get(index) ?? []);
}
