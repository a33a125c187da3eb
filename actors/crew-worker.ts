/**
 * A kind of workers for crews: does what it is given and says how it ended. Invariant: each piece of work is answered once for each
 * time it was given, unless it was told to stop; past its deadline it is not started. It is done at least once: `id` tells a repetition.
 */
import { enqueueActions, fromPromise, setup } from "xstate";
import { ref } from "../runtime/author.ts";
import { type ActorKind, defineActor } from "../runtime/define-actor.ts";
import { DefinitionError } from "../runtime/errors.ts";
import type { Placement } from "../runtime/families.ts";
import { plainError } from "../runtime/thrown.ts";
import { now, sender } from "../runtime/transition-scope.ts";
import { addressOf } from "../runtime/address.ts";
import { capabilitiesProblem, SLOT_LIMIT } from "./crew-members.ts";
import { checkedEnd } from "./crew-request.ts";
import { isActor } from "./resource-claim.ts";
import { type Capability, CREW_KIND, type WorkEnded, type WorkerMessage } from "./messages/crew.ts";

/** A piece of work as the code sees it that does it. */
export interface WorkCall {
  /** The same in each attempt, on whichever worker: the key by which a repetition is told. */
  readonly id: string;
  readonly data: unknown;
  readonly attempt: number;
}

export interface CrewWorkerOptions {
  readonly kind: string;
  /** Does the work; what it returns is the result, plain data. Aborted when the work was given to another or took too long. */
  readonly run: (work: WorkCall, signal: AbortSignal) => Promise<unknown>;
  readonly capabilities?: readonly Capability[];
  /** Pieces of work that one worker does at once. Default 1. */
  readonly slots?: number;
  /** One piece of work takes at most this long, in ms. Default that of every invocation. */
  readonly deadlineMs?: number;
  /** Where workers may be, as of every kind. */
  readonly placement?: Placement;
}

interface WorkerContext {
  /** Work in hand, and the crew that gave it. */
  readonly inHand: readonly { readonly id: string; readonly crew: string }[];
  readonly ended: number;
}

type WorkerEvent =
  | WorkerMessage
  | { readonly type: "xstate.done.actor.*"; readonly actorId: string; readonly output: unknown }
  | { readonly type: "xstate.error.actor.*"; readonly actorId: string; readonly error: unknown };

function machineOf({ run, capabilities = [], slots = 1 }: CrewWorkerOptions) {
  return setup({
    types: {} as { context: WorkerContext; events: WorkerEvent },
    actors: {
      run: fromPromise<unknown, WorkCall>(({ input, signal }) => run(input, signal)),
    },
    guards: {
      isBusy: ({ context }) => context.inHand.length > 0,
      isIdle: ({ context }) => context.inHand.length === 0,
    },
    actions: {
      enlist: enqueueActions(({ event, enqueue }) => {
        if (event.type !== "hire") return;
        enqueue.sendTo(ref(CREW_KIND, event.crew), { type: "enlist", capabilities, slots });
      }),
      begin: enqueueActions(({ context, event, enqueue }) => {
        // Only who has an address can be answered.
        if (event.type !== "work" || !isActor(sender()) || context.inHand.some(({ id }) => id === event.work.id))
          return;
        const { id, data, attempt, startByMs } = event.work;
        if (now() > startByMs) {
          const reason = "Its deadline passed on the way to the worker";
          enqueue.sendTo(refOfSender(), { type: "work.ended", work: id, state: "expired", result: null, reason });
          return;
        }
        enqueue.spawnChild("run", { id, input: { id, data, attempt } });
        enqueue.assign({ inHand: [...context.inHand, { id, crew: sender() }] });
      }),
      answer: enqueueActions(({ context, event, enqueue }) => {
        if (!("actorId" in event)) return;
        const own = context.inHand.find(({ id }) => id === event.actorId);
        enqueue.stopChild(event.actorId);
        if (own === undefined) return;
        const { kind, id } = addressOf(own.crew);
        enqueue.sendTo(ref(kind, id), endOf(own.id, event));
        enqueue.assign({ inHand: context.inHand.filter((each) => each !== own), ended: context.ended + 1 });
      }),
      drop: enqueueActions(({ context, event, enqueue }) => {
        if (event.type !== "stop") return;
        const { work } = event;
        if (!context.inHand.some(({ id, crew }) => id === work && crew === sender())) return;
        enqueue.stopChild(work);
        enqueue.assign({ inHand: context.inHand.filter(({ id }) => id !== work) });
      }),
    },
  }).createMachine({
    id: "crew-worker",
    context: { inHand: [], ended: 0 },
    initial: "idle",
    on: {
      hire: { actions: "enlist" },
      work: { actions: "begin" },
      stop: { actions: "drop" },
      "xstate.done.actor.*": { actions: "answer" },
      "xstate.error.actor.*": { actions: "answer" },
    },
    states: {
      idle: { always: { guard: "isBusy", target: "working" } },
      working: { always: { guard: "isIdle", target: "idle" } },
    },
  });
}

function refOfSender() {
  const { kind, id } = addressOf(sender());
  return ref(kind, id);
}

function endOf(work: string, event: WorkerEvent): WorkEnded {
  const end = { type: "work.ended", work } as const;
  if ("error" in event) return { ...end, state: "failed", result: null, reason: plainError(event.error).message };
  const result = "output" in event ? (event.output ?? null) : null;
  return checkedEnd({ ...end, state: "done", result, reason: null });
}

/**
 * Declares a kind of workers. `run` may be started again under the same id on another node: let it look whether it was done.
 * @throws {DefinitionError} The capabilities or slots are not valid.
 */
export function crewWorker(options: CrewWorkerOptions): ActorKind {
  const { kind, capabilities = [], slots = 1, deadlineMs, placement } = options;
  const problem = capabilitiesProblem(capabilities);
  if (problem !== null) throw new DefinitionError(`Kind "${kind}" cannot be of workers: ${problem}`);
  if (!(Number.isSafeInteger(slots) && slots >= 1 && slots <= SLOT_LIMIT))
    throw new DefinitionError(`Option "slots" is ${String(slots)}: give a whole number from 1 to ${SLOT_LIMIT}`);
  return defineActor({
    kind,
    machine: machineOf(options),
    // One that cannot go on tells its crew, which hires another.
    supervision: { strategy: "escalate", supervisor: ({ id }) => ({ kind: CREW_KIND, id: crewOf(id) }) },
    ...(deadlineMs !== undefined && { invocationDeadlineMs: deadlineMs }),
    ...(placement !== undefined && { placement }),
  });
}

/** The crew of a hired worker, whose id is `<crew>:<number>`. */
const crewOf = (id: string): string => id.slice(0, Math.max(1, id.lastIndexOf(":")));
