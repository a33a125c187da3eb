/**
 * Reads and removals of streams. Invariant: a page that is shorter than its limit ends where the stream's leader ends, though
 * any replica may answer a direct get and one server's answer is cut at its own bounds.
 */
import type { Msg } from "nats";
import type { Clock, TimerHandle } from "./clock.ts";
import { BrokerUnavailableError } from "./errors.ts";
import type { RequestMux } from "./mux.ts";
import type { ReadOptions, StoredMessage } from "./port.ts";
import { API_TIMEOUT_MS, type ApiError, encodeBody, type JetStreamApi, QUERY, refusal } from "./port-nats-api.ts";
import { type LeaderMessage, parseDirect, parseLeader } from "./port-nats-messages.ts";

/** As the port promises when a reader names no limit. */
const DEFAULT_READ_LIMIT = 256;
/** Messages in one batch at most; also the most subjects that the server gives the last messages of in one answer. */
const BATCH_LIMIT = 1_024;
/** Who is asked answers within this, or is not there just now, in ms. */
const ATTEMPT_MS = 500;
/**
 * Any replica may be asked for a batch, also one that the network parted from us: the servers know so only after minutes. So others
 * are asked too, as often as this, while nothing comes. What a recovery reads at once, a hundred states, is then read within seconds.
 */
const BATCH_ATTEMPTS = 8;
/** Statuses that end a direct get. */
const END_OF_BATCH = 204;
const NOT_FOUND = 404;
const TOO_MANY_RESULTS = 413;
/** The server's own error codes. */
const NO_MESSAGE = 10_037;
const NO_SUCH_SEQUENCE = 10_043;
const DELETE_FAILED = 10_057;

const EMPTY = new Uint8Array(0);

interface Batch {
  readonly messages: StoredMessage[];
  /** Matching messages that the answer left out. */
  readonly pending: number;
  /** State of the stream that the answer stands for. */
  readonly upToSeq: number | undefined;
}

interface StreamInfo {
  readonly config: { readonly num_replicas: number };
  readonly state: { readonly last_seq: number; readonly subjects?: Readonly<Record<string, number>> };
  readonly total?: number;
}

export class StreamReads {
  readonly #clock: Clock;
  readonly #mux: RequestMux;
  readonly #api: JetStreamApi;
  readonly #replicas = new Map<string, Promise<number>>();

  constructor(mux: RequestMux, api: JetStreamApi, clock: Clock) {
    this.#clock = clock;
    this.#mux = mux;
    this.#api = api;
  }

  async getLast(stream: string, subject: string): Promise<StoredMessage | null> {
    // Followers of a replicated stream may lag: then only the leader's answer is the last message.
    if ((await this.#replicasOf(stream)) > 1) return await this.#fromLeader(stream, { last_by_subj: subject });
    const hasWildcard = /[*>]/.test(subject); // which cannot stand in the address
    const address = `$JS.API.DIRECT.GET.${stream}${hasWildcard ? "" : `.${subject}`}`;
    const body = hasWildcard ? encodeBody({ last_by_subj: subject }) : EMPTY;
    const take = (message: Msg) => {
      const { code, description } = statusOf(message);
      if (code === 0) return parseDirect(stream, message);
      if (code === NOT_FOUND) return null;
      throw refusal(address, { code, description });
    };
    return await this.#mux.call(address, body, API_TIMEOUT_MS, take, undefined, QUERY);
  }

  async read(stream: string, options: ReadOptions): Promise<StoredMessage[]> {
    const { subject, fromSeq = 1, limit = DEFAULT_READ_LIMIT } = options;
    const found: StoredMessage[] = [];
    let seq = Math.max(1, fromSeq);
    const add = (message: StoredMessage) => {
      found.push(message);
      seq = message.seq + 1;
    };
    while (found.length < limit) {
      const batch = Math.min(limit - found.length, BATCH_LIMIT);
      const page = await this.#batch(stream, { seq, next_by_subj: subject, batch });
      for (const message of page?.messages ?? []) add(message);
      if ((page?.pending ?? 0) > 0 || found.length >= limit) continue;
      const next = await this.#beyond(stream, seq, subject);
      if (next === null) break;
      add(next);
    }
    return found;
  }

  async readLast(stream: string, subject: string, limit: number): Promise<StoredMessage[]> {
    const found = await this.#lastOf(stream, [subject], limit);
    if (found !== undefined) return found;
    const all: StoredMessage[] = [];
    const names = [...(await this.subjects(stream, subject)).keys()].slice(0, limit);
    for (let at = 0; at < names.length; at += BATCH_LIMIT) {
      const some = await this.#lastOf(stream, names.slice(at, at + BATCH_LIMIT), BATCH_LIMIT);
      if (some === undefined) throw refusal(stream, { description: `too many subjects under "${subject}"` });
      for (const message of some) all.push(message);
    }
    return all.sort((a, b) => a.seq - b.seq);
  }

  async subjects(stream: string, filter: string): Promise<Map<string, number>> {
    const counts = new Map<string, number>();
    let offset = 0;
    for (;;) {
      const info = await this.#info(stream, { subjects_filter: filter, offset });
      const page = Object.entries(info.state.subjects ?? {});
      for (const [subject, count] of page) counts.set(subject, count);
      offset += page.length;
      if (page.length === 0 || offset >= (info.total ?? 0)) return counts;
    }
  }

  async purge(stream: string, subject: string, belowSeq: number | undefined): Promise<number> {
    if (belowSeq !== undefined && belowSeq <= 1) return 0; // the server takes 0 for "all"
    const range = belowSeq === undefined ? {} : { seq: belowSeq };
    const done = await this.#api.call<{ readonly purged: number }>(`STREAM.PURGE.${stream}`, {
      filter: subject,
      ...range,
    });
    return done.purged;
  }

  async remove(stream: string, seq: number): Promise<boolean> {
    const path = `STREAM.MSG.DELETE.${stream}`;
    const { error } = await this.#api.ask<object>(path, { seq, no_erase: true });
    if (error === undefined) return true;
    if (isMissing(error)) return false;
    throw refusal(path, error);
  }

  /** The newest sequence, by the stream's leader. */
  async lastSeq(stream: string): Promise<number> {
    return (await this.#info(stream)).state.last_seq;
  }

  #info(stream: string, query?: object): Promise<StreamInfo> {
    return this.#persist((timeoutMs) => this.#api.call<StreamInfo>(`STREAM.INFO.${stream}`, query, timeoutMs));
  }

  #replicasOf(stream: string): Promise<number> {
    let known = this.#replicas.get(stream);
    if (known === undefined) {
      known = this.#info(stream).then((info) => info.config.num_replicas);
      known.catch(() => this.#replicas.delete(stream)); // who waits for it has the error
      this.#replicas.set(stream, known);
    }
    return known;
  }

  /** The next message where a replica's answer ended, if the leader knows one. */
  async #beyond(stream: string, seq: number, subject: string): Promise<StoredMessage | null> {
    if ((await this.#replicasOf(stream)) <= 1) return null;
    return await this.#fromLeader(stream, { seq, next_by_subj: subject });
  }

  async #fromLeader(stream: string, query: object): Promise<StoredMessage | null> {
    const path = `STREAM.MSG.GET.${stream}`;
    const { message, error } = await this.#persist((timeoutMs) =>
      this.#api.ask<{ readonly message?: LeaderMessage }>(path, query, timeoutMs),
    );
    if (message !== undefined) return parseLeader(stream, message);
    if (error?.err_code === NO_MESSAGE) return null;
    throw refusal(path, error ?? {});
  }

  /** While there is no leader nobody answers, and a question of that time is answered by nobody later: it is asked again. */
  async #persist<T>(ask: (timeoutMs: number) => Promise<T>): Promise<T> {
    const giveUpAtMs = this.#clock.monotonic() + API_TIMEOUT_MS;
    for (;;) {
      const askedAtMs = this.#clock.monotonic();
      try {
        return await ask(ATTEMPT_MS);
      } catch (error) {
        const nowMs = this.#clock.monotonic();
        const isUnanswered = error instanceof BrokerUnavailableError && nowMs - askedAtMs >= ATTEMPT_MS;
        if (!isUnanswered || nowMs >= giveUpAtMs) throw error;
      }
    }
  }

  /** The last messages under the filters; undefined if there are too many for one answer. */
  async #lastOf(stream: string, filters: readonly string[], limit: number): Promise<StoredMessage[] | undefined> {
    const found: StoredMessage[] = [];
    let rest: { readonly seq?: number; readonly up_to_seq?: number } = {};
    while (found.length < limit) {
      const batch = Math.min(limit - found.length, BATCH_LIMIT);
      const page = await this.#batch(stream, { multi_last: filters, batch, ...rest });
      if (page === undefined) return undefined;
      for (const message of page.messages) found.push(message);
      const last = page.messages.at(-1);
      if (page.pending === 0 || last === undefined || page.upToSeq === undefined) break;
      rest = { seq: last.seq + 1, up_to_seq: page.upToSeq };
    }
    return found;
  }

  /** The first answer to a batched direct get. */
  #batch(stream: string, query: object): Promise<Batch | undefined> {
    return new Promise((resolve, reject) => {
      let attempts = 0;
      let hasHeard = false;
      let timer: TimerHandle | undefined;
      const settle = (act: () => void) => {
        this.#clock.clearTimeout(timer);
        act(); // a later one changes nothing
      };
      const onHeard = () => {
        hasHeard = true;
      };
      const look = () => {
        if (!hasHeard && attempts++ < BATCH_ATTEMPTS)
          this.#batchOnce(stream, query, onHeard).then(
            (batch) => settle(() => resolve(batch)),
            (error: Error) => settle(() => reject(error)),
          );
        hasHeard = false;
        timer = this.#clock.setTimeout(look, ATTEMPT_MS);
      };
      look();
    });
  }

  async #batchOnce(stream: string, query: object, onHeard: () => void): Promise<Batch | undefined> {
    const messages: StoredMessage[] = [];
    const address = `$JS.API.DIRECT.GET.${stream}`;
    const take = (message: Msg): Batch | "too many" | undefined => {
      onHeard();
      const { code, description } = statusOf(message);
      const number = (name: string) => Number(message.headers?.get(name) || Number.NaN);
      if (code === TOO_MANY_RESULTS) return "too many";
      if (code === NOT_FOUND) return { messages, pending: 0, upToSeq: undefined };
      if (code === END_OF_BATCH) {
        return {
          messages,
          pending: number("Nats-Num-Pending") || 0,
          upToSeq: number("Nats-UpTo-Sequence") || undefined,
        };
      }
      if (code !== 0) throw refusal(address, { code, description });
      messages.push(parseDirect(stream, message));
      return undefined;
    };
    const answer = await this.#mux.call(address, encodeBody(query), API_TIMEOUT_MS, take, undefined, QUERY);
    return answer === "too many" ? undefined : answer;
  }
}

function isMissing({ err_code, description = "" }: ApiError): boolean {
  // The same code says that the stream forbids removal.
  return err_code === NO_SUCH_SEQUENCE || (err_code === DELETE_FAILED && /EOF|not found|deleted/i.test(description));
}

function statusOf(message: Msg): { readonly code: number; readonly description: string } {
  return { code: message.headers?.code ?? 0, description: message.headers?.description ?? "" };
}
