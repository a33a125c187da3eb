/**
 * Who is there and what is it. Invariant: a node is alive if it answers now; what did not answer is told apart by whether somebody
 * still listens in its name, and nothing is made up for it.
 */
import type { Names } from "../nats-config/subjects.ts";
import type { NodeFilter, NodeInfo } from "./api.ts";
import { encode } from "./codec.ts";
import { decodeAnswer } from "./envelope.ts";
import { NameTakenError, NoResponderError, TroupeError } from "./errors.ts";
import { MAX_NODES, type MemberFacts, readMember } from "./membership.ts";
import type { Broker } from "./port.ts";

/** Patience with one node's own answer, in ms. */
const NODE_TIMEOUT_MS = 1_000;

/** A member and what it answered; `gone`: nobody listens in its name, `silent`: no answer in time. */
interface Asked<T> {
  readonly member: MemberFacts;
  readonly answer: T | "gone" | "silent";
}

/** What the nodes answer that do. */
export async function askNodes<T extends object>(broker: Broker, names: Names, question: object): Promise<T[]> {
  return (await askEach<T>(broker, names, question)).flatMap(({ answer }) =>
    typeof answer === "string" ? [] : [answer],
  );
}

async function askEach<T extends object>(broker: Broker, names: Names, question: object): Promise<Asked<T>[]> {
  const { stream, key } = names.kv.nodes;
  const records = await broker.readLast(stream, key(">"), MAX_NODES);
  const members = records.map(({ subject, data }) => readMember(subject.slice(key("").length), data));
  return await Promise.all(
    members
      .filter((member) => member !== null) // one that left, or no node's
      .map(async (member) => ({ member, answer: await ask<T>(broker, names, member, question) })),
  );
}

/** Asks the process of one connection: of several under a name, it alone answers. */
async function ask<T extends object>(
  broker: Broker,
  names: Names,
  { name, connection }: Pick<MemberFacts, "name"> & Partial<MemberFacts>,
  question: object,
): Promise<Asked<T>["answer"]> {
  try {
    const body = encode(connection === undefined ? question : { ...question, connection });
    return decodeAnswer(await broker.request(names.node(name), body, NODE_TIMEOUT_MS)) as T;
  } catch (error) {
    if (!(error instanceof TroupeError && error.retryable)) throw error;
    return error instanceof NoResponderError ? "gone" : "silent";
  }
}

/**
 * Passes at once where nobody listens under the name: a killed process is replaced without a wait. One that leaves, or is frozen,
 * keeps nobody out. `connection`: of the one other process in question; without it whoever answers.
 * @throws {NameTakenError} Another process runs under it.
 */
export async function checkNameFree(
  broker: Broker,
  names: Names,
  member: Pick<MemberFacts, "name"> & Partial<MemberFacts>,
): Promise<void> {
  const answer = await ask<NodeInfo>(broker, names, member, { info: true });
  if (typeof answer !== "string" && answer.state === "alive") throw new NameTakenError(takenText(answer));
}

export const takenText = ({ name, pid, host }: Pick<MemberFacts, "name" | "pid" | "host">): string =>
  `Node name ${JSON.stringify(name)} is another live process's (pid ${pid} on ${host}): stop that one, or give one of the two another name`;

/** The nodes that pass the filter, by name. */
export async function discover(broker: Broker, names: Names, filter: NodeFilter): Promise<NodeInfo[]> {
  const asked = await askEach<NodeInfo>(broker, names, { info: true });
  return asked
    .map(({ member, answer }): NodeInfo => {
      if (answer === "silent") return { ...unanswered(member), state: "suspect" };
      // Another incarnation speaks in its name: this one was replaced.
      return answer === "gone" || answer.incarnation !== member.incarnation
        ? { ...unanswered(member), state: "dead" }
        : answer;
    })
    .filter((info) => passes(info, filter))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function unanswered({ name, incarnation, pid, host, version, kinds, labels, roles, weight }: MemberFacts) {
  const facts = { name, incarnation, pid, host, version, kinds, labels, roles, weight };
  const measured = { activations: null, queued: null, rounds: null, inputs: null, memoryBytes: null, health: null };
  return { ...facts, ...measured, startedAtMs: null, shards: null, refusal: null };
}

function passes(info: NodeInfo, { states, labels = {}, role, kind, version }: NodeFilter): boolean {
  return (
    (states === undefined ? info.state !== "dead" : states.includes(info.state)) &&
    Object.entries(labels).every(([name, value]) => info.labels[name] === value) &&
    (role === undefined || info.roles.includes(role)) &&
    (kind === undefined || info.kinds.includes(kind)) &&
    (version === undefined || info.version === version || info.version.startsWith(`${version}.`))
  );
}
