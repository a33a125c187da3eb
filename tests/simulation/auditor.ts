/**
 * Watches the server from outside and says which law was broken. Invariant: it judges only what reached the server, by what
 * had reached it before; it changes nothing, and asks no node.
 */
import { addressOf, keyOf } from "../../runtime/address.ts";
import type { ActorView } from "../../runtime/api.ts";
import { decode } from "../../runtime/codec.ts";
import { decodeInput, type Input, Tag } from "../../runtime/envelope.ts";
import type { MemoryTap } from "../../runtime/port-memory.ts";
import type { StoredMessage } from "../../runtime/port.ts";
import { decodeRecord, type JournalInput } from "../../runtime/round.ts";
import { type RunnableKind, runnable } from "../../runtime/runnable.ts";
import type { Names } from "../../nats-config/subjects.ts";
import { ActorBook } from "./book.ts";
import { auditHistory, auditSnapshot } from "./audit-stored.ts";
import { ShardBooks } from "./audit-shards.ts";
import { type Host, makeKinds } from "./kinds.ts";
import type { Trace } from "./trace.ts";

/** A request on the wire that awaits its answer. */
type Asked =
  | { readonly type: "message"; readonly book: ActorBook; readonly input: Input }
  | { readonly type: "query"; readonly book: ActorBook; readonly shown: number };

const noHost = (): Host => {
  throw new RangeError("The auditor runs no invocation");
};
/** One set for all histories: histories follow one another. */
let kinds: ReadonlyMap<string, RunnableKind> | undefined;
const kindMap = (): ReadonlyMap<string, RunnableKind> =>
  (kinds ??= new Map(makeKinds(noHost).map((kind) => [kind.kind, runnable(kind)])));

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

export class Auditor implements MemoryTap {
  readonly breaches: string[] = [];
  readonly books = new Map<string, ActorBook>();
  readonly #names: Names;
  readonly #shards: number;
  readonly #trace: Trace;
  readonly #records: ShardBooks;
  readonly #sealed = new Set<string>();
  readonly #rounds = new Map<string, number>();
  readonly #asked = new Map<string, Asked>();
  readonly #works = new Set<string>();
  readonly #letters = new Map<string, number>();
  /** Messages of each actor that each pool took. */
  readonly #pooled = new Map<string, number>();
  readonly counts = { inputs: 0, answers: 0, queries: 0, snapshots: 0, takeovers: 0, works: 0, repeats: 0 };

  constructor(names: Names, shards: number, trace: Trace) {
    this.#names = names;
    this.#shards = shards;
    this.#trace = trace;
    this.#records = new ShardBooks({
      names,
      shards,
      isSealed: (journal) => this.#sealed.has(journal),
      booksOf: (shard) => [...this.books.values()].filter((book) => book.shard === shard),
      breach: (law, text) => this.breach(law, text),
    });
  }

  breach(law: string, text: string): void {
    this.breaches.push(`${law}: ${text}`);
    this.#trace.tell("AUDITOR", () => `BREACH of "${law}": ${text}`);
  }

  book(kind: string, id: string): ActorBook {
    const key = keyOf(kind, id);
    let book = this.books.get(key);
    if (book === undefined) {
      const runner = kindMap().get(kind);
      if (runner === undefined) throw new RangeError(`The simulation has no kind "${kind}"`);
      this.books.set(key, (book = new ActorBook(key, runner, this.#shards)));
    }
    return book;
  }

  onStored(message: StoredMessage): void {
    const { stream, kv } = this.#names;
    switch (message.stream) {
      case stream.journal:
        this.#onJournal(message);
        return;
      case stream.snapshot: {
        const { kind, id } = partsOf(message.subject);
        this.counts.snapshots++;
        auditSnapshot(this.book(kind, id), message, this);
        return;
      }
      case stream.history: {
        const { kind, id } = partsOf(message.subject);
        auditHistory(this.book(kind, id), message, this);
        return;
      }
      case stream.dead: {
        const { kind, id } = partsOf(message.subject);
        const key = keyOf(kind, id);
        this.#letters.set(key, (this.#letters.get(key) ?? 0) + 1);
        this.#trace.tell("dead", () => `${key}: ${JSON.stringify(decode(message.data))}`);
        return;
      }
      case stream.pool:
        this.#onPool(message);
        return;
      case kv.shards.stream:
        if (this.#records.take(message)) this.counts.takeovers++;
        this.#trace.tell(
          "shards",
          () => `${message.subject.slice(kv.shards.key("").length)} ${String(Buffer.from(message.data))}`,
        );
        return;
      case kv.nodes.stream: {
        const gone = message.header("Nats-Marker-Reason") ?? message.header("KV-Operation");
        if (gone !== undefined)
          this.#trace.tell("nodes", () => `${message.subject.slice(kv.nodes.key("").length)} ${gone}`);
        return;
      }
    }
  }

  onPacket({
    subject,
    data,
    reply,
  }: {
    readonly subject: string;
    readonly data: Uint8Array;
    readonly reply: string | undefined;
  }): void {
    if (subject.startsWith("_INBOX.")) {
      this.#onAnswer(subject, data);
      return;
    }
    const { namespace } = this.#names;
    if (!subject.startsWith(`${namespace}.`)) return;
    const lane = subject.slice(namespace.length + 1, subject.indexOf(".", namespace.length + 1));
    if (lane === "act" || lane === "ctl") {
      const { kind, id } = partsOf(subject);
      const book = this.book(kind, id);
      const input = decodeInput(data);
      this.#assertSendable(book, input);
      if (book.taken(input.sender, input.seq) !== undefined) this.counts.repeats++;
      if (reply !== undefined) this.#asked.set(reply, { type: "message", book, input });
    } else if (lane === "qry" && reply !== undefined) {
      const { kind, id } = partsOf(subject);
      const book = this.book(kind, id);
      this.#asked.set(reply, { type: "query", book, shown: book.shown });
    }
  }

  /** An invocation acts on the world. */
  onWork(session: string): void {
    this.counts.works++;
    this.#works.add(session);
    const [key, startedBy, child] = sessionParts(session);
    const { kind, id } = addressOf(key);
    const book = this.book(kind, id);
    if (book.revision < startedBy)
      this.breach("nothing is seen before it is committed", `invocation ${session} runs at revision ${book.revision}`);
    // One that was stopped by a later input may still begin on a node that was sealed; it cannot end.
    else if (child !== "work") this.breach("invocations keep their id", `"${session}" is none`);
  }

  /** Nothing is under way: every timer fired, every invocation ended, every message arrived. Else what is not. */
  unfinished(): string[] {
    const left: string[] = [];
    for (const book of this.books.values()) {
      if (book.state.timers.size > 0) left.push(`${book.key} waits for timers ${[...book.state.timers.keys()].join()}`);
      if (book.state.invocations.size > 0)
        left.push(`${book.key} waits for invocations ${[...book.state.invocations.keys()].join()}`);
      for (const [to, messages] of book.sent) {
        const heard = to.startsWith("pool:")
          ? (this.#pooled.get(`${book.key}>${to}`) ?? 0)
          : (this.books.get(to)?.heard.get(book.key) ?? 0);
        if (heard < messages.length) left.push(`${to} took ${heard} of ${messages.length} messages of ${book.key}`);
      }
      const letters = this.#letters.get(book.key) ?? 0;
      if (letters < book.poisoned)
        left.push(`${book.key} has ${letters} dead letters for ${book.poisoned} poison messages`);
    }
    return left;
  }

  /** What a view shows must have been committed. */
  #auditView(book: ActorBook, view: ActorView): void {
    const { revision, status, value, context } = view;
    const expected = book.at(revision);
    if (expected === undefined)
      this.breach(
        "nothing is seen before it is committed",
        `${book.key} was shown at revision ${revision}, committed are ${book.revision}`,
      );
    else if (!same(expected, { status, value, context }))
      this.breach(
        "what is seen is what was committed",
        `${book.key} at revision ${revision} was shown as ${JSON.stringify({ status, value, context })}, committed is ${JSON.stringify(expected)}`,
      );
    book.shown = Math.max(book.shown, revision);
  }

  /** What a cluster that has only the store shows in the end. */
  auditLast(book: ActorBook, revision: number): void {
    if (revision !== book.revision)
      this.breach(
        "an acknowledged message is never lost",
        `${book.key} ends at revision ${revision}, committed are ${book.revision}`,
      );
  }

  #onJournal({ subject, seq, data }: StoredMessage): void {
    const record = decodeRecord(data);
    if (this.#sealed.has(subject)) this.breach("a journal never grows after its seal", `${subject} grew at ${seq}`);
    if (record.type === "seal") {
      this.#sealed.add(subject);
      this.#trace.tell("journal", () => `${seq} ${subject} SEALED by ${record.by}`);
      return;
    }
    const last = this.#rounds.get(subject) ?? 0;
    if (record.no !== last + 1)
      this.breach("a round is appended once, in order", `${subject} has round ${record.no} after ${last}`);
    this.#rounds.set(subject, record.no);
    this.#trace.tell(
      "journal",
      () => `${seq} ${subject} round ${record.no}: ${record.inputs.map(inputText).join(", ")}`,
    );
    // Messages between actors of one node go into the next round, never into the same: judged by what stood before.
    const outSeqs = new Map<ActorBook, number>();
    for (const input of record.inputs) this.#onInput(input, subject, seq, outSeqs);
  }

  #onInput(
    [timeMs, key, body, poison]: JournalInput,
    journal: string,
    seq: number,
    outSeqs: Map<ActorBook, number>,
  ): void {
    const { kind, id } = addressOf(key);
    const book = this.book(kind, id);
    const input = decodeInput(body);
    this.counts.inputs++;
    const owner = this.#records.ownerOf(book.shard);
    if (owner === null || journal !== this.#records.journalOf(owner))
      this.breach(
        "one owner at a time",
        `${journal} took an input for ${key}, shard ${book.shard} belongs to ${String(owner)}`,
      );
    if (input.tag === Tag.InvocationSettled && !this.#works.has(`${key}:${input.seq}:${input.sender}`))
      this.breach("nothing is seen before it is committed", `${key} took the result of an invocation that never ran`);
    if (input.tag <= Tag.Ask && input.sender.includes("/")) this.#assertInOrder(book, input, outSeqs);
    const sentBefore = book.state.outSeq;
    const breach = book.take(input, { seq, journal, timeMs, body, poison });
    if (breach !== undefined) this.breach("applied once and in journal order", `${key} at ${seq}: ${breach}`);
    if (!outSeqs.has(book)) outSeqs.set(book, sentBefore);
  }

  /** Messages between two actors arrive once, in the order sent, and only after the input that sent them. */
  #assertInOrder(receiver: ActorBook, input: Input, outSeqs: ReadonlyMap<ActorBook, number>): void {
    const { kind, id } = addressOf(input.sender);
    const sender = this.book(kind, id);
    const law = "messages of a pair arrive once and in order";
    if (input.seq > (outSeqs.get(sender) ?? sender.state.outSeq))
      this.breach(
        "nothing is seen before it is committed",
        `${receiver.key} took message ${input.seq} of ${sender.key} before its commit`,
      );
    const heard = receiver.heard.get(sender.key) ?? 0;
    const expected = sender.sent.get(receiver.key)?.[heard];
    if (expected?.seq !== input.seq)
      this.breach(
        law,
        `${receiver.key} took message ${input.seq} of ${sender.key}, the next is ${String(expected?.seq)}`,
      );
    else if (!same(expected.event, input.event))
      this.breach(law, `${receiver.key} took another message ${input.seq} than was sent`);
    receiver.heard.set(sender.key, heard + 1);
  }

  /** What an actor sends over the wire must have been committed. */
  #assertSendable(receiver: ActorBook, input: Input): void {
    if (!input.sender.includes("/")) return;
    const { kind, id } = addressOf(input.sender);
    const sent = this.book(kind, id).outgoing(input.seq);
    if (sent === undefined || sent.to !== receiver.key)
      this.breach(
        "nothing is seen before it is committed",
        `${input.sender} sent message ${input.seq} to ${receiver.key}, which is not committed`,
      );
  }

  #onAnswer(inbox: string, data: Uint8Array): void {
    const asked = this.#asked.get(inbox);
    const fields = decode(data) as [number, unknown, unknown?];
    if (inbox.startsWith("_INBOX.watch.") && fields[0] === 0) {
      const view = fields[1] as ActorView;
      this.#auditView(this.book(view.kind, view.id), view);
      return;
    }
    if (asked === undefined) return;
    // It stays asked: a second owner's answer, which the client would not even see, must be as good as the first.
    const { book } = asked;
    if (asked.type === "query") {
      this.#onView(book, asked.shown, fields);
      return;
    }
    const { sender, seq, tag } = asked.input;
    const taken = book.taken(sender, seq);
    const code = fields[0] === 1 ? String(fields[1]) : undefined;
    if (code !== undefined && code !== "POISON_MESSAGE") return; // a refusal says nothing of what was taken
    this.counts.answers++;
    if (taken === undefined) {
      this.breach(
        "an answer follows the commit",
        `${book.key} answered message ${seq} of ${sender}, which is not in the journal`,
      );
      return;
    }
    if (tag === Tag.Ask && Buffer.compare(taken.answer, data) !== 0)
      this.breach(
        "a repeated message gets the answer it got",
        `${book.key} answered message ${seq} of ${sender} with ${JSON.stringify(fields)}`,
      );
    book.shown = Math.max(book.shown, taken.revision);
  }

  #onView(book: ActorBook, shown: number, fields: [number, unknown, unknown?]): void {
    if (fields[0] === 1) {
      if (fields[1] === "ACTOR_NOT_FOUND" && shown > 0)
        this.breach(
          "a query sees what was acknowledged",
          `${book.key} was not found after revision ${shown} was shown`,
        );
      return;
    }
    const view = fields[1] as ActorView;
    this.counts.queries++;
    if (view.revision < shown)
      this.breach(
        "a query sees what was acknowledged",
        `${book.key} was shown at revision ${view.revision} after ${shown}, by ${view.node}`,
      );
    this.#auditView(book, view);
  }

  #onPool(message: StoredMessage): void {
    const { source, data } = JSON.parse(Buffer.from(message.data).toString()) as {
      source: string;
      data: { n: number };
    };
    const { kind, id } = addressOf(source);
    const book = this.book(kind, id);
    const pair = `${source}>pool:sim`;
    const count = (this.#pooled.get(pair) ?? 0) + 1;
    if (count > (book.sent.get("pool:sim")?.length ?? 0))
      this.breach("nothing is seen before it is committed", `${source} published ${JSON.stringify(data)}`);
    if (data.n !== count)
      this.breach(
        "events of an actor reach a pool once and in order",
        `${source} published ${data.n} as number ${count}`,
      );
    this.#pooled.set(pair, count);
  }
}

/** Subjects of actors end in `<kind>.<id>`. */
function partsOf(subject: string): { kind: string; id: string } {
  const end = subject.lastIndexOf(".");
  return { kind: subject.slice(subject.lastIndexOf(".", end - 1) + 1, end), id: subject.slice(end + 1) };
}

/** `<key>:<revision>:<child>`; ids may hold colons. */
function sessionParts(session: string): [key: string, startedBy: number, child: string] {
  const last = session.lastIndexOf(":");
  const middle = session.lastIndexOf(":", last - 1);
  return [session.slice(0, middle), Number(session.slice(middle + 1, last)), session.slice(last + 1)];
}

function inputText([, key, body, poison]: JournalInput): string {
  const { tag, sender, seq, event } = decodeInput(body);
  return `${key} ${["tell", "ask", "timer", "result"][tag]} ${sender}#${seq} ${event.type}${poison === null ? "" : " POISON"}`;
}
