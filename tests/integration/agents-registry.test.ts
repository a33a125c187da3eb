/** The registry on a real server: versions never change, whoever races, and what was sent twice is stored once. */
import { readFileSync } from "node:fs";
import { jetstreamManager } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import type { NatsConnection } from "nats";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { AgentNotFoundError, DefinitionInvalidError, VersionConflictError } from "../../agents/errors.ts";
import { AgentRegistry } from "../../agents/registry.ts";
import { SkillRegistry } from "../../agents/skill.ts";
import { builtInSkills } from "../../agents/skills/built-in.ts";
import { streamSpecs } from "../../nats-config/streams.ts";
import { makeNames, type Names } from "../../nats-config/subjects.ts";
import { BrokerUnavailableError } from "../../runtime/errors.ts";
import type { Broker } from "../../runtime/port.ts";
import { connectBroker } from "../../runtime/port-nats.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";

const LAB_WATCHER = readFileSync(new URL("../../agents/catalogue/lab-watcher.yaml", import.meta.url), "utf8");
const version = (text: string, source = LAB_WATCHER) => source.replace("version: 1.0.0", `version: ${text}`);

let server: TestServer;
let broker: Broker & { readonly connection: NatsConnection };
let names: Names;
let registry: AgentRegistry;
let run = 0;

const registryOn = (on: Broker) =>
  new AgentRegistry({ broker: on, names, skills: new SkillRegistry(builtInSkills, { broker, names }).facts });

beforeAll(async () => {
  server = await startTestServer();
  broker = await connectBroker({ servers: server.url });
});
afterAll(async () => {
  await broker.close();
  await server.stop();
});
beforeEach(async () => {
  names = makeNames({ namespace: `registry${++run}` });
  const spec =
    streamSpecs(names).find((each) => each.name === names.kv.agents.stream) ?? expect.fail("no bucket for agents");
  await (await jetstreamManager(broker.connection)).streams.add(spec);
  registry = registryOn(broker);
});

describe("AgentRegistry", () => {
  test("register() stores a definition once and gives it back as it was written", async () => {
    const first = await registry.register(LAB_WATCHER);
    expect(first).toMatchObject({ id: "lab-watcher", version: "1.0.0", created: true, plan: { maxParallelTasks: 8 } });
    expect((await registry.register(LAB_WATCHER)).created).toBe(false);
    const stored = await registry.get("lab-watcher");
    expect(stored).toMatchObject({ version: "1.0.0", source: LAB_WATCHER, definition: first.definition });
    expect(stored.registeredAtMs).toBeGreaterThan(0);
  });

  test("register() takes other comments, another order of keys and JSON as the same content", async () => {
    const { definition } = await registry.register(LAB_WATCHER);
    expect((await registry.register(`# other\n${LAB_WATCHER}`)).created).toBe(false);
    const reversed = JSON.stringify(Object.fromEntries(Object.entries(definition).reverse()));
    expect((await registry.register(reversed)).created).toBe(false);
  });

  test("register() refuses other content under a taken version, and nothing changes", async () => {
    await registry.register(LAB_WATCHER);
    await expect(registry.register(LAB_WATCHER.replace("key: HOME", "key: BACK"))).rejects.toThrow(
      VersionConflictError,
    );
    expect((await registry.get("lab-watcher")).source).toBe(LAB_WATCHER);
  });

  test("register() lets one win when many race with different content", async () => {
    const keys = ["HOME", "BACK", "MENU", "POWER", "UP", "DOWN"];
    const results = await Promise.allSettled(
      keys.map((key) => registry.register(LAB_WATCHER.replace("key: HOME", `key: ${key}`))),
    );
    const won = results.filter((result) => result.status === "fulfilled");
    expect(won).toHaveLength(1);
    for (const result of results)
      if (result.status === "rejected") expect(result.reason).toBeInstanceOf(VersionConflictError);
    expect((await registry.get("lab-watcher")).definition).toEqual(won[0]?.value.definition);
  });

  test("register() lets all succeed and one create when many race with the same content", async () => {
    const results = await Promise.all(Array.from({ length: 6 }, () => registry.register(LAB_WATCHER)));
    expect(results.filter((result) => result.created)).toHaveLength(1);
  });

  test("register() stores nothing when the definition is invalid", async () => {
    await expect(registry.register("metadata: {}")).rejects.toThrow(DefinitionInvalidError);
    const large = LAB_WATCHER.replace("key: HOME", `key: ${"x".repeat(60_000)}`);
    await expect(registry.register(large)).rejects.toThrow(
      /The plan of this definition takes \d+ bytes, more than 98304/,
    );
    expect(await registry.list()).toEqual([]);
  });

  test("register() finds what it stored when the acknowledgement was lost", async () => {
    const lossy = new Proxy(broker, {
      get: (target, key) => {
        if (key !== "append") {
          const value: unknown = Reflect.get(target, key);
          return typeof value === "function" ? (value as () => unknown).bind(target) : value;
        }
        return async (...args: Parameters<Broker["append"]>) => {
          await target.append(...args);
          throw new BrokerUnavailableError("The acknowledgement was lost");
        };
      },
    });
    expect((await registryOn(lossy).register(LAB_WATCHER)).created).toBe(false);
    expect((await registry.get("lab-watcher")).version).toBe("1.0.0");
  });

  test("list(), versions() and get() put the latest release first, previews last", async () => {
    for (const each of ["1.0.0", "1.10.0", "1.9.0", "2.0.0-beta.1", "1.10.1-rc.1"])
      await registry.register(version(each));
    await registry.register(version("0.1.0-alpha").replace("id: lab-watcher", "id: lab"));
    expect((await registry.versions("lab-watcher")).map((agent) => agent.version)).toEqual([
      "1.10.0",
      "1.9.0",
      "1.0.0",
      "2.0.0-beta.1",
      "1.10.1-rc.1",
    ]);
    expect((await registry.list()).map((agent) => `${agent.id} ${agent.version}`)).toEqual([
      "lab 0.1.0-alpha",
      "lab-watcher 1.10.0",
    ]);
    expect((await registry.get("lab-watcher", "2.0.0-beta.1")).version).toBe("2.0.0-beta.1");
  });

  test("get() throws AgentNotFoundError when there is none, also for ids that would widen a subject", async () => {
    await registry.register(LAB_WATCHER);
    for (const [id, wanted] of [
      ["nobody"],
      ["lab-watcher", "9.9.9"],
      ["*"],
      [">"],
      ["lab-watcher", "*"],
      ["a.b"],
      [""],
    ] as [string, string?][]) {
      await expect(registry.get(id, wanted)).rejects.toThrow(AgentNotFoundError);
    }
    expect(await registry.versions(">")).toEqual([]);
  });

  test("register() may store a version again that an operator deleted", async () => {
    await registry.register(LAB_WATCHER);
    const bucket = await new Kvm(broker.connection).open(names.kv.agents.bucket);
    await bucket.delete("lab-watcher.1_0_0");
    expect(await registry.list()).toEqual([]);
    expect((await registry.register(LAB_WATCHER.replace("key: HOME", "key: BACK"))).created).toBe(true);
  });
});
