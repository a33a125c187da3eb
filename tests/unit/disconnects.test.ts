/** What the server tells of connections. Invariant: only one that its own process ended and that does not come back is gone. */
import pino from "pino";
import { expect, test } from "vitest";
import { makeNames } from "../../nats-config/subjects.ts";
import { Disconnects } from "../../runtime/disconnects.ts";
import { DISCONNECT_GRACE_MS } from "../../runtime/limits.ts";
import { createMemoryWorld } from "../../runtime/port-memory.ts";
import { SimClock } from "../../runtime/testkit/sim-clock.ts";

const names = makeNames();

function start() {
  const clock = new SimClock();
  const world = createMemoryWorld({ clock, specs: [] });
  const server = world.connect("server");
  const gone: string[] = [];
  const logged: string[] = [];
  const log = pino({ level: "info" }, { write: (line) => void logged.push(line) });
  const disconnects = new Disconnects({
    broker: world.connect("n1"),
    clock,
    names,
    log,
    suspectOf: (connection) => (connection === "a client" ? undefined : { key: connection, revision: 1 }),
    onGone: ({ key }) => gone.push(key),
  });
  const tell = async (subject: string, event: unknown, ms = 0) => {
    server.publish(subject.replace("*", "TROUPE"), Buffer.from(JSON.stringify(event)));
    await clock.advanceAsync(ms);
  };
  const ended = (name: string, reason: string, ms = 0) => tell(names.disconnects, { client: { name }, reason }, ms);
  return { clock, gone, logged, disconnects, tell, ended };
}

test.each([["Client Closed"], ["Read Error"], ["Write Error"]])(
  "a connection that ended with %j is gone after the grace, not before",
  async (reason) => {
    const { clock, gone, ended } = start();
    await ended("n2", reason, DISCONNECT_GRACE_MS - 1);
    expect(gone).toEqual([]);
    await clock.advanceAsync(1);
    expect(gone).toEqual(["n2"]);
  },
);

test("a connection that comes back within the grace is not gone, and may end again", async () => {
  const { gone, tell, ended } = start();
  await ended("n2", "Client Closed", DISCONNECT_GRACE_MS / 2);
  await tell(names.connects, { client: { name: "n2" } }, DISCONNECT_GRACE_MS);
  expect(gone).toEqual([]);
  await ended("n2", "Client Closed", DISCONNECT_GRACE_MS);
  expect(gone).toEqual(["n2"]);
});

test.each([["Server Shutdown"], ["Slow Consumer"], ["Stale Connection"], [7], [undefined]])(
  "a connection that ended with %j is not gone: its process may live",
  async (reason) => {
    const { gone, tell } = start();
    await tell(names.disconnects, { client: { name: "n2" }, reason }, DISCONNECT_GRACE_MS);
    await tell(names.disconnects, null, DISCONNECT_GRACE_MS);
    expect(gone).toEqual([]);
  },
);

test("a connection that is no node's is not gone", async () => {
  const { gone, ended } = start();
  await ended("a client", "Client Closed", DISCONNECT_GRACE_MS);
  expect(gone).toEqual([]);
});

test("logUnheard() says once that the server tells nothing, and nothing where it does", async () => {
  const deaf = start();
  deaf.disconnects.logUnheard();
  deaf.disconnects.logUnheard();
  expect(deaf.logged).toHaveLength(1);
  const { disconnects, logged, tell } = start();
  await tell(names.connects, { client: { name: "n2" } });
  disconnects.logUnheard();
  expect(logged).toEqual([]);
});

test("stop() leaves no suspicion behind", async () => {
  const { gone, disconnects, ended } = start();
  await ended("n2", "Client Closed");
  disconnects.stop();
  await ended("n3", "Client Closed", DISCONNECT_GRACE_MS);
  expect(gone).toEqual([]);
});
