/**
 * Bad input for locks at each door: HTTP, the command line, a message over NATS. Invariant checked: it is refused with what is wrong
 * and the way out, and the lock is what it was before, bit for bit.
 */
import pino from "pino";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type ComposedNode, composeNode } from "../../gateway/compose-node.ts";
import { type Gateway, startGateway } from "../../gateway/start-gateway.ts";
import type { Client } from "../../runtime/api.ts";
import { ActorNotFoundError } from "../../runtime/errors.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";
import { cli } from "../unit/cli-support.ts";

const LOCK = "h1:d1";
const log = pino({ level: process.env["TEST_LOG"] ?? "silent" });

let server: TestServer;
let node: ComposedNode;
let gateway: Gateway;
let client: Client;

type Fields = Readonly<Record<string, unknown>>;
interface Refusal {
  readonly isRefused: boolean;
  readonly isNotFound: boolean;
  readonly text: string;
}
type Door = (id: string, type: string, fields: Fields) => Promise<Refusal>;

const doors: Readonly<Record<string, Door>> = {
  http: async (id, type, fields) => {
    const response = await fetch(`${gateway.url}/api/resources/${encodeURIComponent(id)}/${type}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(fields),
    });
    const { detail } = (await response.json()) as { detail?: string };
    return { isRefused: response.status >= 400, isNotFound: response.status === 404, text: detail ?? "" };
  },
  cli: async (id, type, fields) => {
    const asked: Pick<Client, "ask" | "query"> = {
      ask: (...args: Parameters<Client["ask"]>) => client.ask(...args),
      query: (...args: Parameters<Client["query"]>) => client.query(...args),
    };
    const { exit, err } = await cli(["ask", "resource", id, type, JSON.stringify(fields)], { client: asked });
    return { isRefused: exit !== 0, isNotFound: exit === 4, text: err };
  },
  nats: async (id, type, fields) => {
    const { ok, message = "" } = (await client.ask("resource", id, { ...fields, type })) as {
      ok: boolean;
      message?: string;
    };
    return { isRefused: !ok, isNotFound: false, text: message };
  },
};
const acquire = { holder: "client/new", priority: "high", ttlMs: 60_000 };
const stored = async () => {
  const { value, context } = await client.query("resource", LOCK);
  return JSON.stringify({ value, context });
};

beforeAll(async () => {
  server = await startTestServer();
  node = await composeNode({ name: "n1", servers: [server.url], labels: {}, log });
  gateway = await startGateway({ servers: server.url, port: 0, log });
  ({ client } = node.node);
  const event = { id: "e", source: "s", type: "t", timeMs: 1, priority: "low", data: {}, device: null };
  await client.tell("device", LOCK, { type: "observed", event } as { type: string });
  for (const holder of ["client/holder", "client/waiter"]) {
    const event: { readonly type: string } & Fields = { ...acquire, holder, type: "acquire" };
    expect(await client.ask("resource", LOCK, event)).toMatchObject({ ok: true });
  }
  // From here on the lock changes only by what is sent to it: its lease is written.
  await vi.waitFor(async () => {
    const { context } = await client.query("resource", LOCK);
    expect(context).toMatchObject({ leaseSeq: expect.any(Number) });
  });
});
afterAll(async () => {
  await gateway.stop();
  await node.stop();
  await server.stop();
});

describe.each(Object.keys(doors))("at the door %s", (name) => {
  const door = doors[name] as Door;

  test.each<[string, string, Fields, RegExp]>([
    ["a ttl of 0", "acquire", { ...acquire, ttlMs: 0 }, /ttlMs 0 is not a whole number from 100 to 86400000/],
    ["a ttl over the maximum", "acquire", { ...acquire, ttlMs: 86_400_001 }, /ttlMs 86400001 .* from 100 to 86400000/],
    ["a ttl that is left out", "acquire", { ...acquire, ttlMs: undefined }, /ttlMs \(missing\) is not a whole number/],
    ["an unknown priority", "acquire", { ...acquire, priority: "urgent" }, /"urgent".* critical, high, normal or low/],
    ["no permits", "acquire", { ...acquire, permits: 0 }, /permits 0 are not a whole number from 1 to 1/],
    ["fewer permits than none", "acquire", { ...acquire, permits: -1 }, /permits -1 are not a whole number from 1/],
    ["no holder", "acquire", { ...acquire, holder: undefined }, /its holder: .*holder: "client\/<name>"/],
    ["the name of an actor", "acquire", { ...acquire, holder: "task/t1" }, /its holder: .*holder: "client\/<name>"/],
    [
      "a foreign token",
      "release",
      { token: 1, holder: "client/thief" },
      /held by "client\/holder": only it may release/,
    ],
    ["a token that was never issued", "renew", { token: 99, holder: "client/holder" }, /Token 99 .*stop acting/],
    ["a stranger's cancel", "cancel", { holder: "client/thief" }, /"client\/thief" neither holds/],
    ["a takeover without a reason", "takeover", { by: "client/ops", ttlMs: 60_000 }, /says why, in 1 to 500/],
    ["a takeover for no time", "takeover", { by: "client/ops", why: "x", ttlMs: 0 }, /ttlMs 0 is not a whole number/],
    ["a capacity of none", "configure", { by: "client/ops", capacity: 0 }, /capacity 0 is not a whole number from 1/],
  ])("%s is refused, and changes nothing", async (_case, type, fields, says) => {
    const before = await stored();
    const { isRefused, text } = await door(LOCK, type, fields);
    expect([isRefused, text]).toEqual([true, expect.stringMatching(says)]);
    expect(await stored()).toBe(before);
  });
});

test.each(["http", "cli"])("at the door %s nothing is locked that nobody ever heard of", async (name) => {
  for (const [type, fields] of [
    ["acquire", acquire],
    ["takeover", { by: "client/ops", why: "x", ttlMs: 60_000 }],
  ] as const) {
    for (const id of ["h1:typo", "h1"]) {
      const { isNotFound, text } = await (doors[name] as Door)(id, type, fields);
      expect([isNotFound, text]).toEqual([true, expect.stringContaining(`the resource "${id}": check its name`)]);
      await expect(client.query("resource", id)).rejects.toThrow(ActorNotFoundError);
    }
  }
});
