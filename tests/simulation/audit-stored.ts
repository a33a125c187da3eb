/** Snapshots and histories against the journal. Invariant judged: history before snapshot, committed state only, and no message forgotten. */
import { decode } from "../../runtime/codec.ts";
import type { Outgoing } from "../../runtime/actor-state.ts";
import type { StoredMessage } from "../../runtime/port.ts";
import { decodeSnapshot } from "../../runtime/snapshots.ts";
import type { ActorBook, Row } from "./book.ts";

export interface Judge {
  readonly books: ReadonlyMap<string, ActorBook>;
  breach(law: string, text: string): void;
}

const COMMITTED = "a snapshot holds committed state only";

export function auditSnapshot(book: ActorBook, { data, seq }: StoredMessage, judge: Judge): void {
  const { covers, core, outbox } = decodeSnapshot(data);
  const fields = decode(core) as readonly unknown[];
  const revision = fields[1] as number;
  const place = `${book.key} (snapshot ${seq}, revision ${revision}, covers ${covers})`;
  if (revision > book.revision) judge.breach(COMMITTED, `${place} is ahead of the journal, which has ${book.revision}`);
  else if (book.revisionAt(covers) !== revision)
    judge.breach(COMMITTED, `${place} should be of revision ${book.revisionAt(covers)}`);
  else if (revision === book.revision && Buffer.compare(book.core(), core) !== 0)
    judge.breach("replay of the journal gives the snapshot", place);
  else judgeContext(book, revision, fields[3], place, judge);
  if (revision < book.snapshotRevision)
    judge.breach("a snapshot never goes back", `${place} replaced one of revision ${book.snapshotRevision}`);
  if (book.kind.historyDays > 0 && book.historyRevision < revision)
    judge.breach("history is before snapshot", `${place}, the history ends at ${book.historyRevision}`);
  judgeOutbox(book, revision, decode(outbox) as Outgoing[], place, judge);
  book.covers = covers;
  book.snapshotRevision = revision;
}

function judgeContext(book: ActorBook, revision: number, machine: unknown, place: string, judge: Judge): void {
  const { context, value } = (machine ?? {}) as { context?: unknown; value?: unknown };
  const expected = book.at(revision);
  if (JSON.stringify([context, value]) !== JSON.stringify([expected?.context, expected?.value]))
    judge.breach(
      COMMITTED,
      `${place} holds ${JSON.stringify(context)}, committed was ${JSON.stringify(expected?.context)}`,
    );
}

/** A message that neither its receiver has taken nor the snapshot names would be lost with the node. */
function judgeOutbox(
  book: ActorBook,
  revision: number,
  outbox: readonly Outgoing[],
  place: string,
  judge: Judge,
): void {
  const named = new Set(outbox.map((message) => message.seq));
  for (const [to, messages] of book.sent) {
    if (to.startsWith("pool:")) continue;
    const heard = judge.books.get(to)?.heard.get(book.key) ?? 0;
    for (const message of messages.slice(heard)) {
      if (named.has(message.seq) || (book.outgoing(message.seq)?.revision ?? 0) > revision) continue;
      judge.breach("an unacknowledged message is in the snapshot", `${place} lacks message ${message.seq} to ${to}`);
    }
  }
}

export function auditHistory(book: ActorBook, { data, seq }: StoredMessage, judge: Judge): void {
  const [, , first, rows] = decode(data) as [number, number, number, [number, number, Uint8Array, string | null][]];
  if (first > book.historyRevision + 1)
    judge.breach("a history has no gaps", `${book.key} goes on with ${first} after ${book.historyRevision}`);
  for (const [index, [at, timeMs, body, poison]] of rows.entries()) {
    const row: Row | undefined = book.rows[first + index - 1];
    const isSame =
      row !== undefined &&
      row.seq === at &&
      row.timeMs === timeMs &&
      row.poison === poison &&
      Buffer.compare(row.body, body) === 0;
    if (!isSame) judge.breach("a history holds what was committed", `${book.key} at ${seq}, revision ${first + index}`);
  }
  book.historyRevision = Math.max(book.historyRevision, first + rows.length - 1);
}
