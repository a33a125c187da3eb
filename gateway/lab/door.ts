/**
 * The device's door: what its driver lets in. Invariant: a command runs only under a token that the lock's lease shows and that
 * no newer one came after, one at a time, and once per invocation id. Whatever cannot be checked is refused. After the answer to a
 * stop nothing runs under its token any more.
 */
import { judgeToken, type Lease, type LeaseVerdict } from "../../actors/index.ts";
import { type Clock, sleep } from "../../runtime/clock.ts";
import { AbortedError } from "../../runtime/errors.ts";
import { isObject } from "../json.ts";
import type { CommandAnswer } from "./commands.ts";
import type { TokenFile } from "./token-file.ts";

export interface DeviceCommand {
  readonly command: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly token: number;
  readonly invocationId: string;
}

/** Answers kept for repeats of the same invocation: far more than a device gets within a call's longest deadline. */
export const ANSWERS_LIMIT = 1_000;
/** Stopped tokens kept, the latest: older ones are over by the lease long since. */
const STOPPED_LIMIT = 100;
/** Commands waiting for the device at most. At it: busy, try again. */
export const QUEUE_LIMIT = 100;

/** How long the lease may be behind a token's grant, in ms: it is written within some, a fail-over of the lock's node in this. */
export const LEASE_WAIT_MS = 2_000;
/** Pause before it is read again, in ms: about a write. */
const LEASE_PAUSE_MS = 10;

export interface DoorDeps {
  readonly device: string;
  readonly tokens: TokenFile;
  readonly clock: Clock;
  /** Reads who may drive the device just now; null: nobody was ever granted. */
  readonly readLease: () => Promise<Lease | null>;
  /** Settles once nothing of the command runs any more; the signal asks for that at once. */
  readonly run: (command: DeviceCommand, signal: AbortSignal) => Promise<CommandAnswer>;
}

interface Unreadable {
  readonly cause: string;
}

interface Running {
  readonly token: number;
  readonly controller: AbortController;
  readonly over: Promise<unknown>;
}

const refused = (code: string, error: string): CommandAnswer => ({ ok: false, code, error });

export class DeviceDoor {
  readonly #deps: DoorDeps;
  readonly #answers = new Map<string, { readonly token: number; readonly answer: Promise<CommandAnswer> }>();
  readonly #stopped = new Set<number>();
  #queue: Promise<unknown> = Promise.resolve();
  #running: Running | null = null;
  #waiting = 0;

  constructor(deps: DoorDeps) {
    this.#deps = deps;
  }

  /** Answers one request body. Never rejects: what goes wrong is in the answer. */
  async handle(body: unknown): Promise<CommandAnswer> {
    if (isObject(body) && body["stop"] === true) return await this.#stop(body["token"]);
    const command = readCommand(body);
    if ("ok" in command) return command;
    const earlier = this.#answers.get(command.invocationId);
    // A repeat is no new action: it learns what happened the first time, though a newer holder may have come since.
    if (earlier !== undefined && earlier.token === command.token) return await earlier.answer;
    const stale = this.#stale(command);
    if (stale !== undefined) return stale;
    if (this.#waiting >= QUEUE_LIMIT) {
      return refused("BUSY", `${QUEUE_LIMIT} commands wait for the device "${this.#deps.device}": try again`);
    }
    const answer = this.#enqueue(command);
    this.#remember(command, answer);
    return await answer;
  }

  /** Ends what runs under a token, for good. One that was never issued is refused: it would shut its holder to be out. */
  async #stop(token: unknown): Promise<CommandAnswer> {
    if (!isToken(token)) return noToken(token);
    if (this.#running?.token !== token) {
      const verdict = await this.#judge(token);
      if (verdict !== "good" && verdict !== "over") return this.#unknown(token, verdict);
    }
    this.#stopped.add(token);
    if (this.#stopped.size > STOPPED_LIMIT) this.#stopped.delete(Math.min(...this.#stopped));
    const running = this.#running;
    if (running?.token === token) {
      running.controller.abort(new AbortedError("Its task was stopped"));
      await running.over;
    }
    return { ok: true, stopped: true, output: null, evidence: [] };
  }

  #stale({ token }: DeviceCommand): CommandAnswer | undefined {
    const { device, tokens } = this.#deps;
    if (this.#stopped.has(token))
      return refused("STOPPED", `What runs under token ${token} of the device "${device}" was stopped: stop acting`);
    if (token >= tokens.highest) return undefined;
    return refused(
      "STALE_TOKEN",
      `Token ${token} of the device "${device}" is old, ${tokens.highest} was seen: stop acting, the lock has a newer holder`,
    );
  }

  /** Why the token gives no right to act now. */
  async #withoutLease({ token }: DeviceCommand): Promise<CommandAnswer | undefined> {
    const { device, clock } = this.#deps;
    const untilMs = clock.monotonic() + LEASE_WAIT_MS;
    for (;;) {
      const verdict = await this.#judge(token);
      if (verdict === "good") return undefined;
      if (verdict === "over") {
        const why = "the lock was given back, has ended or has a newer holder";
        return refused("STALE_TOKEN", `Token ${token} of the device "${device}" is over: stop acting, ${why}`);
      }
      if (clock.monotonic() >= untilMs) return this.#unknown(token, verdict);
      await sleep(clock, LEASE_PAUSE_MS);
    }
  }

  #unknown(token: number, verdict: "ahead" | Unreadable): CommandAnswer {
    const { device } = this.#deps;
    return verdict === "ahead"
      ? refused(
          "UNKNOWN_TOKEN",
          `Token ${token} of the device "${device}" was never issued: take the device's lock and send its token`,
        )
      : refused(
          "LEASE_UNREADABLE",
          `Whether token ${token} of the device "${device}" is good cannot be read: try again (${verdict.cause})`,
        );
  }

  async #judge(token: number): Promise<LeaseVerdict | Unreadable> {
    try {
      return judgeToken(await this.#deps.readLease(), token, this.#deps.clock.now());
    } catch (error) {
      return { cause: error instanceof Error ? error.message : String(error) }; // asked again, then refused with it
    }
  }

  async #enqueue(command: DeviceCommand): Promise<CommandAnswer> {
    this.#waiting++;
    try {
      // Before it takes its turn: one that waits for its lease holds up nobody.
      const refusal = await this.#withoutLease(command);
      if (refusal !== undefined) return refusal;
      // Only now: a token that was never issued must not shut the door to those that were.
      await this.#deps.tokens.raise(command.token);
      const running = this.#running;
      if (running !== null && running.token < command.token)
        running.controller.abort(new AbortedError("A newer holder came"));
      return await this.#inTurn(command);
    } catch (error) {
      // Kept as the answer: what may have been half done is done anew only on purpose, under a new key.
      return refused(
        "DRIVER_FAILED",
        `The driver of "${this.#deps.device}" failed: ${error instanceof Error ? error.message : String(error)}`,
      );
    } finally {
      this.#waiting--;
    }
  }

  async #inTurn(command: DeviceCommand): Promise<CommandAnswer> {
    const before = this.#queue;
    const done = Promise.withResolvers<void>();
    this.#queue = done.promise;
    try {
      await before;
      // While it waited the lock may have ended, or a newer holder come in.
      const refusal = this.#stale(command) ?? (await this.#withoutLease(command)) ?? this.#stale(command);
      return refusal ?? (await this.#run(command, done.promise));
    } finally {
      this.#running = null;
      done.resolve();
    }
  }

  async #run(command: DeviceCommand, over: Promise<unknown>): Promise<CommandAnswer> {
    const controller = new AbortController();
    const { signal } = controller;
    this.#running = { token: command.token, controller, over };
    try {
      return await this.#deps.run(command, signal);
    } catch (error) {
      if (!signal.aborted) throw error;
      const why = signal.reason instanceof Error ? signal.reason.message : "It was aborted";
      return refused("STOPPED", `The command "${command.command}" was stopped before its end: ${why}`);
    }
  }

  #remember({ invocationId, token }: DeviceCommand, answer: Promise<CommandAnswer>): void {
    this.#answers.set(invocationId, { token, answer });
    if (this.#answers.size <= ANSWERS_LIMIT) return;
    for (const oldest of this.#answers.keys()) {
      this.#answers.delete(oldest);
      break;
    }
  }
}

const isToken = (token: unknown): token is number => Number.isSafeInteger(token) && (token as number) >= 1;

const noToken = (token: unknown): CommandAnswer =>
  refused(
    "NO_TOKEN",
    `The token ${JSON.stringify(token) ?? "undefined"} is no whole number above 0: send the one that the lock granted`,
  );

function readCommand(body: unknown): DeviceCommand | CommandAnswer {
  if (!isObject(body))
    return refused("BAD_REQUEST", "The command is not a JSON object: send { command, params, token, invocationId }");
  const { command, params = {}, token, invocationId } = body;
  if (typeof command !== "string") return refused("BAD_REQUEST", 'The field "command" is no text: name the command');
  if (token === undefined || token === null) {
    return refused("NO_TOKEN", 'The field "token" is missing: take the device\'s lock and send its fencing token');
  }
  if (!isToken(token)) return noToken(token);
  if (typeof invocationId !== "string" || invocationId === "") {
    return refused("BAD_REQUEST", 'The field "invocationId" is missing: send one that repeats of the same call share');
  }
  if (!isObject(params)) return refused("BAD_PARAMS", 'The field "params" is no JSON object');
  return { command, params, token, invocationId };
}
