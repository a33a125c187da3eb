/**
 * Actors of a kind, last changed first. Invariant: the cost goes with what is asked for, not with how many actors there are;
 * one that changes while somebody pages through moves to the front and is not named again further back.
 *
 * Snapshots lie in their stream in the order of the changes that they cover, so its end is read backwards. What changed after
 * its last snapshot, within seconds, the nodes know.
 */
import type { Names } from "../nats-config/subjects.ts";
import type { Activation } from "./activation.ts";
import type { ActorPage, RecentActor } from "./api.ts";
import { PayloadError } from "./errors.ts";
import { CHANGED_LIST_LIMIT } from "./limits.ts";
import type { Broker } from "./port.ts";

/** Snapshots in one window of the stream at most, as read for a listing: bounds its memory. At it the window is made smaller. */
const WINDOW_LIMIT = 256;
/** Sequences in the first window: no more than it may hold. It grows where few snapshots are of the kind. */
const FIRST_SPAN = WINDOW_LIMIT;
const SPAN_FACTOR = 4;
/** Snapshots in one read: what lies behind the window's end is read in vain. */
const READ_PAGE = 32;

/** Of one node: actors of a kind that no snapshot covers, each with the time of its last input. */
export interface ChangedActors {
  readonly node: string;
  readonly changed: readonly (readonly [id: string, timeMs: number])[];
}

/** What one node answers, of its live actors of a kind. */
export function changedActors(node: string, live: readonly Activation[]): ChangedActors {
  const changed = live
    .filter(({ uncovered }) => uncovered.length > 0)
    .map(({ address, state }) => [address.id, state.timeMs] as const)
    .sort(([, a], [, b]) => b - a);
  return { node, changed: changed.slice(0, CHANGED_LIST_LIMIT) };
}

export interface RecentDeps {
  readonly broker: Broker;
  readonly names: Names;
  readonly askChanged: (kind: string) => Promise<readonly ChangedActors[]>;
}

/** @throws {PayloadError} The cursor is none that this function gave. */
export async function recentActors(
  { broker, names, askChanged }: RecentDeps,
  kind: string,
  { limit, cursor }: ActorPage,
): Promise<RecentActor[]> {
  const from = readCursor(cursor);
  const changed = new Map(
    (await askChanged(kind)).flatMap(({ node, changed: rows }) =>
      rows.map(([id, timeMs]) => [id, { id, node, timeMs }]),
    ),
  );
  const actors: RecentActor[] = [];
  if (from.seq === null) {
    const rows = [...changed.values()]
      .sort(newerFirst)
      .filter((row) => from.row === null || newerFirst(from.row, row) < 0);
    for (const { id, node, timeMs } of rows.slice(0, limit))
      actors.push({ kind, id, node, cursor: `c${timeMs}:${id}` });
  }
  if (actors.length >= limit) return actors;
  for await (const { id, seq } of storedBefore(broker, names, kind, from.seq)) {
    if (changed.has(id)) continue;
    if (actors.push({ kind, id, node: null, cursor: `s${seq}` }) >= limit) break;
  }
  return actors;
}

interface Row {
  readonly id: string;
  readonly timeMs: number;
}

const newerFirst = (a: Row, b: Row): number => b.timeMs - a.timeMs || (a.id < b.id ? -1 : Number(a.id > b.id));

function readCursor(cursor: string | undefined): { readonly row: Row | null; readonly seq: number | null } {
  if (cursor === undefined) return { row: null, seq: null };
  const [, seq, timeMs, id] = /^(?:s(\d{1,15})|c(\d{1,15}):(.+))$/.exec(cursor) ?? [];
  if (seq !== undefined) return { row: null, seq: Number(seq) };
  if (timeMs !== undefined && id !== undefined) return { row: { id, timeMs: Number(timeMs) }, seq: null };
  throw new PayloadError(`The cursor ${JSON.stringify(cursor.slice(0, 80))} is none: send one that a page before gave`);
}

interface Stored {
  readonly id: string;
  readonly seq: number;
}

/** Snapshots of a kind below a sequence, newest first. */
async function* storedBefore(
  broker: Broker,
  names: Names,
  kind: string,
  before: number | null,
): AsyncGenerator<Stored> {
  const subject = names.snapshotsOfKind(kind);
  const last = before === null ? await broker.getLast(names.stream.snapshot, subject) : null;
  let high = before ?? (last === null ? 0 : last.seq + 1);
  for (let span = FIRST_SPAN; high > 1; ) {
    const low = Math.max(1, high - span);
    const found = await readWindow(broker, { stream: names.stream.snapshot, subject, low, high });
    if (found === null) {
      span = Math.ceil(span / SPAN_FACTOR);
      continue;
    }
    yield* found.reverse();
    high = low;
    if (found.length * SPAN_FACTOR < WINDOW_LIMIT) span *= SPAN_FACTOR;
  }
}

/** What lies in [low, high), oldest first; null: more than {@link WINDOW_LIMIT}. */
async function readWindow(
  broker: Broker,
  window: { readonly stream: string; readonly subject: string; readonly low: number; readonly high: number },
): Promise<Stored[] | null> {
  const { stream, subject, low, high } = window;
  const found: Stored[] = [];
  for (let fromSeq = low; fromSeq < high; ) {
    const limit = Math.min(READ_PAGE, high - fromSeq);
    const page = await broker.read(stream, { subject, fromSeq, limit });
    for (const { subject: on, seq, data } of page) {
      if (seq >= high) return found;
      if (data.length > 0) found.push({ id: on.slice(on.lastIndexOf(".") + 1), seq }); // else: a marker of one that is gone
      fromSeq = seq + 1;
    }
    if (found.length > WINDOW_LIMIT) return null;
    if (page.length < limit) break;
  }
  return found;
}
