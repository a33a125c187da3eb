/**
 * Who is there and what is it. Invariant: a node is alive if it answers now; what did not answer is told apart by whether somebody
 * still listens in its name, and nothing is made up for it.
 */
import type { Names } from "../nats-config/subjects.ts";
import type { NodeFilter, NodeInfo } from "./api.ts";
import { encode } from "./codec.ts";
import { decodeAnswer } from "./envelope.ts";
import { NoResponderError, TroupeError } from "./errors.ts";
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
  const body = encode(question);
  const records = await broker.readLast(stream, key(">"), MAX_NODES);
  const members = records.map(({ subject, data }) => readMember(subject.slice(key("").length), data));
  return await Promise.all(
    members
      .filter((member) => member !== null) // one that left, or no node's
      .map(async (member): Promise<Asked<T>> => {
        try {
          const answer = await broker.request(names.node(member.name), body, NODE_TIMEOUT_MS);
          return { member, answer: decodeAnswer(answer) as T };
        } catch (error) {
          if (!(error instanceof TroupeError && error.retryable)) throw error;
          return { member, answer: error instanceof NoResponderError ? "gone" : "silent" };
        }
      }),
  );
}

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
