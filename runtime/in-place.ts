/**
 * Events that an actor takes where it stands: they change its context and act, and no state is left or entered. XState searches
 * for such states all the same, and makes state value and tags anew with each new context: four fifths of the time of such a step.
 * Invariant: {@link InPlace.step} gives what `machine.transition()` gives; whatever may move, raise or start something, or run
 * code of its own, is left to that.
 *
 * Which transitions are taken, and what an action wants, XState says here too (`getTransitionData()`, and the `resolve` and
 * `assignment` of its action creators, xstate 5.33; `tests/unit/in-place.test.ts` holds them against the library at hand).
 */
import type {
  ActionArgs,
  AnyActorScope,
  AnyMachineSnapshot,
  AnyStateMachine,
  EventObject,
  MachineContext,
} from "xstate";
import { stateNodes } from "./state-nodes.ts";

/** XState's own actions that neither raise nor start anything, and have no actions within them. */
const STAYING: readonly unknown[] = ["xstate.assign", "xstate.cancel", "xstate.emit", "xstate.log", "xstate.sendTo"];

type Args = ActionArgs<MachineContext, EventObject, EventObject>;

/** What XState's action creators return. */
interface BuiltIn {
  readonly type: string;
  resolve(
    scope: AnyActorScope,
    snapshot: AnyMachineSnapshot,
    args: Args,
    params: unknown,
    action: BuiltIn,
    extra: { readonly deferredActorIds: undefined },
  ): [snapshot: AnyMachineSnapshot, wanted: unknown];
}

type Assigner = (args: object, params: unknown) => object;

interface Assign extends BuiltIn {
  /** Gives the new parts of the context; or one function, or plain value, for each of them. */
  readonly assignment: Assigner | Readonly<Record<string, unknown>>;
}

const NOTHING_DEFERRED = { deferredActorIds: undefined } as const;

export class InPlace {
  readonly #machine: AnyStateMachine;
  readonly #scope: AnyActorScope;
  /** Event types that no state of the machine moves on. */
  readonly #types: ReadonlySet<string>;
  readonly #spawn: () => never;

  /** `spawn` is what an assign that spawns gets: it throws. */
  constructor(machine: AnyStateMachine, scope: AnyActorScope, spawn: () => never) {
    this.#machine = machine;
    this.#scope = scope;
    this.#spawn = spawn;
    this.#types = stayingTypes(machine);
  }

  /** False too of an actor that has ended, or that a migration left without a context: XState has the words for those. */
  takes({ status, context }: AnyMachineSnapshot, { type }: EventObject): boolean {
    return status === "active" && this.#types.has(type) && context !== undefined;
  }

  /** The macrostep of an event that is taken in place. @throws Whatever the machine's own functions throw. */
  step(snapshot: AnyMachineSnapshot, event: EventObject): AnyMachineSnapshot {
    let next = snapshot;
    for (const { actions } of this.#machine.getTransitionData(snapshot, event as never))
      for (const action of actions) next = this.#act(next, event, action);
    return next;
  }

  #act(snapshot: AnyMachineSnapshot, event: EventObject, action: unknown): AnyMachineSnapshot {
    const builtIn = builtInOf(this.#machine, action) as BuiltIn;
    const { self, system } = this.#scope;
    const args = { context: snapshot.context, event, self, system } as Args;
    const params = paramsOf(action, args);
    if (isAssign(builtIn)) {
      const { context } = snapshot;
      const changed = assigned(builtIn, { context, event, spawn: this.#spawn, self, system }, params);
      // A spread would keep a key "__proto__" that the event's JSON brought.
      return { ...snapshot, context: Object.assign({}, context, changed) };
    }
    const [next, wanted] = builtIn.resolve(this.#scope, snapshot, args, params, builtIn, NOTHING_DEFERRED);
    if ("execute" in builtIn)
      this.#scope.actionExecutor({ type: builtIn.type, info: args, params: wanted as never, exec: undefined });
    return next;
  }
}

const isAssign = (action: BuiltIn): action is Assign => action.type === "xstate.assign";

function assigned({ assignment }: Assign, args: object, params: unknown): object {
  if (typeof assignment === "function") return assignment(args, params);
  const changed: Record<string, unknown> = {};
  for (const [key, part] of Object.entries(assignment))
    changed[key] = typeof part === "function" ? (part as Assigner)(args, params) : part;
  return changed;
}

function stayingTypes(machine: AnyStateMachine): Set<string> {
  const staying = new Set<string>();
  const moving = new Set<string>();
  for (const { always = [], transitions } of stateNodes(machine.root)) {
    if (always.length > 0) return new Set(); // any change of the context may move it
    for (const [type, candidates] of transitions) {
      if (type.endsWith("*")) return new Set(); // stands beside every other type's own
      const stays = candidates.every(
        ({ target, reenter, actions }) =>
          target === undefined && !reenter && actions.every((action) => builtInOf(machine, action) !== undefined),
      );
      (stays ? staying : moving).add(type);
    }
  }
  return new Set([...staying].filter((type) => !moving.has(type) && !type.startsWith("xstate.")));
}

/** The staying action that stands in a transition, by itself or by its name; undefined: it is none. */
function builtInOf({ implementations }: AnyStateMachine, action: unknown): BuiltIn | undefined {
  const name = typeof action === "string" ? action : (action as { readonly type?: string } | null | undefined)?.type;
  const made = typeof action === "function" ? action : (implementations.actions as Record<string, unknown>)[name ?? ""];
  if (typeof made !== "function" || !("resolve" in made && "type" in made)) return undefined;
  return STAYING.includes(made.type) ? (made as BuiltIn) : undefined;
}

interface Parametric {
  readonly params?: ((args: object) => unknown) | Readonly<Record<string, unknown>>;
}

function paramsOf(action: unknown, { context, event }: Args): unknown {
  if (typeof action !== "object") return undefined;
  const named = action as Parametric;
  return typeof named.params === "function" ? named.params({ context, event }) : named.params;
}
