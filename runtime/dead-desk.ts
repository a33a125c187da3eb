/**
 * What operators do about dead letters. Invariant: a letter is retried or skipped once; the actor takes the command as a journaled
 * input, and the mark that says so is stored before any snapshot covers it.
 */
import type { Names } from "../nats-config/subjects.ts";
import type { Audit, DeadLetter, RetryOptions } from "./api.ts";
import type { Clock } from "./clock.ts";
import { decode, encode } from "./codec.ts";
import { checkCommand, type Command } from "./control.ts";
import type { DeadMark, DeadMessage } from "./dead-letters.ts";
import type { EventLike } from "./envelope.ts";
import { DeadLetterError, LetterNotFoundError, RevisionConflictError } from "./errors.ts";
import { LIST_LIMIT } from "./limits.ts";
import type { Broker, StoredMessage } from "./port.ts";

export interface DeskDeps {
  readonly broker: Broker;
  readonly names: Names;
  readonly clock: Clock;
  /** Sends a command to an actor, as the letter's own sender if one is named, and resolves with the actor's answer. */
  readonly command: (kind: string, id: string, command: Command, sender?: string) => Promise<unknown>;
}

type Letter = Omit<DeadMessage, "messageId">;

/** Letters read a page: bounds memory. */
const PAGE = 128;

/** The latest dead letters, oldest first, without the states that were replaced. */
export async function readDeadLetters(
  { broker, names }: Pick<DeskDeps, "broker" | "names">,
  limit: number,
): Promise<DeadLetter[]> {
  const letters: DeadLetter[] = [];
  for (let fromSeq = 1; ; ) {
    const page = await broker.read(names.stream.dead, { subject: names.deadLetters, fromSeq, limit: PAGE });
    for (const message of page) {
      const { state: _, ...letter } = letterIn(message);
      letters.push(letter);
    }
    if (letters.length > limit) letters.splice(0, letters.length - limit);
    fromSeq = (page.at(-1)?.seq ?? 0) + 1;
    if (page.length < PAGE) break;
  }
  const marks = await broker.readLast(names.stream.dead, names.deadMarks, LIST_LIMIT);
  const bySeq = new Map(marks.map((mark) => [Number(mark.subject.slice(mark.subject.lastIndexOf(".") + 1)), mark]));
  return letters.map((letter) => withMark(letter, bySeq.get(letter.seq)));
}

/** @throws {LetterNotFoundError} */
export async function readDeadLetter(
  { broker, names }: Pick<DeskDeps, "broker" | "names">,
  seq: number,
): Promise<DeadLetter> {
  const [found] =
    Number.isSafeInteger(seq) && seq > 0
      ? await broker.read(names.stream.dead, { subject: names.deadLetters, fromSeq: seq, limit: 1 })
      : [];
  if (found?.seq !== seq)
    throw new LetterNotFoundError(
      `There is no dead letter ${seq}: it has timed out, or never was; \`troupe dead\` lists them`,
    );
  return withMark(letterIn(found), (await broker.getLast(names.stream.dead, names.deadMark(seq))) ?? undefined);
}

/**
 * Hands a letter's event, or another one, to its actor again; resolves with the answer.
 * @throws {LetterNotFoundError} @throws {DeadLetterError} Seen to before, or no actor's. @throws What the actor refuses it with.
 */
export async function retryDeadLetter(deps: DeskDeps, seq: number, options: RetryOptions): Promise<unknown> {
  const { by, why, event } = options;
  const letter = await openLetter(deps, seq);
  if (!isOfActor(letter))
    throw new DeadLetterError(
      `Dead letter ${seq} (${letter.reason}) is of "${letter.kind}/${letter.id}", which is no actor: send its event anew, then skip it`,
    );
  const command: Command = {
    type: "control.retry",
    letter: seq,
    revision: letter.revision ?? 0,
    sender: letter.sender,
    event: event ?? (letter.event as EventLike),
    isEdited: event !== undefined,
    by,
    why,
  };
  return await deps.command(letter.kind, letter.id, command, `dead:${seq}`);
}

/** Marks a letter as seen to; its actor goes on if it was held for it. @throws As {@link retryDeadLetter}. */
export async function skipDeadLetter(deps: DeskDeps, seq: number, { by, why }: Audit): Promise<void> {
  const letter = await openLetter(deps, seq);
  const command: Command = { type: "control.skip", letter: seq, revision: letter.revision ?? 0, by, why };
  if (letter.reason === "poison") await deps.command(letter.kind, letter.id, command, `dead:${seq}`);
  else await markSkipped(deps, seq, command);
}

/** Nobody is held for a letter that was merely refused: the mark is all. */
async function markSkipped({ broker, names, clock }: DeskDeps, seq: number, command: Command & Audit): Promise<void> {
  checkCommand({ ...command });
  const { by, why } = command;
  const timeMs = clock.now();
  const mark: DeadMark = { verb: "skipped", by, why, timeMs, isEdited: false, outcome: "dropped" };
  try {
    await broker.append(names.deadMark(seq), encode(mark), { expectedLastSubjectSeq: 0 });
  } catch (cause) {
    if (!(cause instanceof RevisionConflictError)) throw cause;
    throw new DeadLetterError(`Dead letter ${seq} was seen to just now: look at it again`, { cause });
  }
}

async function openLetter(deps: DeskDeps, seq: number): Promise<DeadLetter> {
  const letter = await readDeadLetter(deps, seq);
  if (letter.mark === undefined) return letter;
  const { verb, by, timeMs, outcome } = letter.mark;
  const next = outcome === "poison" ? "it failed again and lies here as a new letter" : "send the event anew instead";
  throw new DeadLetterError(
    `Dead letter ${seq} was ${verb} by "${by}" on ${new Date(timeMs).toISOString()}, and each is once: ${next}`,
  );
}

/** Only actors' messages have a kind and an event that can be sent again. */
const isOfActor = ({ reason, kind, event }: DeadLetter): boolean =>
  reason === "poison" ||
  (reason === "refused" && kind !== "pool" && typeof (event as EventLike | null | undefined)?.type === "string");

const letterIn = ({ seq, data }: StoredMessage): DeadLetter => ({ seq, ...(decode(data) as Letter) });

const withMark = (letter: DeadLetter, mark: StoredMessage | undefined): DeadLetter =>
  mark === undefined ? letter : { ...letter, mark: decode(mark.data) as DeadMark };
