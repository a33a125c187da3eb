/**
 * What a machine may not hold if it is to be stored, replayed and moved. Invariant: each refusal names the path of the node,
 * what stands there, and the way to write it instead.
 */
import type { AnyStateMachine, AnyStateNode } from "xstate";
import { DefinitionError } from "./errors.ts";
import { stateNodes } from "./state-nodes.ts";

/** Runs the work of an invocation; the shape of `fromPromise`'s creator. */
export type PromiseCreator = (args: {
  readonly input: unknown;
  readonly signal: AbortSignal;
  readonly self: { readonly id: string; readonly sessionId: string };
  readonly system: Record<string, never>;
  readonly emit: (event: { type: string }) => void;
}) => PromiseLike<unknown>;

interface LogicLike {
  readonly config?: unknown;
  readonly transition?: (snapshot: unknown, event: unknown, scope: unknown) => unknown;
}

/** @throws {DefinitionError} See the header. */
export function assertDurable(kind: string, machine: AnyStateMachine): void {
  const refuse = (path: string, what: string, remedy: string): never => {
    throw new DefinitionError(`Kind "${kind}" cannot be durable: ${path} ${what}; ${remedy}`);
  };
  for (const [name, logic] of Object.entries(machine.implementations.actors)) {
    if (promiseOf(logic) === undefined) {
      refuse(
        `actors.${name}`,
        "is not a promise actor",
        'use fromPromise, or define it as a kind of its own and sendTo(ref("kind", id))',
      );
    }
  }
  for (const [name, action] of Object.entries(machine.implementations.actions)) {
    checkAction(`actions.${name}`, action, true, refuse);
  }
  for (const node of stateNodes(machine.root)) {
    const path = node.path.length === 0 ? "(root)" : node.path.join(".");
    checkInvokes(machine, node, path, refuse);
    for (const [where, action] of actionsOf(node)) checkAction(`${path}.${where}`, action, false, refuse);
  }
}

/** The work behind an invoke's `src`, whether named in `actors` or written in place. */
export function resolveInvocation(machine: AnyStateMachine, src: string): PromiseCreator | undefined {
  const inPlace = /^xstate\.invoke\.(\d+)\.(.*)$/.exec(src);
  if (inPlace === null) return promiseOf((machine.implementations.actors as Record<string, unknown>)[src]);
  const invokes = machine.getStateNodeById(inPlace[2] as string).config.invoke as { src: unknown } | { src: unknown }[];
  return promiseOf((Array.isArray(invokes) ? invokes[Number(inPlace[1])] : invokes)?.src);
}

type Refuse = (path: string, what: string, remedy: string) => never;

function* actionsOf(node: AnyStateNode): Generator<[string, unknown]> {
  for (const action of node.entry) yield ["entry", action];
  for (const action of node.exit) yield ["exit", action];
  for (const transitions of node.transitions.values()) {
    for (const transition of transitions) {
      for (const action of transition.actions) yield [`on.${transition.eventType}`, action];
    }
  }
  for (const action of node.initial?.actions ?? []) yield ["initial", action];
  for (const transition of node.always ?? []) for (const action of transition.actions) yield ["always", action];
}

function checkInvokes(machine: AnyStateMachine, node: AnyStateNode, path: string, refuse: Refuse): void {
  for (const invoke of node.invoke) {
    const at = `${path}.invoke "${invoke.id}"`;
    if (invoke.systemId !== undefined) refuse(at, "has a systemId", "remove it and address actors by kind and id");
    if (invoke.onSnapshot !== undefined)
      refuse(at, "has onSnapshot", "a promise actor has no snapshots between: use onDone and onError");
    if (typeof invoke.src === "string" && resolveInvocation(machine, invoke.src) === undefined) {
      const known = invoke.src in machine.implementations.actors || invoke.src.startsWith("xstate.invoke.");
      refuse(
        at,
        known ? "is not a promise actor" : `names "${invoke.src}", which setup({ actors }) does not hold`,
        'use fromPromise, or define it as a kind of its own and sendTo(ref("kind", id))',
      );
    }
  }
}

function checkAction(path: string, action: unknown, named: boolean, refuse: Refuse): void {
  if (typeof action !== "function") return; // a name or { type, params }: its implementation is checked once, by name
  const made = action as {
    type?: string;
    src?: unknown;
    to?: unknown;
    systemId?: unknown;
    resolve?: unknown;
    name: string;
  };
  if (made.resolve === undefined) {
    if (named) return; // runs after the commit, at most once: named, so its place in a trace is known
    refuse(
      path,
      `has the inline action "${made.name || "(anonymous)"}", which may reach outside`,
      "name it in setup({ actions }), or use assign, sendTo, reply or an invoked promise",
    );
  }
  if (made.type === "xstate.spawnChild" && typeof made.src !== "string") {
    refuse(path, "spawns logic written in place", 'name it in setup({ actors }) and use spawnChild("name")');
  }
  if (made.systemId !== undefined)
    refuse(path, "spawns with a systemId", "remove it and address actors by kind and id");
  if (made.type === "xstate.sendTo" && made.to === "#_parent") {
    refuse(
      path,
      "sends to a parent",
      'a durable actor has none: keep the address in the context and sendTo(({ context }) => ref("kind", context.id))',
    );
  }
}

const PROBE = "troupe.probe";

/** XState tags its logics nowhere: a promise actor is the one that a resolve event completes. */
function promiseOf(logic: unknown): PromiseCreator | undefined {
  const candidate = logic as LogicLike | undefined;
  if (typeof candidate?.config !== "function" || typeof candidate.transition !== "function") return undefined;
  try {
    const state = { status: "active", input: undefined, output: undefined, error: undefined };
    const next = candidate.transition(state, { type: "xstate.promise.resolve", data: PROBE }, undefined) as {
      status?: string;
      output?: unknown;
    };
    return next.status === "done" && next.output === PROBE ? (candidate.config as PromiseCreator) : undefined;
  } catch {
    return undefined; // other logics need a running actor and throw here: they are not promises
  }
}
