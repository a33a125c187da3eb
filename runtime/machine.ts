/**
 * XState as a pure function: state and event in, state and wanted effects out. Nothing runs here. Invariant: the same
 * input on the same state gives the same output; children are never started, only described.
 *
 * XState's own `transition()` builds a fresh actor system for each call, which costs more than the transition; here
 * one inert scope serves all actors of a kind. (`StateMachine.transition(snapshot, event, scope)` is public, xstate 5.33.)
 */
import {
  type AnyActorScope,
  type AnyMachineSnapshot,
  type AnyStateMachine,
  createActor,
  createMachine,
  type EventObject,
  type ExecutableActionObject,
  type Snapshot,
} from "xstate";
import { StateError } from "./errors.ts";
import { InPlace } from "./in-place.ts";
import { plainError } from "./thrown.ts";

/** What XState persists of a machine: plain data. */
export type PersistedMachine = Snapshot<unknown> & { readonly value?: unknown; readonly context?: unknown };

export type MachineAction = ExecutableActionObject & { readonly type: string };

export interface Stepped {
  readonly snapshot: AnyMachineSnapshot;
  readonly actions: readonly MachineAction[];
}

export class MachineRunner {
  readonly machine: AnyStateMachine;
  readonly #scope: AnyActorScope;
  readonly #inPlace: InPlace;
  #actions: MachineAction[] = [];
  #children = 0;

  constructor(machine: AnyStateMachine) {
    this.machine = machine;
    this.#scope = this.#inertScope();
    this.#inPlace = new InPlace(machine, this.#scope, refuseSpawn);
  }

  /** The initial macrostep. @throws Whatever the machine's own functions throw. */
  init(input: unknown): Stepped {
    return this.#collect(
      () => this.machine.getInitialSnapshot(this.#scope, input as never) as AnyMachineSnapshot,
      true,
    );
  }

  /** One macrostep. @throws Whatever the machine's own functions throw. */
  step(snapshot: AnyMachineSnapshot, event: EventObject): Stepped {
    return this.#collect(
      () =>
        this.#inPlace.takes(snapshot, event)
          ? this.#inPlace.step(snapshot, event)
          : this.machine.transition(snapshot, event as never, this.#scope),
      false,
    );
  }

  /** True if the event would move it or make it act. @throws Whatever its guards throw. */
  heeds(snapshot: AnyMachineSnapshot, event: EventObject): boolean {
    return snapshot.can(event as never);
  }

  persist(snapshot: AnyMachineSnapshot): PersistedMachine {
    const persisted = this.machine.getPersistedSnapshot(snapshot) as PersistedMachine;
    // A failed state holds whatever was thrown; an Error does not survive storage.
    return persisted.status === "error"
      ? ({ ...persisted, error: plainError(persisted.error) } as PersistedMachine)
      : persisted;
  }

  restore(persisted: PersistedMachine): AnyMachineSnapshot {
    return this.machine.restoreSnapshot(persisted, this.#scope) as AnyMachineSnapshot;
  }

  /** True if a send target is the machine itself. */
  isSelf(target: unknown): boolean {
    return target === this.#scope.self;
  }

  #collect(run: () => AnyMachineSnapshot, initial: boolean): Stepped {
    const actions: MachineAction[] = [];
    this.#actions = actions;
    this.#children = 0;
    const snapshot = run();
    // XState swallows what the initial functions throw into the snapshot: here it is a refusal like any other.
    if (initial && snapshot.status === "error") throw snapshot.error;
    return { snapshot, actions };
  }

  #inertScope(): AnyActorScope {
    const self = createActor(createMachine({ id: this.machine.id }));
    // Children's default ids come from here: counted per transition, so that replay gives the same ones.
    Object.assign(self.system, { _bookId: () => `child-${++this.#children}` });
    return {
      self,
      id: self.id,
      sessionId: self.sessionId,
      logger: () => undefined,
      system: self.system,
      // Only spawn() inside assign defers before its effect is known: such a child would never start.
      defer: refuseSpawn,
      stopChild: () => undefined,
      emit: () => undefined,
      actionExecutor: (action) => this.#actions.push(action as MachineAction),
    } as AnyActorScope;
  }
}

function refuseSpawn(): never {
  throw new StateError('spawn() inside assign cannot be durable: use the action spawnChild("name", { id })');
}
