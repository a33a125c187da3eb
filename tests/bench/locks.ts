/**
 * Locks beside a bare compare-and-set on the same bucket, in turn: grant, hand-over, the end of a silent holder, deadlocks. All
 * times are seen from the client's process.
 */
import { readLease } from "../../actors/lease-store.ts";
import type { ResourceReply } from "../../actors/messages/resource.ts";
import type { ResourceContext } from "../../actors/resource-state.ts";
import type { Client } from "../../runtime/api.ts";
import { connectBroker } from "../../runtime/port-nats.ts";
import { each, median, print, quantile, ROUNDS, rounded } from "./load.ts";
import { type Sync, World } from "./world.ts";

/** Grants of one round. */
const GRANTS = 500;
const HAND_OVERS = 200;
const EXPIRIES = 20;
const DEADLOCKS = 10;
const TTL_MS = 600_000;
const SHORT_TTL_MS = 1_000;

const figures = (values: readonly number[]) => ({
  count: values.length,
  p50_ms: rounded(median(values)),
  p99_ms: rounded(quantile(values, 0.99)),
  max_ms: rounded(Math.max(...values)),
});

const acquire = async (client: Client, id: string, holder: string, ttlMs = TTL_MS): Promise<ResourceReply> =>
  (await client.ask("resource", id, { type: "acquire", priority: "normal", ttlMs, holder } as {
    type: string;
  })) as ResourceReply;
const release = (client: Client, id: string, holder: string, token: number) =>
  client.ask("resource", id, { type: "release", token, holder } as { type: string });
const tokenOf = (reply: ResourceReply): number => (reply.ok && reply.state === "granted" ? reply.token : 0);

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}

/** Ms from `act` until a view of the lock shows `holds`. */
async function untilShown(
  client: Client,
  id: string,
  act: () => Promise<unknown>,
  holds: (lock: ResourceContext) => boolean,
): Promise<number> {
  const ended = new AbortController();
  const views = client.watch("resource", id, { signal: ended.signal })[Symbol.asyncIterator]();
  await views.next(); // it listens
  const startedAt = performance.now();
  const acted = act();
  for (let view = await views.next(); view.done !== true; view = await views.next())
    if (holds(view.value.context as ResourceContext)) break;
  const ms = performance.now() - startedAt;
  await acted;
  ended.abort();
  return ms;
}

const heldBy =
  (holder: string) =>
  ({ holders }: ResourceContext): boolean =>
    holders[0]?.holder === holder;

export async function locks(sync: Sync): Promise<void> {
  await World.open(sync, async (world) => {
    await world.worker("lock-worker.ts", "locks");
    const client = await world.client();
    const broker = await connectBroker({ servers: world.server.url });
    const { names } = client;
    const variant = `sync ${sync}`;
    const bare = names.kv.leases.key("bench/bare");
    let seq = 0;
    const swap = async () => {
      seq = await broker.append(bare, Buffer.from("holder"), { expectedLastSubjectSeq: seq });
    };
    await each(GRANTS, 1, async (turn) =>
      release(client, `warm:${turn % 50}`, "client/w", tokenOf(await acquire(client, `warm:${turn % 50}`, "client/w"))),
    );
    await each(GRANTS, 1, swap);
    for (let round = 1; round <= ROUNDS; round++) {
      const swaps: number[] = [];
      const grants: number[] = [];
      const shown: number[] = [];
      for (let turn = 0; turn < GRANTS; turn++) {
        swaps.push(await timed(swap));
        const id = `free:${turn % 100}`;
        let token = 0;
        const startedAt = performance.now();
        token = tokenOf(await acquire(client, id, "client/a"));
        grants.push(performance.now() - startedAt);
        while ((await readLease({ broker, names }, id))?.token !== token);
        shown.push(performance.now() - startedAt);
        await release(client, id, "client/a", token);
      }
      print({ bench: "lock-compare-and-set", variant, round, ...figures(swaps) });
      print({ bench: "lock-acquire", variant, round, ...figures(grants) });
      print({ bench: "lock-acquire-until-shown", variant, round, ...figures(shown) });
      print({ bench: "lock-hand-over", variant, round, ...figures(await handOvers(client, round)) });
    }
    print({ bench: "lock-silent-holder", variant, late_after_lease: figures(await expiries(client)) });
    for (const n of [2, 5]) print({ bench: "lock-deadlock", variant, of: n, ...figures(await deadlocks(client, n)) });
    await broker.close();
  });
}

async function handOvers(client: Client, round: number): Promise<number[]> {
  const times: number[] = [];
  for (let turn = 0; turn < HAND_OVERS; turn++) {
    const id = `hand:${round}-${turn}`;
    const token = tokenOf(await acquire(client, id, "client/a"));
    await acquire(client, id, "client/b");
    times.push(await untilShown(client, id, () => release(client, id, "client/a", token), heldBy("client/b")));
  }
  return times;
}

/** How long after its lease's end a silent holder is replaced. */
async function expiries(client: Client): Promise<number[]> {
  const times = await Promise.all(
    Array.from({ length: EXPIRIES }, async (_, turn) => {
      const id = `silent:${turn}`;
      await acquire(client, id, "client/a", SHORT_TTL_MS);
      const grantedAt = performance.now();
      await untilShown(client, id, () => acquire(client, id, "client/b"), heldBy("client/b"));
      return performance.now() - grantedAt - SHORT_TTL_MS;
    }),
  );
  return times;
}

async function deadlocks(client: Client, n: number): Promise<number[]> {
  const times: number[] = [];
  for (let turn = 0; turn < DEADLOCKS; turn++) {
    const id = (i: number) => `dead${n}-${turn}:${i % n}`;
    for (let i = 0; i < n; i++) await acquire(client, id(i), `client/${i}`);
    for (let i = 0; i < n - 1; i++) await acquire(client, id(i + 1), `client/${i}`);
    // The last one closes the ring, is the youngest, and is refused.
    let isIn = false;
    const close = () => acquire(client, id(n), `client/${n - 1}`);
    const isOut = ({ queue }: ResourceContext) => {
      isIn ||= queue.length > 0;
      return isIn && queue.length === 0;
    };
    times.push(await untilShown(client, id(n), close, isOut));
  }
  return times;
}
