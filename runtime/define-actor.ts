/**
 * A kind of actor: an XState machine and how it is kept. Invariant: what passes here can be stored, replayed and moved;
 * what cannot is refused with the path of the node and the way to write it instead.
 */
import type { AnyStateMachine, EventFromLogic } from "xstate";
import { type Address, checkAddress } from "./address.ts";
import { assertDurable } from "./durable-check.ts";
import { DefinitionError } from "./errors.ts";
import { type FixedPlacement, fixPlacement, type Placement } from "./families.ts";
import {
  DEFAULT_HISTORY_DAYS,
  DEFAULT_INVOCATION_DEADLINE_MS,
  DEFAULT_PASSIVATE_AFTER_MS,
  DEFAULT_SNAPSHOT_EVERY,
} from "./limits.ts";
import type { PersistedMachine } from "./machine.ts";
import { stateNodes } from "./state-nodes.ts";

/** What follows a poison message, after it went to the dead letters. */
export type SupervisionStrategy = "resume" | "restart" | "replace" | "degrade" | "failover" | "stop" | "escalate";

export interface Supervision {
  /**
   * `resume` goes on from the last good state, the one before the message. `restart` begins anew. `replace` begins anew too and keeps the
   * old state with the dead letter. `degrade` sends the machine `supervision.degraded`: it goes on with what it can. `failover`
   * hands the work to the {@link standby}. `stop` ends the actor, `escalate` tells the {@link supervisor} besides.
   */
  readonly strategy: SupervisionStrategy;
  /** More poison messages than this within {@link periodMs} quarantine the actor whatever the strategy. */
  readonly intensity: number;
  /** Window for {@link intensity}, in ms of input time. */
  readonly periodMs: number;
  /** Who is told on `escalate`, and of a quarantine under any strategy, with `{ type: "actor.failed", kind, id, reason }`. */
  readonly supervisor?: (self: Address) => Address;
  /**
   * Who does the work after a `failover`. It gets `{ type: "supervision.takeover", kind, id, cause, event, state }` and then what
   * is told to the failed one; asks are refused with {@link MovedError}.
   */
  readonly standby?: (self: Address) => Address;
}

export interface ActorOptions<TMachine extends AnyStateMachine> {
  readonly kind: string;
  readonly machine: TMachine;
  /** Version of the machine's persisted shape, 1 at first. Raise it when stored states no longer fit. */
  readonly version?: number;
  /** Brings a stored state of version `from` to {@link version}. Without it, older states refuse to activate. */
  readonly migrate?: (stored: PersistedMachine, from: number) => PersistedMachine;
  /** The machine's input, from the address alone. Default: the address itself. */
  readonly input?: (address: Address) => unknown;
  /**
   * The cluster has exactly one, of the id {@link SINGLETON_ID}: it is started without a message, stays in memory, and moves to another
   * node when its own ends. Default false.
   */
  readonly singleton?: boolean;
  readonly supervision?: Partial<Supervision>;
  /** A promise actor that runs longer is aborted and fails with a deadline error, in ms. */
  readonly invocationDeadlineMs?: number;
  /** Inputs after which a dirty actor is snapshotted. */
  readonly snapshotEvery?: number;
  /** Days that inputs stay in the history; 0 keeps none. */
  readonly historyDays?: number;
  /** Idle time after which the actor leaves memory, in ms. */
  readonly passivateAfterMs?: number;
  /** Shards of its own, and where they may be. Without it the kind shares the numbered shards; all nodes with those define it. */
  readonly placement?: Placement;
  /** Publish state changes on the status subject, for live views. Default false. */
  readonly publishStatus?: boolean;
}

export interface ActorKind<TMachine extends AnyStateMachine = AnyStateMachine> {
  readonly kind: string;
  readonly version: number;
  readonly machine: TMachine;
  readonly migrate: ActorOptions<TMachine>["migrate"];
  readonly input: (address: Address) => unknown;
  readonly isSingleton: boolean;
  readonly supervision: Supervision;
  readonly invocationDeadlineMs: number;
  readonly snapshotEvery: number;
  readonly historyDays: number;
  readonly passivateAfterMs: number;
  readonly placement: FixedPlacement | null;
  readonly publishStatus: boolean;
  /** True if the machine has a transition for this event type in some state. */
  readonly accepts: (eventType: string) => boolean;
}

/** The events a client may send to a kind. */
export type EventOf<TKind extends ActorKind> = EventFromLogic<TKind["machine"]>;

/** The only id of a singleton. */
export const SINGLETON_ID = "main";

/** Tells a machine that it could not take a message, with `cause` and the message's type as `event`. */
export const DEGRADED_EVENT = "supervision.degraded";

const DEFAULT_SUPERVISION: Supervision = { strategy: "resume", intensity: 10, periodMs: 60_000 };

/**
 * Declares a kind of durable actor.
 * @throws {AddressError} The kind is not valid.
 * @throws {DefinitionError} The machine holds what cannot be durable, or an option is not valid; the message names the place and the remedy.
 */
export function defineActor<TMachine extends AnyStateMachine>(options: ActorOptions<TMachine>): ActorKind<TMachine> {
  checkAddress(options.kind, "x");
  positive(options, "version", "snapshotEvery", "invocationDeadlineMs", "passivateAfterMs");
  const accepts = eventFilter(options.machine);
  checkSupervision({ ...DEFAULT_SUPERVISION, ...options.supervision }, accepts);
  const { historyDays = DEFAULT_HISTORY_DAYS } = options;
  if (!(Number.isSafeInteger(historyDays) && historyDays >= 0))
    throw new DefinitionError(`Option "historyDays" is ${String(historyDays)}: give a whole number, 0 keeps none`);
  if (options.singleton === true && options.placement?.label !== undefined)
    throw new DefinitionError("A singleton cannot be placed by a label of its id: give its placement roles alone");
  assertDurable(options.kind, options.machine);
  return {
    kind: options.kind,
    version: options.version ?? 1,
    machine: options.machine,
    migrate: options.migrate,
    input: options.input ?? ((address) => address),
    isSingleton: options.singleton ?? false,
    supervision: { ...DEFAULT_SUPERVISION, ...options.supervision },
    invocationDeadlineMs: options.invocationDeadlineMs ?? DEFAULT_INVOCATION_DEADLINE_MS,
    snapshotEvery: options.snapshotEvery ?? DEFAULT_SNAPSHOT_EVERY,
    historyDays: options.historyDays ?? DEFAULT_HISTORY_DAYS,
    passivateAfterMs: options.passivateAfterMs ?? DEFAULT_PASSIVATE_AFTER_MS,
    placement: options.placement === undefined ? null : fixPlacement(options.placement),
    publishStatus: options.publishStatus ?? false,
    accepts,
  };
}

const STRATEGIES: readonly SupervisionStrategy[] = [
  "resume",
  "restart",
  "replace",
  "degrade",
  "failover",
  "stop",
  "escalate",
];

function checkSupervision(
  { strategy, intensity, periodMs, supervisor, standby }: Supervision,
  accepts: ActorKind["accepts"],
): void {
  if (!STRATEGIES.includes(strategy))
    throw new DefinitionError(
      `The supervision's strategy ${JSON.stringify(strategy)} is not known: use ${STRATEGIES.join(", ")}`,
    );
  if (!(Number.isSafeInteger(intensity) && intensity >= 0))
    throw new DefinitionError(`The supervision's intensity is ${String(intensity)}: give a whole number, 0 or more`);
  if (!(periodMs > 0))
    throw new DefinitionError(`The supervision's periodMs is ${String(periodMs)}: give a number above 0`);
  if (strategy === "escalate" && supervisor === undefined)
    throw new DefinitionError("The strategy escalate names nobody to tell: give a supervisor, or use stop");
  if (strategy === "failover" && standby === undefined)
    throw new DefinitionError("The strategy failover names nobody to take over: give a standby, or use stop");
  if (strategy === "degrade" && !accepts(DEGRADED_EVENT))
    throw new DefinitionError(
      `The strategy degrade sends "${DEGRADED_EVENT}", which the machine handles in no state: give it a transition, or use resume`,
    );
}

function positive<T extends object>(options: T, ...keys: (keyof T & string)[]): void {
  for (const key of keys) {
    const value = options[key];
    if (value !== undefined && !(Number.isSafeInteger(value) && (value as number) > 0)) {
      throw new DefinitionError(`Option "${key}" is ${JSON.stringify(value)}: give a whole number above 0`);
    }
  }
}

/** `machine.events` leaves out forbidden transitions (`on: { X: {} }`): such an event is known, and ignored. */
function* descriptorsOf(machine: AnyStateMachine): Generator<string> {
  for (const node of stateNodes(machine.root)) yield* node.transitions.keys();
}

/** Matches event descriptors as XState does: exact, `*`, and `prefix.*`. */
function eventFilter(machine: AnyStateMachine): (type: string) => boolean {
  const exact = new Set<string>();
  const prefixes: string[] = [];
  let all = false;
  for (const descriptor of descriptorsOf(machine)) {
    if (descriptor === "*") all = true;
    else if (descriptor.endsWith(".*")) prefixes.push(descriptor.slice(0, -1));
    else exact.add(descriptor);
  }
  return (type) =>
    // Completions and timers are the runtime's to send: from outside they would be forgeries.
    !type.startsWith("xstate.") &&
    (all || exact.has(type) || prefixes.some((prefix) => type.startsWith(prefix) || `${type}.` === prefix));
}
