/** Watches what happens in the cluster, for the live view. Invariant: it only reads, and its failure stops nothing. */
import type { Client } from "../../runtime/api.ts";
import type { Clock } from "../../runtime/clock.ts";
import { decode } from "../../runtime/codec.ts";
import { CorruptRecordError } from "../../runtime/errors.ts";
import type { StoredMessage } from "../../runtime/port.ts";
import { messageOf } from "../commands/exit.ts";
import { lockOf } from "../commands/locks.ts";
import { readActors } from "../commands/ps.ts";
import { isObject, type JsonObject } from "../json.ts";
import { every, type Ticker } from "../lab/ticker.ts";
import type { Reporter } from "./reporter.ts";

/** Pause between two looks at the locks, in ms. */
const LOCKS_EVERY_MS = 1_000;
/** Locks looked at: the demo's devices many times over; a larger lab is what `troupe locks` is for. */
const LOCKS_LIMIT = 50;

export interface Observer {
  stop(): void;
}

export async function observe(client: Client, clock: Clock, reporter: Reporter): Promise<Observer> {
  const pool = await client.broker.follow(
    client.names.stream.pool,
    { subjects: [client.names.poolAll], from: "new" },
    (message) => {
      const told = describe(message);
      if (told !== null) reporter.say("event", told.text, told.data, message.timeMs);
    },
  );
  const dead = await client.broker.follow(
    client.names.stream.dead,
    { subjects: [client.names.deadLetters], from: "new" },
    (message) => {
      const told = describeDead(message);
      if (told !== null) reporter.say("dead", told.text, told.data, message.timeMs);
    },
  );
  let reading = false;
  let complained = "";
  const look = async (): Promise<void> => {
    if (reading) return;
    reading = true;
    try {
      const { actors } = await readActors(client, "resource", LOCKS_LIMIT);
      reporter.locks(actors.flatMap(({ view }) => (view === null ? [] : [lockOf(view)])));
      complained = "";
    } catch (error) {
      // While a server or node is away this repeats: said once.
      const message = messageOf(error);
      if (message !== complained) reporter.say("dev", `Locks cannot be read just now: ${message}`);
      complained = message;
    } finally {
      reading = false;
    }
  };
  const ticker: Ticker = every(clock, LOCKS_EVERY_MS, () => void look());
  return {
    stop: () => {
      ticker.stop();
      pool.unsubscribe();
      dead.unsubscribe();
    },
  };
}

/** One pool event as a line, or null if it is none. */
export function describe(message: Pick<StoredMessage, "data" | "subject">): { text: string; data: JsonObject } | null {
  let event: unknown;
  try {
    event = JSON.parse(Buffer.from(message.data).toString("utf8"));
  } catch {
    return null; // Not written by us: the view is no place to judge it.
  }
  if (!isObject(event) || typeof event["type"] !== "string") return null;
  const fields = isObject(event["data"]) ? event["data"] : {};
  const device = isObject(event["device"])
    ? `${String(event["device"]["host"])}:${String(event["device"]["device"])}`
    : "";
  const words = [
    event["type"],
    device,
    ...DETAILS.flatMap((key) => (isPlain(fields[key]) ? [`${key} ${String(fields[key])}`] : [])),
  ];
  return {
    text: words.filter((word) => word !== "").join("  "),
    data: { type: event["type"], source: event["source"], id: event["id"], data: fields },
  };
}

/** One dead letter as a line: what it is, where it stood, why; null if it is none. */
export function describeDead(message: Pick<StoredMessage, "data">): { text: string; data: JsonObject } | null {
  let letter: unknown;
  try {
    letter = decode(message.data);
  } catch (error) {
    if (error instanceof CorruptRecordError) return null; // as above
    throw error;
  }
  if (!isObject(letter) || typeof letter["reason"] !== "string") return null;
  const { reason, kind, id, sender, cause } = letter;
  // What never reached an actor stands where it was published.
  const where =
    typeof letter["event"] === "string" ? String(sender) : `${String(kind)}/${String(id)} from ${String(sender)}`;
  return { text: `${letter["reason"]}  ${where}  ${String(cause)}`, data: { reason, kind, id, sender, cause } };
}

/** Fields of an event's data that tell the story in a line. */
const DETAILS = ["status", "resource", "holder", "token", "agent", "task", "state", "reason", "channel_name"] as const;

const isPlain = (value: unknown): value is string | number =>
  (typeof value === "string" && value !== "") || typeof value === "number";
