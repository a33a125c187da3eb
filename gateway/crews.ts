/**
 * A crew as people look at it: who can do what, where they are, what waits and why. Invariant: read from the crew itself and from
 * the nodes that answer now: a worker is never shown on a node that is gone.
 */
import { canDo, isFree } from "../actors/crew-balance.ts";
import type { CrewContext, Decision, Member } from "../actors/crew-state.ts";
import type { Balance, Assignment, Capability, Need } from "../actors/messages/crew.ts";
import { addressOf } from "../runtime/address.ts";
import type { ActorView, Client } from "../runtime/api.ts";
import { stateName } from "./fields.ts";

/** Work without a fitting worker that is named, oldest first. */
const UNFIT_SHOWN = 20;

export interface CrewWorkerRow {
  readonly id: string;
  /** `hired`: it has not come yet. */
  readonly state: "hired" | "free" | "busy" | "leaving";
  readonly running: number;
  readonly slots: number;
  readonly capabilities: readonly Capability[];
  /** Node that has it in memory now; null: it sleeps, or its node is gone and no other has it yet. */
  readonly node: string | null;
}

export interface CrewRow {
  readonly id: string;
  readonly state: string;
  /** Why nobody can be hired; null: nothing is known against it. */
  readonly problem: string | null;
  readonly balance: Balance | null;
  readonly assignment: Assignment | null;
  readonly min: number | null;
  readonly max: number | null;
  readonly workers: readonly CrewWorkerRow[];
  readonly running: number;
  readonly queued: number;
  /** Work that no worker here can do, and what it needs. */
  readonly unfit: {
    readonly total: number;
    readonly first: readonly { readonly id: string; readonly needs: readonly Need[] }[];
  };
  /** Of what waits, in ms; null: nothing does. */
  readonly oldestWaitMs: number | null;
  readonly counts: CrewContext["counts"];
  /** Of its size, latest last. */
  readonly decisions: readonly Decision[];
}

/** The kind defines its context; a view carries it untyped over the wire. */
const contextOf = (view: ActorView): CrewContext => view.context as CrewContext;

/** What the nodes say that answer. */
export interface Places {
  /** Where workers are, by `kind/id`. */
  readonly nodes: ReadonlyMap<string, string>;
  /** That some node hosts. */
  readonly kinds: ReadonlySet<string>;
}

/** Where the workers of these crews are, or could be. */
export async function placesOf(client: Client, views: readonly ActorView[]): Promise<Places> {
  const members = views.flatMap((view) => contextOf(view).members);
  const kinds = [...new Set(members.map(({ name }) => addressOf(name).kind))];
  const [hosts, ...listed] = await Promise.all([
    views.length === 0 ? [] : client.nodes(),
    ...kinds.map((kind) => client.list(kind)),
  ]);
  const nodes = listed
    .flat()
    .flatMap(({ kind, id, node }) => (node === null ? [] : [[`${kind}/${id}`, node] as const]));
  return { nodes: new Map(nodes), kinds: new Set(hosts.flatMap((host) => host.kinds)) };
}

/** The crew with those of its workers who can do all of `needs`. */
export function crewOf(view: ActorView, { nodes, kinds }: Places, needs: readonly Need[], nowMs: number): CrewRow {
  const { plan, members, queue, unfit, running, counts, decisions } = contextOf(view);
  const waits = [...queue, ...unfit].map((job) => nowMs - job.acceptedAtMs);
  return {
    id: view.id,
    state: stateName(view.value),
    problem: problemOf(view, kinds),
    balance: plan?.balance ?? null,
    assignment: plan?.assignment ?? null,
    min: plan?.min ?? null,
    max: plan?.max ?? null,
    workers: members.filter(({ capabilities }) => canDo(capabilities, needs)).map((member) => workerOf(member, nodes)),
    running: running.length,
    queued: queue.length,
    unfit: { total: unfit.length, first: unfit.slice(0, UNFIT_SHOWN).map((job) => ({ id: job.id, needs: job.needs })) },
    oldestWaitMs: waits.length === 0 ? null : Math.max(0, ...waits),
    counts,
    decisions,
  };
}

function problemOf(view: ActorView, kinds: ReadonlySet<string>): string | null {
  const worker = contextOf(view).plan?.worker ?? null;
  if (worker === null || kinds.has(worker) || stateName(view.value) !== "serving") return null;
  return `No node that is up hosts the kind "${worker}": start one that does, or declare the crew with another worker`;
}

function workerOf(member: Member, nodes: ReadonlyMap<string, string>): CrewWorkerRow {
  const { name, sinceMs, isLeaving, running, slots, capabilities } = member;
  const state = isLeaving ? "leaving" : sinceMs === null ? "hired" : isFree(member) ? "free" : "busy";
  return { id: name, state, running, slots, capabilities, node: nodes.get(name) ?? null };
}
