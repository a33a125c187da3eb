/**
 * Faults drawn from a seed, and the gap that each one tears. Invariant: a fault is over (process restarted or thawed) before
 * its `inflict` resolves, so the run ends with every node up.
 */
import { LEASE_MISSED_RENEWALS, LEASE_RENEW_MS } from "../../../runtime/limits.ts";
import { type FaultCluster, HEAL_DEADLINE_MS } from "./cluster.ts";
import { counter } from "./kinds.ts";
import type { Random } from "./random.ts";
import { pass } from "./wait.ts";

export type Fault =
  | { readonly kind: "kill" | "freeze"; readonly node: string; readonly forMs: number }
  | { readonly kind: "kill-all"; readonly forMs: number }
  | { readonly kind: "kill-server" }
  /** The server and these nodes in one blow. */
  | { readonly kind: "kill-with-server"; readonly nodes: readonly string[]; readonly forMs: number };

/** A frozen node comes back before its lease ends as often as after it, in ms. */
const FREEZE_MAX_MS = 2 * LEASE_MISSED_RENEWALS * LEASE_RENEW_MS;
/** A killed process is started again at once or a little later, in ms. */
const RESTART_MAX_MS = 1_500;

/** Draws a fault; `weights` name the kinds, repeated by their weight. */
export function drawFault(random: Random, nodes: readonly string[], kinds: readonly Fault["kind"][]): Fault {
  const kind = random.pick(kinds);
  const node = random.pick(nodes);
  if (kind === "kill-server") return { kind };
  if (kind === "kill-with-server") return { kind, nodes: [node], forMs: random.int(0, RESTART_MAX_MS) };
  if (kind === "kill-all") return { kind, forMs: random.int(0, RESTART_MAX_MS) };
  return { kind, node, forMs: kind === "kill" ? random.int(0, RESTART_MAX_MS) : random.int(200, FREEZE_MAX_MS) };
}

/** Does it, undoes it, and resolves with the ms from the fault to the next good answer of an actor that was hit. */
export async function inflict(cluster: FaultCluster, fault: Fault, probe: string): Promise<number> {
  const victim = fault.kind === "kill" || fault.kind === "freeze" ? fault.node : (cluster.nodes[0]?.name ?? "");
  const id = await cluster.idOn(victim, counter.kind, probe);
  const startedAt = performance.now();
  const healing = strike(cluster, fault);
  const answered = cluster.client
    .ask(counter, id, { type: "INC", by: 1 }, { deadlineMs: HEAL_DEADLINE_MS })
    .then(() => Math.round(performance.now() - startedAt));
  const [gapMs] = await Promise.all([answered, healing]);
  return gapMs;
}

/** Does it and undoes it; resolves when every process is up again. */
export async function strike(cluster: FaultCluster, fault: Fault): Promise<void> {
  switch (fault.kind) {
    case "kill": {
      const node = cluster.node(fault.node);
      await node.kill();
      await pass(fault.forMs);
      await node.start();
      return;
    }
    case "freeze": {
      const node = cluster.node(fault.node);
      node.freeze();
      await pass(fault.forMs);
      node.thaw();
      return;
    }
    case "kill-all":
      await Promise.all(cluster.nodes.map((node) => node.kill()));
      await pass(fault.forMs);
      await Promise.all(cluster.nodes.map((node) => node.start()));
      return;
    case "kill-with-server": {
      const nodes = fault.nodes.map((name) => cluster.node(name));
      await Promise.all([cluster.killServer(), ...nodes.map((node) => node.kill())]);
      await pass(fault.forMs);
      await Promise.all(nodes.map((node) => node.start()));
      return;
    }
    case "kill-server":
      await cluster.killServer();
      return;
  }
}
