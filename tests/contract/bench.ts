/** What a contract test works with. Invariant: no two tests share a name, so they can share a server. */
import { randomBytes } from "node:crypto";
import type { StreamSpec } from "../../nats-config/streams.ts";
import { makeNames, type Names } from "../../nats-config/subjects.ts";
import type { Broker } from "../../runtime/port.ts";

/** One implementation, started. Several connections share it. */
export interface ContractWorld {
  connect(name: string): Promise<Broker>;
  addStream(spec: StreamSpec): Promise<void>;
  /** Wall time as the broker's server sees it, in ms. */
  now(): number;
  /** Lets time pass until `condition` holds; fails with `what` after a deadline. */
  until(what: string, condition: () => boolean | Promise<boolean>): Promise<void>;
  close(): Promise<void>;
}

/** What one test works with: names of its own, two connections, a stream under `<namespace>.s.>`. */
export interface Bench {
  readonly world: ContractWorld;
  readonly names: Names;
  readonly broker: Broker;
  readonly other: Broker;
  /** Subject outside of every stream. */
  readonly core: (tail: string) => string;
  /** Subject of the stream that {@link Bench.stream} makes. */
  readonly sub: (tail: string) => string;
  /** Creates the test's stream and returns its name. */
  readonly stream: (extra?: Partial<StreamSpec>) => Promise<string>;
}

export const bytes = (value: string): Uint8Array => new TextEncoder().encode(value);
export const text = (data: Uint8Array): string => new TextDecoder().decode(data);

export async function makeBench(world: ContractWorld): Promise<Bench> {
  const unique = `t${randomBytes(6).toString("hex")}`; // tests share one real server
  const names = makeNames({ namespace: unique, deviceRoot: `d${unique}` });
  return {
    world,
    names,
    broker: await world.connect("one"),
    other: await world.connect("two"),
    core: (tail) => `${unique}.c.${tail}`,
    sub: (tail) => `${unique}.s.${tail}`,
    stream: async (extra = {}) => {
      await world.addStream({ name: `${unique}_S`, subjects: [`${unique}.s.>`], allow_direct: true, ...extra });
      return `${unique}_S`;
    },
  };
}
