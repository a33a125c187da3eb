/**
 * What the cluster and its operators tell an actor beside its own events: journaled inputs of a tag of their own. Invariant: who
 * gave the command and why stand in the journal with it; a machine never sees one.
 */
import type { ActorState } from "./actor-state.ts";
import type { Audit } from "./api.ts";
import { type EventLike, type Input, Tag } from "./envelope.ts";
import { PayloadError } from "./errors.ts";
import { MAX_BY_LENGTH, MAX_WHY_LENGTH } from "./limits.ts";

export type Command =
  /** Enters the initial state without a message; does nothing later. */
  | { readonly type: "control.start" }
  /** Goes on after a quarantine, stop or fail-over, with the timers and invocations of then. */
  | ({ readonly type: "control.resume" } & Audit)
  /** Forgets a dead letter; goes on if it was what the actor is quarantined for. */
  | ({ readonly type: "control.skip"; readonly letter: number; readonly revision: number } & Audit)
  /** Takes a dead letter's event as if its sender sent it now; goes on as for a skip. */
  | ({
      readonly type: "control.retry";
      readonly letter: number;
      /** Of the poison input; 0: the letter was refused, not poison. */
      readonly revision: number;
      readonly sender: string;
      readonly event: EventLike;
      readonly isEdited: boolean;
    } & Audit);

/** The command that an input is, if it is one. */
export const commandOf = (input: Input): Command | null =>
  input.tag === Tag.Control ? (input.event as unknown as Command) : null;

/** A command about a dead letter lifts only the hold that the letter stands for. */
export function lifts(command: Command, { held, stopped }: ActorState): boolean {
  if (stopped === null || command.type === "control.start") return false;
  return command.type === "control.resume" || (command.revision > 0 && held?.revision === command.revision);
}

/** @throws {PayloadError} Not a command of this version. */
export function checkCommand(event: EventLike): void {
  const { type, by, why, letter, revision, sender } = event;
  if (type === "control.start") return;
  const isAudited = isText(by, MAX_BY_LENGTH) && isText(why, MAX_WHY_LENGTH);
  const names = (value: unknown, least: number) => Number.isSafeInteger(value) && (value as number) >= least;
  if (isAudited && type === "control.resume") return;
  const isOfLetter = isAudited && names(letter, 1) && names(revision, 0);
  if (isOfLetter && type === "control.skip") return;
  const inner = event["event"] as EventLike | undefined;
  if (isOfLetter && type === "control.retry" && typeof sender === "string" && typeof inner?.type === "string") return;
  throw new PayloadError(
    `The command ${JSON.stringify(type).slice(0, 80)} is malformed: name who (by, up to ${MAX_BY_LENGTH} characters) and why (up to ${MAX_WHY_LENGTH}), and use this package's client`,
  );
}

const isText = (value: unknown, most: number): value is string =>
  typeof value === "string" && value.trim() !== "" && value.length <= most;
