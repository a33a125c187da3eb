/** Duplicate detection. Invariant: whatever is lost, repeated or reordered, an honest sender's number takes effect at most once. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decode, encode } from "../../runtime/codec.ts";
import { BusyError } from "../../runtime/errors.ts";
import { MAX_SENDERS, MAX_UNSETTLED, MAX_UNSETTLED_BYTES, SENDER_HORIZON_MS } from "../../runtime/limits.ts";
import { ENTRY_BYTES, type SenderRecord, Senders } from "../../runtime/senders.ts";

const answer = (seq: number) => Buffer.from(`answer ${seq}`);

/** One message on the wire: its number and the sender's honest low when it was sent. */
interface Wire {
  readonly seq: number;
  readonly low: number;
}

/** What a world does to honest senders: send a new one, repeat one, settle one, deliver one of those under way, lose one, store. */
const acts = fc.array(
  fc.oneof(
    fc.record({ act: fc.constantFrom("send", "restart" as const) }),
    fc.record({
      act: fc.constantFrom("repeat", "settle", "deliver", "deliver", "deliver", "lose" as const),
      pick: fc.nat(1_000),
    }),
  ),
  { maxLength: 120 },
);

describe("Senders", () => {
  test("seen() is undefined at most once per number, whatever is lost, repeated or reordered", () => {
    fc.assert(
      fc.property(acts, (script) => {
        let senders = new Senders();
        let next = 1;
        const open = new Set<number>();
        const wire: Wire[] = [];
        const taken = new Map<number, number>();
        const send = (seq: number) => wire.push({ seq, low: Math.min(...open) });
        for (const step of script) {
          const pick = "pick" in step ? step.pick : 0;
          const numbers = [...open];
          if (step.act === "send") {
            open.add(next);
            send(next++);
          } else if (step.act === "restart")
            senders = Senders.fromRecord(decode(encode(senders.toRecord())) as SenderRecord[]);
          else if (step.act === "repeat" && numbers.length > 0) send(numbers[pick % numbers.length] as number);
          else if (step.act === "settle" && numbers.length > 0) open.delete(numbers[pick % numbers.length] as number);
          else if (step.act === "lose" && wire.length > 0) wire.splice(pick % wire.length, 1);
          else if (step.act === "deliver" && wire.length > 0) {
            const { seq, low } = wire.splice(pick % wire.length, 1)[0] as Wire; // it may still be sent again later
            const seen = senders.seen("client", seq);
            if (seen === undefined) {
              senders.admit("client", seq, low, 0);
              senders.mark("client", seq, low, 0, answer(seq));
              taken.set(seq, (taken.get(seq) ?? 0) + 1);
            } else if (open.has(seq)) {
              expect(seen, `the answer to ${seq}, which is still asked for`).toEqual(answer(seq));
            }
          }
        }
        expect([...taken.values()].filter((times) => times > 1)).toEqual([]);
      }),
      { numRuns: 400 },
    );
  });

  test("toRecord() and fromRecord() keep all, and the bytes of kept answers", () => {
    const senders = new Senders();
    for (let seq = 1; seq <= 20; seq++)
      senders.mark(`c${seq % 3}`, seq, Math.max(1, seq - 5), seq, seq % 2 === 0 ? answer(seq) : null);
    const copy = Senders.fromRecord(senders.toRecord());
    expect(copy.toRecord()).toEqual(senders.toRecord());
    expect(copy.bytes).toBe(senders.bytes);
  });

  test("mark() frees settled answers, and all of them once the sender has settled all", () => {
    const senders = new Senders();
    for (const seq of [3, 1, 2]) senders.mark("c", seq, 1, 0, answer(seq));
    expect(senders.bytes).toBe(3 * (ENTRY_BYTES + answer(1).length));
    senders.mark("c", 4, 4, 0, null);
    expect(senders.bytes).toBe(ENTRY_BYTES);
    expect(senders.seen("c", 3)).toBe(null);
  });

  test("admit() refuses at each bound, changes nothing, and takes again when the sender settles", () => {
    const senders = new Senders();
    for (let seq = 1; seq <= MAX_UNSETTLED; seq++) senders.mark("c", seq, 1, 0, null);
    expect(() => senders.admit("c", MAX_UNSETTLED + 1, 1, 0)).toThrow(BusyError);
    expect(() => senders.admit("c", MAX_UNSETTLED + 1, 2, 0)).not.toThrow();
    expect(() => senders.admit("other", 1, 1, 0)).not.toThrow();
    const large = new Senders();
    large.mark("c", 1, 1, 0, Buffer.alloc(MAX_UNSETTLED_BYTES + 1));
    expect(() => large.admit("c", 2, 1, 0)).toThrow(/settle some/);
    expect(() => large.admit("c", 2, 2, 0)).not.toThrow();
  });

  test("admit() takes at each bound the lowest number that its sender waits for: only its answer settles the rest", () => {
    const lostFirst = (count: number, kept: Buffer | null) => {
      const senders = new Senders();
      for (let seq = 2; seq <= count; seq++) senders.mark("c", seq, 1, 0, kept);
      expect(() => senders.admit("c", count + 1, 1, 0)).toThrow(BusyError);
      return senders;
    };
    const many = lostFirst(MAX_UNSETTLED + 1, null);
    const large = lostFirst(3, Buffer.alloc(MAX_UNSETTLED_BYTES));
    for (const senders of [many, large]) {
      expect(() => senders.admit("c", 1, 1, 0)).not.toThrow();
      senders.mark("c", 1, 1, 0, null);
      expect(() => senders.admit("c", MAX_UNSETTLED + 2, MAX_UNSETTLED + 2, 0)).not.toThrow();
    }
    expect(() => large.admit("new", 1, 1, 0)).toThrow(BusyError);
  });

  test("admit() takes a new sender at the bound only when one is silent beyond the horizon", () => {
    const senders = new Senders();
    for (let i = 0; i < MAX_SENDERS; i++) senders.mark(`kind/a${i}`, 1, 1, 1_000 + i, null);
    const soon = 1_000 + SENDER_HORIZON_MS;
    expect(() => senders.admit("new", 1, 1, soon)).toThrow(BusyError);
    expect(() => senders.admit("new", 1, 1, soon + 1)).not.toThrow();
    senders.mark("new", 1, 1, soon + 1, null);
    expect(senders.seen("kind/a0", 1)).toBe(undefined);
    expect(senders.seen("kind/a1", 1)).toBe(null);
    expect(senders.toRecord()).toHaveLength(MAX_SENDERS);
  });

  test("admit() takes new senders at the bound of kept answers when clients are silent beyond the horizon, and mark() forgets these", () => {
    const senders = new Senders();
    const sendOnce = (name: string, timeMs: number) => {
      senders.admit(name, 1, 1, timeMs);
      senders.mark(name, 1, 1, timeMs, Buffer.alloc(MAX_UNSETTLED_BYTES / 4));
    };
    senders.mark("kind/a", 1, 1, 0, null);
    for (let i = 0; i < 4; i++) sendOnce(`early${i}`, 0);
    expect(() => senders.admit("late", 1, 1, SENDER_HORIZON_MS)).toThrow(/settle some/);
    for (let i = 0; i < 4; i++) sendOnce(`late${i}`, SENDER_HORIZON_MS + 1);
    expect(senders.toRecord().map(([name]) => name)).toEqual(["kind/a", "late0", "late1", "late2", "late3"]);
    expect(() => senders.admit("kind/b", 1, 1, SENDER_HORIZON_MS + 1)).toThrow(/settle some/);
    expect(() => senders.admit("late0", 2, 2, SENDER_HORIZON_MS + 1)).not.toThrow();
  });

  test("forget() drops silent clients and keeps actors while there is room", () => {
    const senders = new Senders();
    senders.mark("client", 1, 1, 0, answer(1));
    senders.mark("kind/a", 1, 1, 0, null);
    senders.forget(SENDER_HORIZON_MS + 1);
    expect(senders.seen("client", 1)).toBe(undefined);
    expect(senders.seen("kind/a", 1)).toBe(null);
    expect(senders.bytes).toBe(ENTRY_BYTES);
  });
});
