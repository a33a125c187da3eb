/**
 * Reads of many actors for one answer. Invariant: an actor that cannot be read is shown as unreadable and fails nothing
 * else; the number of reads in flight and their time are bounded.
 */
import { LIST_LIMIT } from "../runtime/limits.ts";
import type { ActorView, CallOptions, Client } from "../runtime/api.ts";
import type { Clock } from "../runtime/clock.ts";
import { DeadlineError, TroupeError, UnknownKindError } from "../runtime/errors.ts";
import type { GatewayDeps } from "./deps.ts";
import { GatewayError } from "./errors.ts";

/** One read of one actor, in ms: a fail-over fits. */
export const READ_DEADLINE_MS = 5_000;
/** All reads of one list, in ms. Actors not read by then are shown as unreadable. */
const LIST_DEADLINE_MS = 8_000;
/** Reads in flight for one list at most: a list must not crowd out the work itself. */
export const READ_CONCURRENCY = 32;
/** Actors read for one page at most when a filter drops most of them. The page then ends early and names the next. */
const SCAN_LIMIT = 2_000;

export interface Unreadable {
  readonly id: string;
  readonly unreadable: true;
  readonly error: { readonly code: string; readonly message: string };
}

export interface PageQuery {
  readonly limit: number;
  readonly cursor?: string;
}

export interface Page<T, TCursor = string> {
  readonly items: T[];
  readonly next: TCursor | null;
  readonly truncated: boolean;
}

/** The ids of a kind after the cursor, in order, and whether the listing itself was cut. */
export async function idsAfter({ client, clock }: GatewayDeps, kind: string, cursor: string | undefined) {
  const listed = await within(clock, client.list(kind), READ_DEADLINE_MS);
  if (listed.length === 0) await checkHosted(client, clock, kind);
  const after = cursor === undefined ? listed : listed.filter(({ id }) => id > cursor);
  return { listed: after.sort((a, b) => (a.id < b.id ? -1 : 1)), truncated: listed.length >= LIST_LIMIT };
}

/** Tells "none yet" from "no such kind" and from "nobody is there to know". */
async function checkHosted(client: Client, clock: Clock, kind: string): Promise<void> {
  const nodes = await within(clock, client.nodes(), READ_DEADLINE_MS);
  if (nodes.length === 0) throw new GatewayError("NOT_READY", "No node is up: start one with `troupe node`");
  const known = [...new Set(nodes.flatMap(({ kinds }) => kinds))].sort();
  if (!known.includes(kind)) throw new UnknownKindError(kind, known);
}

/** Actors to be read, in the order of a list; each with the cursor that goes on after it. */
export interface Listing {
  readonly entries: AsyncIterator<{ readonly id: string; readonly cursor: string }, void>;
  readonly truncated: boolean;
}
export type Order = (deps: GatewayDeps, kind: string, query: PageQuery) => Promise<Listing>;

/** In order of their ids. */
export const byId: Order = async (deps, kind, query) => {
  const { listed, truncated } = await idsAfter(deps, kind, query.cursor);
  async function* entries() {
    for (const { id } of listed) yield { id, cursor: id };
  }
  return { entries: entries(), truncated };
};

/** Last changed first; no more are looked up than are asked for. */
export const newestFirst: Order = async ({ client, clock }, kind, { limit, cursor }) => {
  // One more than a page tells whether there is another one.
  const pageAfter = (last: string | undefined) =>
    within(
      clock,
      client.recent(kind, { limit: limit + 1, ...(last === undefined ? {} : { cursor: last }) }),
      READ_DEADLINE_MS,
    );
  const first = await pageAfter(cursor);
  if (first.length === 0) await checkHosted(client, clock, kind);
  async function* entries() {
    for (let page = first; page.length > 0; page = page.length > limit ? await pageAfter(page.at(-1)?.cursor) : [])
      yield* page;
  }
  return { entries: entries(), truncated: false };
};

/** A page of actors of one kind as `show` presents them; null from `show` leaves one out. */
export async function readPage<T>(
  deps: GatewayDeps,
  { kind, order, query, signal }: { kind: string; order: Order; query: PageQuery; signal: AbortSignal },
  show: (view: ActorView) => T | null,
): Promise<Page<T | Unreadable>> {
  const { entries, truncated } = await order(deps, kind, query);
  const until = deps.clock.monotonic() + LIST_DEADLINE_MS;
  const items: (T | Unreadable)[] = [];
  let last: string | null = null;
  let ahead = await entries.next();
  for (let read = 0; ahead.done !== true && read < SCAN_LIMIT && items.length < query.limit; ) {
    // No more than still fit: what is read and not shown would be read again for the next page.
    const ids: string[] = [];
    const room = Math.min(READ_CONCURRENCY, query.limit - items.length);
    for (; ahead.done !== true && ids.length < room; ahead = await entries.next()) {
      ids.push(ahead.value.id);
      last = ahead.value.cursor;
    }
    const shown = await Promise.all(ids.map((id) => readOne(deps, kind, id, { until, signal }, show)));
    items.push(...shown.filter((item) => item !== null));
    read += ids.length;
  }
  return { items, next: ahead.done === true ? null : last, truncated };
}

async function readOne<T>(
  { client, clock }: GatewayDeps,
  kind: string,
  id: string,
  { until, signal }: { readonly until: number; readonly signal: AbortSignal },
  show: (view: ActorView) => T | null,
): Promise<T | Unreadable | null> {
  const leftMs = Math.floor(until - clock.monotonic());
  try {
    if (leftMs < 1) throw new DeadlineError(`The list ran out of time before "${kind}/${id}": ask for a shorter page`);
    return show(await readActor(client, kind, id, { deadlineMs: Math.min(leftMs, READ_DEADLINE_MS), signal }));
  } catch (error) {
    if (!(error instanceof TroupeError)) throw error;
    return { id, unreadable: true, error: { code: error.code, message: error.message } };
  }
}

/**
 * One actor: from an owner that cannot prove that it still is one, marked as stale.
 * @throws {GatewayError} NOT_READY: nobody answered in time.
 */
export async function readActor(
  client: Pick<Client, "query">,
  kind: string,
  id: string,
  { deadlineMs = READ_DEADLINE_MS, ...rest }: CallOptions,
): Promise<ActorView> {
  try {
    return await client.query(kind, id, { ...rest, deadlineMs, allowStale: true });
  } catch (error) {
    if (!(error instanceof DeadlineError)) throw error;
    throw nobodyAnswers(`"${kind}/${id}"`, deadlineMs, { cause: error });
  }
}

/** A read changes nothing, so its outcome is known: there is none yet. */
const nobodyAnswers = (what: string, ms: number, options?: ErrorOptions): GatewayError =>
  new GatewayError(
    "NOT_READY",
    `Nobody answered for ${what} within ${ms} ms: try again, /health/ready tells what is missing`,
    {},
    options,
  );

/** @throws {GatewayError} NOT_READY: `work`, a read, took longer than `ms`. It goes on unseen. */
export function within<T>(clock: Clock, work: Promise<T>, ms: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = clock.setTimeout(() => reject(nobodyAnswers("the list", ms)), ms);
    work.then(resolve, reject).finally(() => clock.clearTimeout(timer));
  });
}
